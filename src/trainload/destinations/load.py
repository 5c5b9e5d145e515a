"""Archives of images, whoever wrote them, read in one pass from a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from trainload.destinations import docker_archive
from trainload.destinations.arrivals import Arrivals, Arriving
from trainload.destinations.intake import Wanted, bring_in
from trainload.destinations.layout import INDEX_FILE, LAYOUT_FILE, check_version, listed
from trainload.destinations.members import Members, take_members
from trainload.errors import ImageError, LayerError, Place, Text
from trainload.events import Reporter
from trainload.layers.decompress import opened
from trainload.layers.tarread import Readable
from trainload.limits import DEFAULT
from trainload.store.store import Store

_READ = Text("it reads what `trainload save`, `docker save`, `podman save` and `skopeo copy` write, if it is whole")


def load(
    store: Store,
    stream: Readable,
    archive: str,
    wanted: Wanted,
    reporter: Reporter,
    checked: Callable[[int], object] = lambda _: None,
) -> Sequence[Arriving]:
    """Bring the images of ``stream`` into the store, all or none; ``archive`` names it in errors.

    An OCI image layout keeps every digest; an archive in Docker's own form gets a manifest of ours. What compresses
    it is seen from its first bytes. Raises :class:`ImageError`, :class:`LayerError` or :class:`StoreError`; the
    store is then as it was.
    """
    outer = replace(wanted.limits, unpacked=sys.maxsize)  # it is written to the disk as it comes
    with store.writing(), Arrivals(store, archive, limits=wanted.limits) as arrivals:
        try:
            members = take_members(opened(stream, Place(archive), limits=outer), archive, arrivals, outer)
        except LayerError as error:
            error.hints = (*error.hints, _READ)
            raise
        return bring_in(arrivals, _images(members, arrivals), wanted, reporter, checked)


def _images(members: Members, arrivals: Arrivals) -> list[Arriving]:
    if INDEX_FILE in members and LAYOUT_FILE in members:
        for link in members.links:
            if link.startswith("blobs/"):
                members.find(link)  # refused: what a blob is must lie at its name (L01)
        where = f"{members.archive}: {LAYOUT_FILE}"
        check_version(arrivals.read(members.find(LAYOUT_FILE)[0], DEFAULT.manifest), where)
        index = arrivals.read(members.find(INDEX_FILE)[0], DEFAULT.manifest)
        return listed(index, f"{members.archive}: {INDEX_FILE}")
    if docker_archive.FILE in members:
        return docker_archive.images(members, arrivals)
    hints = [Text("`docker export` writes the files of a container; an image is written by `docker save`")]
    if "repositories" in members:
        hints = [Text("it was written by Docker 1.9 or older: load it there into a newer Docker and save it again")]
    raise ImageError(
        Text("this archive holds no image"),
        place=Place(members.archive),
        want=f"{INDEX_FILE} and {LAYOUT_FILE}, or {docker_archive.FILE}",
        hints=hints,
    )
