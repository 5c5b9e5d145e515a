"""``ship``: an image of the store to a server, by the way that server allows."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from trainload.address import Address
from trainload.destinations.cargo import Cargo, Part
from trainload.destinations.naming import tagged
from trainload.destinations.ship.engines import Choice, Engine, Pull, expected_ids, find, missing_there
from trainload.destinations.ship.offer import Offer, offered
from trainload.destinations.ship.remote_store import RemoteStore
from trainload.destinations.ship.there import There
from trainload.digest import Digest
from trainload.errors import HostError, ImageError, Text
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
            if engine is None:
                return self._into_store(stack.enter_context(RemoteStore(there, self.reporter)))
            if self.dry_run:
                missing = missing_there(there, engine, self.cargo)
                return self._shipped(engine.choice, str(engine.version), missing)
            return self._into_engine(there, engine, offer)

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
        if there.session.forwarded() is not None:
            return engine
        if choice is not Choice.AUTO:
            raise HostError(
                Text("the ssh server of {host} forbids forwarding, which {engine} needs to pull", host=host,
                     engine=choice),
                hints=[Text("`AllowTcpForwarding remote` in sshd_config there allows it"),
                       Text("`--engine store` sends the image into a folder there")],
            )  # fmt: skip
        self._say(
            Text("the ssh server of {host} forbids forwarding: the image goes into a folder, not into {engine}",
                 host=host, engine=engine.choice),
            Level.WARNING,
        )  # fmt: skip
        return None

    def _into_engine(self, there: There, engine: Engine, offer: Offer) -> Shipped:
        name = self._engine_name()
        port = there.session.forwarded()
        source = f"127.0.0.1:{port}/{offer.name}@{self.cargo.root.digest}"
        Pull(engine, source, name, expected_ids(self.cargo)).run(there)
        offer.finish()
        return Shipped(
            self.cargo.root.digest, str(name), engine.choice, engine.version, self.cargo.size, offer.sent
        )

    def _into_store(self, store: RemoteStore) -> Shipped:
        cargo = self.cargo
        documents = {one.digest: one.data for one in cargo.documents}
        whole = Cargo(cargo.documents, (*cargo.parts, *_as_parts(cargo)), _opening(cargo, documents))
        store.open(self.target.folder, writing=not self.dry_run)
        found = store.look(whole.parts)
        if self.dry_run:
            missing = tuple(part.blob for part in found.missing(whole.parts))
            return self._shipped(Choice.STORE, store.folder, missing, found.to_send(whole.parts))
        store.send(whole, whole.parts, found)
        names = [self.name] if self.name is not None else []
        store.commit(cargo.root.descriptor, names, [part.blob for part in whole.parts])
        return Shipped(cargo.root.digest, self.name, Choice.STORE, store.folder, cargo.size, store.sent)

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

    def _shipped(
        self, way: Choice, where: str, missing: tuple[Descriptor, ...], sent: int | None = None
    ) -> Shipped:
        """What a dry run found."""
        digests = {one.digest for one in missing}
        parts = tuple(part for part in self.cargo.parts if part.blob.digest in digests)
        size = sum(one.size for one in missing) if sent is None else sent
        return Shipped(self.cargo.root.digest, self.name, way, where, self.cargo.size, size, parts)

    def _say(self, text: Text, level: Level = Level.INFO) -> None:
        self.reporter.report(Said(text, level))


def _as_parts(cargo: Cargo) -> tuple[Part, ...]:
    return tuple(Part(one.descriptor, f"manifest {one.digest.short}") for one in cargo.documents)


def _opening(cargo: Cargo, documents: Mapping[Digest, bytes]) -> Callable[[Descriptor], BinaryIO]:
    """Opens a document or a blob."""

    def opened(blob: Descriptor) -> BinaryIO:
        return io.BytesIO(documents[blob.digest]) if blob.digest in documents else cargo.open(blob)

    return opened
