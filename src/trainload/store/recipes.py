"""Which layer came of which inputs: recipe key → layer, one small file each under ``recipes/``.

A record is a cache: it is written whole or not at all, but nobody waits for the disk; one that was torn by a
power cut or changed since is no record.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError
from trainload.image.assemble import document
from trainload.image.model import Layer
from trainload.image.parse import Node, parse_descriptor
from trainload.image.strict_json import parse_object
from trainload.store.content import Content
from trainload.store.layout import Layout
from trainload.store.session import Session
from trainload.store.trouble import told


class Recipes:
    """The map from recipe keys to layers."""

    def __init__(
        self, layout: Layout, blobs: Content, session: Callable[[], Session], writing: Callable[[], bool]
    ) -> None:
        self._layout = layout
        self._blobs = blobs
        self._session = session
        self._writing = writing

    def path(self, key: Digest) -> Path:
        return self._layout.recipes / f"{key.hex}.json"

    def find(self, key: Digest) -> Layer | None:
        """The layer made of these inputs, if its blob is here, whole and untouched.

        While the store is being written to (:meth:`Store.writing`), gc leaves the layer alone from now on, and a
        blob found damaged is put aside; otherwise nothing is written.
        """
        layer = read_record(self.path(key), key)
        if layer is None:
            return None
        check = self._blobs.held if self._writing() else self._blobs.sound
        return layer if check(layer.descriptor.digest, layer.descriptor.size) else None

    def record(self, key: Digest, layer: Layer) -> None:
        """Remember ``layer``, whose blob is committed already."""
        temporary = self._session().temporary()
        with told(self._layout.home):
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(fd, 0o644)
                os.write(fd, canonical_json(_to_json(key, layer)))
            finally:
                os.close(fd)
            temporary.replace(self.path(key))

    def unpacked(self, wanted: Collection[Digest]) -> dict[Digest, int]:
        """How many bytes the tar streams of these layers have, as far as a record says."""
        names = {digest.hex.encode(): digest for digest in wanted}
        found: dict[Digest, int] = {}
        for path in self._layout.recipes.glob("*.json") if names else ():
            if len(found) == len(names):
                break
            with contextlib.suppress(OSError, ImageError):  # gone meanwhile, or no record
                if not any(name in path.read_bytes() for name in names):
                    continue
                layer = read_record(path, Digest("sha256", path.stem))
                if layer is not None and layer.descriptor.digest in wanted:
                    found[layer.descriptor.digest] = layer.unpacked
        return found


def read_record(path: Path, key: Digest) -> Layer | None:
    """The record at ``path`` if it is one for ``key``."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        root = Node(parse_object(data, str(path)), str(path))
        if root.get("sum").text() != _sum(root.object()) or root.get("recipe").digest() != key:
            return None
        return Layer(
            parse_descriptor(root.get("layer")), root.get("diff_id").digest(), root.get("unpacked").integer()
        )
    except ImageError:
        return None


def _to_json(key: Digest, layer: Layer) -> dict[str, object]:
    record: dict[str, object] = {
        "version": 1,
        "recipe": str(key),
        "layer": document(layer.descriptor),
        "diff_id": str(layer.diff_id),
        "unpacked": layer.unpacked,
    }
    return {**record, "sum": _sum(record)}


def _sum(record: Mapping[str, object]) -> str:
    """One flipped bit in a record must not become a wrong diff_id in an image (fault 16)."""
    return str(Digest.sha256(canonical_json({key: value for key, value in record.items() if key != "sum"})))
