"""Where the store lies, memory shared between processes, Python and uv."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from trainload.doctor.finding import Finding, Status
from trainload.doctor.machine import Folder, Machine
from trainload.errors import Text
from trainload.run.words import bytes_in_words

_DISK, _SHM, _PYTHON = Text("disk"), Text("shared memory"), Text("Python")
_FULL, _NARROW = 1 << 30, 10 << 30
"""Bytes: an image with torch for the processor takes some, one with CUDA all of them."""
_SLOW = 30 << 20
"""Bytes a second: a network share, or a card."""
_SMALL_SHM = 256 << 20
_DEV_SHM = "/dev/shm"  # noqa: S108 - looked at only
_ELSEWHERE = "export TRAINLOAD_HOME=/path/on/a/larger/disk/trainload"


def disk(machine: Machine, home: str) -> Iterator[Finding]:
    """``home``: of the store."""
    found = machine.folder(home)
    free = bytes_in_words(found.free)
    if not found.writable:
        text = Text("{path} cannot be written", path=found.path)
        yield Finding(_DISK, Status.PROBLEM, text, home, (f"sudo chown -R $USER {found.path}", _ELSEWHERE))
        return
    if found.free < _FULL:
        text = Text("full: {free} are free at {path}", free=free, path=found.path)
        yield Finding(_DISK, Status.PROBLEM, text, home, ("trainload gc", _ELSEWHERE))
    elif found.free < _NARROW:
        text = Text("{free} are free at {path}: an image with CUDA takes as much", free=free, path=found.path)
        yield Finding(_DISK, Status.WARNING, text, home, ("trainload gc", _ELSEWHERE))
    else:
        yield Finding(_DISK, Status.OK, Text("{free} are free at {path}", free=free, path=found.path), home)
    yield from _abilities(found, home)


def _abilities(found: Folder, home: str) -> Iterator[Finding]:
    if not found.locks:
        text = Text(
            "the file system at {path} has no locks: two commands at once could spoil the store", path=found.path
        )
        yield Finding(_DISK, Status.PROBLEM, text, home, (_ELSEWHERE,))
    if not found.attributes:
        text = Text("the file system at {path} has no extended attributes: some images cannot be unpacked there",
                    path=found.path)  # fmt: skip
        yield Finding(_DISK, Status.WARNING, text, home, (_ELSEWHERE,))
    if found.speed is not None and found.speed < _SLOW:
        text = Text("slow: {speed} a second reach the disk", speed=bytes_in_words(found.speed))
        yield Finding(_DISK, Status.WARNING, text, home, (_ELSEWHERE,))


def shared_memory(machine: Machine) -> Iterator[Finding]:
    """A run in the sandbox has its own; what runs beside it, or in this container, has the machine's."""
    memory, shm = machine.memory()
    if shm < _SMALL_SHM:
        text = Text("this machine's own has {size} only; a run in the sandbox gets {own} of its own",
                    size=bytes_in_words(shm), own=bytes_in_words(memory // 2))  # fmt: skip
        yield Finding(_SHM, Status.WARNING, text, _DEV_SHM, (f"sudo mount -o remount,size=50% {_DEV_SHM}",))
        return
    text = Text("a run gets {own}, unless --shm-size says otherwise", own=bytes_in_words(memory // 2))
    yield Finding(_SHM, Status.OK, text, _DEV_SHM)


def python(machine: Machine) -> Iterator[Finding]:
    """Ours, and uv, which resolves."""
    from uv import find_uv_bin

    version = sys.version.split()[0]
    try:
        uv = find_uv_bin()
    except FileNotFoundError:
        uv = "uv"
    said = machine.ask(uv, "--version")
    if said is None or said.exit_code != 0:
        text = Text("{version}, and uv does not start: nothing can be locked", version=version)
        yield Finding(_PYTHON, Status.PROBLEM, text, uv, (f"{sys.executable} -m pip install --force-reinstall uv",))
        return
    text = Text("{version}, with {uv}", version=version, uv=" ".join(said.stdout.split()[:2]))
    yield Finding(_PYTHON, Status.OK, text, uv)
