"""A folder with images: the OCI image layout (image-layout.md), as skopeo, umoci and buildah read and write it.

It may be anyone's: links are not followed (a blob that is one would carry away a file of this machine, THREATS
L01), and each blob's bytes are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from trainload.destinations.arrivals import Arrivals, Arriving
from trainload.destinations.intake import Wanted, bring_in
from trainload.destinations.naming import name_from
from trainload.digest import Digest
from trainload.errors import ConfigError, ImageError, Place, Text
from trainload.events import Reporter
from trainload.image.model import INDEX, ImageIndex
from trainload.image.parse import parse_manifest
from trainload.image.strict_json import parse_object
from trainload.limits import DEFAULT
from trainload.store.store import Store
from trainload.system.tree import DiskTree
from trainload.tree import EntryKind

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"


class Folder:
    """The layout at ``path`` for reading; a :class:`trainload.destinations.arrivals.Supply`."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`ImageError` for a folder that is no layout (L05)."""
        self.path = path
        if not path.is_dir():
            raise ImageError(
                Text("there is no folder {folder}", folder=path),
                hints=[Text("an archive, one file, is read by `trainload load -i {file}`", file=path)],
            )
        self._tree = DiskTree(path)
        data = self._read(LAYOUT_FILE)
        if data is None:
            raise no_layout(path, "no oci-layout file")
        check_version(data, str(path / LAYOUT_FILE))

    def images(self) -> list[Arriving]:
        """What ``index.json`` lists. Raises :class:`ImageError` (L02)."""
        return listed(self._read(INDEX_FILE) or b"", str(self.path / INDEX_FILE))

    def open(self, digest: Digest, /) -> BinaryIO | None:
        name = blob_name(digest)
        try:
            entry = self._tree.find(name)
            if entry is None:
                return None
            if entry.kind is not EntryKind.FILE:
                raise self._refused(name, entry.kind)
            return self._tree.open(name)
        except ConfigError as error:
            raise self._refused(name, error.text) from error

    def _read(self, name: str) -> bytes | None:
        try:
            return self._tree.read(name, limit=DEFAULT.manifest) if self._tree.find(name) else None
        except ConfigError as error:
            raise self._refused(name, error.text) from error

    def _refused(self, name: str, got: object) -> ImageError:
        return ImageError(
            Text("a file of the image layout cannot be taken: links are not followed, other things are no files"),
            place=Place(str(self.path / name)), got=got, want="a regular file",
        )  # fmt: skip


def import_layout(
    store: Store, path: Path, wanted: Wanted, reporter: Reporter, checked: Callable[[int], object] = lambda _: None
) -> Sequence[Arriving]:
    """Bring the images of the layout at ``path`` into the store, all or none, with every digest kept.

    Raises :class:`ImageError`, :class:`LayerError` or :class:`StoreError`; the store is then as it was.
    """
    folder = Folder(path)
    with store.writing(), Arrivals(store, str(path), folder, wanted.limits) as arrivals:
        return bring_in(arrivals, folder.images(), wanted, reporter, checked)


def check_version(data: bytes, where: str) -> None:
    """``oci-layout`` says a version we know. Raises :class:`ImageError` (L05)."""
    version = parse_object(data, where).get("imageLayoutVersion")
    if version != "1.0.0":
        raise no_layout(Path(where).parent, f"imageLayoutVersion {version!r}")


def listed(data: bytes, where: str) -> list[Arriving]:
    """The images of an ``index.json`` under their names. Raises :class:`ImageError` (L02)."""
    try:
        index = parse_manifest(data, where, media_type=INDEX)
        assert isinstance(index, ImageIndex)
        found = [Arriving(child, _names(child.annotations)) for child in index.manifests]
    except ImageError as error:
        raise ImageError(
            Text("the list of images in the layout cannot be read"),
            place=Place(where), got=str(error), want="an OCI image index",
            hints=[Text("make the archive or folder again, from where the image is whole")],
        ) from error  # fmt: skip
    if not found:
        raise ImageError(Text("the list of images in the layout is empty"), place=Place(where))
    return found


def _names(found: Mapping[str, str]) -> tuple[str, ...]:
    name = name_from(found)
    return (name,) if name is not None else ()


def blob_name(digest: Digest) -> str:
    """Where a blob lies in a layout (image-layout.md § Blobs)."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def no_layout(folder: Path, got: str) -> ImageError:
    """The refusal of a folder that is no layout we know (L05)."""
    return ImageError(
        Text("this is not an OCI image layout we can read"),
        place=Place(str(folder / LAYOUT_FILE)), got=got, want='imageLayoutVersion "1.0.0"',
    )  # fmt: skip
