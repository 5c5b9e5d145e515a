"""Docker behind the protocol: bodies from ``render.py``, answers through ``answers.py``, the rest is sending."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainload.errors import RunError, Text, TrainloadError
from trainload.image.model import Image
from trainload.layers.tarread import Readable
from trainload.run.engines import inspected, watcher
from trainload.run.engines.docker import answers, render
from trainload.run.engines.docker.api import Api, ApiError
from trainload.run.engines.docker.deliver import Delivery, find
from trainload.run.engines.docker.host import address
from trainload.run.engines.docker.memory import ran_out
from trainload.run.engines.interface import (
    Ability,
    Delivered,
    Execution,
    Lack,
    LogLine,
    LogQuery,
    State,
    Usage,
    needs,
)
from trainload.run.engines.logs import chosen
from trainload.run.engines.session import Control, Session
from trainload.run.engines.table import Site
from trainload.run.model import Outcome, RunSpec
from trainload.run.words import stopped_by_force

_LIMITS = {
    Ability.MEMORY: ("MemoryLimit", "memory"),
    Ability.CPUS: ("CpuCfsQuota", "cpus"),
    Ability.PIDS: ("PidsLimit", "processes"),
}
_EXEC_FAILED = b"OCI runtime exec failed: "


def make(site: Site) -> Docker:
    """See ``table.py``. Raises :class:`RunError` for a docker context that is not there."""
    return Docker(site, Api(address(site.environ, _read, os.path.exists)))


@dataclass(frozen=True, slots=True)
class Docker:
    """See :class:`trainload.run.engines.interface.Engine`."""

    site: Site
    api: Api
    name: str = "docker"

    def unavailable(self) -> Text | None:
        return self.api.unavailable()

    def lacks(self, needed: frozenset[Ability]) -> Mapping[Ability, Lack]:
        found: dict[Ability, Lack] = {}
        if not self.api.address.here:
            found[Ability.RESTART_UNHEALTHY] = Lack(
                Text(
                    "Docker only marks what is unhealthy, and on another machine ({address}) nobody of ours"
                    " starts it again",
                    address=self.api.address.url,
                )
            )
            found[Ability.FOLDERS] = Lack(
                Text("Docker runs on another machine ({address}), which has no folders of this one",
                     address=self.api.address.url), refused=True,
            )  # fmt: skip
        if needed & _LIMITS.keys():
            info = self.api.get("/info")
            for ability, (key, what) in _LIMITS.items():
                if not info.get(key):
                    text = "the limits on {what} are not in force: this Docker has no control groups for them"
                    found[ability] = Lack(Text(text, what=what))
        return found

    def deliver(self, image: Image, name: str) -> None:
        Delivery(self.api, self.site.store, self.site.reporter, image, name).run()

    def delivered(self) -> tuple[Delivered, ...]:
        found = ((one, inspected.ours(one["RepoTags"])) for one in self.api.get("/images/json"))
        return tuple(Delivered(one["Id"], names, one["Size"]) for one, names in found if names)

    def run(self, spec: RunSpec) -> Outcome:
        began = time.monotonic()
        container = self._create(spec, detached=False)
        kept = False
        try:
            raw = self.api.raw(
                f"/containers/{container}/attach", stream=1, stdin=1, stdout=1, stderr=1, detachKeys=_NO_KEYS
            )
            try:
                self._begin(container, spec)
                session = Session(raw, self._control(container, spec), spec.tty, spec.interactive)
                session.run()
            finally:
                raw.close()
            code = self.api.post(f"/containers/{container}/wait")["StatusCode"]
            found = self.api.get(f"/containers/{container}/json")
            reason = inspected.reason(found, killed=not session.killed and ran_out(self.api, found))
            kept = spec.keep
        finally:
            if not kept:
                with contextlib.suppress(TrainloadError):
                    self.api.delete(f"/containers/{container}", force=1, v=1)
        if session.killed:
            reason = stopped_by_force(spec.grace)
        return Outcome(code, reason, time.monotonic() - began)

    def start(self, spec: RunSpec) -> None:
        container = self._create(spec, detached=True)
        try:
            self._begin(container, spec)
            if needs(spec) >= {Ability.RESTART_UNHEALTHY} and self.api.address.here:
                watcher.begin(watcher.duty(self._home, self.name, self.site.environ, spec))
        except BaseException:
            with contextlib.suppress(TrainloadError):
                self.api.delete(f"/containers/{container}", force=1, v=1)
            raise

    def states(self) -> tuple[State, ...]:
        listed = self.api.get("/containers/json", all=1, filters=f'{{"label":["{inspected.RUN}"]}}')
        found = [self.api.find(f"/containers/{one['Id']}/json") for one in listed]
        return tuple(self._state(one) for one in found if one is not None)

    def state(self, run: str) -> State | None:
        container = self._find(run)
        return None if container is None else self._state(container)

    def wait(self, run: str) -> State:
        return self.wait_for(self._existing(run))

    def wait_for(self, container: inspected.Document) -> State:
        """As :meth:`wait`; one that was to be removed at its end may be gone already."""
        run = inspected.state(container).id
        while True:
            try:
                self.api.post(f"/containers/{container['Id']}/wait")
            except ApiError as error:
                if error.status != 404:
                    raise
            found = self.api.find(f"/containers/{container['Id']}/json")
            if found is None:
                return replace(inspected.state(container), exit_code=None)
            if not self._state(found).lives:
                return self._state(found)
            watcher.settled(self._home, run)

    def logs(self, run: str, query: LogQuery) -> Iterator[LogLine]:
        container = self._existing(run)
        return self._logs(container, query)

    def _logs(self, container: inspected.Document, query: LogQuery) -> Iterator[LogLine]:
        asked: dict[str, object] = {
            "stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(query.follow),
            "tail": "all" if query.tail is None else query.tail,
            "since": query.since.timestamp() if query.since else None,
            "until": query.until.timestamp() if query.until else None,
        }  # fmt: skip
        with self.api.stream("GET", f"/containers/{container['Id']}/logs", asked) as answer:
            tty = container["Config"]["Tty"]
            messages = answers.lines(_Some(answer.body)) if tty else answers.pieces(answer.body)
            yield from chosen(inspected.log_lines(messages), replace(query, tail=None))

    def execute(self, run: str, execution: Execution) -> int:
        container = self._running(run)
        tty = execution.tty and os.isatty(0)
        body = {
            "AttachStdin": execution.interactive, "AttachStdout": True, "AttachStderr": True, "Tty": tty,
            "Cmd": list(execution.command), "Env": [f"{name}={value}" for name, value in execution.env.items()],
            "DetachKeys": _NO_KEYS, "User": execution.user or "", "WorkingDir": execution.workdir or "",
        }  # fmt: skip
        found = self.api.post(f"/containers/{container['Id']}/exec", body)["Id"]
        raw = self.api.raw(f"/exec/{found}/start", {"Detach": False, "Tty": tty})
        control = Control(
            send=lambda number: self._signal_execution(found, number),
            resize=lambda rows, columns: self.api.post(f"/exec/{found}/resize", h=rows, w=columns),
        )
        session = Session(raw, control, tty, execution.interactive, held_back=_EXEC_FAILED)
        try:
            session.run()
        finally:
            raw.close()
        code = self.api.get(f"/exec/{found}/json")["ExitCode"]
        if session.kept:
            raise inspected.start_error(session.kept.decode("utf-8", "replace").strip(), execution.command[0])
        return int(code)

    def attach(self, run: str) -> State | None:
        container = self._running(run)
        place, config = f"/containers/{container['Id']}", container["Config"]
        stdin, tty = bool(config["OpenStdin"]), bool(config["Tty"])
        raw = self.api.raw(f"{place}/attach", stream=1, stdin=int(stdin), stdout=1, stderr=1, detachKeys=_NO_KEYS)
        control = Control(
            send=None,
            resize=lambda rows, columns: self.api.post(f"{place}/resize", h=rows, w=columns),
        )
        session = Session(raw, control, tty, stdin, leaves=True)
        try:
            session.run()
        finally:
            raw.close()
        return None if session.left else self.wait_for(container)

    def stop(self, run: str, grace: float | None) -> None:
        with watcher.ending(self._home, run):
            self.halt(run, grace)

    def halt(self, run: str, grace: float | None) -> None:
        """As :meth:`stop`, for the watcher."""
        self.api.post(f"/containers/{self._existing(run)['Id']}/stop", t=None if grace is None else round(grace))

    def again(self, run: str, grace: float) -> None:
        """See :class:`trainload.run.engines.watcher.Watched`."""
        self.api.post(f"/containers/{self._existing(run)['Id']}/restart", t=round(grace))

    def check(self, run: str, seconds: float) -> None:
        """Docker does it."""

    def kill(self, run: str, signal: int) -> None:
        self.api.post(f"/containers/{self._running(run)['Id']}/kill", signal=signal)

    def remove(self, run: str) -> None:
        container = self._existing(run)
        if self._state(container).lives:
            raise RunError(Text("{id} is running", id=run), hints=(Text("stop it first, or use rm -f"),))
        self.api.delete(f"/containers/{container['Id']}", v=1)
        watcher.watch(self._home, run).remove()

    def usage(self, run: str) -> Usage:
        container = self._running(run)
        stats = self.api.get(f"/containers/{container['Id']}/stats", stream=0, **{"one-shot": 1})
        return answers.usage(stats, container["HostConfig"].get("Memory") or None)

    def copy_out(self, run: str, path: str) -> AbstractContextManager[Readable]:
        return self._copied(run, path)

    @contextmanager
    def _copied(self, run: str, path: str) -> Iterator[Readable]:
        place = f"/containers/{self._existing(run)['Id']}/archive"
        try:
            with self.api.stream("GET", place, {"path": path}) as answer:
                yield answer.body
        except ApiError as error:
            raise RunError(Text("{path} cannot be copied: {reason}", path=path, reason=error.message)) from error

    def _create(self, spec: RunSpec, *, detached: bool) -> str:
        image = find(self.api, self.site.store.image(spec.image))
        if image is None:
            raise RunError(Text("Docker does not have the image {digest}", digest=spec.image.short))
        body = render.body(spec, image, shm=_half_of_memory(), detached=detached)
        return str(self.api.post("/containers/create", body, name=inspected.name_of(spec))["Id"])

    def _begin(self, container: str, spec: RunSpec) -> None:
        try:
            self.api.post(f"/containers/{container}/start")
        except ApiError as error:
            raise inspected.start_error(error.message, spec.command[0]) from error
        if spec.gpus is not None and self.api.address.here:
            inspected.tell_of_gpus(self.api.get(f"/containers/{container}/json"), spec, self.site)

    def _control(self, container: str, spec: RunSpec) -> Control:
        return Control(
            send=lambda number: self.api.post(f"/containers/{container}/kill", signal=number),
            resize=lambda rows, columns: self.api.post(f"/containers/{container}/resize", h=rows, w=columns),
            stop_signal=spec.stop_signal,
            grace=spec.grace,
        )

    def _signal_execution(self, execution: str, number: int) -> None:
        """The API has no word for it; where Docker is on this machine, its pid is one of ours."""
        pid = self.api.get(f"/exec/{execution}/json").get("Pid")
        if pid and self.api.address.here:
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    @property
    def _home(self) -> Path:
        return self.site.store.home

    def _state(self, container: inspected.Document) -> State:
        return watcher.seen(self._home, inspected.state(container, killed=ran_out(self.api, container)))

    def _find(self, run: str) -> inspected.Document | None:
        listed = self.api.get("/containers/json", all=1, filters=f'{{"label":["{inspected.RUN}={run}"]}}')
        return self.api.find(f"/containers/{listed[0]['Id']}/json") if listed else None

    def _existing(self, run: str) -> inspected.Document:
        container = self._find(run)
        if container is None:
            raise RunError(Text("the run {id} is not there any more", id=run))
        return container

    def _running(self, run: str) -> inspected.Document:
        container = self._existing(run)
        if not inspected.state(container).lives:
            raise RunError(Text("{id} is not running", id=run))
        return container


_NO_KEYS = "ctrl-@,ctrl-@,ctrl-@"
"""Docker's ctrl-p ctrl-q swallows a shell's key for the previous line."""


class _Some:
    """Reads what is there instead of waiting for as much as was asked for."""

    def __init__(self, body: Any) -> None:  # noqa: ANN401 - has read1
        self._body = body

    def read(self, size: int, /) -> bytes:
        data: bytes = self._body.read1(size)
        return data


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def _half_of_memory() -> int:
    """As the embedded engine; Docker's 64 MB kill data loaders (pytorch #58386)."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
