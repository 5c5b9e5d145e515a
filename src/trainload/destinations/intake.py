"""Which of the images that come in are wanted, and under which names.

Of an index of several platforms not all need be there: other programs save the one image they have and the index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trainload.destinations.arrivals import Arrivals, Arriving
from trainload.digest import Digest
from trainload.errors import ImageError, Place, Text
from trainload.events import Level, Reporter, Said
from trainload.image.model import Descriptor, ImageIndex
from trainload.image.parse import parse_manifest, select
from trainload.limits import DEFAULT, Limits
from trainload.platform import Platform
from trainload.store.closure import reach


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
    parts = [whole_part(arrivals, one, wanted.platform) for one in arriving]
    arrivals.commit([part.arriving for part in parts], checked)
    for part in parts:
        if part.left is not None:
            reporter.report(Said(part.left, Level.WARNING))
    return [part.arriving for part in parts]


def renamed(arriving: Sequence[Arriving], names: Sequence[str], origin: str) -> list[Arriving]:
    """The one image of ``arriving`` under ``names`` instead of its own. Raises :class:`ImageError` for several."""
    distinct: Mapping[Digest, Descriptor] = {one.descriptor.digest: one.descriptor for one in arriving}
    if len(distinct) != 1:
        known = sorted({name for one in arriving for name in one.names} or {str(digest) for digest in distinct})
        raise ImageError(
            Text("a name was given, but there are {count} images", count=len(distinct)),
            place=Place(origin), got=", ".join(known),
            hints=[Text("leave the name out: the images keep their own, and `trainload tag` gives another")],
        )  # fmt: skip
    return [Arriving(descriptor, tuple(names)) for descriptor in distinct.values()]


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
    index = _index(arrivals, one.descriptor)
    if index is None:
        return Part(one)
    if platform is not None:
        return Part(Arriving(select(index, platform), one.names))
    whole = [child for child in index.manifests if _is_whole(arrivals, child)]
    if not whole or len(whole) == len(index.manifests):
        return Part(one)
    fitting = [child for child in whole if child.platform == Platform.host()] or whole
    text = Text(
        "only {platform} of {name} came whole; the index of its other platforms is left behind",
        platform=fitting[0].platform or fitting[0].digest.short,
        name=", ".join(one.names) or one.descriptor.digest.short,
    )
    return Part(Arriving(fitting[0], one.names), text)


def _index(arrivals: Arrivals, descriptor: Descriptor) -> ImageIndex | None:
    where = str(arrivals.path(descriptor.digest))
    data = arrivals.read(descriptor.digest, DEFAULT.manifest)
    found = parse_manifest(data, where, digest=descriptor.digest, media_type=descriptor.media_type)
    return found if isinstance(found, ImageIndex) else None


def _is_whole(arrivals: Arrivals, child: Descriptor) -> bool:
    if not arrivals.has(child.digest):
        return False
    try:
        return all(arrivals.has(digest) for digest in reach(arrivals, [child]).blobs)
    except ImageError:
        return False
