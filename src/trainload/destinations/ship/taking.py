"""An image into an engine there: by a pull through the tunnel, or from an archive that comes over the same session.

Words that come from a user and get into a script are references of images, whose grammar leaves nothing to quote;
they are quoted all the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trainload.address import Address
from trainload.destinations import save
from trainload.destinations.cargo import Cargo, Part
from trainload.destinations.departure import Leaving
from trainload.destinations.ship.engines import Choice, Engine, quoting
from trainload.destinations.ship.there import Answered, There
from trainload.digest import Digest
from trainload.errors import HostError, Place, Text
from trainload.events import Began, Ended, How, Moved, Reporter
from trainload.image.model import Manifest
from trainload.image.parse import parse_manifest
from trainload.limits import MiB
from trainload.reference import Reference

_STEP = 1 * MiB
"""Bytes between two reports, and of a blob in memory."""


class Shell(Protocol):
    """Runs scripts there."""

    @property
    def address(self) -> Address: ...

    def ask(self, script: str, timeout: float | None = ...) -> Answered:
        """``timeout``: seconds without a word; None: as long as it takes."""


class FullError(HostError):
    """The engine's disk is full."""


@dataclass(frozen=True, slots=True)
class Taking:
    """An engine there that takes an image, under ``name`` from then on."""

    engine: Engine
    name: Reference
    cargo: Cargo

    def pull(self, there: Shell, source: str) -> Digest:
        """Its id there; ``source``: ``127.0.0.1:PORT/REPOSITORY@DIGEST``.

        Raises :class:`HostError` when the pull fails, or another image arrives (THREATS S05).
        """
        program, quoted, name = self.engine.program, shlex.quote(source), shlex.quote(str(self.name))
        plain = " --tls-verify=false" if self.engine.choice is Choice.PODMAN else ""
        pulled = there.ask(f"{program} pull -q{plain} {quoted}", timeout=None)
        if pulled.code != 0:
            raise self._failed(there, pulled, source)
        named = there.ask(
            f"{program} tag {quoted} {name} && {program} image inspect -f '{{{{.Id}}}}' {name}; code=$?; "
            f"{program} rmi {quoted} >/dev/null 2>&1; test $code = 0"
        )
        if named.code != 0:
            raise self._failed(there, named, source)
        return self._verified(there, named)

    def load(self, there: There, reporter: Reporter, omit: Collection[Digest]) -> int:
        """From an archive without the blobs ``omit``; bytes of blobs that went out. Nothing can be asked after it.

        Raises :class:`HostError` as :meth:`pull`.
        """
        program, name = self.engine.program, shlex.quote(str(self.name))
        ids = " ".join(sorted(one.hex if self.engine.choice is Choice.PODMAN else str(one) for one in self._ids()))
        archive = save.pack([Leaving(self.cargo, None)], omit)  # it is named once it is known to be the right one
        blobs = _Blobs(self.cargo, reporter)
        answered = there.feed(
            f"{program} load -q && for id in {ids}; do {program} image inspect -f '{{{{.Id}}}}' $id 2>/dev/null && "
            f"{program} tag $id {name} && break; done",
            lambda session: save.write_from(blobs.read, archive, session),
        )
        if answered.code != 0:
            raise self._failed(there, answered)
        self._verified(there, answered)
        blobs.finish(omit)
        return blobs.sent

    def _ids(self) -> frozenset[Digest]:
        """What the image may be called there: by its config, or its manifest (containerd's image store)."""
        found = set()
        for document in self.cargo.documents:
            found.add(document.digest)
            parsed = parse_manifest(document.data, str(document.digest), media_type=document.media_type)
            if isinstance(parsed, Manifest):
                found.add(parsed.config.digest)
        return frozenset(found)

    def _verified(self, there: Shell, answered: Answered) -> Digest:
        got = answered.line if ":" in answered.line else f"sha256:{answered.line}"
        if got not in {str(one) for one in self._ids()}:
            raise HostError(
                Text("another image arrived on {host} than was sent", host=there.address),
                place=Place(str(self.name)), got=got, want=", ".join(sorted(map(str, self._ids()))),
            )  # fmt: skip
        return Digest.parse(got)

    def _failed(self, there: Shell, answered: Answered, source: str = "") -> HostError:
        host, said = there.address, answered.text
        if source:
            said = said.replace(source, str(self.name))
        if "no space left" in said:
            hint = Text("`{engine} system prune` there removes what is not used", engine=self.engine.program)
            return quoting(FullError(Text("the disk of {host} is full", host=host), hints=[hint]), said)
        text = Text("{engine} on {host} could not take the image", engine=self.engine.choice, host=host)
        hint = Text("`--engine store` sends the image into a folder there")
        return quoting(HostError(text, hints=[hint]), said)


def layers_of(cargo: Cargo) -> Iterator[Digest]:
    for document in cargo.documents:
        parsed = parse_manifest(document.data, str(document.digest), media_type=document.media_type)
        if isinstance(parsed, Manifest):
            yield from (layer.digest for layer in parsed.layers)


@dataclass(slots=True)
class _Blobs:
    """A cargo's documents and blobs, read once each, and told."""

    cargo: Cargo
    reporter: Reporter
    sent: int = 0
    _parts: Mapping[Digest, Part] = field(init=False)
    _documents: Mapping[Digest, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._parts = {part.blob.digest: part for part in self.cargo.parts}
        self._documents = {one.digest: one.data for one in self.cargo.documents}

    def read(self, digest: Digest) -> Iterator[bytes]:
        if digest in self._documents:
            yield self._documents[digest]
            return
        part, done, task = self._parts[digest], 0, str(digest)
        self.reporter.report(Began(task, part.label, part.blob.size))
        how = How.FAILED
        try:
            with self.cargo.open(part.blob) as file:
                while data := file.read(_STEP):
                    yield data
                    done += len(data)
                    self.sent += len(data)
                    self.reporter.report(Moved(task, done))
            how = How.SENT
        finally:
            self.reporter.report(Ended(task, part.label, how, part.blob.size))

    def finish(self, omitted: Collection[Digest]) -> None:
        """Tell what was there."""
        for digest in omitted:
            part = self._parts[digest]
            self.reporter.report(Ended(str(digest), part.label, How.PRESENT, part.blob.size))
