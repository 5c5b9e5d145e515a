"""Which of the images that come in are wanted, and under which names.

Of an index of several platforms not all need be there: other programs save the one image they have and the index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainload.destinations.arrivals import Arrivals, Arriving
from trainload.digest import Digest
from trainload.errors import ImageError, Place, Text
from trainload.events import Level, Reporter, Said
from trainload.image.model import Descriptor, ImageIndex, Manifest
from trainload.image.parse import parse_manifest, select
from trainload.limits import DEFAULT, Limits
from trainload.platform import Platform
from trainload.store.closure import DOCUMENTS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of an archive or a layout."""

    names: tuple[str, ...] = ()
    """Instead of the image's own; for one image only."""
    platform: Platform | None = None
    """Of an index, this image alone."""
    limits: Limits = DEFAULT


def bring_in(
    arrivals: Arrivals,
    arriving: Sequence[Arriving],
    wanted: Wanted,
    reporter: Reporter,
    checked: Callable[[int], object],
) -> Sequence[Arriving]:
    """Bring what is wanted of ``arriving`` into the store, all or none; what is to be said is said afterwards.

    Raises as :meth:`Arrivals.commit` does.
    """
    if wanted.names:
        arriving = renamed(arriving, wanted.names, arrivals.origin)
    parts = [whole_part(arrivals, one, wanted.platform) for one in joined(arriving)]
    arrivals.commit([part.arriving for part in parts], checked)
    for part in parts:
        if part.left is not None:
            reporter.report(Said(part.left, Level.WARNING))
    return [part.arriving for part in parts]


def joined(arriving: Sequence[Arriving]) -> list[Arriving]:
    """Each image once, with all its names."""
    names: dict[Digest, list[str]] = {}
    descriptors: dict[Digest, Descriptor] = {}
    for one in arriving:
        descriptors.setdefault(one.descriptor.digest, one.descriptor)
        names.setdefault(one.descriptor.digest, []).extend(one.names)
    return [Arriving(descriptors[digest], tuple(dict.fromkeys(known))) for digest, known in names.items()]


def renamed(arriving: Sequence[Arriving], names: Sequence[str], origin: str) -> list[Arriving]:
    """The one image of ``arriving`` under ``names`` instead of its own. Raises :class:`ImageError` for several."""
    distinct = joined(arriving)
    if len(distinct) != 1:
        known = [", ".join(one.names) or str(one.descriptor.digest) for one in distinct]
        raise ImageError(
            Text("a name was given, but there are {count} images", count=len(distinct)),
            place=Place(origin), got=", ".join(known),
            hints=[Text("leave the name out: the images keep their own, and `trainload tag` gives another")],
        )  # fmt: skip
    return [Arriving(distinct[0].descriptor, tuple(names))]


@dataclass(frozen=True, slots=True)
class Part:
    """What is brought in for an image, and what is to be said about it."""

    arriving: Arriving
    left: Text | None = None
    """Something was left behind."""


def whole_part(arrivals: Arrivals, one: Arriving, platform: Platform | None) -> Part:
    """``one`` as it is; of an index that is not whole, or with ``platform``, one image of it.

    Raises :class:`ImageError` when that image is not there.
    """
    if one.descriptor.media_type not in DOCUMENTS:
        return Part(one)
    index = _read(arrivals, one.descriptor)
    if not isinstance(index, ImageIndex):
        return Part(one)
    if platform is not None:
        return Part(Arriving(select(index, platform), one.names))
    known: dict[Digest, bool] = {}
    whole = [child for child in index.manifests if _is_whole(arrivals, child, known)]
    if not whole or len(whole) == len(index.manifests):
        return Part(one)
    fitting = [child for child in whole if child.platform == Platform.host()] or whole
    text = Text(
        "only {platform} of {name} came whole; the index of its other platforms is left behind",
        platform=fitting[0].platform or fitting[0].digest.short,
        name=", ".join(one.names) or one.descriptor.digest.short,
    )
    return Part(Arriving(fitting[0], one.names), text)


def _read(arrivals: Arrivals, descriptor: Descriptor) -> Manifest | ImageIndex:
    where = str(arrivals.path(descriptor.digest))
    data = arrivals.read(descriptor.digest, DEFAULT.manifest)
    return parse_manifest(data, where, digest=descriptor.digest, media_type=descriptor.media_type)


def _is_whole(arrivals: Arrivals, descriptor: Descriptor, known: dict[Digest, bool], depth: int = 1) -> bool:
    """Whether everything below ``descriptor`` is there; each document is read once, however often it is named."""
    if descriptor.digest not in known:
        known[descriptor.digest] = arrivals.has(descriptor.digest)
        if known[descriptor.digest] and descriptor.media_type in DOCUMENTS and depth < DEFAULT.index_depth:
            found = _read(arrivals, descriptor)
            below = found.manifests if isinstance(found, ImageIndex) else (found.config, *found.layers)
            known[descriptor.digest] = all(_is_whole(arrivals, child, known, depth + 1) for child in below)
    return known[descriptor.digest]
