"""An engine in memory: knows a few words of ``sh`` and keeps the contract of every engine."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

from trainload.digest import Digest
from trainload.errors import ImageError, RunError, Text
from trainload.image.model import Image
from trainload.layers.tarread import Readable
from trainload.run.engines.interface import (
    Ability,
    Delivered,
    Execution,
    Health,
    Lack,
    LogLine,
    LogQuery,
    Phase,
    State,
    Usage,
)
from trainload.run.engines.logs import Splitter, chosen, collapsed
from trainload.run.engines.restarts import Attempts, again
from trainload.run.model import Outcome, RunSpec
from trainload.run.words import ending
from trainload.system.host import now

_NOTHING_RUNS = Lack(Text("limits are not in force: nothing really runs"))


@dataclass(slots=True)
class _Container:
    spec: RunSpec
    state: State
    said: list[LogLine] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class MemoryEngine:
    """Runs ``true``, ``false``, ``sleep`` and ``sh -c`` with ``echo``, ``printf``, ``exit`` and ``sleep`` in it.

    ``ran`` has every spec that was started. A ``sleep`` of a minute or more lasts until somebody ends it.
    """

    images: dict[Digest, str] = field(default_factory=dict)
    ran: list[RunSpec] = field(default_factory=list)
    containers: dict[str, _Container] = field(default_factory=dict)
    volumes: dict[str, dict[str, str]] = field(default_factory=dict)
    name: str = "memory"

    def unavailable(self) -> Text | None:
        return None

    def lacks(self, needed: frozenset[Ability]) -> Mapping[Ability, Lack]:
        return dict.fromkeys((Ability.MEMORY, Ability.CPUS, Ability.PIDS), _NOTHING_RUNS)

    def deliver(self, image: Image, name: str) -> None:
        self.images[image.digest] = name

    def delivered(self) -> tuple[Delivered, ...]:
        return tuple(Delivered(str(digest), (name,), 0) for digest, name in self.images.items())

    def run(self, spec: RunSpec) -> Outcome:
        code, container = self._begin(spec)
        os.write(1, b"".join(line.text + b"\n" for line in container.said if not line.stderr))
        del self.containers[spec.id]
        return Outcome(code or 0, ending(code or 0), 0.0)

    def start(self, spec: RunSpec) -> None:
        code, container = self._begin(spec)
        attempts: Attempts | None = Attempts()
        while code is not None:
            assert attempts is not None
            container.state = replace(
                container.state, phase=Phase.ENDED, ended=now(), exit_code=code, reason=ending(code),
                restarts=attempts.restarts, health=None,
            )  # fmt: skip
            attempts = again(spec.restart, attempts, code, 0.0, stopped=False)
            if attempts is None:
                break
            code, container = self._begin(spec)
        if spec.remove and code is not None:
            del self.containers[spec.id]

    def states(self) -> tuple[State, ...]:
        return tuple(container.state for container in self.containers.values())

    def state(self, run: str) -> State | None:
        return self.containers[run].state if run in self.containers else None

    def wait(self, run: str) -> State:
        container = self._there(run)
        while container.state.lives:
            time.sleep(0.01)
        return container.state

    def logs(self, run: str, query: LogQuery) -> Iterator[LogLine]:
        return chosen(iter(self._there(run).said), query)

    def execute(self, run: str, execution: Execution) -> int:
        container = self._running(run)
        code, said = _Shell(container.files, {**container.spec.env, **execution.env}).run(execution.command)
        os.write(1, said)
        return code or 0

    def attach(self, run: str) -> State | None:
        return self._running(run).state

    def stop(self, run: str, grace: float | None) -> None:
        self._end(self._there(run), 143)

    def kill(self, run: str, signal: int) -> None:
        self._end(self._running(run), 128 + signal)

    def remove(self, run: str) -> None:
        if self._there(run).state.lives:
            raise RunError(Text("{id} is running", id=run), hints=(Text("stop it first, or use rm -f"),))
        del self.containers[run]

    def usage(self, run: str) -> Usage:
        self._running(run)
        return Usage(0.01, 4096, None, 1)

    def copy_out(self, run: str, path: str) -> AbstractContextManager[Readable]:
        return self._copied(run, path)

    @contextmanager
    def _copied(self, run: str, path: str) -> Iterator[Readable]:
        files = self._there(run).files
        if path not in files:
            raise RunError(Text("{path} cannot be copied: {reason}", path=path, reason="No such file or directory"))
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            info = tarfile.TarInfo(path.rpartition("/")[2])
            info.size = len(files[path])
            archive.addfile(info, io.BytesIO(files[path].encode()))
        data.seek(0)
        yield data

    def _begin(self, spec: RunSpec) -> tuple[int | None, _Container]:
        if spec.image not in self.images:
            raise ImageError(Text("there is no image {digest}", digest=spec.image))
        self.ran.append(spec)
        old = self.containers.get(spec.id)
        health = Health.HEALTHY if spec.health else None
        state = State(spec.id, Phase.RUNNING, now(), health=health)
        container = _Container(spec, state, old.said if old else [], old.files if old else {})
        for mount in spec.mounts:
            if mount.volume:
                container.files = self.volumes.setdefault(mount.source, {})
        code, said = _Shell(container.files, spec.env).run(spec.command)
        container.said += collapsed(LogLine(now(), text, frame=frame) for text, frame in Splitter().feed(said))
        self.containers[spec.id] = container
        return code, container

    def _end(self, container: _Container, code: int) -> None:
        if container.state.lives:
            container.state = replace(
                container.state, phase=Phase.ENDED, ended=now(), exit_code=code, reason=ending(code), health=None
            )

    def _there(self, run: str) -> _Container:
        if run not in self.containers:
            raise RunError(Text("the run {id} is not there any more", id=run))
        return self.containers[run]

    def _running(self, run: str) -> _Container:
        container = self._there(run)
        if not container.state.lives:
            raise RunError(Text("{id} is not running", id=run))
        return container


@dataclass(slots=True)
class _Shell:
    files: dict[str, str]
    env: Mapping[str, str]

    def run(self, command: tuple[str, ...]) -> tuple[int | None, bytes]:
        """Exit code (None: it goes on) and what it said."""
        if command[:2] != ("sh", "-c"):
            return self._word(list(command))
        said = b""
        for statement in command[2].split("; "):
            code, more = self._word(statement.split(" "))
            said += more
            if code or statement.startswith("exit") or code is None:
                return code, said
        return 0, said

    def _word(self, words: list[str]) -> tuple[int | None, bytes]:
        target = words[words.index(">") + 1] if ">" in words else None
        words = words[: words.index(">")] if target else words
        arguments = [self.env.get(word[1:], "") if word.startswith("$") else word for word in words[1:]]
        match words[0]:
            case "true" | "false":
                return int(words[0] == "false"), b""
            case "exit":
                return int(arguments[0]), b""
            case "sleep":
                return (None if float(arguments[0]) >= 60 else 0), b""
            case "cat" if arguments[0] in self.files:
                return 0, self.files[arguments[0]].encode()
            case "echo" if target:
                self.files[target] = " ".join(arguments) + "\n"
                return 0, b""
            case "echo":
                return 0, " ".join(arguments).encode() + b"\n"
            case "printf":
                return 0, " ".join(arguments).strip("'").encode().decode("unicode_escape").encode()
            case "cat":
                return 1, b""
        error = RunError(Text("the image has no program {command}", command=words[0]))
        error.exit_code = 127
        raise error
