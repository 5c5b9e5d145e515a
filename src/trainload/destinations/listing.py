"""What a store has, written down to be carried to another one: blobs that need not be packed for it."""

from __future__ import annotations

from collections.abc import Mapping

from trainload.digest import Digest
from trainload.errors import ImageError, Place, Text, TrainloadError
from trainload.image.strict_json import parse_object
from trainload.limits import MiB
from trainload.store.closure import reach
from trainload.store.store import Store

LIMIT = 64 * MiB
_KIND = "listing"
_VERSION = 1


def listing(store: Store) -> dict[str, object]:
    """All blobs of whole images, with their sizes; what no image needs may be gone when the pack arrives."""
    blobs: dict[str, int] = {}
    for entry in store.names().entries:
        try:
            found = reach(store.blobs, [entry.descriptor]).blobs
        except TrainloadError:  # an image that cannot be read here: it is packed again
            continue
        blobs.update((str(digest), size) for digest, size in found.items() if store.blobs.sound(digest, size))
    return {"trainload": _KIND, "version": _VERSION, "blobs": dict(sorted(blobs.items()))}


def parse_listing(data: bytes, where: str) -> frozenset[Digest]:
    """The digests of a listing. Raises :class:`ImageError`."""
    try:
        document = parse_object(data, where, limit=LIMIT)
    except ImageError:
        document = {}  # most likely the pack itself
    blobs = document.get("blobs")
    if document.get("trainload") != _KIND or document.get("version") != _VERSION or not isinstance(blobs, Mapping):
        raise ImageError(
            Text("this is not a listing of a store"),
            place=Place(where),
            hints=[Text("it is written on the other machine: trainload pack --list > listing.json")],
        )
    return frozenset(Digest.parse(str(digest)) for digest in blobs)
