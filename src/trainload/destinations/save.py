"""Images as one file that Docker, Podman, containerd and skopeo read: OCI layout and docker-archive in one.

The tar holds every blob once. ``index.json`` and ``oci-layout`` make it a layout (image-layout.md),
``manifest.json`` names the same blobs for programs that read Docker's older form. The same images give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from trainload.destinations import docker_archive
from trainload.destinations.departure import LAYOUT, Leaving, blobs_of, index_document, read_blob
from trainload.destinations.layout import INDEX_FILE, LAYOUT_FILE, blob_name
from trainload.destinations.naming import name_annotations, tagged
from trainload.digest import Digest, canonical_json
from trainload.layers.model import ByteSink
from trainload.layers.tar import BLOCK, Header, Type, encode, padding
from trainload.store.store import Store

_MODE = 0o644
_END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Archive:
    """What goes into one archive, in order."""

    documents: tuple[tuple[str, bytes], ...]
    blobs: tuple[tuple[Digest, int], ...]
    """Digest and size in bytes."""

    @property
    def size(self) -> int:
        """Bytes of the whole tar."""
        sizes = [len(data) for _, data in self.documents] + [size for _, size in self.blobs]
        headers = [len(encode(_header(name, size))) for name, size in self._names()]
        return sum(headers) + sum(size + padding(size) for size in sizes) + len(_END)

    def _names(self) -> list[tuple[str, int]]:
        return [
            *((name, len(data)) for name, data in self.documents),
            *((blob_name(digest), size) for digest, size in self.blobs),
        ]


def pack(leaving: Sequence[Leaving], omit: Collection[Digest] = ()) -> Archive:
    """What an archive of ``leaving`` holds. ``omit``: blobs that its reader has already; it is whole only there."""
    blobs = blobs_of(leaving, omit)
    index = index_document([one.described(name_annotations(one.name)) for one in leaving])
    documents = [(LAYOUT_FILE, LAYOUT), (INDEX_FILE, canonical_json(index))]
    docker = _docker_manifest(leaving)
    if docker:
        documents.append((docker_archive.FILE, canonical_json(docker)))
    return Archive(tuple(documents), tuple(blobs.items()))


def write(store: Store, archive: Archive, sink: ByteSink, moved: Callable[[int], object] = lambda _: None) -> None:
    """Write the tar to ``sink``; ``moved`` is told the bytes so far.

    Raises :class:`DamagedError` for a blob that is not what its name says; then the tar has no end.
    """
    write_from(lambda digest: read_blob(store, digest), archive, sink, moved)


def write_from(
    read: Callable[[Digest], Iterable[bytes]], archive: Archive, sink: ByteSink,
    moved: Callable[[int], object] = lambda _: None,
) -> None:  # fmt: skip
    """As :func:`write`, with blobs from wherever ``read`` has them."""
    done = 0

    def out(data: bytes) -> None:
        nonlocal done
        sink.write(data)
        done += len(data)

    for name, data in archive.documents:
        out(encode(_header(name, len(data))) + data + bytes(padding(len(data))))
    for digest, size in archive.blobs:
        out(encode(_header(blob_name(digest), size)))
        for chunk in read(digest):
            out(chunk)
            moved(done)
        out(bytes(padding(size)))
    out(_END)
    moved(done)


def _header(name: str, size: int) -> Header:
    return Header(name, Type.FILE, _MODE, size)


def _docker_manifest(leaving: Sequence[Leaving]) -> list[dict[str, object]]:
    """``manifest.json``: one entry per image, with all its tags (moby image/tarexport)."""
    entries: dict[Digest, dict[str, object]] = {}
    tags: dict[Digest, list[str]] = {}
    for one in leaving:
        manifest = one.runnable()
        if manifest is None:
            continue
        key = manifest.config.digest
        reference = tagged(one.name) if one.name else None
        tags.setdefault(key, []).extend([reference.full] if reference else [])
        entries[key] = {
            "Config": blob_name(key),
            "RepoTags": tags[key] or None,
            "Layers": [blob_name(layer.digest) for layer in manifest.layers],
        }
    return list(entries.values())
