"""A few entries that lines of a Dockerfile make: accounts, links, folders; and other modes and owners of files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import BinaryIO

from trainload.digest import Digest
from trainload.errors import LayerError, Place, Text
from trainload.layers.foreign.changes import Effect, LayerReader
from trainload.layers.model import ByteSink, Written
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import LayerWriter, Owner
from trainload.limits import DEFAULT, Limits, MiB
from trainload.plan.placed import FilesRecipe, PlacedEntry

MOST = 64 * MiB
"""Bytes of files whose content is taken over; what is more is run instead."""


def write_files(
    recipe: FilesRecipe, below: Mapping[int, Callable[[], BinaryIO]], sink: ByteSink, limits: Limits = DEFAULT
) -> Written:
    """The layer of ``recipe``; ``below``: how to open the layers that contents come from, by their numbers.

    Raises :class:`LayerError` for a layer that is broken or lacks what is to be taken over.
    """
    contents = _contents(recipe, below, limits)
    with LayerWriter(sink) as out:
        for entry in recipe.entries:
            owner = Owner(entry.uid, entry.gid)
            match entry.kind:
                case "directory":
                    out.directory(entry.path, mode=entry.mode, owner=owner)
                case "symlink":
                    out.symlink(entry.path, entry.target, owner=owner)
                case "whiteout":
                    out.whiteout(entry.path)
                case _:
                    out.file(entry.path, _content(entry, contents), mode=entry.mode, owner=owner)
        return out.close()


def _content(entry: PlacedEntry, contents: Mapping[str, bytes]) -> bytes:
    if entry.origin is None:
        return base64.b64decode(entry.content)
    found = contents.get(entry.path)
    if found is None:
        raise LayerError(Text("the layer below has no file here"), place=Place(entry.path))
    return found


def _contents(recipe: FilesRecipe, below: Mapping[int, Callable[[], BinaryIO]], limits: Limits) -> dict[str, bytes]:
    """Contents by path, each layer read once."""
    wanted: dict[int, set[str]] = {}
    for entry in recipe.entries:
        if entry.origin is not None:
            wanted.setdefault(entry.origin, set()).add(entry.path)
    found: dict[str, bytes] = {}
    for number, paths in wanted.items():
        diff_id = Digest.parse(recipe.below[number])
        with below[number]() as blob:
            reader = LayerReader(blob, diff_id, diff_id.short, limits=limits)
            for change in reader:
                placed = change.effect is Effect.PLACES and change.member.kind is MemberKind.FILE
                if placed and change.path in paths:
                    found[change.path] = reader.files.content(MOST)
    return found
