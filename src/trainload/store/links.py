"""What a repository of the registry server has beyond the names in ``index.json``: one small file for each thing.

``repositories/NAME/_manifests/ALGORITHM-HEX`` says that a manifest was pushed to NAME, ``_blobs/…`` that a blob was
uploaded or mounted there and no manifest of NAME uses it yet. Creating and removing a file is one step for the
kernel, so no lock is needed and a crash leaves either state. No word of a repository's name begins with ``_``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError, StoreError, Text
from trainload.image.model import Descriptor
from trainload.image.parse import Node
from trainload.image.strict_json import parse_object
from trainload.store.content import sync_folder
from trainload.store.layout import Layout
from trainload.store.session import Session
from trainload.store.trouble import told

_MANIFESTS, _BLOBS = "_manifests", "_blobs"
_SMALL = 4096


@dataclass(frozen=True, slots=True)
class Link:
    """A manifest that was pushed to a repository."""

    repository: str
    descriptor: Descriptor
    root: bool
    """It was pushed by digest only, so gc keeps it; otherwise only its tag or index does, while there is one."""
    path: Path


@dataclass(frozen=True, slots=True)
class BlobLink:
    """A blob that was uploaded to a repository and that no manifest there uses yet."""

    repository: str
    digest: Digest
    path: Path


class Links:
    """All repositories' links; reading writes nothing."""

    def __init__(self, layout: Layout, session: Callable[[], Session] | None = None) -> None:
        """``session``: for writing."""
        self._layout = layout
        self._session = session

    def repositories(self) -> Iterator[str]:
        """Names of the repositories that have any link, in no order."""
        top = self._layout.repositories
        for folder, inner, _ in os.walk(top):
            kinds = [name for name in inner if name in (_MANIFESTS, _BLOBS)]
            inner[:] = [name for name in inner if not name.startswith("_")]
            if any(_digests(Path(folder, kind)) for kind in kinds):
                yield str(Path(folder).relative_to(top))

    def manifests(self, repository: str) -> tuple[Link, ...]:
        found = (self.manifest(repository, digest) for digest in _digests(self.folder(repository)))
        return tuple(link for link in found if link is not None)

    def manifest(self, repository: str, digest: Digest) -> Link | None:
        path = self.folder(repository) / _file_name(digest)
        try:
            data = path.read_bytes()[:_SMALL]
        except OSError:
            return None
        try:
            root = Node(parse_object(data, str(path)), str(path))
            descriptor = Descriptor(root.get("mediaType").text(), digest, root.get("size").integer())
        except ImageError:
            return None  # damaged: as if it had never been pushed
        return Link(repository, descriptor, root.get("root").value is not False, path)

    def blobs(self, repository: str) -> tuple[BlobLink, ...]:
        folder = self._inside(repository) / _BLOBS
        return tuple(BlobLink(repository, digest, folder / _file_name(digest)) for digest in _digests(folder))

    def has_blob(self, repository: str, digest: Digest) -> bool:
        return (self._inside(repository) / _BLOBS / _file_name(digest)).exists()

    def add_manifest(self, repository: str, descriptor: Descriptor, *, root: bool) -> None:
        """Remember it durably; the caller made sure that its blobs are there."""
        document = {"mediaType": descriptor.media_type, "size": descriptor.size, "root": root}
        self._write(self.folder(repository) / _file_name(descriptor.digest), canonical_json(document))

    def add_blob(self, repository: str, digest: Digest) -> None:
        """Remember it durably."""
        path = self._inside(repository) / _BLOBS / _file_name(digest)
        if path.exists():
            return
        with told(self._layout.home):
            _make_folder(path.parent, self._layout.repositories)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
            sync_folder(path.parent)

    def remove_manifest(self, repository: str, digest: Digest) -> None:
        self._remove(self.folder(repository) / _file_name(digest))

    def remove_blob(self, repository: str, digest: Digest) -> None:
        self._remove(self._inside(repository) / _BLOBS / _file_name(digest))

    def use_blob(self, repository: str, digest: Digest) -> None:
        """A manifest keeps it from now on. If a power cut brings the link back, the blob only stays longer."""
        with told(self._layout.home):
            (self._inside(repository) / _BLOBS / _file_name(digest)).unlink(missing_ok=True)

    def folder(self, repository: str) -> Path:
        """Where the manifests' links are; its modification time moves with every change."""
        return self._inside(repository) / _MANIFESTS

    def _inside(self, repository: str) -> Path:
        words = repository.split("/")
        if any(not word or word[0] in "_." for word in words):  # never from the grammar of names
            raise StoreError(Text("{name} cannot be the name of a repository", name=repository[:300]))
        return self._layout.repositories.joinpath(*words)

    def _write(self, path: Path, data: bytes) -> None:
        assert self._session is not None
        temporary = self._session().temporary()
        with told(self._layout.home):
            _make_folder(path.parent, self._layout.repositories)
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                os.write(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            temporary.replace(path)
            sync_folder(path.parent)

    def _remove(self, path: Path) -> None:
        with told(self._layout.home):
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_folder(path.parent)


def _make_folder(folder: Path, top: Path) -> None:
    """Make ``folder`` below ``top``, durably."""
    if folder == top or folder.is_dir():
        return
    _make_folder(folder.parent, top)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def _file_name(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


def _digests(folder: Path) -> list[Digest]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for name in names:
        try:
            found.append(Digest.parse(name.replace("-", ":", 1)))
        except ImageError:
            continue
    return found
