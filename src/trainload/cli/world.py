"""The World: everything outside that a verb may need, built once per command and passed on as a value.

Nothing below ``cli`` reads the environment, the clock or the current folder; it gets them from here.
"""

from __future__ import annotations

import json as _json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from trainload.cli.texts import Catalogue
from trainload.errors import Text
from trainload.events import Level, Said
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.builder.dockerfile.ground import Ground
    from trainload.cli.progress import Lines
    from trainload.digest import Digest
    from trainload.image.model import Layer
    from trainload.layers.model import ByteSink, Written
    from trainload.limits import Limits
    from trainload.pipeline import Site
    from trainload.plan.lines import LineJob
    from trainload.plan.model import BytecodeRecipe, ConfiguredRecipe
    from trainload.plan.sources import Job
    from trainload.registry.client import Client
    from trainload.registry.hosts import Hosts
    from trainload.run.line import Room
    from trainload.store.store import Store
    from trainload.system.http import Http
    from trainload.tree import Tree

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """One command's surroundings. Expensive things are made when first asked for."""

    home: Path
    """Absolute; the store and everything else we keep lies below it."""
    cwd: Path
    """The project's folder: where we were called, or ``-C``."""
    environ: Mapping[str, str]
    now: datetime
    """When the command began, UTC."""
    cpus: int
    json: bool
    quiet: bool
    catalogue: Catalogue
    stdout: TextIO
    """For data only."""
    stderr: TextIO
    """For talk: progress, warnings, errors."""
    insecure: tuple[str, ...] = ()
    """Registries that may be spoken to without TLS."""
    authorities: tuple[str, ...] = ()
    """Certificate authorities of registries, PEM files."""

    @cached_property
    def reporter(self) -> Lines:
        """Progress on stderr: bars on a terminal, plain lines in a log, warnings only when quiet."""
        from trainload.cli.progress import reporter_for

        return reporter_for(self.stderr, self.catalogue, quiet=self.quiet, environ=self.environ)

    @cached_property
    def http(self) -> Http:
        """A client with this machine's certificate authorities and proxies."""
        from trainload import __version__
        from trainload.system.host import ca_file
        from trainload.system.http import Http

        return Http(user_agent=f"trainload/{__version__}", ca_file=ca_file(self.environ))

    @cached_property
    def hosts(self) -> Hosts:
        """What is configured about registries: flags, environment, the project in this folder, this machine."""
        from trainload.project.config import read_sources
        from trainload.project.keys import MIRRORS_REGISTRY
        from trainload.registry.machine import hosts_here
        from trainload.system.tree import DiskTree

        mirrors = read_sources(DiskTree(self.cwd), {}, self.environ).choose(MIRRORS_REGISTRY).value
        return hosts_here(self.environ, mirrors, self.insecure, self.authorities)

    @cached_property
    def registry(self) -> Client:
        """Speaks with registries, as the user of this machine."""
        from trainload.registry.client import Client
        from trainload.registry.credentials import Keyring

        return Client(self.http, self.hosts, Keyring.of(self.environ), self.reporter)

    @cached_property
    def store(self) -> Store:
        """The store at ``home``; reading makes nothing, the first write makes it."""
        from trainload.store.store import Store

        return Store.open(self.home)

    @cached_property
    def site(self) -> Site:
        """The project's folder as the pipeline sees it."""
        from trainload.pipeline import Site

        return Site(
            self.cwd, self.store, self.http, self.reporter, self.environ, self.now, self.cpus,
            sandbox=self._sandbox, ask=self._ask, registry=lambda: self.registry, rooms=Rooms(self),
        )  # fmt: skip

    def _sandbox(
        self, recipe: BytecodeRecipe | ConfiguredRecipe, below: Sequence[Layer], sink: ByteSink, limits: Limits
    ) -> Written:
        from trainload.plan.model import ConfiguredRecipe

        if isinstance(recipe, ConfiguredRecipe):
            from trainload.run.configure import write_configured

            return write_configured(below, self.store.rootfs, self.store.path, sink, self.reporter, limits)
        from trainload.run.bytecode import write_bytecode

        return write_bytecode(recipe, below, self.store.rootfs, self.store.path, sink, limits)

    def _ask(self, job: Job, below: Sequence[Layer], take: Callable[[Tree], T], /) -> T:
        from trainload.run.hooks import Backends

        backends = Backends(self.store.rootfs, self.store.path, self.home / "cache" / "builds")
        return backends.ask(job, below, take)

    def say(self, text: Text) -> None:
        """A sentence of talk on stderr; not when quiet."""
        self.reporter.report(Said(text))

    def warn(self, text: Text) -> None:
        """A warning on stderr, also when quiet."""
        self.reporter.report(Said(text, Level.WARNING))

    def translate(self, text: Text | str) -> str:
        return self.catalogue.text(text)

    def result(self, value: object, lines: str | Sequence[str] = ()) -> None:
        """What the command found: with ``--json`` ``value`` as one JSON document, else ``lines``; on stdout."""
        if self.json:
            text = _json.dumps(value, ensure_ascii=False, indent=2)
        else:
            text = lines if isinstance(lines, str) else "\n".join(lines)
        if text:
            self.stdout.write(text + "\n")
            self.stdout.flush()

    def close(self) -> None:
        """Ends what was begun: bars on the terminal, the store's lease."""
        if "reporter" in self.__dict__:
            self.reporter.close()
        if "store" in self.__dict__:
            self.store.close()


@dataclass(frozen=True, slots=True)
class Rooms:
    """See :class:`trainload.builder.dockerfile.bench.Rooms`: the embedded engine on this machine."""

    world: World

    def run(self, job: LineJob, ground: Ground, sink: ByteSink, /) -> Written:
        from trainload.run.below import Looks
        from trainload.run.line import write_line

        def looks() -> dict[str, Looks]:
            return {path: Looks(seen.mode, seen.owner) for path, seen in ground.nodes.items()}

        return write_line(job, ground.layers, replace(self._room(ground.limits), looks=looks), sink)

    def unpacked(self, below: Sequence[Layer], limits: Limits, /) -> Callable[[str], Path | None]:
        return self._room(limits).below(below)[0].place

    def lies(self, diff_id: Digest, /) -> Path | None:
        from trainload.run.unpack import lies

        return lies(diff_id, self.world.store.rootfs)

    def _room(self, limits: Limits) -> Room:
        from trainload.run.line import Room

        return Room(self.world.store.rootfs, self.world.store.path, self.world.reporter, limits)
