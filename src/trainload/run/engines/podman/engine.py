"""Podman behind the protocol: words from ``render.py``, answers through ``inspected.py``, the rest is calling."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from trainload.errors import RunError, Text
from trainload.image.model import Image
from trainload.layers.tarread import Readable
from trainload.run.engines import inspected, processes, watcher
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
from trainload.run.engines.podman.containers import JOURNAL, Containers
from trainload.run.engines.podman.deliver import Delivery
from trainload.run.engines.podman.passing import complete, fed
from trainload.run.engines.podman.program import Control, PodmanError, Program, complaint
from trainload.run.engines.table import Site
from trainload.run.model import Outcome, RunSpec
from trainload.run.words import signal_number, stopped_by_force
from trainload.runner.handed import handed, has_shell

_LONGEST_ROOT = 50
"""Bytes of a runroot: below it lie sockets, whose paths have at most 107 (containers/storage says so, too)."""
_CONTROLLERS = {
    Ability.MEMORY: ("memory", "memory"),
    Ability.CPUS: ("cpu", "cpus"),
    Ability.PIDS: ("pids", "processes"),
}


def make(site: Site) -> Podman:
    """See ``table.py``.

    Where no journal runs, events go to a file: ``podman logs -f`` learns of a run's end from them. A service
    elsewhere knows better, and its client has no such option.
    """
    elsewhere = any(name in site.environ for name in ("CONTAINER_HOST", "CONTAINER_CONNECTION"))
    options = () if elsewhere or JOURNAL.exists() else ("--events-backend=file",)
    program = Program(site.environ, options)
    return Podman(site, program, Containers(site, program))


@dataclass(frozen=True, slots=True)
class Podman:
    """See :class:`trainload.run.engines.interface.Engine`."""

    site: Site
    program: Program
    containers: Containers
    name: str = "podman"

    def unavailable(self) -> Text | None:
        if self.program.missing():
            return Text("Podman is not installed")
        try:
            place = str(self.containers.info()["store"]["runRoot"])
        except PodmanError as error:
            return error.text
        if len(os.fsencode(place)) > _LONGEST_ROOT:
            return Text(
                "Podman's runroot {folder} has a path of more than {most} bytes: set a shorter one in storage.conf",
                folder=place, most=_LONGEST_ROOT,
            )  # fmt: skip
        return None

    def lacks(self, needed: frozenset[Ability]) -> Mapping[Ability, Lack]:
        found: dict[Ability, Lack] = {}
        if Ability.DETACH not in needed and not self.containers.has_timers():  # detached runs have a watcher
            why = Lack(Text("Podman checks health through systemd, which does not run here"))
            found |= {Ability.HEALTH: why, Ability.RESTART_UNHEALTHY: why}
        where = self.site.environ.get("CONTAINER_HOST", "")
        if where.startswith(("ssh://", "tcp://")):
            found[Ability.FOLDERS] = Lack(
                Text("Podman runs on another machine ({address}), which has no folders of this one", address=where),
                refused=True,
            )
        if needed & _CONTROLLERS.keys():
            offered = self.containers.info()["host"].get("cgroupControllers") or ()
            for ability, (controller, what) in _CONTROLLERS.items():
                if controller not in offered:
                    text = "the limits on {what} are not in force: Podman has no control groups for them here"
                    found[ability] = Lack(Text(text, what=what))
        return found

    def deliver(self, image: Image, name: str) -> None:
        remote = bool(self.containers.info()["host"].get("serviceIsRemote"))
        Delivery(self.program, self.site.store, self.site.reporter, image, name).run(remote=remote)

    def delivered(self) -> tuple[Delivered, ...]:
        listed = self.program.ask("images", "--format=json") or ()
        found = ((one, inspected.ours(one.get("Names"))) for one in listed)
        return tuple(Delivered(one["Id"], names, one["Size"]) for one, names in found if names)

    def run(self, spec: RunSpec) -> Outcome:
        began = time.monotonic()
        counted = spec.interactive and fed()
        container = self.containers.create(spec, detached=False, counted=counted)
        kept = False
        try:
            control = Control(
                send=lambda number: self.program.call("kill", f"--signal={number}", container),
                stop_signal=signal_number(spec.stop_signal) or 15,
                grace=spec.grace,
                stdin=spec.interactive,
                counted=counted,
            )
            keys = "--detach-keys="  # ctrl-p is a shell's key for the previous line
            talked = self.program.talk(["start", "--attach", "--interactive", keys, container], control)
            found = self.program.ask("container", "inspect", container)[0]
            state = self.containers.state(found)
            if state.started is not None:
                talked.was_the_programs()
                if counted:
                    with self.program.output("logs", container) as logs:
                        complete(logs, talked.passed)
            kept = spec.keep and state.started is not None
        finally:
            if not kept:
                self.containers.forget(container, spec.id)
        if state.started is None or state.reason is None:
            raise inspected.start_error(talked.complaint.strip(), spec.command[0])
        reason = stopped_by_force(spec.grace) if talked.killed else state.reason
        return Outcome(found["State"]["ExitCode"], reason, time.monotonic() - began)

    def start(self, spec: RunSpec) -> None:
        container = self.containers.create(spec, detached=True)
        try:
            self.program.call("start", container)
            if spec.health is not None and not self.containers.has_timers():
                watcher.begin(watcher.duty(self.site.store.home, self.name, self.site.environ, spec))
        except PodmanError as error:
            self.containers.forget(container, spec.id)
            raise inspected.start_error(error.message, spec.command[0]) from error
        except BaseException:
            self.containers.forget(container, spec.id)
            raise

    def states(self) -> tuple[State, ...]:
        ids = self.program.call("ps", "--all", "--quiet", f"--filter=label={inspected.RUN}").split()
        return tuple(self.containers.state(one) for one in self.containers.inspect(ids))

    def state(self, run: str) -> State | None:
        found = self.containers.find(run)
        return None if found is None else self.containers.state(found)

    def wait(self, run: str) -> State:
        container = self.containers.existing(run)
        while True:
            self.program.call("wait", container["Id"])
            found = self.containers.inspect([container["Id"]])
            if not found:
                return replace(self.containers.state(container), exit_code=None)
            if not self.containers.state(found[0]).lives:
                return self.containers.state(found[0])
            watcher.settled(self.site.store.home, run)

    def logs(self, run: str, query: LogQuery) -> Iterator[LogLine]:
        container = self.containers.existing(run)
        words = ["logs", "--timestamps", *(["--follow"] if query.follow else [])]
        words += [f"--tail={query.tail}"] if query.tail is not None else []
        words += [f"--since={query.since.isoformat()}"] if query.since else []
        words += [f"--until={query.until.isoformat()}"] if query.until else []
        return chosen(
            inspected.log_lines(self.program.messages(*words, container["Id"])), replace(query, tail=None)
        )

    def execute(self, run: str, execution: Execution) -> int:
        container = self.containers.running(run)
        tty = execution.tty and os.isatty(0)
        words = [
            *("exec", "--detach-keys="), *(["--interactive"] if execution.interactive else []),
            *(["--tty"] if tty else []),
            *([f"--user={execution.user}"] if execution.user else []),
            *([f"--workdir={execution.workdir}"] if execution.workdir else []),
            *(f"--env={name}={value}" for name, value in execution.env.items()),
            container["Id"], *execution.command,
        ]  # fmt: skip
        handing = execution.interactive and not tty and fed() and self._hands_through(container)
        words = handed(words, execution.command) if handing else words
        control = Control(send=lambda number: None, stdin=execution.interactive, handed=handing)
        talked = self.program.talk(words, control)
        if talked.complaint and talked.exit_code in (125, 126, 127):
            raise inspected.start_error(complaint(talked.complaint.encode()), execution.command[0])
        talked.was_the_programs()
        return talked.exit_code

    def _hands_through(self, container: inspected.Document) -> bool:
        """Whether a descriptor of ours can reach a program in it: see ``handed.py``."""
        here = not self.containers.info()["host"].get("serviceIsRemote")
        return here and has_shell(int(container["State"].get("Pid") or 0))

    def attach(self, run: str) -> State | None:
        container = self.containers.running(run)
        # without a terminal a signal ends this podman only: the user leaves
        words = ["attach", "--detach-keys=ctrl-p,ctrl-q", "--sig-proxy=false"]
        talked = self.program.talk([*words, container["Id"]], Control(send=None))
        found = self.containers.inspect([container["Id"]])
        if not found:
            return replace(self.containers.state(container), phase=Phase.ENDED, exit_code=None)
        state = self.containers.state(found[0])
        if talked.complaint and not talked.exit_code == 0 and state.lives:
            raise RunError(Text("Podman says: {message}", message=complaint(talked.complaint.encode())))
        talked.was_the_programs()
        return None if state.lives else state

    def stop(self, run: str, grace: float | None) -> None:
        with watcher.ending(self.site.store.home, run):
            self.halt(run, grace)

    def halt(self, run: str, grace: float | None) -> None:
        """As :meth:`stop`, for the watcher."""
        words = [] if grace is None else [f"--time={round(grace)}"]
        self.program.call("stop", *words, self.containers.existing(run)["Id"])

    def again(self, run: str, grace: float) -> None:
        """See :class:`trainload.run.engines.watcher.Watched`."""
        self.program.call("restart", f"--time={round(grace)}", self.containers.existing(run)["Id"])

    def check(self, run: str, seconds: float) -> None:
        """Podman's own timer would do the same; exit code 1 means unhealthy, and is in its state."""
        self.program.call("healthcheck", "run", self.containers.existing(run)["Id"], timeout=seconds, codes=(0, 1))

    def kill(self, run: str, signal: int) -> None:
        self.program.call("kill", f"--signal={signal}", self.containers.running(run)["Id"])

    def remove(self, run: str) -> None:
        container = self.containers.existing(run)
        if self.containers.state(container).lives:
            raise RunError(Text("{id} is running", id=run), hints=(Text("stop it first, or use rm -f"),))
        self.program.call("rm", "--volumes", container["Id"])
        self.containers.place(run).remove()
        watcher.watch(self.site.store.home, run).remove()

    def usage(self, run: str) -> Usage:
        container = self.containers.running(run)
        try:
            return processes.usage(container["State"]["Pid"], container["HostConfig"].get("Memory") or None)
        except OSError as error:
            raise RunError(Text("{id} is not running", id=run)) from error

    def copy_out(self, run: str, path: str) -> AbstractContextManager[Readable]:
        return self._copied(run, path)

    @contextmanager
    def _copied(self, run: str, path: str) -> Iterator[Readable]:
        container = self.containers.existing(run)
        with self.program.output("cp", f"{container['Id']}:{path}", "-") as child:
            assert child.stdout is not None
            assert child.stderr is not None
            if not child.stdout.peek(1):  # type: ignore[attr-defined]  # a buffered reader
                reason = complaint(child.stderr.read())
                raise RunError(Text("{path} cannot be copied: {reason}", path=path, reason=reason))
            yield child.stdout
