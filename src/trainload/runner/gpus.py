"""What this machine has of GPUs, as bytes and numbers: the near side has the rules (``trainload.run.gpus``)."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

_FOLDERS = "/etc/cdi:/var/run/cdi"
_VARIABLE = "TRAINLOAD_CDI_FOLDERS"
_NODES = (("/dev", "nvidia*"), ("/dev", "dxg"), ("/dev", "kfd"), ("/dev/dri", "*"))
_SUFFIXES = (".json", ".yaml", ".yml")
_LARGEST = 4 << 20


def seen(environ: Mapping[str, str]) -> dict[str, object]:
    """Specifications, those that win last; nodes; the dynamic linker's cache; the driver's own words."""
    folders = [Path(folder) for folder in environ.get(_VARIABLE, _FOLDERS).split(":")]
    files = [path for folder in folders for path in sorted(folder.glob("*")) if path.suffix in _SUFFIXES]
    specs = [[str(path), _bytes(path), _is_doubtful(path)] for path in files if path.is_file()]
    found = {str(path) for folder, pattern in _NODES for path in Path(folder).glob(pattern)}
    return {
        "specs": specs,
        "nodes": nodes(found),
        "cache": _bytes(Path("/etc/ld.so.cache")),
        "ldconfig": _ldconfig(),
        "driver": base64.b64decode(_bytes(Path("/proc/driver/nvidia/version"))).decode("utf-8", "replace"),
    }


def nodes(paths: Iterable[str]) -> dict[str, list[int]]:
    """Of ``paths`` those that are devices: major, minor, permissions, group."""
    found = {}
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            device = status.st_rdev
            found[path] = [os.major(device), os.minor(device), stat.S_IMODE(status.st_mode), status.st_gid]
    return found


def _bytes(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return base64.b64encode(file.read(_LARGEST)).decode()
    except OSError:
        return ""


def _is_doubtful(path: Path) -> bool:
    """Whether somebody could write it who may not mount what he likes into containers."""
    status = path.stat()
    return bool(status.st_mode & 0o022) or status.st_uid not in (0, os.geteuid())


def _ldconfig() -> str:
    program, null = shutil.which("ldconfig") or "/sbin/ldconfig", subprocess.DEVNULL
    try:
        done = subprocess.run([program, "-p"], capture_output=True, stdin=null, check=False, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")
