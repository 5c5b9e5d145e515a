"""A machine of any kind, for the checks of ``doctor``: what works everywhere unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from trainload.doctor.machine import Answer, Daemon, Folder, Reached, Said, Tried
from trainload.errors import Text
from trainload.run.gpus.model import Facts
from trainload.run.overlay import Way

GiB = 1 << 30
_RUNS, _NO_GPU = Tried(Way.OVERLAY), Facts()
_NO_DOCKER = Daemon("unix:///var/run/docker.sock", Answer.ABSENT)
_DISK = Folder("/home/ada", 200 * GiB, 400 * GiB, speed=500 << 20)


@dataclass
class FakeMachine:
    """See :class:`trainload.doctor.machine.Machine`."""

    uid: int = 1000
    environ: Mapping[str, str] = field(default_factory=dict)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    files: Mapping[str, str] = field(
        default_factory=lambda: {"/etc/os-release": 'ID=ubuntu\nID_LIKE="debian"\n', "/proc/1/comm": "systemd\n"}
    )
    programs: Mapping[str, Said | None] = field(default_factory=lambda: {"uv": Said(0, "uv 0.13.0 (x)")})
    tried: Tried = _RUNS
    missing: tuple[Text, ...] = ()
    daemon: Daemon = _NO_DOCKER
    facts: Facts = _NO_GPU
    place: Folder = _DISK
    sizes: tuple[int, int] = (64 * GiB, 32 * GiB)
    answers: Mapping[str, Reached] = field(default_factory=dict)
    wait: Callable[[str], None] = lambda _: None
    """Called before each slow answer with what is asked: a test may let it last."""

    def text(self, path: str) -> str | None:
        return self.files.get(path)

    def program(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if name in self.programs else None

    def ask(self, *argv: str) -> Said | None:
        self.wait(argv[0])
        return self.programs.get(argv[0].rpartition("/")[2])

    def sandbox(self) -> Tried:
        return self.tried

    def limits(self) -> tuple[Text, ...]:
        return self.missing

    def docker(self) -> Daemon:
        self.wait("docker")
        return self.daemon

    def gpus(self) -> Facts:
        return self.facts

    def folder(self, path: str) -> Folder:
        return self.place

    def memory(self) -> tuple[int, int]:
        return self.sizes

    def reach(self, url: str) -> Reached:
        self.wait(url)
        return self.answers.get(url, Reached(200, "OK", 0.1, self.now))
