"""Unpacked layers flattened into one folder with hard links, for machines that cannot join many (``overlay.Way``).

Also a cache: one folder per chain of layers, never changed by a run, made again when it was cut off.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.run.unpack import UnpackedLayer, locked, ready, remove, write_done


def flatten(layers: Sequence[UnpackedLayer], rootfs: Path) -> Path:
    """The flattened root file system of ``layers`` (base first). Raises :class:`RunError` when the disk refuses."""
    names = "\n".join(layer.folder.parent.name for layer in layers)
    below = rootfs / "flat"
    below.mkdir(parents=True, exist_ok=True, mode=0o700)
    final = below / f"{Digest.sha256(names.encode()).hex}-{os.geteuid()}"
    with locked(final.with_suffix(".lock")):
        found = ready(final)
        if found is None:
            temporary = final.with_suffix(".tmp")
            for stale in (temporary, final):
                remove(stale)
            try:
                (temporary / "fs").mkdir(parents=True, mode=0o755)
                for layer in layers:
                    _lay(layer.folder, temporary / "fs", frozenset(layer.implicit), "")
                write_done(temporary, (), ())
                temporary.rename(final)
            except OSError as error:
                remove(temporary)
                raise RunError(
                    Text("the image could not be flattened: {reason}", reason=error.strerror or error)
                ) from error
    return final / "fs"


def _lay(source: Path, target: Path, implicit: frozenset[str], path: str) -> None:
    """Put one folder of a layer over what is there, as overlayfs would show it."""
    for entry in os.scandir(source):
        there = target / entry.name
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            _clear(there)
            if not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0):
                os.link(entry.path, there, follow_symlinks=False)
            continue
        inner = f"{path}/{entry.name}" if path else entry.name
        if _opaque(entry.path) or not _is_folder(there):
            _clear(there)
            there.mkdir()
            known = False
        else:
            known = True
        _lay(Path(entry.path), there, implicit, inner)
        if not (known and inner in implicit):
            _look_like(there, status)


def _look_like(folder: Path, status: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(folder, status.st_uid, status.st_gid)
    folder.chmod(stat.S_IMODE(status.st_mode))
    os.utime(folder, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _opaque(path: str) -> bool:
    try:
        return os.getxattr(path, "user.overlay.opaque") == b"y"
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _clear(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
