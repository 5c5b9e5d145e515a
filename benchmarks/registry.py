"""Pushing and pulling the torch image: seconds and bytes, beside Docker and skopeo with one registry here."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.measure import Figure, timed, touch_memory
from benchmarks.peers import docker, missing, registry, run
from benchmarks.project import Bench

_TIMES = 3
_SMALL, _SMALL_WHEEL = "tabulate", 40
"""A small dependency that nothing here has, and about the kB of its wheel."""
_PIECE = 1 << 20


@dataclass(slots=True)
class Counted:
    """A way to a server that counts the bytes that pass."""

    port: int = 0
    sent: int = 0
    received: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def moved(self) -> int:
        return self.sent + self.received

    def again(self) -> None:
        self.sent = self.received = 0

    def relay(self, here: socket.socket, there: socket.socket, up: bool) -> None:  # noqa: FBT001
        try:
            while data := here.recv(_PIECE):
                with self._guard:
                    self.sent += len(data) if up else 0
                    self.received += 0 if up else len(data)
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)
        except OSError:
            here.close()
            there.close()


@contextmanager
def counted(port: int) -> Iterator[Counted]:
    """A port of its own in front of ``port``, on which what passes is counted."""
    way = Counted()

    def accept(server: socket.socket) -> None:
        while True:
            try:
                here, _ = server.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", port))
            for pair in ((here, there, True), (there, here, False)):
                threading.Thread(target=way.relay, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        way.port = server.getsockname()[1]
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        yield way
        server.shutdown(socket.SHUT_RDWR)


def figures(bench: Bench, until: Deadline) -> Iterator[Figure]:
    """``bench`` is built already; needs root and the peers."""
    name = bench.folder.name
    reason = missing("dockerd", "docker", "docker-registry", "skopeo")
    if reason:
        yield Figure(f"{name}: push and pull", float("nan"), "s", note=reason)
        return
    scratch = bench.folder.parent / "r"  # short: an engine's sockets lie below it
    scratch.mkdir()
    with registry(scratch) as port, counted(port) as way:
        yield from _pushes(bench, way)
        yield from _second_machine(bench, way, scratch)
        yield from _pulls(bench, port, scratch, until)


def _pushes(bench: Bench, way: Counted) -> Iterator[Figure]:
    name, address = bench.folder.name, f"127.0.0.1:{way.port}/{bench.folder.name}"
    yield Figure(f"{name}: first push", bench.run("push", f"{address}:one")[0], "s")

    def edited() -> tuple[float, int]:
        bench.edit()
        way.again()
        seconds = bench.run("build")[0] + bench.run("push", f"{address}:two")[0]
        return seconds, way.sent

    trials = [edited() for _ in range(_TIMES)]
    yield Figure(
        f"{name}: build and push after an edit of one line", min(seconds for seconds, _ in trials), "s", 0.7
    )
    code = sum(file.stat().st_size for file in bench.folder.iterdir() if file.is_file())
    sent = max(size for _, size in trials) / 1000
    yield Figure(f"{name}: what is sent then", sent, "kB", code / 1000 + 20)
    requirements = bench.folder / "requirements.txt"
    requirements.write_text(requirements.read_text() + f"{_SMALL}\n")
    bench.run("build")
    way.again()
    seconds = bench.run("push", f"{address}:three")[0]
    yield Figure(f"{name}: push after a small package more", seconds, "s")
    yield Figure(f"{name}: what is sent then", way.sent / 1000, "kB", _SMALL_WHEEL + 100)


def _second_machine(bench: Bench, way: Counted, scratch: Path) -> Iterator[Figure]:
    """An empty store beside a registry that has the layers."""
    name, address = bench.folder.name, f"127.0.0.1:{way.port}/{bench.folder.name}"
    other = replace(bench, environ={**bench.environ, "TRAINLOAD_HOME": str(scratch / "other-store")})
    way.again()
    seconds = other.run("build", "--push", f"{address}:four")[0]
    yield Figure(f"{name}: build --push with an empty store", seconds, "s", 3.0)
    yield Figure(f"{name}: what moves then", way.moved / 1000, "kB", 200)


def _pulls(bench: Bench, port: int, scratch: Path, until: Deadline) -> Iterator[Figure]:
    """Into a state that is new each time; beside it the first run of the image that is in the store."""
    name, address = bench.folder.name, f"127.0.0.1:{port}/{bench.folder.name}:one"

    def ours(attempt: int) -> float:
        home = {**bench.environ, "TRAINLOAD_HOME": str(scratch / f"pulled-{attempt}")}
        return _fresh(lambda: replace(bench, environ=home).run("-q", "pull", address)[0])

    def skopeo(attempt: int) -> float:
        target = f"oci:{scratch}/skopeo-{attempt}:image"
        words = ("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{address}", target)
        return _fresh(lambda: timed(lambda: run(*words)))

    def engine(attempt: int) -> float:
        with docker(scratch / f"docker-{attempt}") as host:
            return _fresh(lambda: timed(lambda: run("docker", "-H", host, "pull", "-q", address)))

    pulls = {"trainload": ours, "first run": lambda _: _first_run(bench), "skopeo copy": skopeo, "docker": engine}
    taken: dict[str, list[float]] = {what: [] for what in pulls}
    for attempt in until.rounds(_TIMES):
        for what, pull in pulls.items():
            taken[what].append(pull(attempt))
    times = {what: min(seconds) for what, seconds in taken.items()}
    yield Figure(f"{name}: trainload pull", times["trainload"], "s")
    for peer in ("skopeo copy", "docker"):
        yield Figure(f"{name}: {peer}", times[peer], "s")
        ratio = times[peer] / times["trainload"]
        yield Figure(f"{name}: times faster than that", ratio, "×", 1.0, at_least=True)
    yield Figure(f"{name}: unpack and start of an image never run", times["first run"], "s")
    ratio = times["docker"] / times["first run"]
    yield Figure(f"{name}: times faster than docker's pull, which unpacks too", ratio, "×", 4, at_least=True)


def _first_run(bench: Bench) -> float:
    """What was unpacked is set aside, not removed: ext4 looks at every inode freed in the last minutes before it
    makes one (fs/ext4/ialloc.c: recently_deleted), so a removal would be paid for by whoever writes next.
    """
    there = Path(bench.environ["TRAINLOAD_HOME"]) / "rootfs"
    if there.exists():
        there.rename(there.with_name(f"rootfs-{time.time_ns()}"))
    return _fresh(lambda: bench.run("-q", "run", bench.folder.name, "true")[0])


def _fresh(work: Callable[[], float]) -> float:
    touch_memory(1 << 30)
    return work()
