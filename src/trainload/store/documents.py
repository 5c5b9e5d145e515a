"""What manifests say, read once: a manifest's bytes never change, so what was parsed stays true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainload.digest import Digest
from trainload.errors import TrainloadError
from trainload.image.model import UNDISTRIBUTED, Descriptor, ImageIndex, Manifest
from trainload.image.parse import parse_manifest
from trainload.limits import DEFAULT
from trainload.store.content import Content

_MANY = 10_000  # some 10 MB


@dataclass(frozen=True, slots=True)
class Document:
    """The parts of a manifest or index that a repository asks about."""

    media_type: str
    needs: tuple[Descriptor, ...]
    """What must be there too: config and layers, or the images of an index."""
    subject: Descriptor | None
    artifact_type: str
    """As the referrers API tells it (distribution-spec § Listing Referrers); empty for an index that has none."""
    annotations: Mapping[str, str]


def summary(manifest: Manifest | ImageIndex) -> Document:
    """What ``manifest`` says."""
    if isinstance(manifest, ImageIndex):
        needs, artifact_type = manifest.manifests, manifest.artifact_type
    else:
        layers = (layer for layer in manifest.layers if layer.media_type not in UNDISTRIBUTED)
        needs = (manifest.config, *layers)
        artifact_type = manifest.artifact_type or manifest.config.media_type
    return Document(manifest.media_type, needs, manifest.subject, artifact_type, manifest.annotations)


class Documents:
    """Reads manifests of the store, each only once."""

    def __init__(self, blobs: Content) -> None:
        self._blobs = blobs
        self._known: dict[Digest, Document] = {}

    def find(self, descriptor: Descriptor) -> Document | None:
        """What the manifest says; None when it is not there, damaged or unreadable."""
        known = self._known.get(descriptor.digest)
        if known is not None:
            return known
        try:
            data = self._blobs.read(descriptor.digest, DEFAULT.manifest)
            read = parse_manifest(data, str(descriptor.digest), media_type=descriptor.media_type)
        except TrainloadError:
            return None
        if len(self._known) >= _MANY:
            self._known.clear()
        document = self._known[descriptor.digest] = summary(read)
        return document
