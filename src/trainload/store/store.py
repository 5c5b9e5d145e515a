"""The door of the store: images by name and digest, blobs, recipes, fetched files.

Reading never writes, not even a lock file, so it works on a read-only mount (I10). What writes takes a lease
first: :meth:`Store.writing`, or the first writing call on its own, which then keeps it until :meth:`Store.close`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from trainload.digest import Digest
from trainload.errors import ImageError, Place, StoreError, Text, TrainloadError
from trainload.image.model import Descriptor, Image, ImageIndex
from trainload.image.parse import make_image, parse_manifest, select
from trainload.limits import DEFAULT
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.store.access import Access, put_in_place
from trainload.store.built import Built
from trainload.store.content import Content, missing, sync_folder
from trainload.store.facts import Facts
from trainload.store.files import FileCache
from trainload.store.index import EMPTY, LIMIT, Entry, Names
from trainload.store.ingest import Ingest
from trainload.store.layout import Layout, check_readable
from trainload.store.locks import against_gc, for_gc, index_lock, named_lock
from trainload.store.lookup import find_name, look_up
from trainload.store.recipes import Recipes
from trainload.store.session import remove_dead, remove_tree
from trainload.store.trouble import MissingError, told
from trainload.store.whereabouts import Whereabouts
from trainload.values import dataclass

if TYPE_CHECKING:  # gc and verify are loaded when called
    from trainload.store.check import Verdict
    from trainload.store.collect import Keep, Rubble
    from trainload.store.repositories import Repositories


@dataclass(frozen=True, slots=True)
class Listed:
    """One image of the store."""

    digest: Digest
    """Of its manifest or index."""
    names: tuple[str, ...]
    image: Image | None
    """None when it cannot be read here, for the ``reason``; of an index, the image for this machine."""
    reason: Text | None


@dataclass(frozen=True, slots=True)
class Untagged:
    """What :meth:`Store.untag` did."""

    names: tuple[str, ...]
    digest: Digest
    gone: bool
    """It was the last name: the image is not listed any more."""


class Store:
    """One store; safe for threads."""

    def __init__(self, layout: Layout) -> None:
        """Use :meth:`open`."""
        self.layout = layout
        self._access = Access(layout)
        self._session = self._access.session
        self.blobs = Content(layout, {"sha256": layout.blobs, "sha512": layout.blobs512}, self._session)
        self.files = FileCache(Content(layout, {"sha256": layout.files}, self._session), self._access.is_open)
        self.recipes = Recipes(layout, self.blobs, self._session, self._access.is_open)
        self.facts = Facts(layout, self._session)
        self.whereabouts = Whereabouts(layout, self._session)
        self.built = Built(layout, self.files, self._session)

    @classmethod
    def open(cls, home: Path) -> Store:
        """The store at ``home``, which need not exist yet; nothing is written.

        Raises :class:`StoreError` for a folder that is something else (L05), or of a newer Trainload (fault 17).
        """
        layout = Layout(Path(os.path.abspath(home)))  # noqa: PTH100  # a link in HOME is followed by the system
        check_readable(layout)
        return cls(layout)

    @property
    def home(self) -> Path:
        return self.layout.home

    @cached_property
    def repositories(self) -> Repositories:
        """The store as a registry sees it."""
        from trainload.store.repositories import Repositories

        return Repositories(self.layout, self.blobs, self._session, self.names, self.change_names)

    @property
    def rootfs(self) -> Path:
        """The embedded engine's folder of unpacked layers."""
        return self.layout.rootfs

    def writing(self) -> AbstractContextManager[None]:
        """Builds, pulls and runs happen inside: whatever is found or made meanwhile is safe from gc (I5).

        Raises :class:`StoreError` at once when the store may not be written or belongs to another user.
        """
        return self._access.writing()

    def close(self) -> None:
        """Give the lease back, if there is one; the store can be used again afterwards."""
        self._access.close()

    def lock(self, name: str, waiting: Callable[[], object] | None = None) -> AbstractContextManager[None]:
        """One process and thread at a time does the work called ``name``; freed by the kernel on ``kill -9``.

        ``waiting`` is called once when another one is at it. Look again whether the work is done when you hold it.
        """
        self._session()
        return named_lock(self.layout, name, waiting)

    def begin(self, size: int | None = None, algorithm: str = "sha256") -> Ingest:
        """A new blob whose bytes come in several goes; see :meth:`Content.begin`."""
        return self.blobs.begin(size, algorithm)

    def ingest(self, size: int | None = None, part: str = "") -> AbstractContextManager[Ingest]:
        """A new blob: ``write`` its bytes, then ``commit(want, size)``; see :meth:`Content.ingest`."""
        return self.blobs.ingest(size, part)

    def put(self, data: bytes, algorithm: str = "sha256") -> Digest:
        """Commit a small blob."""
        ingest = self.begin(len(data), algorithm)
        try:
            ingest.write(data)
            return ingest.commit()[0]
        finally:
            ingest.drop()

    def read(self, digest: Digest, limit: int = DEFAULT.manifest) -> bytes:
        """A small blob's bytes, verified; see :meth:`Content.read`."""
        return self.blobs.read(digest, limit)

    def path(self, digest: Digest) -> Path:
        return self.blobs.path(digest)

    def has(self, digest: Digest, size: int | None = None) -> bool:
        return self.blobs.has(digest, size)

    def unpacked(self, layer: Descriptor, most: int | None = None) -> tuple[Digest, int] | None:
        """The diff_id of a layer's blob, from all its bytes, and how many bytes its tar stream has.

        Zeros when it is broken or larger than ``most``; None for a compression we do not know.
        """
        from trainload.store.check import tar_digest

        return tar_digest(self.blobs, layer.digest, layer.media_type, most=most)

    def blob_file(self, digest: Digest) -> BinaryIO:
        """A blob for reading; the caller verifies what it reads and closes it; see :meth:`Content.open`."""
        return self.blobs.open(digest)

    def names(self) -> Names:
        """``index.json`` as it is now. Raises :class:`StoreError` when it cannot be read (L02)."""
        path = self.layout.index
        try:
            with told(self.home):
                data = path.read_bytes() if path.exists() or check_readable(self.layout) else EMPTY
        except FileNotFoundError:  # pragma: no cover  # removed between the two looks
            data = b""
        if len(data) > LIMIT:
            raise StoreError(Text("the list of images is too large"), place=Place(str(path)))
        return Names.parse(data, str(path))

    def images(self) -> tuple[Listed, ...]:
        """All images, sorted by name; those that cannot be read are listed with their reason."""
        found = self.names()
        listed = {entry.digest: self._listed(entry, found) for entry in found.entries}
        return tuple(sorted(listed.values(), key=lambda one: (one.names or ("~",), one.digest)))

    def resolve(self, text: str) -> Digest:
        """The manifest or index that ``text`` means: a name, a digest or at least four of its first digits.

        Raises :class:`MissingError`; :class:`StoreError` when several images are meant.
        """
        return look_up(self.names(), text).digest

    def image(self, digest: Digest, platform: Platform | None = None) -> Image:
        """The image whose manifest is ``digest``; of an index, the one for ``platform`` (default: this machine's).

        Raises :class:`MissingError`, :class:`DamagedError`, :class:`ImageError`.
        """
        where = str(self.path(digest))
        for _ in range(DEFAULT.index_depth):
            data = self.read(digest, DEFAULT.manifest)
            manifest = parse_manifest(data, where, digest=digest)
            if not isinstance(manifest, ImageIndex):
                return make_image(data, self.read(manifest.config.digest, DEFAULT.config), where)
            digest = select(manifest, platform or Platform.host()).digest
        raise ImageError(
            Text("an index of images nests too deep"), place=Place(where), want=f"at most {DEFAULT.index_depth}"
        )

    def commit_image(self, image: Image, references: Iterable[str] = ()) -> Digest:
        """Store the manifest and config of ``image`` and give it ``references``, which other images lose.

        Its layers are committed already. Raises :class:`MissingError` naming a layer that is not.
        """
        self.put(image.config_bytes)
        digest = self.put(image.manifest_bytes)
        self.commit_names([(image.descriptor, references)], (image.manifest.config, *image.manifest.layers))
        return digest

    def commit_index(self, index: ImageIndex, references: Iterable[str] = ()) -> Digest:
        """As :meth:`commit_image` for images of several platforms, which are stored already."""
        digest = self.put(index.raw)
        self.commit_names([(index.descriptor, references)], index.manifests)
        return digest

    def commit_names(self, named: Sequence[tuple[Descriptor, Iterable[str]]], needs: Iterable[Descriptor]) -> None:
        """Give images that are stored already their names, all in one step; ``needs``: the blobs they are made of.

        Raises :class:`MissingError` naming one that is not there; no name changes then.
        """
        session = self._session()

        def change(old: Names) -> Names:
            for descriptor, names in named:
                old = old.add(descriptor, names)
            return old

        with against_gc(self.layout):
            for need in needs:
                if not self.has(need.digest, need.size):
                    raise missing(need.digest, self.path(need.digest))
                session.hold(need.digest)
            old = self.names()
            if old.written_as(change(old)):
                return  # what these names name is durable since they do
            with told(self.home):
                for folder in self.blobs.folders.values():  # once for all: a name is durable after what it names
                    sync_folder(folder)
            self.change_names(change)

    def tag(self, text: str, name: str) -> Digest:
        """Give the image that ``text`` means another name, which another image may lose."""
        reference = Reference.parse(name)
        if reference.digest is not None:
            raise ImageError(Text("a new name has no digest"), got=name, want=reference.name)
        self._session()
        with against_gc(self.layout):
            names = self.change_names(lambda old: old.add(look_up(old, text).descriptor, [str(reference)]))
        return look_up(names, str(reference)).digest

    def untag(self, text: str, *, force: bool = False) -> Untagged:
        """Take a name off its image, or with digits the image off the list; its blobs stay until :meth:`gc`.

        Raises :class:`StoreError` for digits of an image with several names, unless ``force``.
        """
        removed: list[Untagged] = []

        def change(old: Names) -> Names:
            named = find_name(old, text)
            entry = named or look_up(old, text)
            known = old.names_of(entry.digest)
            if named is None and len(known) > 1 and not force:
                raise StoreError(
                    Text("the image {digest} has several names", digest=entry.digest.short),
                    got=", ".join(known),
                    hints=[Text("give the name to remove, or --force for all of them")],
                )
            new = old.drop_images([entry.digest]) if named is None else old.drop_name(named.name or "")
            gone = all(e.digest != entry.digest for e in new.entries)
            removed.append(Untagged((named.name or "",) if named else known, entry.digest, gone))
            return new

        self.change_names(change)
        return removed[0]

    def hold(self, digest: Digest) -> bool:
        """Whether the blob is here and sound; from now on gc leaves it, and what it needs as a manifest, alone."""
        return self.blobs.held(digest)

    def gc(self, keep: Keep | None = None, *, dry_run: bool = False) -> Rubble:
        """Remove what no named image and no live process needs; with ``dry_run`` only say what that is.

        Raises :class:`StoreError` when an image cannot be read, and removes nothing then.
        """
        from trainload.store.collect import Keep, survey, sweep

        kept = keep or Keep()
        if dry_run:
            return survey(self.layout, self.blobs, self.names(), kept)
        with self.writing():
            session = self._session()
            with for_gc(self.layout):
                rubble = survey(self.layout, self.blobs, self.names(), kept)
                if rubble.images:
                    self.change_names(lambda old: old.drop_images(rubble.images))
                remove_dead(self.layout)
                trees = sweep(rubble, self.layout, session.temporary)
            for tree in trees:
                remove_tree(tree)
        return rubble

    def verify(
        self, *, full: bool = False, repair: bool = False, moved: Callable[[int], object] = lambda _: None
    ) -> Verdict:
        """Check all images: names and sizes, with ``full`` every byte; ``repair`` puts damaged blobs aside."""
        from trainload.store.check import examine, repair_what_can_be

        verdict = examine(self.layout, self.blobs, self.names(), full=full, moved=moved)
        if repair and verdict.findings:
            with self.writing():
                repair_what_can_be(self.blobs, verdict)
                self.change_names(lambda old: old)
        return verdict

    def change_names(self, change: Callable[[Names], Names]) -> Names:
        """The one way ``index.json`` changes: lock, read again, change, write whole, sync (I2, I4, I7)."""
        session = self._session()
        with index_lock(self.layout):
            old = self.names()
            if not old.written_as(new := change(old)):
                put_in_place(self.layout, session, self.layout.index, new.to_bytes())
        return new

    def _listed(self, entry: Entry, names: Names) -> Listed:
        known = names.names_of(entry.digest)
        try:
            image = self.image(entry.digest)
        except TrainloadError as error:
            return Listed(entry.digest, known, None, error.text)
        return Listed(entry.digest, known, image, None)


__all__ = ["MissingError", "Store"]
