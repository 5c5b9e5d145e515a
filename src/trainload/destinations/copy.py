"""From one registry to another, with nothing kept here: bytes stream through, verified on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO, cast

from trainload.destinations.cargo import Cargo, Document, Loader, fetch_config, narrow
from trainload.destinations.deliver import Delivered, Delivery, by_repository
from trainload.destinations.stream import Stream
from trainload.events import SILENT, Reporter
from trainload.image.model import Descriptor
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.client import Client


def copy(
    client: Client,
    cargo: Cargo,
    targets: Sequence[Reference],
    *,
    dry_run: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[Delivered, ...]:
    """``cargo`` (see :func:`from_registry`) under ``targets``.

    Raises :class:`RegistryError`; then no tag was moved at the repository that failed.
    """
    groups = by_repository(targets)
    return tuple(Delivery(client, cargo, group, reporter, dry_run).run() for group in groups)


def from_registry(client: Client, source: Reference, platform: Platform | None = None) -> Cargo:
    """What ``source`` names, whole, or of an index only the image for ``platform``; its blobs will be streamed.

    Raises :class:`RegistryError` or :class:`ImageError`.
    """
    root = client.manifest(source)
    where = replace(source, digest=root.digest)
    whole = Document(root.data, root.media_type, root.digest)
    document = narrow(whole, platform, lambda one: _document(client, where, one), str(source))
    known = {document.digest: document}
    loader = Loader(
        lambda one: known.get(one.digest) or _document(client, where, one),
        lambda one: fetch_config(client, where, one),
        str(source),
    )
    loader.load(document.descriptor)
    loader.check_platform(document.digest, platform)
    return Cargo(
        tuple(loader.documents.values()),
        tuple(loader.parts.values()),
        lambda blob: cast("BinaryIO", Stream(client, where, blob)),
        lambda blob, target: [source] if source.domain == target.domain else [],
    )


def _document(client: Client, source: Reference, one: Descriptor) -> Document:
    fetched = client.manifest(replace(source, digest=one.digest))
    return Document(fetched.data, fetched.media_type, fetched.digest)
