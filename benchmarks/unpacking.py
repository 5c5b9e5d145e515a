"""The first run of the torch image against ``docker pull`` of the same image from a registry on this machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.measure import Figure, timed, touch_memory
from benchmarks.peers import docker, missing, registry, run
from benchmarks.project import TRAINLOAD, Bench

PROGRAMS = ("dockerd", "docker", "docker-registry", "skopeo")
_TIMES = 3


def figures(bench: Bench, until: Deadline) -> Iterator[Figure]:
    """``bench`` is built already; needs root and Docker for the comparison."""
    name = bench.folder.name
    home = Path(bench.environ["TRAINLOAD_HOME"])
    ours = min(until.times(_TIMES, lambda: _first_run(bench, home)))
    yield Figure(f"{name}: unpack and start of an image never run", ours, "s")
    reason = missing(*PROGRAMS)
    if reason:
        yield Figure(f"{name}: docker pull", float("nan"), "s", note=reason)
        return
    scratch = home.parent
    with registry(scratch) as port:
        address = f"127.0.0.1:{port}/{name}:bench"
        run("skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{home}:{name}", f"docker://{address}")
        theirs = min(_pull(scratch, attempt, address) for attempt in until.rounds(_TIMES))
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
    with docker(scratch / f"docker-{attempt}") as host:
        touch_memory()
        return timed(lambda: run("docker", "-H", host, "pull", "-q", address))
