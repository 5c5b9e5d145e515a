"""All checks: the sandbox first, in the main thread; then everything that waits, at once, with one deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from trainload.doctor import engines, gpus, network, place, sandbox
from trainload.doctor.families import as_root
from trainload.doctor.finding import Finding, Status, judged
from trainload.doctor.machine import Machine, Reached
from trainload.doctor.network import Server
from trainload.errors import Text
from trainload.lock.model import Lock

T = TypeVar("T")
PATIENCE = 2.8
"""Seconds that everything together may take, whatever does not answer."""


@dataclass(frozen=True, slots=True)
class Project:
    """What of a project, or of this machine's settings, is looked at."""

    home: str
    servers: tuple[Server, ...] = ()
    wants_gpus: bool = False
    lock: Lock | None = None


def examine(machine: Machine, project: Project, patience: float = PATIENCE) -> tuple[Finding, ...]:
    """Every finding, in the order in which a run needs the pieces."""
    tried = machine.sandbox()
    checks: Mapping[Text, Callable[[], Iterable[Finding]]] = {
        Text("sandbox"): lambda: sandbox.sandbox(machine, tried),
        Text("Docker"): lambda: engines.docker(machine),
        Text("Podman"): lambda: engines.podman(machine),
        Text("GPU"): lambda: gpus.gpus(machine, wanted=project.wants_gpus, lock=project.lock),
        Text("disk"): lambda: place.disk(machine, project.home),
        Text("shared memory"): lambda: place.shared_memory(machine),
        Text("Python"): lambda: place.python(machine),
    }
    asked = {server: lambda url=server.url: machine.reach(url) for server in project.servers}
    jobs = [*(lambda check=check: tuple(check()) for check in checks.values()), *asked.values()]
    answers = together(jobs, patience)
    found: list[Finding] = []
    for piece, answer in zip(checks, answers[: len(checks)], strict=True):
        found += answer if isinstance(answer, tuple) else [_silent(piece, patience)]
    late = Reached(None, f"no answer within {patience:g} s")
    reached = {
        server: answer if isinstance(answer, Reached) else late
        for server, answer in zip(asked, answers[len(checks) :], strict=True)
    }
    every = judged([*found, *network.network(machine, reached)])
    return every if machine.uid else tuple(replace(one, mend=tuple(map(as_root, one.mend))) for one in every)


def _silent(piece: Text, patience: float) -> Finding:
    text = Text("it did not answer within {seconds} s", seconds=f"{patience:g}")
    return Finding(piece, Status.WARNING, text, str(piece), ("trainload doctor",))


def together(jobs: Sequence[Callable[[], T]], patience: float) -> list[T | None]:
    """What each says; None for those that take longer. Names are looked up in C code that nobody can interrupt."""
    answers: list[T | None] = [None] * len(jobs)
    done = threading.Semaphore(0)

    def work(number: int) -> None:
        try:
            answers[number] = jobs[number]()
        finally:
            done.release()

    for number in range(len(jobs)):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    deadline = threading.Event()
    timer = threading.Timer(patience, deadline.set)
    timer.daemon = True
    timer.start()
    for _ in jobs:
        while not done.acquire(timeout=0.05):
            if deadline.is_set():
                return list(answers)
    timer.cancel()
    return list(answers)
