"""The store as a registry sees it: repositories, each with its tags, manifests and blobs.

A repository shows the images that ``index.json`` names so, what was pushed to it (``links``), and all that these
need. Nothing is kept twice: a blob lies in the store once, and each repository that may see it says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import ImageError, StoreError, Text
from trainload.image.model import Descriptor
from trainload.reference import Reference
from trainload.store.closure import DOCUMENTS, reach
from trainload.store.content import Content, sync_folder
from trainload.store.documents import Document, Documents
from trainload.store.index import Entry, Names
from trainload.store.layout import Layout
from trainload.store.links import Links
from trainload.store.locks import against_gc, named_lock
from trainload.store.session import Session
from trainload.store.trouble import told

UNTAGGED = "latest"
"""How a registry's clients ask for an image whose name here has no tag; only ever read, never written."""
_SETTLED = 50_000_000
"""Nanoseconds after which a change of a folder surely shows in its modification time (the kernel's clock ticks)."""
_VIEWS = 256


class LackingError(StoreError):
    """A manifest needs what its repository does not have."""

    def __init__(self, lacking: Iterable[Descriptor]) -> None:
        self.lacking = tuple(lacking)
        digests = ", ".join(str(one.digest) for one in self.lacking[:5])
        super().__init__(Text("the manifest needs what was not pushed yet: {digests}", digests=digests))


class NeededError(StoreError):
    """Something that is to be removed from a repository is needed there."""

    def __init__(self, digest: Digest, by: Digest) -> None:
        self.by = by
        super().__init__(Text("{digest} is needed by the manifest {by}: remove that first", digest=digest, by=by))


@dataclass(frozen=True, slots=True)
class Attached:
    """A manifest whose subject is another one."""

    descriptor: Descriptor
    document: Document


@dataclass(frozen=True, slots=True)
class _View:
    """A repository at one moment."""

    tags: Mapping[str, Descriptor]
    manifests: Mapping[Digest, Descriptor]
    """All that can be pulled by digest."""
    needed: Mapping[Digest, Digest]
    """What a manifest of the repository needs → one such manifest."""


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The named images of the store: repository → tag → entry."""

    stamp: object
    named: Mapping[str, Mapping[str | None, Entry]]

    def of(self, repository: str) -> Mapping[str | None, Entry]:
        return self.named.get(repository, {})


def repository_of(name: str) -> str:
    """The one spelling of a repository's name: ``library/python`` and ``docker.io/python`` are ``python``."""
    try:
        return Reference.parse(name).name
    except ImageError:
        return name


class Repositories:
    """All repositories of one store; safe for threads. Names are as :func:`repository_of` gives them."""

    def __init__(
        self,
        layout: Layout,
        blobs: Content,
        session: Callable[[], Session],
        names: Callable[[], Names],
        change_names: Callable[[Callable[[Names], Names]], Names],
    ) -> None:
        self.links = Links(layout, session)
        self._layout = layout
        self._blobs = blobs
        self._session = session
        self._names = names
        self._change_names = change_names
        self._documents = Documents(blobs)
        self._sorted = _Sorted(None, {})
        self._views: dict[str, tuple[object, _View]] = {}

    def all(self) -> tuple[str, ...]:
        """Names of the repositories there are, sorted."""
        return tuple(sorted({*self._by_repository().named, *self.links.repositories()}))

    def known(self, repository: str) -> bool:
        """Whether there is anything in it."""
        view = self._view(repository)
        return bool(view.tags or view.manifests or self.links.blobs(repository))

    def tags(self, repository: str) -> tuple[str, ...]:
        """Sorted as strings."""
        return tuple(sorted(self._view(repository).tags))

    def tagged(self, repository: str, tag: str) -> Descriptor | None:
        return self._view(repository).tags.get(tag)

    def manifest(self, repository: str, digest: Digest) -> Descriptor | None:
        return self._view(repository).manifests.get(digest)

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Whether the repository shows the blob; not whether its bytes are sound."""
        if self.links.has_blob(repository, digest):
            return True
        view = self._view(repository)
        return digest in view.needed or digest in view.manifests

    def referrers(self, repository: str, subject: Digest) -> tuple[Attached, ...]:
        """Manifests whose ``subject`` it is, sorted by digest (distribution-spec § Listing Referrers)."""
        found = []
        for _, descriptor in sorted(self._view(repository).manifests.items()):
            document = self._documents.find(descriptor)
            if document and document.subject and document.subject.digest == subject:
                found.append(Attached(descriptor, document))
        return tuple(found)

    def add_blob(self, repository: str, digest: Digest) -> bool:
        """Show a blob of the store in the repository from now on; False when the store does not have it."""
        self._session()
        with against_gc(self._layout):
            if not self._blobs.has(digest):
                return False
            with told(self._layout.home):
                sync_folder(self._blobs.path(digest).parent)
            self.links.add_blob(repository, digest)
        return True

    def push(self, repository: str, descriptor: Descriptor, tags: Iterable[str]) -> None:
        """Show a manifest of the store in the repository, under ``tags``, which other manifests lose.

        Raises :class:`LackingError` when something it needs is not shown there; :class:`ImageError` or
        :class:`StoreError` for what could not be walked later.
        """
        document = self._documents.find(descriptor)
        if document is None:
            raise StoreError(Text("the manifest {digest} cannot be read", digest=descriptor.digest))
        names = [f"{repository}:{tag}" for tag in tags]
        with self._changing(repository):
            lacking = [need for need in document.needs if not self._shows(repository, need)]
            if lacking:
                raise LackingError(lacking)
            reach(self._blobs, [descriptor])
            with against_gc(self._layout):
                self._make_sure([descriptor, *document.needs])
                self.links.add_manifest(repository, descriptor, root=not names)
                if names:
                    self._change_names(lambda old: old.add(descriptor, names))
                self._use(repository, document)

    def untag(self, repository: str, tag: str) -> bool:
        """Take a tag off its manifest, which can still be pulled by digest; False when there is no such tag."""
        with self._changing(repository):
            named = self._by_repository().of(repository)
            entry = named.get(tag) or (named.get(None) if tag == UNTAGGED else None)
            if entry is None or entry.name is None:
                return False
            name = entry.name
            self._change_names(lambda old: old.drop_name(name))
        return True

    def remove_manifest(self, repository: str, digest: Digest) -> bool:
        """Take a manifest out of the repository with all its tags there; False when it is not there.

        Raises :class:`NeededError` when an index of the repository needs it.
        """
        with self._changing(repository):
            view = self._view(repository)
            if digest in view.needed:
                raise NeededError(digest, view.needed[digest])
            if digest not in view.manifests:
                return False
            with against_gc(self._layout):
                self.links.remove_manifest(repository, digest)
            entries = self._by_repository().of(repository).values()
            gone = [entry.name for entry in entries if entry.digest == digest and entry.name]
            if gone:
                self._change_names(lambda old: _without(old, gone))
        return True

    def remove_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob out of the repository; False when it is not there.

        Raises :class:`NeededError` when a manifest of the repository needs it.
        """
        view = self._view(repository)
        if digest in view.needed:
            raise NeededError(digest, view.needed[digest])
        if not self.links.has_blob(repository, digest):
            return False
        self._session()
        with against_gc(self._layout):
            self.links.remove_blob(repository, digest)
        return True

    def _shows(self, repository: str, need: Descriptor) -> bool:
        return self.has_blob(repository, need.digest) and self._blobs.has(need.digest, need.size)

    def _changing(self, repository: str) -> AbstractContextManager[None]:
        """Only one process and thread changes a repository's manifests and tags."""
        self._session()
        return named_lock(self._layout, f"repository {repository}")

    def _make_sure(self, needs: Iterable[Descriptor]) -> None:
        """While gc waits: what we saw a moment ago is still there, and on the disk."""
        lacking = [need for need in needs if not self._blobs.has(need.digest)]
        if lacking:
            raise LackingError(lacking)
        with told(self._layout.home):
            for folder in self._blobs.folders.values():
                sync_folder(folder)

    def _use(self, repository: str, document: Document) -> None:
        """What a manifest needs is kept by it from now on, and goes with it."""
        for need in document.needs:
            self.links.use_blob(repository, need.digest)
            link = self.links.manifest(repository, need.digest)
            if link is not None and link.root:
                self.links.add_manifest(repository, link.descriptor, root=False)

    def _view(self, repository: str) -> _View:
        """The repository as it is now; made again only when something changed."""
        named = self._by_repository()
        stamp = (named.stamp, _stamp(self.links.folder(repository)))
        known = self._views.get(repository)
        if known is not None and None not in stamp and known[0] == stamp:
            return known[1]
        linked = {link.descriptor.digest: link.descriptor for link in self.links.manifests(repository)}
        view = self._look(named.of(repository), linked)
        if None not in stamp:
            if len(self._views) >= _VIEWS:
                self._views.clear()
            self._views[repository] = (stamp, view)
        return view

    def _look(self, entries: Mapping[str | None, Entry], linked: Mapping[Digest, Descriptor]) -> _View:
        in_order = sorted(entries.items(), key=_untagged_first)
        tags = {tag or UNTAGGED: _bare(entry.descriptor) for tag, entry in in_order}
        manifests: dict[Digest, Descriptor] = {}
        needed: dict[Digest, Digest] = {}
        waiting = [*linked.values(), *(entry.descriptor for entry in entries.values())]
        while waiting:
            descriptor = waiting.pop()
            if descriptor.digest in manifests:
                continue
            document = self._documents.find(descriptor)
            if document is None:
                continue
            manifests[descriptor.digest] = _bare(descriptor)
            needed.update((need.digest, descriptor.digest) for need in document.needs)
            waiting += [need for need in document.needs if need.media_type in DOCUMENTS]
        return _View(tags, manifests, needed)

    def _by_repository(self) -> _Sorted:
        stamp, known = _stamp(self._layout.index), self._sorted
        if stamp is not None and known.stamp == stamp:
            return known
        found: dict[str, dict[str | None, Entry]] = {}
        for repository, tag, entry in _named(self._names()):
            found.setdefault(repository, {})[tag] = entry
        self._sorted = _Sorted(stamp, found)
        return self._sorted


def _named(names: Names) -> Iterator[tuple[str, str | None, Entry]]:
    for entry in names.entries:
        if entry.name is None:
            continue
        head, slash, last = entry.name.partition("@")[0].rpartition("/")
        last, _, tag = last.partition(":")
        yield repository_of(f"{head}{slash}{last}"), tag or None, entry


def _bare(descriptor: Descriptor) -> Descriptor:
    """Without what one list says about it."""
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)


def _untagged_first(item: tuple[str | None, Entry]) -> str:
    return item[0] or ""


def _without(names: Names, gone: Iterable[str]) -> Names:
    for name in gone:
        names = names.drop_name(name)
    return names


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file or folder does; None when that was only just now, so that nobody relies on it."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    settled = time.time_ns() - state.st_mtime_ns > _SETTLED
    return (state.st_mtime_ns, state.st_ino, state.st_size) if settled else None
