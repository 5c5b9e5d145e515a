"""Podman's containers of runs: found by their label, made, looked at, removed."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainload.errors import RunError, Text, TrainloadError
from trainload.run.engines import inspected, watcher
from trainload.run.engines.interface import State
from trainload.run.engines.podman import render
from trainload.run.engines.podman.deliver import find as find_image
from trainload.run.engines.podman.program import PodmanError, Program
from trainload.run.engines.table import Site
from trainload.run.model import RunSpec

JOURNAL = Path("/run/systemd/journal/socket")
"""systemd-journald(8)"""
_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
_CAP_SYS_RESOURCE = 24  # linux/capability.h


@dataclass(frozen=True, slots=True)
class Containers:
    """Those of one Podman."""

    site: Site
    program: Program
    _known: dict[str, Any] = field(default_factory=dict)

    def find(self, run: str) -> inspected.Document | None:
        """The container of a run, as Podman tells of it."""
        ids = self.program.call("ps", "--all", "--quiet", f"--filter=label={inspected.RUN}={run}").split()
        found = self.inspect(ids)
        return found[0] if found else None

    def inspect(self, ids: Sequence[str]) -> list[inspected.Document]:
        """Those of ``ids`` that are still there."""
        if not ids:
            return []
        try:
            found: list[inspected.Document] = self.program.ask("container", "inspect", *ids)
        except PodmanError:  # one was removed meanwhile, and none is told then
            return [] if len(ids) == 1 else [each for one in ids for each in self.inspect([one])]
        return found

    def existing(self, run: str) -> inspected.Document:
        """As :meth:`find`. Raises :class:`RunError` when there is none."""
        container = self.find(run)
        if container is None:
            raise RunError(Text("the run {id} is not there any more", id=run))
        return container

    def running(self, run: str) -> inspected.Document:
        """As :meth:`find`. Raises :class:`RunError` when it does not run."""
        container = self.existing(run)
        if not self.state(container).lives:
            raise RunError(Text("{id} is not running", id=run))
        return container

    def state(self, container: inspected.Document) -> State:
        """How a run is, with what its watcher knows."""
        run = (container["Config"].get("Labels") or {}).get(inspected.RUN, "")
        state = inspected.state(container, killed=bool(run) and self.place(run).killed())
        return watcher.seen(self.site.store.home, state)

    def place(self, run: str) -> _Place:
        """A run's folder of ours."""
        return _Place(self.site.store.home / "podman" / run)

    def create(self, spec: RunSpec, *, detached: bool, counted: bool = False) -> str:
        """A container whose command was found; ``counted``: its log is read in the end. Raises RunError."""
        image = find_image(self.program, self.site.store.image(spec.image))
        if image is None:
            raise RunError(Text("Podman does not have the image {digest}", digest=spec.image.short))
        lines = "".join(f"{name}={value}\n" for name, value in render.environment(spec)[0].items())
        here = replace(self._here(counted=counted), gpus=self._gpus(spec))
        container = self.program.with_file(
            lines.encode("utf-8", "surrogateescape"),
            lambda file: render.create(spec, image, file, here, detached=detached),
        )
        try:
            self.program.call("init", container, cwd=self.place(spec.id).made())
        except PodmanError as error:
            self.forget(container, spec.id)
            raise inspected.start_error(error.message, spec.command[0]) from error
        if here.gpus:
            inspected.tell_of_gpus(self.program.ask("container", "inspect", container)[0], spec, self.site)
        return container

    def forget(self, container: str, run: str) -> None:
        """Leave nothing of it, whatever it is doing."""
        with contextlib.suppress(TrainloadError):
            self.program.call("rm", "--force", "--volumes", container)
        self.place(run).remove()

    def _gpus(self, spec: RunSpec) -> tuple[str, ...] | None:
        """See :class:`render.Here`."""
        if spec.gpus is None:
            return ()
        if self.info()["host"].get("serviceIsRemote"):
            return None
        from trainload.run.gpus.host import named

        return named(spec, self.site.environ)

    def _here(self, *, counted: bool) -> render.Here:
        return render.Here(
            rootless=bool(self.info()["host"]["security"]["rootless"]),
            shm=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2,
            may_raise_limits=_may_raise_limits(),
            open_files=min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20),
            version=_version(str(self.info()["version"]["Version"])),
            journal=not counted and (JOURNAL.exists() or "CONTAINER_HOST" in self.site.environ),
            timers=self.has_timers(),
        )

    def has_timers(self) -> bool:
        """Whether systemd calls Podman for health checks: the user's own for rootless ones."""
        if not _SYSTEMD.exists():
            return False
        folder = self.site.environ.get("XDG_RUNTIME_DIR", "")
        return os.geteuid() == 0 or (bool(folder) and Path(folder, "systemd").exists())

    def info(self) -> Mapping[str, Any]:
        """``podman info``, asked once."""
        if not self._known:
            self._known.update(self.program.ask("info", "--format=json"))
        return self._known


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a container's monitor works: it leaves a file there when the memory limit killed something.

    Podman 4.3 starts it in whatever folder it was called from, and so never finds the file itself.
    """

    folder: Path

    def made(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.folder

    def killed(self) -> bool:
        return (self.folder / "oom").exists()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _version(text: str) -> tuple[int, ...]:
    """``4.3.1``, ``5.0.0-dev`` as numbers."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _may_raise_limits() -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False
