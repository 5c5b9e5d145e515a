"""``index.json``: which images the store has, under which names; as ``trainload.store.index`` keeps it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from trainload.runner.trouble import Trouble

NAME = "org.opencontainers.image.ref.name"
SUM = "dev.trainload.sum"
_NO_NAME = ""


def parse(data: bytes) -> dict[str, Any]:
    """The document. Raises :class:`Trouble` for one that cannot be read or was damaged."""
    try:
        document = json.loads(data.decode())
        lines = document["manifests"]
        right = document["schemaVersion"] == 2 and all(isinstance(one["digest"], str) for one in lines)
    except (ValueError, KeyError, TypeError) as error:
        raise Trouble("index", said=str(error)) from error
    known = (document.get("annotations") or {}).get(SUM)
    if not right or (known is not None and known != _sum(document) and canonical(document) == data):
        raise Trouble("index", said="its sum does not hold")
    return dict(document)


def added(document: dict[str, Any], image: dict[str, Any], names: Iterable[str]) -> bytes:
    """The document with ``image`` under ``names``, which other images lose."""
    wanted = sorted(set(names))
    old = document["manifests"]
    bare = _named(next((one for one in old if one["digest"] == image["digest"]), image), None)
    kept = [_named(one, None) if name_of(one) in wanted else one for one in old]
    unique = {_key(one): one for one in [*kept, bare, *(_named(bare, name) for name in wanted)]}
    named = {digest for name, digest in unique if name}
    lines = [one for (name, digest), one in sorted(unique.items()) if name or digest not in named]
    changed = {**document, "manifests": lines}
    return canonical({**changed, "annotations": {**(changed.get("annotations") or {}), SUM: _sum(changed)}})


def names_of(document: dict[str, Any], digest: str) -> list[str]:
    """All names of an image, sorted."""
    found = (name_of(one) for one in document["manifests"] if one["digest"] == digest)
    return sorted(name for name in found if name is not None)


def name_of(line: dict[str, Any]) -> str | None:
    return (line.get("annotations") or {}).get(NAME)


def canonical(value: object) -> bytes:
    """JSON with one spelling only, as the store writes it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _key(line: dict[str, Any]) -> tuple[str, str]:
    return name_of(line) or _NO_NAME, line["digest"]


def _named(line: dict[str, Any], name: str | None) -> dict[str, Any]:
    annotations = {key: value for key, value in (line.get("annotations") or {}).items() if key != NAME}
    if name is not None:
        annotations[NAME] = name
    rest = {key: value for key, value in line.items() if key != "annotations"}
    return {**rest, "annotations": annotations} if annotations else rest


def _sum(document: dict[str, Any]) -> str:
    kept = {key: value for key, value in (document.get("annotations") or {}).items() if key != SUM}
    rest = {key: value for key, value in document.items() if key != "annotations"}
    return "sha256:" + hashlib.sha256(canonical({**rest, "annotations": kept})).hexdigest()
