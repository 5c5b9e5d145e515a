"""The layer cache in a repository: what was made of which inputs, as small OCI artifacts (docs/adr/0025).

One image manifest per recipe, found under a tag that is the recipe's key. The layer itself is among its layers, so
a registry keeps the blob as long as it has the entry, and other repositories can mount it from there. What an entry
says cannot be verified without the bytes: it is worth as much as those who may write to the repository.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from typing import BinaryIO

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError
from trainload.events import How
from trainload.image.assemble import document
from trainload.image.model import MANIFEST, RECIPE, Descriptor, Layer
from trainload.image.parse import Node, parse_descriptor
from trainload.image.strict_json import parse_object
from trainload.reference import Reference
from trainload.registry.client import Client, Fetched
from trainload.registry.protocol import RefusedError
from trainload.values import dataclass, field, replace

LAYER_ENTRY = "application/vnd.trainload.layer.v1"
FACT_ENTRY = "application/vnd.trainload.fact.v1"
_LAYER_TAG, _FACT_TAG = "layer-", "fact-"
_DIFF_ID, _UNPACKED, _FACT = "dev.trainload.diff-id", "dev.trainload.unpacked", "dev.trainload.fact"
_TITLE, _CREATED = "org.opencontainers.image.title", "org.opencontainers.image.created"
_NOTHING = b"{}"
EMPTY = Descriptor("application/vnd.oci.empty.v1+json", Digest.sha256(_NOTHING), len(_NOTHING))
"""What stands where an artifact has nothing to say (manifest.md § Guidance for an Empty Descriptor)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One recipe's layer."""

    key: Digest
    layer: Layer
    title: str
    created: str
    """When it was written, RFC 3339."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of the cache as a list shows it."""

    tag: str
    digest: Digest
    """Of its manifest; by it an entry is deleted."""
    size: int
    """Bytes of the layer; of a fact none."""
    title: str
    created: str


@dataclass(slots=True)
class Entries:
    """The entries of one repository; safe for threads. Every method raises :class:`RegistryError`."""

    client: Client
    repository: Reference
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _has_empty: bool = False

    def find(self, key: Digest) -> Layer | None:
        """The layer that is said to be made of the recipe; None: nobody says so, or not in our words."""
        found = self._fetch(_LAYER_TAG + key.hex)
        entry = _entry(found, str(self.repository)) if found is not None else None
        return entry.layer if entry is not None and entry.key == key else None

    def holds(self, statement: Digest) -> bool:
        """Whether somebody found the statement to hold."""
        found = self._fetch(_FACT_TAG + statement.hex)
        return found is not None and _fact(found, str(self.repository)) == statement

    def record(
        self, entry: Entry, open_blob: Callable[[], BinaryIO], mount_from: Sequence[Reference] = ()
    ) -> tuple[How, Layer]:
        """Write ``entry`` unless there is one; how its layer got there, and the layer that stands there now."""
        there = self.find(entry.key)
        if there is not None:
            return How.PRESENT, there
        how = self.client.upload(self.repository, entry.layer.descriptor, open_blob, mount_from)
        self._put(_LAYER_TAG + entry.key.hex, layer_document(entry))
        return how, entry.layer

    def learn(self, statement: Digest, created: str) -> None:
        """Write that ``statement`` was found to hold, unless it stands there."""
        if not self.holds(statement):
            self._put(_FACT_TAG + statement.hex, fact_document(statement, created))

    def list(self) -> tuple[Listed, ...]:
        """Everything the cache has, the oldest first."""
        found: list[Listed] = []
        for tag in self.client.tags(self.repository):
            fetched = self._fetch(tag) if tag.startswith((_LAYER_TAG, _FACT_TAG)) else None
            if fetched is None:
                continue
            entry = _entry(fetched, str(self.repository))
            if entry is not None:
                size = entry.layer.descriptor.size
                found.append(Listed(tag, fetched.digest, size, entry.title, entry.created))
            elif _fact(fetched, str(self.repository)) is not None:
                annotations = _annotations(fetched, str(self.repository))
                found.append(Listed(tag, fetched.digest, 0, "", annotations.get(_CREATED, "")))
        return tuple(sorted(found, key=lambda one: (one.created, one.tag)))

    def delete(self, digest: Digest) -> None:
        """Take an entry away; the registry's own garbage collection then removes what nothing else needs."""
        self.client.delete(replace(self.repository, tag=None, digest=digest))

    def _fetch(self, tag: str) -> Fetched | None:
        try:
            return self.client.manifest(self.repository.with_tag(tag), mirrors=False)
        except ImageError:  # somebody else's words under our tag
            return None
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def _put(self, tag: str, data: bytes) -> None:
        with self._guard:
            if not self._has_empty:
                self.client.upload(self.repository, EMPTY, lambda: io.BytesIO(_NOTHING))
                self._has_empty = True
        self.client.put_manifest(self.repository.with_tag(tag), data, MANIFEST)


def is_entry(tag: str) -> bool:
    """Whether a tag of a repository looks like one of ours, not like an image's."""
    return any(tag.startswith(word) and len(tag) == len(word) + 64 for word in (_LAYER_TAG, _FACT_TAG))


def layer_document(entry: Entry) -> bytes:
    """The manifest of an entry."""
    layer = entry.layer
    annotations = {
        RECIPE: str(entry.key), _DIFF_ID: str(layer.diff_id), _UNPACKED: str(layer.unpacked),
        _TITLE: entry.title, _CREATED: entry.created,
    }  # fmt: skip
    return _document(LAYER_ENTRY, replace(layer.descriptor, annotations={}), annotations)


def fact_document(statement: Digest, created: str) -> bytes:
    return _document(FACT_ENTRY, EMPTY, {_FACT: str(statement), _CREATED: created})


def _document(kind: str, layer: Descriptor, annotations: dict[str, str]) -> bytes:
    return canonical_json(
        {
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": document(EMPTY),
            "layers": [document(layer)], "annotations": annotations,
        }
    )  # fmt: skip


def _entry(fetched: Fetched, where: str) -> Entry | None:
    """The entry in a manifest; None for anything else, also for one that is not well formed."""
    try:
        root = Node(parse_object(fetched.data, where), where)
        layers = root.get("layers").items()
        if root.get("artifactType").value != LAYER_ENTRY or len(layers) != 1:
            return None
        said = root.get("annotations")
        unpacked = said.get(_UNPACKED).text()
        if not unpacked.isascii() or not unpacked.isdigit() or len(unpacked) > 16:
            return None
        layer = Layer(parse_descriptor(layers[0]), said.get(_DIFF_ID).digest(), int(unpacked))
        return Entry(said.get(RECIPE).digest(), layer, said.get(_TITLE).text(""), said.get(_CREATED).text(""))
    except ImageError:
        return None


def _fact(fetched: Fetched, where: str) -> Digest | None:
    try:
        root = Node(parse_object(fetched.data, where), where)
        if root.get("artifactType").value != FACT_ENTRY:
            return None
        return root.get("annotations").get(_FACT).digest()
    except ImageError:
        return None


def _annotations(fetched: Fetched, where: str) -> dict[str, str]:
    return Node(parse_object(fetched.data, where), where).get("annotations").strings()
