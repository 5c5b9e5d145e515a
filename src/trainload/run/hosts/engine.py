"""A host behind the protocol of engines: what runs there is asked for by whoever comes, on a new connection."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from trainload.destinations.cargo import from_store
from trainload.destinations.ship.engines import Choice
from trainload.destinations.ship.ship import Shipment, Target
from trainload.digest import Digest
from trainload.errors import HostError, RunError, Text
from trainload.events import Began, Ended, How, Level, Said
from trainload.image.model import Image
from trainload.layers.tarread import Readable
from trainload.run.engines import inspected
from trainload.run.engines.embedded.logfile import line_of
from trainload.run.engines.interface import (
    Ability,
    Delivered,
    Execution,
    Lack,
    LogLine,
    LogQuery,
    Phase,
    State,
    Usage,
)
from trainload.run.engines.logs import chosen
from trainload.run.engines.table import Site
from trainload.run.gpus.grant import grant
from trainload.run.gpus.wanted import wanted
from trainload.run.hosts import charge, words
from trainload.run.hosts.charge import EMBEDDED, Facts
from trainload.run.hosts.copied import Incoming
from trainload.run.hosts.gpus import charged, facts_of
from trainload.run.hosts.joined import Joint
from trainload.run.hosts.line import Line
from trainload.run.hosts.outputs import Brought, bring
from trainload.run.hosts.place import Host, outputs_in
from trainload.run.hosts.tool import bubblewrap
from trainload.run.hosts.weights import artifacts, unpacked
from trainload.run.model import Outcome, RunSpec
from trainload.run.words import ending, stopped_by_force

_START = 3600.0
"""Seconds for unpacking one layer there; a connection that is gone is noticed by ssh, after one minute."""
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
_COMPLAINTS = {"docker": b"OCI runtime exec failed", "podman": b"Error: "}
"""How an engine's own words begin when a program cannot be executed."""
_REFUSALS = {"docker": b"Error response from daemon: ", "podman": b"Error: "}
"""And when a container cannot be started."""
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0)
"""Seconds before each try to reach a host again."""


@dataclass(slots=True)
class OnHost:
    """See :class:`trainload.run.engines.interface.Engine`."""

    site: Site
    host: Host
    name: str = ""
    """``docker``, ``podman`` or ``embedded``; empty until an image was delivered, when it was not said."""
    note: Mapping[str, object] = field(default_factory=dict)
    """What is kept there of the run that is to start, for whoever looks later, maybe from elsewhere."""
    patience: float | None = None
    """Seconds for a login; None: as long as one may take."""
    joins: bool = False
    """What is started begins when :meth:`talk` joins it."""
    left_behind: bool = False
    """Something of a run's outputs could not be brought."""
    _image: Image | None = None
    """What was delivered."""
    _weights: tuple[tuple[str, Image], ...] = ()
    """What it has mounted, and where."""
    _holds: bool = False
    _idle: Line | None = None
    _unpacking: dict[str, float] = field(default_factory=dict)

    def unavailable(self) -> Text | None:
        return None

    def lacks(self, needed: frozenset[Ability]) -> Mapping[Ability, Lack]:
        """Known once it is known what runs there."""
        if self.name != EMBEDDED:
            why = Lack(Text("Docker on {host} only marks what is unhealthy", host=self.host.name))
            return {Ability.RESTART_UNHEALTHY: why} if self.name == "docker" else {}
        limits = Lack(
            Text("the limits are not in force: no engine on {host} has control groups", host=self.host.name)
        )
        return {
            **dict.fromkeys((Ability.MEMORY, Ability.CPUS, Ability.PIDS), limits),
            Ability.PORTS: Lack(
                Text("ports are not mapped: the program shares the network of {host}, on its own port numbers",
                     host=self.host.name)),
            Ability.NETWORKS: Lack(Text("{host} has no networks of its own", host=self.host.name), refused=True),
            Ability.RESTART: Lack(
                Text("nothing on {host} starts a run again without Docker or Podman", host=self.host.name),
                refused=True),
            Ability.HEALTH: Lack(Text("health is not checked on {host}", host=self.host.name)),
        }  # fmt: skip

    def deliver(self, image: Image, name: str) -> None:
        """Only what is missing there; afterwards it is known what runs it. Raises :class:`HostError`."""
        weights = artifacts(self.site.store, image)
        repository, tag = inspected.local_name(name)
        target = Target(self.host.address, self.host.choice, self.host.folder)
        cargo = from_store(self.site.store, image.digest)
        shipped = Shipment(cargo, f"{repository}:{tag}", target, self.site.reporter, self.site.environ).run()
        self.name = EMBEDDED if shipped.way is Choice.STORE else str(shipped.way)
        self._image, self._weights = image, weights
        store = Target(self.host.address, Choice.STORE, self.host.folder)
        for _, artifact in self._weights:
            cargo = from_store(self.site.store, artifact.digest)
            Shipment(cargo, None, store, self.site.reporter, self.site.environ).run()

    def delivered(self) -> tuple[Delivered, ...]:
        return ()

    def run(self, spec: RunSpec) -> Outcome:
        raise RunError(Text("a run on a host is started and then followed"))

    def start(self, spec: RunSpec) -> None:
        """It is the host's from then on. Raises :class:`HostError`, :class:`RunError`."""
        assert self._image is not None
        assert self._image.digest == spec.image
        with self.line() as line:
            line.command, line.patience = spec.command[0], _START
            known = line.ask("facts", engine=self.name, run=spec.id)
            weights = [unpacked(line, path, artifact, self._report) for path, artifact in self._weights]
            spec = replace(spec, mounts=(*weights, *spec.mounts))
            told = self._charge(line, spec, Facts.of(known), str(known["folder"]))
            asked = {"run": spec.id, "engine": self.name, "outputs": outputs_in(spec.mounts),
                     "weights": [mount.source for mount in weights]}  # fmt: skip
            for value in line.stream("start", charge=told, run_json=dict(self.note), **asked):
                self._report(value)
            self._report({})

    def _charge(self, line: Line, spec: RunSpec, facts: Facts, folder: str) -> dict[str, object]:
        assert self._image is not None
        if self.name != EMBEDDED:
            told = charge.by_program(self.name, spec, self._image, facts, folder)
            return {**told, "waits": self.joins}
        tool = bubblewrap()
        files: list[list[str]] = []
        if tool is not None and tool.machine == facts.machine:
            for path in tool.paths:
                digest = Digest.sha256((tool.base / path).read_bytes())
                line.send(tool.base / path, digest)
                files.append([path, str(digest)])
        if spec.tty:
            spec = replace(spec, env={"TERM": os.environ.get("TERM", "xterm"), **spec.env})
        told = {**charge.embedded(spec, self._image, facts, folder, files), "waits": self.joins}
        asked = wanted(spec.gpus)
        if asked is None:
            return told
        there = facts_of(
            line.ask("gpus"), lambda paths: line.ask("exist", paths=list(paths)),
            self._image.config.platform.architecture,
        )  # fmt: skip
        try:
            granted = grant(asked, there, spec.env)
        except RunError as error:
            text = Text("{host}: {reason}", host=self.host.name, reason=error.text)
            raise RunError(text, got=error.got, want=error.want, hints=error.hints) from error
        for note in granted.notes:
            self.site.reporter.report(Said(note, Level.WARNING))
        return charged(told, granted, there)

    def _report(self, value: Mapping[str, Any]) -> None:
        """A layer that is unpacked there; the next one, or the end, ends it."""
        for label, began in self._unpacking.items():
            self.site.reporter.report(Ended(f"there {label}", label, How.MADE, seconds=time.monotonic() - began))
        self._unpacking.clear()
        if "unpacking" in value:
            label = str(value["unpacking"])
            self._unpacking[label] = time.monotonic()
            self.site.reporter.report(Began(f"there {label}", label, int(value["size"])))

    def states(self) -> tuple[State, ...]:
        return tuple(state_of(told) for told in self.told())

    def told(self, run: str | None = None) -> Sequence[Mapping[str, Any]]:
        """What the host says of its runs, or of one of them."""
        with self.line() as line:
            found: Sequence[Mapping[str, Any]] = line.ask("states", run=run)["states"]
        return found

    def state(self, run: str) -> State | None:
        found = self.told(run)
        return state_of(found[0]) if found else None

    def wait(self, run: str) -> State:
        for pause in (*_PAUSES, None):
            try:
                with self.line() as line:
                    return state_of(line.ask("wait", run=run)["states"][0])
            except HostError as error:
                self._again(error, pause)
        raise AssertionError

    def logs(self, run: str, query: LogQuery) -> Iterator[LogLine]:
        """A connection that is lost while lines are followed is made again, and no line comes twice."""
        last, count = query.since, 0
        tries = iter((*_PAUSES, None))
        while True:
            skipped, before = count, (last, count)
            asked = replace(query, since=last, tail=query.tail if not count else None)
            try:
                for line in self._logs(run, asked):
                    if skipped and line.at == before[0]:
                        skipped -= 1
                        continue
                    last, count = line.at, count + 1 if line.at == last else 1
                    yield line
            except HostError as error:
                tries = iter((*_PAUSES, None)) if (last, count) != before else tries
                self._again(error, next(tries) if query.follow else None)
            else:
                return

    def _logs(self, run: str, query: LogQuery) -> Iterator[LogLine]:
        asked = {
            "follow": query.follow, "tail": query.tail if query.tail is not None else None,
            "since": query.since.isoformat() if query.since else None,
            "until": query.until.isoformat() if query.until else None,
        }  # fmt: skip
        with self.line() as line:
            told = line.stream("logs", run=run, **asked)
            if self.name == EMBEDDED:
                lines = (line_of(one) for value in told for one in value.get("lines") or ())
                yield from chosen(lines, query)
                return
            messages = (
                (bool(value["stderr"]), text.encode("utf-8", "surrogateescape"))
                for value in told
                for text in value.get("messages") or ()
            )
            yield from chosen(inspected.log_lines(messages), replace(query, tail=None))

    def _again(self, error: HostError, pause: float | None) -> None:
        """Wait before the next try; raises what cannot be helped."""
        if pause is None or not error.retryable:
            raise error
        text = Text("the connection to {host} is lost; the run goes on there", host=self.host.name)
        self.site.reporter.report(Said(text, Level.WARNING))
        time.sleep(pause)

    def attach(self, run: str) -> State | None:
        tty = any(has_terminal(told) for told in self.told(run))
        return self._talk(run, words.attach(self.name), tty=tty, reads=True)

    def talk(self, run: str, *, tty: bool, reads: bool) -> State | None:
        """Begin what waits for it, with our streams; as :meth:`attach` otherwise."""
        return self._talk(run, words.begin(self.name, reads=reads), tty=tty, reads=reads)

    def _talk(self, run: str, said: Sequence[str], *, tty: bool, reads: bool) -> State | None:
        with self.new_line() as line:  # one that the user leaves has answers that nobody took
            joint = Joint(line, run, tty, reads, leaves=tty, held_back=_REFUSALS.get(self.name, b""))
            joint.go({"own": True} if self.name == EMBEDDED else {"words": list(said), "env": ""})
        if joint.left:
            return None
        if joint.kept:
            raise inspected.start_error(joint.kept.decode("utf-8", "replace").strip(), line.command)
        return self.wait(run)

    def execute(self, run: str, execution: Execution) -> int:
        """On a connection of its own, which ends with it. Raises :class:`HostError`, :class:`RunError`."""
        tty = execution.tty and os.isatty(0)
        with self.line() as line:
            line.command = execution.command[0]
            joint = Joint(line, run, tty, execution.interactive, held_back=_COMPLAINTS.get(self.name, b""))
            code = joint.go(self._execution(execution, tty=tty))
        if joint.kept and code in (_NOT_EXECUTABLE, _NOT_FOUND):
            reason = joint.kept.decode("utf-8", "replace").strip()
            raise inspected.start_error(reason, execution.command[0])
        os.write(2, joint.kept)
        return code

    def _execution(self, execution: Execution, *, tty: bool) -> dict[str, object]:
        if self.name == EMBEDDED:
            return {
                "command": list(execution.command), "user": execution.user, "workdir": execution.workdir,
                "env": dict(execution.env),
            }  # fmt: skip
        env = "".join(f"{name}={value}\n" for name, value in execution.env.items())
        said = words.execute(self.name, execution, tty=tty)
        return {"words": list(said), "env": env, "command": list(execution.command)}

    def stop(self, run: str, grace: float | None) -> None:
        with self.line() as line:
            line.ask("stop", run=run, grace=grace)
        self.wait(run)

    def kill(self, run: str, signal: int) -> None:
        with self.line() as line:
            line.ask("kill", run=run, signal=signal)

    def remove(self, run: str) -> None:
        with self.line() as line:
            line.ask("remove", run=run)

    def usage(self, run: str) -> Usage:
        with self.line() as line:
            told = line.ask("usage", run=run)
        limit = told["memory_limit"]
        return Usage(
            float(told["cpu_seconds"]), int(told["memory"]), int(limit) if limit else None, int(told["processes"])
        )

    def copy_out(self, run: str, path: str) -> AbstractContextManager[Readable]:
        return self._copied(run, path)

    @contextmanager
    def _copied(self, run: str, path: str) -> Iterator[Readable]:
        with self.line() as line:
            incoming = Incoming(line, run, path)
            yield incoming
            incoming.drain()

    def bring(self, run: str, places: Sequence[Path]) -> Brought:
        """What the run wrote so far, into folders of this machine; a cut is gone on from."""
        for pause in (*_PAUSES, None):
            try:
                with self.line() as line:
                    return bring(line, run, places, self.site.reporter)
            except HostError as error:
                self._again(error, pause)
        raise AssertionError

    @contextmanager
    def line(self) -> Iterator[Line]:
        """A connection for one question: the one that is held, if it is idle, or a new one."""
        line, self._idle = self._idle or self.new_line().__enter__(), None
        try:
            yield line
        except BaseException as error:
            line.__exit__(type(error), error, error.__traceback__)
            raise
        if self._holds and self._idle is None:
            self._idle = line
        else:
            line.__exit__(None, None, None)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, what is asked one after the other needs one login only; for one thread."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
            line, self._idle = self._idle, None
            if line is not None:
                line.__exit__(None, None, None)

    def new_line(self) -> Line:
        """A connection of its own."""
        return Line(self.host.address, self.host.folder, self.site.environ, self.patience)


def has_terminal(told: Mapping[str, Any]) -> bool:
    """Whether the run that its host tells of has one."""
    if "inspect" in told:
        return bool(told["inspect"] and told["inspect"]["Config"]["Tty"])
    return bool((told["state"] or {}).get("terminal"))


def state_of(told: Mapping[str, Any]) -> State:
    """A run as its host tells of it."""
    run = str(told["id"])
    if "inspect" in told:
        if told["inspect"] is None:
            return State(run, Phase.LOST, reason=LOST)
        return replace(inspected.state(told["inspect"]), id=run)
    note, lives = told["state"] or {}, bool(told["lives"])
    started, ended = (datetime.fromisoformat(note[key]) if note.get(key) else None for key in ("started", "ended"))
    if note.get("phase") == "ended":
        code, forced = int(note["exit_code"]), note.get("forced")
        reason = ending(code) if forced is None else stopped_by_force(float(forced))
        return State(run, Phase.ENDED, started, ended, code, reason)
    if lives:
        return State(run, Phase.RUNNING if started else Phase.STARTING, started, open=bool(note.get("open")))
    return State(run, Phase.LOST, started, reason=LOST)


LOST = Text("lost: it was killed on its host, or the host was started again")
