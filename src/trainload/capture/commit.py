"""The changes of a container as one more layer of its image; such an image can be run, and never be built again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from trainload.capture import debian
from trainload.capture.model import Recognised
from trainload.capture.noise import is_made_by_installing, is_noise
from trainload.capture.secret import secret_name
from trainload.errors import RunError, StoreError, Text
from trainload.image.extend import on_top
from trainload.image.model import LAYER_GZIP, Descriptor, History, Image, Layer
from trainload.layers.debian import configuration
from trainload.layers.writer import LayerWriter
from trainload.project.secrets import looks_secret
from trainload.run.changed import Container, How
from trainload.store.store import Store

CAPTURED = "dev.trainload.captured"
"""Annotation of a manifest: what was done by hand, as JSON."""
_MOST_TOLD = 200
"""Files that the annotation names."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What came of it."""

    image: Image
    secrets: tuple[str, ...]
    """Paths that were left out."""


def image_of(container: Container, store: Store) -> Image:
    """The image that the container was made of. Raises :class:`StoreError` when the store does not have it."""
    for listed in store.images():
        image = listed.image
        wanted = container.image.removeprefix("sha256:")
        if image is not None and wanted in (image.digest.hex, image.manifest.config.digest.hex):
            return image
    raise StoreError(
        Text("the image of {name} is not in the store", name=container.name),
        got=container.image,
        hints=(Text("bring it in: docker save IMAGE -o image.tar && trainload load image.tar"),),
    )


def commit(container: Container, found: Recognised, store: Store, now: datetime) -> Committed:
    """Write the layer and make the image, without a name yet; ``found``: what the changes mean.

    Raises :class:`RunError` when nothing was changed.
    """
    if found.empty:
        raise RunError(Text("nothing was changed in {name}", name=container.name))
    image = image_of(container, store)
    choice = _Choice(found)
    with store.ingest() as ingest:
        with LayerWriter(ingest) as out:
            container.write_layer(out, choice.left_out, choice.is_secret)
            written = out.close()
        digest, size = ingest.commit()
    layer = Layer(Descriptor(LAYER_GZIP, digest, size), written.diff_id, written.unpacked)
    told = History(f"trainload commit: {', '.join(_words(found))}", "trainload", now.strftime("%Y-%m-%dT%H:%M:%SZ"))
    made = on_top(image, layer, told, {CAPTURED: json.dumps(_document(found), ensure_ascii=False, sort_keys=True)})
    return Committed(made, tuple(sorted(choice.secrets)))


class _Choice:
    """What goes into the layer, and which secrets did not."""

    def __init__(self, found: Recognised) -> None:
        self._found = found
        self.secrets: set[str] = set()

    def left_out(self, path: str) -> bool:
        if path in self._found.owned or path == debian.STATES or path.startswith("var/lib/dpkg/"):
            return configuration.left_out(path) and path != debian.STATES
        # what packages' scripts make is part of the packages here, and of no use to anyone who captures
        made = bool(self._found.system) and is_made_by_installing(path)
        kind = None if made else secret_name(path)
        if kind is not None:
            self.secrets.add(path)
        return kind is not None or configuration.left_out(path) or (is_noise(path) and path != "etc/ld.so.cache")

    def is_secret(self, path: str, data: bytes) -> bool:
        """A file's content, if it is small."""
        if path in self._found.owned or looks_secret(data) is None:
            return False
        self.secrets.add(path)
        return True


def _words(found: Recognised) -> Iterator[str]:
    yield from (f"{one.name} {one.version}" if one.version else f"without {one.name}" for one in found.python)
    yield from (one.name if one.how is not How.DELETED else f"without {one.name}" for one in found.system)
    files = len(found.code) + len(found.elsewhere)
    if files:
        yield f"{files} files"


def _document(found: Recognised) -> dict[str, object]:
    files = [*(path for path, _ in found.code), *(f"/{path}" for path, _ in found.elsewhere)]
    return {
        "python": {one.name: one.version for one in found.python},
        "system": {one.name: one.how for one in found.system},
        "files": files[:_MOST_TOLD],
        "more_files": max(0, len(files) - _MOST_TOLD),
    }
