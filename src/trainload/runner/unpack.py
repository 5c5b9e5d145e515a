"""Layers of an image as folders, each made once: ``hosted/layers/HEX/fs``, in the name of whoever we are.

A layer is written under another name, hashed while it is read, synced, and renamed when all of it is right. Names
in it are resolved inside it; devices, set-id bits and owners are dropped, as for an ordinary user everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib
import json
import os
import shutil
import stat
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from trainload.runner.home import open_lock
from trainload.runner.trouble import Trouble

_PIECE = 1 << 18
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
OPAQUE_ATTRIBUTE = "user.overlay.opaque"
_HOPS = 40
KEPT = 30 * 86_400
"""Seconds after which a layer that no run used goes."""


def unpacked(home: Path, layers: list[dict[str, Any]], tell: Callable[[dict[str, Any]], None]) -> list[Path]:
    """The folders of ``layers``, base first. Raises :class:`Trouble`."""
    below = home / "hosted" / "layers"
    below.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = []
    for layer in layers:
        folder = below / layer["diff_id"].split(":")[1]
        lock = open_lock(folder.with_name(folder.name + ".lock"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "done.json").exists():
                tell({"unpacking": layer["title"], "size": layer["size"]})
                _make(home / "blobs" / "sha256" / layer["digest"].split(":")[1], layer, folder)
            os.utime(str(folder / "done.json"))
        finally:
            os.close(lock)
        found.append(folder)
    return found


def forget_unused(home: Path, used: set[str]) -> None:
    """Remove layers nobody asked for in a month, unless a run has them."""
    below = home / "hosted" / "layers"
    for folder in below.iterdir():
        with contextlib.suppress(OSError):
            done = folder / "done.json"
            if folder.name not in used and time.time() - done.stat().st_mtime > KEPT:
                done.unlink()
                remove(folder)


def remove(folder: Path) -> None:
    """A tree that may hold folders without permissions."""
    for path, names, _ in os.walk(str(folder)):
        for name in names:
            inner = os.path.join(path, name)  # noqa: PTH118
            if not os.path.islink(inner):  # noqa: PTH114
                os.chmod(inner, 0o700)  # noqa: PTH101
    shutil.rmtree(str(folder), ignore_errors=True)


def _make(blob: Path, layer: dict[str, Any], folder: Path) -> None:
    temporary = folder.with_name(folder.name + ".tmp")
    for stale in (temporary, folder):
        if stale.exists():
            remove(stale)
    (temporary / "fs").mkdir(parents=True)
    try:
        with blob.open("rb") as file:
            stream = _Stream(_inflated(file))
            placing = _Placing(temporary / "fs")
            placing.run(stream)
            while stream.read(_PIECE):
                pass
        if "sha256:" + stream.hashed.hexdigest() != layer["diff_id"]:
            raise Trouble("layer", said=layer["title"])
        done = {"whiteouts": sorted(placing.whiteouts), "opaque": sorted(placing.opaque), "plain": placing.plain}
        _sync(temporary)
        (temporary / "done.json").write_text(json.dumps(done))
        temporary.rename(folder)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise Trouble("layer", said=f"{layer['title']}: {error}") from error
    finally:
        if temporary.exists():
            remove(temporary)


def _inflated(file: IO[bytes]) -> Iterator[bytes]:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP):
        return _gunzip(file)
    if magic == _ZSTD:
        return _unzstd(file)
    return iter(lambda: file.read(_PIECE), b"")


def _gunzip(file: IO[bytes]) -> Iterator[bytes]:
    """One member or many, as our layers have."""
    machine = zlib.decompressobj(31)
    while True:
        data = file.read(_PIECE)
        if not data:
            if not machine.eof:
                raise EOFError("the compressed layer ends too early")
            return
        while data:
            if machine.eof:
                machine = zlib.decompressobj(31)
            yield machine.decompress(data)
            data = machine.unused_data


def _unzstd(file: IO[bytes]) -> Iterator[bytes]:
    try:
        zstd = importlib.import_module("compression.zstd")  # of Python 3.14
    except ImportError:
        raise Trouble("zstd") from None
    with zstd.ZstdFile(file, "rb") as stream:
        yield from iter(lambda: stream.read(_PIECE), b"")


class _Stream:
    """``read(n)`` over pieces, hashing them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.hashed = hashlib.sha256()

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        left = size
        while left:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                self.hashed.update(self._rest)
                if not self._rest:
                    if not parts and next(self._pieces, None) is not None:
                        continue
                    break
            part, self._rest = self._rest[:left], self._rest[left:]
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


class _Placing:
    """One layer's members into a folder that nobody else writes to."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._folders: dict[str, tuple[int, float]] = {}
        self._parents: dict[str, str] = {"": self._root}
        self.whiteouts: set[str] = set()
        self.opaque: set[str] = set()
        self.plain = True
        """Whether the file system and kernel took overlayfs' own marks."""

    def run(self, stream: _Stream) -> None:
        with tarfile.open(
            fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape"  # type: ignore[call-overload]
        ) as archive:  # fmt: skip
            for member in archive:
                self._place(archive, member)
                archive.members = []  # it would remember them all
        self._marks()
        for path, (mode, mtime) in sorted(self._folders.items(), reverse=True):
            place = os.path.join(self._root, path)  # noqa: PTH118
            if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
                os.chmod(place, mode & 0o1777 | 0o700)  # noqa: PTH101
                os.utime(place, (mtime, mtime))

    def _place(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _clean(member.name)
        above, _, name = path.rpartition("/")
        if name.startswith(_WHITEOUT):
            self._whiteout(above, name)
        elif member.isdir():
            self._folder(path, above, name, member)
        elif not path:
            raise Trouble("layer", said="the root is not a folder")
        elif member.isreg() or member.issym() or member.islnk() or member.isfifo():
            self._leaf(archive, member, self._parent(above), path, name)

    def _leaf(self, archive: tarfile.TarFile, member: tarfile.TarInfo, folder: str, path: str, name: str) -> None:
        place = os.path.join(folder, name)  # noqa: PTH118
        self._clear(place, path)
        if member.issym():
            os.symlink(member.linkname, place)  # noqa: PTH211
            self._parents = {"": self._root}
        elif member.islnk():
            target = _clean(member.linkname)
            old = os.path.join(self._parent(target.rpartition("/")[0]), target.rpartition("/")[2])  # noqa: PTH118
            os.link(old, place, follow_symlinks=False)
        elif member.isfifo():
            os.mkfifo(place, member.mode & 0o777 | 0o400)
        else:
            source = archive.extractfile(member)
            assert source is not None
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(place, flags, 0o600), "wb") as file:
                shutil.copyfileobj(source, file, _PIECE)
                file.flush()
                os.fchmod(file.fileno(), member.mode & 0o1777 | 0o400)
                os.utime(file.fileno(), (member.mtime, member.mtime))

    def _folder(self, path: str, above: str, name: str, member: tarfile.TarInfo) -> None:
        self._folders[path] = member.mode, float(member.mtime)
        if not path:
            return
        place = os.path.join(self._parent(above), name)  # noqa: PTH118
        if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
            return
        self._clear(place, path)
        os.mkdir(place, 0o700)  # noqa: PTH102

    def _clear(self, place: str, path: str) -> None:
        """Of two entries with one name the last wins."""
        if not os.path.lexists(place):
            return
        if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
            shutil.rmtree(place)
            self._folders = {k: v for k, v in self._folders.items() if not f"{k}/".startswith(f"{path}/")}
        else:
            os.unlink(place)  # noqa: PTH108
        self._parents = {"": self._root}

    def _parent(self, path: str) -> str:
        """The folder ``path``, made where missing; links lead where they would inside."""
        known = self._parents.get(path)
        if known is None:
            inner = resolved(self._root, path)
            known = self._parents[path] = os.path.join(self._root, inner)  # noqa: PTH118
            here = self._root
            for part in inner.split("/") if inner else ():
                here = os.path.join(here, part)  # noqa: PTH118
                if not os.path.lexists(here):
                    os.mkdir(here, 0o755)  # noqa: PTH102
                elif not os.path.isdir(here):  # noqa: PTH112
                    raise Trouble("layer", said=f"{path!r} is not a folder")
        return known

    def _whiteout(self, above: str, name: str) -> None:
        if name == _OPAQUE:
            self.opaque.add(above)
        elif not name.startswith(".wh..wh."):
            hidden = name[len(_WHITEOUT) :]
            if hidden in ("", ".", ".."):
                raise Trouble("layer", said="a whiteout hides no name")
            self.whiteouts.add(f"{above}/{hidden}" if above else hidden)

    def _marks(self) -> None:
        """A whiteout hides lower layers only: a folder of the layer itself hides what was in it."""
        for path in sorted(self.whiteouts):
            above, _, name = path.rpartition("/")
            place = os.path.join(self._parent(above), name)  # noqa: PTH118
            if not os.path.lexists(place):
                try:
                    os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(0, 0))
                except OSError:
                    self.plain = False
            elif os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
                self.opaque.add(path)
        for path in self.opaque:
            try:
                os.setxattr(self._parent(path), OPAQUE_ATTRIBUTE, b"y")
            except OSError:
                self.plain = False


def _clean(name: str) -> str:
    """A member's path below the root. Raises :class:`Trouble` for one that leads outside."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise Trouble("layer", said=f"{name!r} leads outside")
    return "/".join(parts)


def resolved(root: str, path: str) -> str:
    """``path`` below ``root`` without links, as it would be found inside; parts that do not exist are kept."""
    todo = path.split("/")[::-1]
    done: list[str] = []
    hops = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        place = os.path.join(root, *done, part)  # noqa: PTH118
        if not os.path.islink(place):  # noqa: PTH114
            done.append(part)
            continue
        hops += 1
        if hops > _HOPS:
            raise Trouble("layer", said=f"{path!r} is a loop of links")
        target = os.readlink(place)  # noqa: PTH115
        if target.startswith("/"):
            done = []
        todo.extend(target.split("/")[::-1])
    return "/".join(done)


def _sync(folder: Path) -> None:
    fd = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        ctypes.CDLL(None).syncfs(fd)
    finally:
        os.close(fd)
