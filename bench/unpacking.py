"""The first run of the torch image against ``docker pull`` of the same image from a registry on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Figure, best, timed, touch_memory
from bench.project import TRAINLOAD, Bench

PROGRAMS = ("dockerd", "docker", "docker-registry", "skopeo")
_TIMES = 3
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def figures(bench: Bench) -> Iterator[Figure]:
    """``bench`` is built already; needs root and Docker for the comparison."""
    name = bench.folder.name
    home = Path(bench.environ["TRAINLOAD_HOME"])
    ours = best(_TIMES, lambda: _first_run(bench, home))
    yield Figure(f"{name}: unpack and start of an image never run", ours, "s")
    missing = [program for program in PROGRAMS if shutil.which(program, path=_PATH) is None]
    if missing or os.geteuid() != 0:
        yield Figure(
            f"{name}: docker pull", float("nan"), "s", note=f"not measured: {', '.join(missing) or 'no root'}"
        )
        return
    scratch = home.parent
    with _registry(scratch) as port:
        address = f"127.0.0.1:{port}/{name}:bench"
        _run("skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{home}:{name}", f"docker://{address}")
        theirs = min(_pull(scratch, attempt, address) for attempt in range(_TIMES))
    yield Figure(f"{name}: docker pull from a registry here", theirs, "s")
    yield Figure(f"{name}: times faster than that", theirs / ours, "×", 4, at_least=True)


def _first_run(bench: Bench, home: Path) -> float:
    _set_aside(home / "rootfs")
    touch_memory()
    argv = [TRAINLOAD, "-q", "run", bench.folder.name, "true"]
    return timed(lambda: subprocess.run(argv, cwd=bench.folder, env=bench.environ, check=True, capture_output=True))


def _set_aside(folder: Path) -> None:
    """Out of the way, but not removed: ext4 looks at every inode freed in the last minutes before it makes one
    (fs/ext4/ialloc.c: recently_deleted), so a removal would be paid for by whoever writes next.
    """
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}-{time.time_ns()}"))


def _pull(scratch: Path, attempt: int, address: str) -> float:
    """Seconds of a pull into an engine that is new."""
    with _docker(scratch / f"docker-{attempt}") as host:
        touch_memory()
        return timed(lambda: _run("docker", "-H", host, "pull", "-q", address))


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "PATH": _PATH})


@contextmanager
def _started(argv: list[str], log: Path) -> Iterator[None]:
    """A server that is ended at the end."""
    with log.open("wb") as out:
        child = subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, "PATH": _PATH})
    try:
        yield
    finally:
        child.terminate()
        child.wait(30)


@contextmanager
def _registry(scratch: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = scratch / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {scratch}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with _started(["docker-registry", "serve", str(config)], scratch / "registry.log"):
        _wait(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield port


@contextmanager
def _docker(folder: Path) -> Iterator[str]:
    """A Docker engine of its own, with its own folders and no network of containers."""
    folder.mkdir()
    host = f"unix://{folder}/docker.sock"
    argv = ["dockerd", "-H", host, "--bridge=none", "--iptables=false", "--data-root", str(folder / "data"),
            "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]  # fmt: skip
    with _started(argv, folder / "log"):
        _wait(lambda: _run("docker", "-H", host, "version"))
        yield host


def _wait(ready: Callable[[], object]) -> None:
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
