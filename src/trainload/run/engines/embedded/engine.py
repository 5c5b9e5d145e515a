"""The embedded engine behind the protocol: the sandbox itself in the foreground, a supervisor's when detached."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import RunError, Text, TrainloadError
from trainload.image.model import Image
from trainload.layers.tarread import Readable
from trainload.run import cgroups
from trainload.run.embedded import EmbeddedEngine, groups_for
from trainload.run.engines import processes
from trainload.run.engines.embedded.keeping import keeping
from trainload.run.engines.embedded.kept import Kept, Note, all_kept
from trainload.run.engines.embedded.logfile import follow, read
from trainload.run.engines.embedded.site import containers, layers_of, with_folders
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
from trainload.run.model import Limits, Outcome, RunSpec
from trainload.run.rundir import born
from trainload.run.unpack import unpack
from trainload.values import dataclass, replace

_SUPERVISE = "import sys; from trainload.run.engines.embedded.supervisor import main; main(int(sys.argv[1]))"
_USERNS = (  # files that say no when they hold this
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
    ("/proc/sys/user/max_user_namespaces", "0"),
)
_LIMITS = {
    Ability.MEMORY: Limits(memory=1),
    Ability.CPUS: Limits(cpus=1.0),
    Ability.PIDS: Limits(pids=1),
}


def make(site: Site) -> Embedded:
    """See ``table.py``."""
    return Embedded(site)


@dataclass(frozen=True, slots=True)
class Embedded:
    """See :class:`trainload.run.engines.interface.Engine`."""

    site: Site
    name: str = "embedded"

    def unavailable(self) -> Text | None:
        reason = self._sandbox().unavailable()
        if reason is not None or os.geteuid() == 0:
            return reason
        for file, no in _USERNS:
            with contextlib.suppress(OSError):
                if Path(file).read_text(encoding="ascii").strip() == no:
                    return Text("this machine does not let us make namespaces: {reason}", reason=f"{file} = {no}")
        return None

    def lacks(self, needed: frozenset[Ability]) -> Mapping[Ability, Lack]:
        here = groups_for(
            Limits(
                memory=1 if Ability.MEMORY in needed else None,
                cpus=1.0 if Ability.CPUS in needed else None,
                pids=1 if Ability.PIDS in needed else None,
            )
        )
        lacking = {
            ability: Lack(why[0])
            for ability, limits in _LIMITS.items()
            if ability in needed and (why := cgroups.not_in_force(limits, here))
        }
        return {
            **lacking,
            Ability.PORTS: Lack(
                Text("ports are not mapped: the program shares this machine's network, on its own port numbers")
            ),
            Ability.NETWORKS: Lack(
                Text("the embedded engine has no networks of its own, only this machine's (host) or none"),
                refused=True,
            ),
        }

    def deliver(self, image: Image, name: str) -> None:
        self._sandbox().prepare(image.digest)

    def delivered(self) -> tuple[Delivered, ...]:
        return tuple(
            Delivered(str(listed.digest), listed.names, listed.image.size)
            for listed in self.site.store.images()
            if listed.image is not None
        )

    def run(self, spec: RunSpec) -> Outcome:
        if not spec.keep:
            return self._sandbox().run(self._local(spec))
        kept = self._kept(spec.id)
        outcome = replace(self._sandbox(), place=keeping(kept, spec.image)).run(self._local(spec))
        kept.end(outcome)
        return outcome

    def start(self, spec: RunSpec) -> None:
        from trainload.run.engines.embedded.supervisor import Charge, failure

        kept = self._kept(spec.id)
        kept.make()
        charge = Charge(self.site.store.home, self._local(spec), self.site.limits)
        told_out, told_in = os.pipe()
        with (kept.folder / "trouble").open("wb") as trouble:
            supervisor = subprocess.Popen(
                [sys.executable, "-P", "-c", _SUPERVISE, str(told_in)], stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=trouble, pass_fds=[told_in], start_new_session=True,
            )  # fmt: skip
        os.close(told_in)
        assert supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError), supervisor.stdin as letter:
            pickle.dump(charge, letter)
        with os.fdopen(told_out, "rb") as told:
            error = failure(told.read())
        if error is not None:
            supervisor.wait()
            self._explain(error, kept)
            raise error
        supervisor.returncode = 0  # it outlives us on purpose; nobody shall wait for it, or complain

    def states(self) -> tuple[State, ...]:
        return tuple(state for kept in self._all() if (state := kept.state()) is not None)

    def state(self, run: str) -> State | None:
        return self._kept(run).state()

    def wait(self, run: str) -> State:
        return self.wait_for(self._existing(run))

    def wait_for(self, kept: Kept) -> State:
        """As :meth:`wait`."""
        kept.until_end()
        state = kept.state()
        # one that was to be removed at its end is gone: its record has the end
        return state if state is not None else State(kept.id, Phase.ENDED)

    def logs(self, run: str, query: LogQuery) -> Iterator[LogLine]:
        kept = self._existing(run)
        if not query.follow:
            return chosen(read(kept.log), query)
        return _followed(kept, query)

    def execute(self, run: str, execution: Execution) -> int:
        from trainload.run.engines.embedded.execute import Entry, Streams, execute

        kept = self._existing(run)
        note, pid = kept.process()
        return execute(
            Entry(
                pid, born(pid), _letter(note, kept), execution.command, user=execution.user,
                workdir=execution.workdir, env=execution.env, groups=note.groups,
            ),
            streams=Streams.ALL if execution.interactive else Streams.OUTPUT,
        )  # fmt: skip

    def attach(self, run: str) -> State | None:
        from trainload.run.engines.session import Control, Session
        from trainload.runner.attaching import NAME
        from trainload.runner.nearby import meet
        from trainload.system.daemon import Raw

        kept = self._existing(run)
        note, _ = kept.process()

        def resize(rows: int, columns: int) -> None:
            wish = {"do": "resize", "rows": rows, "columns": columns}
            with contextlib.suppress(OSError):
                meet(kept.folder, NAME, json.dumps(wish).encode() + b"\n").close()

        try:
            raw = Raw(meet(kept.folder, NAME, b'{"do": "attach"}\n'), b"")
        except OSError:
            return self.wait_for(kept)  # it has just ended
        session = Session(raw, Control(send=None, resize=resize), note.tty, note.open, leaves=True)
        try:
            session.run()
        finally:
            raw.close()
        return None if session.left else self.wait_for(kept)

    def stop(self, run: str, grace: float | None) -> None:
        kept = self._existing(run)
        kept.wish.write_text("" if grace is None else f"{grace}", encoding="ascii")
        if kept.lives() and (note := kept.note()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(note.supervisor, signal.SIGTERM)
            kept.until_end()

    def kill(self, run: str, signal: int) -> None:
        kept = self._existing(run)
        note, pid = kept.process()
        if signal in _FINAL:
            kept.wish.touch()  # moby: a run that was killed by hand is not started again
        os.kill(note.pid if signal == _SIGKILL else pid, signal)

    def remove(self, run: str) -> None:
        kept = self._existing(run)
        if kept.lives():
            raise RunError(Text("{id} is running", id=run), hints=(Text("stop it first, or use rm -f"),))
        kept.remove()

    def usage(self, run: str) -> Usage:
        note, pid = self._existing(run).process()
        try:
            return processes.usage(pid, note.memory)
        except OSError as error:
            raise RunError(Text("{id} is not running", id=run)) from error

    def copy_out(self, run: str, path: str) -> AbstractContextManager[Readable]:
        return self._copied(run, path)

    @contextmanager
    def _copied(self, run: str, path: str) -> Iterator[Readable]:
        from trainload.run.engines.embedded import copying

        kept = self._existing(run)
        place: copying.Living | copying.Ended
        if kept.lives():
            _, pid = kept.process()
            place = copying.Living(pid)
        else:
            place = copying.Ended(kept.root, self._unpacked(kept))
        with copying.tar_of(place, path) as stream:
            yield stream

    def _unpacked(self, kept: Kept) -> tuple[Path, ...]:
        """The layers below what an ended run wrote."""
        note, store = kept.note(), self.site.store
        assert note is not None
        layers = unpack(layers_of(store)(Digest.parse(note.image)), store.rootfs, limits=self.site.limits)
        return tuple(layer.folder for layer in layers)

    def _sandbox(self) -> EmbeddedEngine:
        store = self.site.store
        return EmbeddedEngine(store.rootfs, layers_of(store), self.site.reporter, self.site.limits)

    def _local(self, spec: RunSpec) -> RunSpec:
        return replace(spec, mounts=with_folders(spec.mounts, self.site.store.home))

    def _all(self) -> tuple[Kept, ...]:
        return all_kept(containers(self.site.store.home))

    def _kept(self, run: str) -> Kept:
        return Kept(containers(self.site.store.home) / run)

    def _existing(self, run: str) -> Kept:
        kept = self._kept(run)
        if kept.state() is None:
            raise RunError(Text("the run {id} is not there any more", id=run))
        return kept

    def _explain(self, error: TrainloadError, kept: Kept) -> None:
        """Adds what the supervisor said before it had a log, and leaves nothing of the run."""
        trouble = kept.folder / "trouble"
        said = trouble.read_text("utf-8", "replace").strip() if trouble.exists() else ""
        if said:
            error.got = said[-2000:]
        kept.remove()


_SIGKILL = signal.SIGKILL
_FINAL = (signal.SIGKILL, signal.SIGTERM)


def _followed(kept: Kept, query: LogQuery) -> Iterator[LogLine]:
    if query.tail is None:
        yield from chosen(follow(kept.log, kept.lives), query)
        return
    old = list(chosen(read(kept.log), replace(query, tail=None)))
    yield from old[len(old) - min(query.tail, len(old)) :]
    new = chosen(follow(kept.log, kept.lives), replace(query, tail=None))
    for number, line in enumerate(new):
        if number >= len(old):
            yield line


def _letter(note: Note, kept: Kept) -> RunSpec:
    """The run's values, which its supervisor has in memory only."""
    try:
        data = Path(f"/proc/{note.supervisor}/fd/{note.letter}").read_bytes()
    except OSError as error:
        raise RunError(Text("{id} is not running", id=kept.id)) from error
    spec = pickle.loads(data)  # noqa: S301 - memory of a process of ours, which holds the run's lock
    assert isinstance(spec, RunSpec)
    return spec
