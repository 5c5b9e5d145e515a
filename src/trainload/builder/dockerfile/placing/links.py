"""Wheels in a folder of the image (``pip install --find-links /wheels``): taken out of its layers, once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainload.builder.dockerfile.ground import Ground
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.image.model import Layer
from trainload.layers.foreign.changes import Effect, LayerReader
from trainload.layers.tarread import MemberKind
from trainload.values import dataclass

_SOURCES = (".tar.gz", ".zip", ".tar.bz2", ".tgz")
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Linked:
    """A wheel."""

    name: str
    sha256: str
    size: int


def wheels_in(folders: Sequence[str], ground: Ground) -> tuple[Linked, ...]:
    """The wheels of ``folders``, which are in the file cache then. Raises :class:`Beyond` beside sources."""
    wanted: dict[int, dict[str, str]] = {}
    for folder in folders:
        for name in ground.folder(folder):
            if name.endswith(_SOURCES):
                raise Beyond(Text("{names}, which would have to be built", names=name))
            path = ground.real(f"{folder.strip('/')}/{name}")
            seen = ground.at(path)
            if name.endswith(".whl") and seen is not None and seen.kind is MemberKind.FILE:
                wanted.setdefault(seen.layer, {})[path] = name
    if sum(map(len, wanted.values())) > _MOST:
        raise Beyond(Text("a folder with very many wheels"))
    found = [
        one for number, paths in sorted(wanted.items()) for one in _taken(ground, ground.layers[number], paths)
    ]
    return tuple(sorted(found, key=lambda one: one.name))


def links_folder(wheels: Sequence[Linked], ground: Ground, folder: Path) -> str:
    """``folder`` with links to them, for uv."""
    folder.mkdir()
    for wheel in wheels:
        place = ground.store.files.find(wheel.sha256, wheel.size)
        assert place is not None  # wheels_in has put it there
        (folder / wheel.name).symlink_to(place)
    return str(folder)


def _taken(ground: Ground, layer: Layer, paths: Mapping[str, str]) -> list[Linked]:
    files, facts = ground.store.files, ground.store.facts
    key = Digest.sha256(canonical_json({"wheels": sorted(paths), "layer": str(layer.diff_id)}))
    said = facts.said(key)
    if said is not None:
        known = [Linked(*row) for row in json.loads(said)]
        if all(files.find(one.sha256, one.size) is not None for one in known):
            return known
    found: dict[str, Linked] = {}
    with ground.store.blob_file(layer.descriptor.digest) as blob:
        reader = LayerReader(blob, layer.diff_id, str(layer.diff_id), limits=ground.limits)
        for change in reader:
            if change.effect is Effect.PLACES and change.path in paths:
                with files.ingest(change.member.size) as ingest:
                    for piece in reader.files.chunks():
                        ingest.write(piece)
                    digest, size = ingest.commit()
                found[change.path] = Linked(paths[change.path], digest.hex, size)
    facts.note(key, json.dumps([[one.name, one.sha256, one.size] for one in found.values()]).encode())
    return list(found.values())
