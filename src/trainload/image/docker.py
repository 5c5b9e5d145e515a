"""Docker's media types (schema 2) in the place of OCI's, for registries that take no others; same layers."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trainload.digest import Digest, canonical_json
from trainload.image.model import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    INDEX,
    LAYER,
    LAYER_GZIP,
    MANIFEST,
)  # fmt: skip

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_TYPES = {
    MANIFEST: DOCKER_MANIFEST, INDEX: DOCKER_INDEX, CONFIG: DOCKER_CONFIG, LAYER: DOCKER_LAYER,
    LAYER_GZIP: DOCKER_LAYER_GZIP,
}  # fmt: skip
_KEPT = ("digest", "size", "platform")


def in_docker_types(documents: Sequence[tuple[bytes, str]]) -> list[tuple[bytes, str]] | None:
    """Manifests and indexes (bytes, media type), children first, with Docker's types.

    None when something in them has no such type (zstd layers, artifacts) or nothing would change.
    """
    new: dict[str, tuple[str, int]] = {}
    made: list[tuple[bytes, str]] = []
    for data, kind in documents:
        document = json.loads(data)
        children = [document.get("config"), *document.get("layers", ())] if kind == MANIFEST else ()
        children = children or document.get("manifests", ())
        if kind not in (MANIFEST, INDEX) or any(child.get("mediaType") not in _TYPES for child in children):
            return None
        fresh = {"schemaVersion": 2, "mediaType": _TYPES[kind]}
        if kind == MANIFEST:
            fresh |= {"config": _descriptor(document["config"], new)}
            fresh |= {"layers": [_descriptor(layer, new) for layer in document["layers"]]}
        else:
            fresh |= {"manifests": [_descriptor(child, new) for child in document["manifests"]]}
        raw = canonical_json(fresh)
        new[str(Digest.sha256(data))] = (str(Digest.sha256(raw)), len(raw))
        made.append((raw, _TYPES[kind]))
    return made


def _descriptor(old: dict[str, object], new: dict[str, tuple[str, int]]) -> dict[str, object]:
    kept = {key: old[key] for key in _KEPT if key in old}
    kept["mediaType"] = _TYPES[str(old["mediaType"])]
    if str(old["digest"]) in new:
        kept["digest"], kept["size"] = new[str(old["digest"])]
    return kept
