"""What a run wrote: a list without links and devices, and the bytes of one file from any byte on."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainload.runner.trouble import Trouble

_BATCH = 500
_PIECE = 1 << 18
_MOST_SKIPPED = 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def listed(folder: Path, send: Callable[[dict[str, Any]], None]) -> list[list[str]]:
    """Tell every folder and file below the numbered folders; what is left out, and why, is the answer."""
    batch: list[list[object]] = []
    skipped: list[list[str]] = []
    numbers = sorted(int(name) for name in os.listdir(str(folder))) if folder.is_dir() else []
    for number in numbers:
        for entry in _below(folder / str(number), "", skipped):
            batch.append([number, *entry])
            if len(batch) == _BATCH:
                send({"entries": batch})
                batch = []
    send({"entries": batch})
    return skipped


def _below(root: Path, path: str, skipped: list[list[str]]) -> Iterator[tuple[str, str, int, int, int]]:
    """(path, kind, size, mtime in ns, mode); a folder before what is in it."""
    try:
        entries = sorted(os.scandir(str(root / path)), key=lambda entry: entry.name)
    except OSError as error:
        _skip(skipped, path, error.strerror or "?")
        return
    for entry in entries:
        inner = f"{path}/{entry.name}" if path else entry.name
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # went away
        mode = stat.S_IMODE(found.st_mode) & 0o777
        if stat.S_ISDIR(found.st_mode):
            yield inner, "folder", 0, found.st_mtime_ns, mode
            yield from _below(root, inner, skipped)
        elif stat.S_ISREG(found.st_mode):
            yield inner, "file", found.st_size, found.st_mtime_ns, mode
        else:
            _skip(skipped, inner, "link" if stat.S_ISLNK(found.st_mode) else "special")


def _skip(skipped: list[list[str]], path: str, why: str) -> None:
    if len(skipped) < _MOST_SKIPPED:
        skipped.append([path, why])


def sent(
    folder: Path, request: dict[str, Any], send: Callable[[dict[str, Any]], None], raw: Callable[[bytes], None]
) -> dict[str, object]:
    """The bytes from ``offset`` on; the answer has the hash of the whole file, and whether it changed meanwhile."""
    size, offset = int(request["size"]), int(request["offset"])
    fd = _opened(folder / str(int(request["number"])), str(request["path"]))
    if fd is None:
        return {"problem": "gone"}
    with os.fdopen(fd, "rb", buffering=0) as file:
        before = os.fstat(fd)
        if (before.st_size, before.st_mtime_ns) != (size, int(request["mtime"])):
            return {"problem": "changed"}
        hashed = hashlib.sha256()
        done = 0
        while done < size:
            end = offset if done < offset else size
            piece = file.read(min(_PIECE, end - done))
            if not piece:
                return {"problem": "changed"}
            hashed.update(piece)
            done += len(piece)
            if done > offset:
                send({"bytes": len(piece)})
                raw(piece)
        after = os.fstat(fd)
    changed = (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
    return {"problem": "changed" if changed else None, "sha256": hashed.hexdigest()}


def _opened(root: Path, path: str) -> int | None:
    """The file, whose way there holds no link; None when it is none any more."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise Trouble("version", said="another kind of path")
    try:
        here = os.open(str(root), _FOLDER)
        for part in parts[:-1]:
            try:
                there = os.open(part, _FOLDER, dir_fd=here)
            finally:
                os.close(here)
            here = there
        try:
            found = os.open(parts[-1], _FILE, dir_fd=here)
        finally:
            os.close(here)
    except PermissionError as error:
        raise Trouble("forbidden", path=path, said=error.strerror) from error
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        return None
    return found


def remove(folder: Path) -> None:
    """A run's folder, even where its program closed a folder to us. Raises :class:`Trouble`."""

    def opened(function: object, path: str, about: object) -> None:
        parent = os.path.dirname(path)  # noqa: PTH120
        try:
            os.chmod(parent, 0o700)  # noqa: PTH101
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
                os.chmod(path, 0o700)  # noqa: PTH101
                shutil.rmtree(path, onerror=opened)
            else:
                os.unlink(path)  # noqa: PTH108
        except OSError as error:
            raise Trouble("forbidden", path=path, said=error.strerror) from error

    shutil.rmtree(str(folder), onerror=opened)
