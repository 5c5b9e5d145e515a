"""This machine with GPUs it has not got, for what one command starts: device nodes, a driver, a specification.

All of it is mounted in a namespace of that command: nobody else sees any of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainload.testing.gpus import driver_library

_SCRIPT = """
set -e
top=$1; shift
mount -t tmpfs -o mode=755 none "$top/mnt"
mkdir "$top/mnt/dev" "$top/mnt/etc" "$top/mnt/work"
for name in null zero full random urandom tty ptmx fd stdin stdout stderr; do
    cp -a "/dev/$name" "$top/mnt/dev/" 2>/dev/null || true
done
for name in pts shm mqueue; do
    [ ! -d "/dev/$name" ] || { mkdir "$top/mnt/dev/$name"; mount --rbind "/dev/$name" "$top/mnt/dev/$name"; }
done
[ ! -d "$top/dev" ] || cp -a "$top/dev/." "$top/mnt/dev/"
mount --rbind "$top/mnt/dev" /dev
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$top/mnt/etc,workdir=$top/mnt/work" /etc
cp -a "$top/etc/." /etc/
[ ! -d "$top/lib" ] || { echo "$top/lib" >/etc/ld.so.conf.d/0-gpus.conf; ldconfig -X -C /etc/ld.so.cache; }
[ ! -d "$top/driver" ] || { mount -t tmpfs none /proc/driver; cp -a "$top/driver" /proc/driver/nvidia; }
PATH=$top/bin:$PATH exec "$@"
"""
_NODES = {"nvidia0": 3, "nvidia1": 5, "nvidiactl": 3}
"""Devices that every machine has, under the names of GPUs: the minor numbers of null and zero."""


@dataclass(frozen=True, slots=True)
class GpuMachine:
    """Files of it lie in ``folder``, as :data:`_SCRIPT` puts them in place."""

    folder: Path

    @property
    def enter(self) -> tuple[str, ...]:
        """Before a command: it runs there."""
        return ("unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(self.folder))

    def specification(self, document: bytes | None) -> None:
        """``/etc/cdi/nvidia.json``; None: there is none."""
        place = self.folder / "etc/cdi/nvidia.json"
        if document is None:
            place.unlink(missing_ok=True)
        else:
            place.write_bytes(document)

    def driver(self, version: str) -> None:
        """That the kernel has loaded, and its library and program."""
        for name in ("driver", "lib", "bin"):
            (self.folder / name).mkdir(exist_ok=True)
        words = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Tue Mar  4 10:09:37 UTC 2025\n"
        (self.folder / "driver/version").write_text(words)
        data = driver_library()
        if data is None:
            pytest.skip("no library here that could stand for the driver's")
        for old in (self.folder / "lib").glob("libcuda.so.*"):
            old.unlink()
        (self.folder / "lib" / f"libcuda.so.{version}").write_bytes(data)
        (self.folder / "lib/libcuda.so.1").symlink_to(f"libcuda.so.{version}")
        smi = self.folder / "bin/nvidia-smi"
        smi.write_text(f"#!/bin/sh\necho 'GPU 0: made up (UUID: GPU-0), driver {version}'\n")
        smi.chmod(0o755)


def gpu_machine(folder: Path, nodes: Mapping[str, int] = _NODES, needs: Sequence[str] = ("unshare",)) -> GpuMachine:
    """``nodes``: name below ``/dev`` → minor number. Skips the test where that cannot be made."""
    missing = [program for program in needs if shutil.which(program) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs {missing[0] if missing else 'root'}")
    for name in ("mnt", "dev", "etc/cdi"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, minor in nodes.items():
        os.mknod(folder / "dev" / name, 0o020666, os.makedev(1, minor))
        (folder / "dev" / name).chmod(0o666)
    return GpuMachine(folder)
