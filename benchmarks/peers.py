"""Peers that the bench starts for itself, each with folders of its own, and ends again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import LONGEST

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing(*programs: str) -> str:
    """Why a comparison cannot be made here; empty when it can."""
    absent = [program for program in programs if shutil.which(program, path=PATH) is None]
    if absent:
        return f"not measured: {', '.join(absent)} missing"
    return "" if os.geteuid() == 0 else "not measured: no root"


def run(*argv: str) -> None:
    """Raises CalledProcessError when it fails, and TimeoutExpired when it hangs."""
    environ = {**os.environ, "PATH": PATH}
    subprocess.run(argv, check=True, capture_output=True, env=environ, timeout=LONGEST, stdin=subprocess.DEVNULL)


def unmount(folder: Path) -> None:
    """What engines left mounted below ``folder``: it could not be removed else."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for place in reversed([one for one in mounted if one.startswith(f"{folder}/")]):
        subprocess.run(["umount", "-l", place], check=False, capture_output=True, env={**os.environ, "PATH": PATH})


@contextmanager
def started(argv: list[str], log: Path) -> Iterator[None]:
    """A server that is ended at the end."""
    with log.open("wb") as out:
        child = subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, "PATH": PATH})
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(port: int) -> None:
    """Until somebody listens there."""
    wait(lambda: socket.create_connection(("127.0.0.1", port), 1).close())


@contextmanager
def registry(scratch: Path) -> Iterator[int]:
    port = free_port()
    config = scratch / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {scratch}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with started(["docker-registry", "serve", str(config)], scratch / "registry.log"):
        wait_for(port)
        yield port


@contextmanager
def docker(folder: Path) -> Iterator[str]:
    """A Docker engine of its own, with its own folders and no network of containers."""
    folder.mkdir()
    host = f"unix://{folder}/docker.sock"
    argv = ["dockerd", "-H", host, "--bridge=none", "--iptables=false", "--data-root", str(folder / "data"),
            "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]  # fmt: skip
    with started(argv, folder / "log"):
        wait(lambda: run("docker", "-H", host, "version"))
        yield host


def wait(ready: Callable[[], object]) -> None:
    """Until ``ready`` no longer fails, 30 s at most."""
    for attempt in range(150):
        try:
            ready()
        except (OSError, subprocess.CalledProcessError):
            if attempt == 149:
                raise
            time.sleep(0.2)
        else:
            return


def unmount_below(folder: Path) -> None:
    """What an engine left mounted: the folder could not be removed otherwise."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", place], check=False, capture_output=True)
