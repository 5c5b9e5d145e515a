"""Images written into a folder as an OCI image layout: whole or not at all, the index last."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trainload.destinations.departure import LAYOUT, Leaving, blobs_of, index_document, read_blob
from trainload.destinations.layout import INDEX_FILE, LAYOUT_FILE, blob_name, check_version, listed, no_layout
from trainload.destinations.naming import REF_NAME, name_annotations
from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError, Place, Text
from trainload.image.strict_json import parse_object
from trainload.limits import DEFAULT
from trainload.store.content import CHUNK, sync_folder
from trainload.store.store import Store
from trainload.system.files import FileError, replace, replacing

_STORE = "trainload.json"


@dataclass(frozen=True, slots=True)
class Exported:
    """Bytes."""

    written: int
    present: int


def export_layout(
    store: Store,
    leaving: Sequence[Leaving],
    folder: Path,
    moved: Callable[[int], object] = lambda _: None,
    omit: Collection[Digest] = (),
) -> Exported:
    """Write the images into the layout in ``folder``, which is made or added to; blobs it has are verified.

    ``moved`` is told the bytes so far; ``omit``: blobs that its reader has, so that it is whole only there. Raises
    :class:`ImageError` for a folder that holds something else,
    :class:`FileError` when it cannot be written; what was there is then as it was.
    """
    blobs = blobs_of(leaving, omit)
    made: list[Path] = []
    try:
        for path in (*_absent(folder), folder / "blobs", folder / "blobs" / "sha256"):
            _check_real(path)
            if not path.is_dir():
                path.mkdir()
                made.append(path)
        with _locked(folder):
            index = _index(folder, made)
            exported = _write_blobs(store, blobs, folder, made, moved)
            sync_folder(folder / "blobs" / "sha256")
            if not (folder / LAYOUT_FILE).exists():
                made.append(folder / LAYOUT_FILE)
                replace(folder / LAYOUT_FILE, LAYOUT)
            replace(folder / INDEX_FILE, canonical_json(_added(index, leaving)))
    except BaseException as error:
        _remove(made)
        if isinstance(error, OSError):
            raise FileError(
                Text("{file} could not be written", file=folder.name), place=Place(str(folder)), got=error.strerror
            ) from error
        raise
    return exported


def _absent(folder: Path) -> list[Path]:
    """``folder`` and what is missing above it, from the top."""
    found = []
    while not folder.exists() and not folder.is_symlink():
        found.append(folder)
        folder = folder.parent
    return found[::-1]


def _check_real(path: Path) -> None:
    """Nothing is written through a link that somebody put into the layout (L01)."""
    if path.is_symlink():
        raise ImageError(
            Text("a file of the image layout is a link"), place=Place(str(path)), want="a folder or a regular file"
        )


def _index(folder: Path, made: Sequence[Path]) -> Mapping[str, object]:
    """The index as it is; a new one for a folder that was empty. Raises :class:`ImageError`."""
    if (folder / _STORE).exists():
        raise ImageError(
            Text("this folder is a store of Trainload, whose list of images only Trainload changes"),
            place=Place(str(folder)),
            hints=[Text("export into another folder and, with --home, import from there")],
        )
    there = {path.name for path in folder.iterdir() if path not in made}
    if not there:
        return index_document(())
    layout, index = folder / LAYOUT_FILE, folder / INDEX_FILE
    if LAYOUT_FILE not in there or INDEX_FILE not in there:
        raise no_layout(folder, f"a folder with {', '.join(sorted(there)[:5])}")
    for path in (layout, index):
        _check_real(path)
    check_version(layout.read_bytes(), str(layout))
    data = index.read_bytes()
    if parse_object(data, str(index), limit=DEFAULT.manifest).get("manifests") != []:
        listed(data, str(index))
    return parse_object(data, str(index), limit=DEFAULT.manifest)


def _write_blobs(
    store: Store, blobs: Mapping[Digest, int], folder: Path, made: list[Path], moved: Callable[[int], object]
) -> Exported:
    written = present = 0
    for digest, size in blobs.items():
        target = folder / blob_name(digest)
        _check_real(target)
        if _holds(target, digest, size):
            present += size
        else:
            if not target.exists():
                made.append(target)
            with replacing(target) as file:
                for chunk in read_blob(store, digest):
                    file.write(chunk)
                    written += len(chunk)
                    moved(written + present)
        moved(written + present)
    return Exported(written, present)


def _holds(path: Path, digest: Digest, size: int) -> bool:
    """Whether the blob is there already; it is read, because a name proves nothing (L03)."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    return state.hexdigest() == digest.hex


def _added(index: Mapping[str, object], leaving: Sequence[Leaving]) -> Mapping[str, object]:
    """The index with these images; other images lose the names they get, other fields stay."""
    lines = index.get("manifests")
    assert isinstance(lines, list)
    names = {one.name for one in leaving if one.name is not None}
    unnamed = {str(one.descriptor.digest) for one in leaving if one.name is None}
    kept = [
        line
        for line in lines
        if (name := line.get("annotations", {}).get(REF_NAME)) not in names
        and not (name is None and line["digest"] in unnamed)
    ]
    return {**index, "manifests": [*kept, *(one.described(name_annotations(one.name)) for one in leaving)]}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One export at a time changes a layout; the kernel lets go when it dies."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove(made: Sequence[Path]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
