"""Images on their way into the store: nobody sees a byte of them before all are there and fit together.

Blobs wait in the store's temporary folder. What is there already is not copied again. Whatever is wrong with an
image, the store is then as it was, to the byte.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError, LayerError, Place, Text
from trainload.image.model import Descriptor
from trainload.layers.decompress import tar_chunks
from trainload.limits import DEFAULT, Limits
from trainload.store.closure import Closure, reach
from trainload.store.ingest import Ingest
from trainload.store.store import Store
from trainload.store.trouble import DamagedError

CHUNK = 1 << 20
_TOLD = 5
"""Missing blobs named in a message."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """An image or index that comes in, and the names it gets here."""

    descriptor: Descriptor
    names: tuple[str, ...] = ()


class Supply(Protocol):
    """Where blobs that did not come by themselves are fetched from when they are needed: a folder."""

    def open(self, digest: Digest, /) -> BinaryIO | None:
        """The blob for reading, None when it is not there; the caller checks what it reads.

        Raises :class:`ImageError` for what is no regular file (THREATS L01).
        """


class Nothing:
    """Everything comes by itself: an archive."""

    def open(self, digest: Digest, /) -> BinaryIO | None:
        return None


class Arrivals:
    """What arrives from ``origin``, which names it in errors. A context manager; leaving it drops what waits."""

    def __init__(self, store: Store, origin: str, supply: Supply | None = None, limits: Limits = DEFAULT) -> None:
        self._store = store
        self.origin = origin
        self._supply = supply or Nothing()
        self._limits = limits
        self._stack = ExitStack()
        self._waiting: dict[Digest, Ingest] = {}

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def take(self, chunks: Iterable[bytes], want: Descriptor | None = None) -> tuple[Digest, int]:
        """The next blob; returns its digest and number of bytes.

        ``want``: what it must be; one the store has is read and not kept. Raises :class:`ImageError` when it is
        not (L03).
        """
        if want is not None and self._store.has(want.digest, want.size) and self._store.hold(want.digest):
            state = hashlib.sha256()
            for chunk in chunks:
                state.update(chunk)
            if state.hexdigest() != want.digest.hex:
                raise self._another(want.digest, f"sha256:{state.hexdigest()}")
            return want.digest, want.size
        with ExitStack() as stack:
            ingest = stack.enter_context(self._store.ingest(want.size if want else None))
            for chunk in chunks:
                ingest.write(chunk)
                if want is not None and ingest.size > want.size:
                    break
            try:
                digest, size = ingest.seal(want.digest if want else None, want.size if want else None)
            except DamagedError as error:
                assert want is not None
                raise self._another(want.digest, error.got) from error
            if digest not in self._waiting:
                self._waiting[digest] = ingest
                self._stack.push(stack.pop_all())
        return digest, size

    def path(self, digest: Digest) -> Path:
        """The blob's name, for errors."""
        return Path(self.origin, "blobs", digest.algorithm, digest.hex)

    def read(self, digest: Digest, limit: int) -> bytes:
        """A document, verified. Raises :class:`ImageError` when it is missing, too large, or another (L03, L04)."""
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ImageError(
                Text("a document of the image is too large"),
                place=Place(str(self.path(digest))),
                want=f"at most {limit:,} bytes",
            )
        if Digest.sha256(data) != digest:
            raise self._another(digest, Digest.sha256(data))
        return data

    def open(self, digest: Digest) -> BinaryIO:
        """A blob for reading; only what waits is known to be what its name says."""
        waiting = self._waiting.get(digest)
        if waiting is not None:
            return waiting.open()
        found = self._supply.open(digest)
        if found is not None:
            return found
        if self._store.has(digest):
            return self._store.blob_file(digest)
        raise self._missing([digest])

    def has(self, digest: Digest) -> bool:
        """Whether it waits, can be fetched or is in the store."""
        if digest in self._waiting:
            return True
        file = self._supply.open(digest)
        if file is not None:
            file.close()
        return file is not None or self._store.has(digest)

    def commit(self, arriving: Sequence[Arriving], checked: Callable[[int], object] = lambda _: None) -> None:
        """Bring the images in, all or none; ``checked`` is told the bytes of layers unpacked so far.

        Raises :class:`ImageError`, :class:`LayerError` or :class:`StoreError` for anything that is missing, is not
        what its descriptor says, or does not fit: R03-R09, L03, L04, L14.
        """
        closure = reach(self, [one.descriptor for one in arriving])
        self._check_documents(closure)
        self._fetch(closure)
        learned = self._check_layers(closure, checked)
        for digest in closure.blobs:
            if digest in self._waiting:
                self._waiting[digest].commit()
        needs = [Descriptor("", digest, size) for digest, size in closure.blobs.items()]
        self._store.commit_names([(one.descriptor, one.names) for one in arriving], needs)
        for statement in learned:
            self._store.facts.learn(statement)

    def _check_documents(self, closure: Closure) -> None:
        """What can be told from the documents alone."""
        if closure.unreadable:
            raise closure.unreadable[0]
        if closure.uneven:
            raise ImageError(
                Text("the config does not list the layers of the manifest"),
                place=Place(str(self.path(closure.uneven[0]))),
            )
        if closure.contradicted:
            raise ImageError(
                Text("two documents say different things of one blob"),
                place=Place(str(self.path(closure.contradicted[0]))),
            )
        missing = [digest for digest in closure.blobs if not self.has(digest)]
        if missing:
            raise self._missing(missing)

    def _fetch(self, closure: Closure) -> None:
        """Let everything wait here that the store has not; all sizes are what the descriptors say."""
        for digest, size in closure.blobs.items():
            want = Descriptor("", digest, size)
            if digest in self._waiting:
                with self._waiting[digest].open() as file:
                    self._check_size(digest, os.fstat(file.fileno()).st_size, size)
            elif self._store.hold(digest):
                self._check_size(digest, self._store.path(digest).stat().st_size, size)
            else:
                self._fetch_one(want)

    def _fetch_one(self, want: Descriptor) -> None:
        with self.open(want.digest) as file:
            self.take(iter(lambda: file.read(CHUNK), b""), want)

    def _check_size(self, digest: Digest, got: int, want: int) -> None:
        if got != want:
            raise ImageError(
                Text("a blob has another size than its descriptor says"),
                place=Place(str(self.path(digest))), got=f"{got:,} bytes", want=f"{want:,} bytes",
            )  # fmt: skip

    def _check_layers(self, closure: Closure, checked: Callable[[int], object]) -> list[Digest]:
        """Layers unpack to what the configs say (L14); returns what was found out."""
        todo = {
            digest: diff_id
            for digest, (diff_id, media_type) in closure.diff_ids.items()
            if not media_type.endswith("+encrypted") and not self._store.facts.known(unpacks_to(digest, diff_id))
        }
        done = [0]

        def check(digest: Digest) -> None:
            for chunk in self._unpacked(digest, todo[digest]):
                done[0] += len(chunk)
                checked(done[0])

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for _ in pool.map(check, todo):
                pass
        return [unpacks_to(digest, diff_id) for digest, diff_id in todo.items()]

    def _unpacked(self, digest: Digest, diff_id: Digest) -> Iterator[bytes]:
        """The chunks of a layer's tar stream. Raises at their end when it is not ``diff_id``'s."""
        place = Place(str(self.path(digest)))
        state = hashlib.new(diff_id.algorithm)
        with self.open(digest) as file:
            for chunk in tar_chunks(file, place, limits=self._limits):
                state.update(chunk)
                yield chunk
        if state.hexdigest() != diff_id.hex:
            raise LayerError(
                "the layer does not hold what the image says",
                place=place, got=f"{diff_id.algorithm}:{state.hexdigest()}", want=diff_id,
            )  # fmt: skip

    def _missing(self, digests: Sequence[Digest]) -> ImageError:
        names = ", ".join(str(digest) for digest in digests[:_TOLD])
        return ImageError(
            Text("the image is not whole: {count} blobs are missing", count=len(digests)),
            place=Place(self.origin),
            got=names + (", …" if len(digests) > _TOLD else ""),
            hints=[Text("make the archive or folder again, from where the image is whole")],
        )

    def _another(self, want: Digest, got: object) -> ImageError:
        return ImageError(
            Text("a blob is damaged: its bytes are not the ones its name promises"),
            place=Place(str(self.path(want))), got=got, want=want,
            hints=[Text("make the archive or folder again, from where the image is whole")],
        )  # fmt: skip


def unpacks_to(layer: Digest, diff_id: Digest) -> Digest:
    """The statement that the blob ``layer`` unpacks to the tar stream ``diff_id``."""
    return Digest.sha256(canonical_json({"layer": str(layer), "unpacks_to": str(diff_id), "version": 1}))
