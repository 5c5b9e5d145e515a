"""Docker's own form of an archive: ``manifest.json`` names configs and layers, and nothing has a digest.

``docker save`` before 25, ``podman save``, ``skopeo copy docker-archive:``, Bazel and Nix write it. The image
we make of it has a manifest of ours; its config and layers are the bytes that came, compressed or not as they
are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainload.destinations.arrivals import Arrivals, Arriving
from trainload.destinations.members import Members
from trainload.digest import canonical_json
from trainload.errors import ImageError, Place
from trainload.image.assemble import document
from trainload.image.model import CONFIG, LAYER, LAYER_GZIP, LAYER_ZSTD, MANIFEST, Descriptor
from trainload.image.parse import Node, parse_config
from trainload.image.strict_json import parse_value
from trainload.layers.decompress import compression
from trainload.limits import DEFAULT
from trainload.reference import Reference

FILE = "manifest.json"
_MEDIA_TYPES = {"": LAYER, "gz": LAYER_GZIP, "zst": LAYER_ZSTD}
_HASHED = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?", re.ASCII)


def images(members: Members, arrivals: Arrivals) -> list[Arriving]:
    """The images of the archive, whose manifests join ``arrivals``.

    Raises :class:`ImageError` for a list that is malformed, or names what the archive does not hold.
    """
    digest, _ = members.find(FILE)
    where = f"{members.archive}: {FILE}"
    root = Node(parse_value(arrivals.read(digest, DEFAULT.manifest), where), where)
    if not isinstance(root.value, list) or len(root.value) > DEFAULT.index_children:
        raise root.refuse(f"a list of at most {DEFAULT.index_children} images")
    return [_image(item, members, arrivals) for item in root.items()]


def _image(item: Node, members: Members, arrivals: Arrivals) -> Arriving:
    name = item.get("Config").text()
    config_digest, config_size = members.find(name)
    promised = _HASHED.fullmatch(name)
    if promised and promised[1] != config_digest.hex:
        raise item.get("Config").refuse(f"a file that is what its name says; it is {config_digest}")
    where = f"{members.archive}: {name}"
    config = parse_config(arrivals.read(config_digest, DEFAULT.config), where)
    layers = [_layer(path, members, arrivals) for path in item.get("Layers").texts()]
    if len(layers) != len(config.diff_ids):
        raise ImageError(
            "the config does not list the layers of the manifest",
            place=Place(where, "rootfs.diff_ids"), got=len(config.diff_ids), want=len(layers),
        )  # fmt: skip
    manifest = _manifest(Descriptor(CONFIG, config_digest, config_size), layers)
    digest, size = arrivals.take([manifest])
    names = tuple(str(Reference.parse(tag)) for tag in item.get("RepoTags").texts())
    return Arriving(Descriptor(MANIFEST, digest, size), names)


def _layer(path: str, members: Members, arrivals: Arrivals) -> Descriptor:
    digest, size = members.find(path, links=True)
    with arrivals.open(digest) as file:
        kind = compression(file.read(6))
    if kind not in _MEDIA_TYPES:
        raise ImageError(
            "a layer's compression is not one that images have",
            place=Place(members.archive, path), got=kind, want="gzip, zstd or none",
        )  # fmt: skip
    return Descriptor(_MEDIA_TYPES[kind], digest, size)


def _manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": document(config),
            "layers": [document(layer) for layer in layers],
        }
    )
