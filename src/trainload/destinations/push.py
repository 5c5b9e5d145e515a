"""From the store to registries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import BinaryIO, cast

from trainload.destinations.cargo import Cargo
from trainload.destinations.deliver import Delivered, Delivery, by_repository
from trainload.destinations.stream import Stream
from trainload.digest import Digest
from trainload.errors import RegistryError, StoreError, Text
from trainload.events import SILENT, Reporter
from trainload.image.model import Descriptor
from trainload.limits import DEFAULT
from trainload.reference import DOCKER_HUB, Reference
from trainload.registry.client import Client
from trainload.store.store import Store
from trainload.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image, and what happened at each repository."""

    digest: Digest
    size: int
    deliveries: tuple[Delivered, ...]

    @property
    def sent(self) -> int:
        return sum(one.sent for one in self.deliveries)


def push(
    store: Store,
    client: Client,
    cargo: Cargo,
    references: Sequence[Reference],
    *,
    dry_run: bool = False,
    reporter: Reporter = SILENT,
) -> Pushed:
    """Send ``cargo`` of ``store`` under ``references``; see :func:`from_store`.

    Raises :class:`RegistryError`; then no tag was moved at the repository that failed.
    """
    check_targets(references)
    groups = by_repository(references)
    with suppress(StoreError):  # a store that nobody may write has no gc either
        store.hold(cargo.root.digest)
    delivered: list[Delivered] = []
    for group in groups:
        known = store.whereabouts.of(group[0].domain)
        sources = _with_sources(store, client, cargo, known)
        delivery = Delivery(client, sources, group, reporter, dry_run, partial(_manifest, store))
        delivered.append(delivery.run())
        if not dry_run:
            store.whereabouts.learn(group[0], [part.blob.digest for part in cargo.parts])
    return Pushed(cargo.root.digest, cargo.size, tuple(delivered))


def _manifest(store: Store, digest: Digest) -> bytes | None:
    try:
        return store.read(digest, DEFAULT.manifest)
    except StoreError:
        return None


def check_targets(references: Sequence[Reference]) -> None:
    """Raises :class:`RegistryError` for a name that only Docker's own images have: a registry was forgotten."""
    for reference in references:
        if reference.domain == DOCKER_HUB and reference.path.startswith("library/"):
            raise RegistryError(
                Text(
                    "{name} names no registry, and Docker Hub keeps such names for its own images", name=reference
                ),
                want="REGISTRY/NAME:TAG",
                hints=[
                    Text("for example registry.example/team/{name}", name=reference.path.removeprefix("library/"))
                ],
            )


def _with_sources(store: Store, client: Client, cargo: Cargo, known: Mapping[str, frozenset[str]]) -> Cargo:
    """``cargo`` that knows which repositories have its blobs: there they are mounted from, or read."""

    def sources(blob: Descriptor, target: Reference) -> list[Reference]:
        paths = [path for path, digests in known.items() if path != target.path and str(blob.digest) in digests]
        near = cargo.elsewhere.get(blob.digest)
        first = [near] if near is not None and near.domain == target.domain else []
        return [*first, *(Reference(target.domain, path) for path in paths)]

    def open_blob(blob: Descriptor) -> BinaryIO:
        where = cargo.elsewhere.get(blob.digest)
        if where is None or store.has(blob.digest, blob.size):
            return cargo.open(blob)
        return cast("BinaryIO", Stream(client, where, blob))

    return replace(cargo, sources=sources, open=open_blob)
