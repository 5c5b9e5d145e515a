"""``ship``: an image of the store to a server, by the way that server allows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from trainload.address import Address
from trainload.destinations.cargo import Cargo, Part
from trainload.destinations.naming import tagged
from trainload.destinations.ship.engines import Choice, Engine, find, missing_there
from trainload.destinations.ship.offer import Offer, offered
from trainload.destinations.ship.remote_store import RemoteStore, whole
from trainload.destinations.ship.there import There
from trainload.destinations.ship.ways import Ways
from trainload.digest import Digest
from trainload.errors import ImageError, Text
from trainload.events import SILENT, Level, Reporter, Said
from trainload.image.model import Descriptor
from trainload.reference import Reference


@dataclass(frozen=True, slots=True)
class Target:
    """Where an image goes."""

    address: Address
    choice: Choice = Choice.AUTO
    folder: str | None = None
    """Of the store there; None: where a Trainload there would keep it."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What happened."""

    digest: Digest
    name: str | None
    way: Choice
    where: str
    """The engine and its version, or the folder there."""
    size: int
    """Bytes of the whole image."""
    sent: int
    """Bytes of it that went over the line, or would."""
    missing: tuple[Part, ...] = ()
    """With a dry run: what would be sent."""


@dataclass(frozen=True, slots=True)
class Shipment:
    """One image on its way."""

    cargo: Cargo
    name: str | None
    target: Target
    reporter: Reporter = SILENT
    environ: Mapping[str, str] | None = None
    dry_run: bool = False

    def run(self) -> Shipped:
        """Raises :class:`HostError`; there is the old image then, or the new one, never a part."""
        offer = Offer(self.cargo, self.reporter)
        with ExitStack() as stack:
            port = None if self.target.choice is Choice.STORE else stack.enter_context(offered(offer))
            there = stack.enter_context(There(self.target.address, port, self.environ))
            engine = None if port is None else self._engine(there)
            if engine is None or port is None:
                return self._into_store(stack.enter_context(RemoteStore(there, self.reporter)))
            if self.dry_run:
                missing = missing_there(there, engine, self.cargo)
                return self._would(engine.choice, engine.version, missing)
            where, environ = self.target.address, self.environ
            ways = Ways(where, engine, self._engine_name(), offer, port, self.reporter, environ)
            return self._into_engine(there, ways)

    def _engine(self, there: There) -> Engine | None:
        """The engine that takes it; None: a folder does, and it is said why."""
        choice, host = self.target.choice, self.target.address
        engine, wrong = find(there, choice)
        for error in wrong:
            hint = error.hints[0] if error.hints else ""
            self._say(Text("{problem}; {hint}", problem=error.text, hint=hint), Level.WARNING)
        if engine is None:
            self._say(Text("{host} has no engine that works: the image goes into a folder there", host=host))
            return None
        return engine

    def _into_engine(self, there: There, ways: Ways) -> Shipped:
        sent = ways.take(there)
        digest, size = self.cargo.root.digest, self.cargo.size
        return Shipped(digest, str(ways.name), ways.engine.choice, ways.engine.version, size, sent)

    def _into_store(self, store: RemoteStore) -> Shipped:
        cargo = whole(self.cargo, self.cargo.parts)
        store.open(self.target.folder, writing=not self.dry_run)
        found = store.look(cargo.parts)
        if self.dry_run:
            missing = tuple(part.blob for part in found.missing(cargo.parts))
            return self._would(Choice.STORE, store.folder, missing, found.to_send(cargo.parts))
        store.send(cargo, found)
        names = [self.name] if self.name is not None else []
        store.commit(cargo.root.descriptor, names, [part.blob for part in cargo.parts])
        return Shipped(cargo.root.digest, self.name, Choice.STORE, store.folder, self.cargo.size, store.sent)

    def _engine_name(self) -> Reference:
        """Raises :class:`ImageError` for an image that has none: an engine would call it by nothing."""
        name = tagged(self.name) if self.name is not None else None
        if name is None:
            digest = self.cargo.root.digest
            raise ImageError(
                Text("the image {digest} has no name to give it there", digest=digest.short),
                hints=[Text("trainload tag {digest} NAME:TAG, then ship that", digest=digest.short)],
            )
        if str(name) != self.name:
            self._say(
                Text("{name} has no tag: Docker and Podman will call it {tagged}", name=self.name, tagged=name)
            )
        return name

    def _would(self, way: Choice, where: str, missing: tuple[Descriptor, ...], sent: int | None = None) -> Shipped:
        """What a dry run found."""
        digests = {one.digest for one in missing}
        parts = tuple(part for part in self.cargo.parts if part.blob.digest in digests)
        size = sum(one.size for one in missing) if sent is None else sent
        return Shipped(self.cargo.root.digest, self.name, way, where, self.cargo.size, size, parts)

    def _say(self, text: Text, level: Level = Level.INFO) -> None:
        self.reporter.report(Said(text, level))
