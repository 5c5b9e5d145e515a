"""An image with one more layer on top: what is said below stays as it stands, unknown fields too (config.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trainload.digest import Digest, canonical_json
from trainload.image.assemble import document
from trainload.image.model import DOCKER_LAYER_GZIP, DOCKER_MANIFEST, LAYER_GZIP, Descriptor, History, Image, Layer
from trainload.image.parse import make_image


def on_top(image: Image, layer: Layer, history: History, annotations: Mapping[str, str]) -> Image:
    """A new image; ``annotations`` are its manifest's. Raises :class:`ImageError` for too many layers."""
    config: dict[str, Any] = json.loads(image.config_bytes)
    config["rootfs"]["diff_ids"].append(str(layer.diff_id))
    config["history"] = [
        *(config.get("history") or ()),
        {"created": history.created, "created_by": history.created_by, "comment": history.comment},
    ]
    config["created"] = history.created
    written = canonical_json(config)
    manifest: dict[str, Any] = json.loads(image.manifest_bytes)
    kind = DOCKER_LAYER_GZIP if image.manifest.media_type == DOCKER_MANIFEST else LAYER_GZIP
    added = Descriptor(kind, layer.descriptor.digest, layer.descriptor.size)
    manifest["layers"].append(document(added))
    manifest["config"] = document(
        Descriptor(image.manifest.config.media_type, Digest.sha256(written), len(written))
    )
    manifest["annotations"] = {**(manifest.get("annotations") or {}), **annotations}
    return make_image(canonical_json(manifest), written, "commit")
