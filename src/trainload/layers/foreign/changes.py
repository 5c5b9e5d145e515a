"""A layer as changes to what lies below it (OCI image-spec layer.md § Applying Changesets; THREATS L06–L09, L14).

The blob is streamed once: decompressed, hashed, read strictly. A whiteout hides what is below, never what its own
layer has; of two entries with one name the last wins (L08).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import BinaryIO, Protocol

from trainload.digest import Digest
from trainload.errors import LayerError, Place, Text, printable
from trainload.layers.decompress import Decompressed, opened
from trainload.layers.tarread import Member, TarReader, member_path
from trainload.limits import DEFAULT, Limits
from trainload.values import dataclass

_HIDES, _OPAQUE, _AUFS = ".wh.", ".wh..wh..opq", ".wh..wh."
_REST = 1 << 18


class Effect(StrEnum):
    PLACES = "places"
    HIDES = "hides"
    """Takes a path of lower layers away, with everything below it."""
    EMPTIES = "empties"
    """Takes away what lower layers have in a folder."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a layer; ``path`` has no first slash and is in ``os.fsdecode`` form."""

    effect: Effect
    path: str
    member: Member


class Data(Protocol):
    """Of the current entry, which is a file; its rest."""

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""

    def read(self, size: int = ..., /) -> bytes:
        """Up to ``size`` more bytes."""

    def chunks(self) -> Iterator[bytes]:
        """All of them in pieces."""

    def content(self, limit: int, /) -> bytes:
        """All of them. Raises :class:`LayerError` when they are more than ``limit``."""


class Reader(Protocol):
    """Changes one after the other, and the data of the file that was told last."""

    @property
    def files(self) -> Data:
        """Of that file."""

    def __iter__(self) -> Iterator[Change]: ...


class LayerReader:
    """Iterates the changes of one layer; the data of a placed file is read between two steps, by ``files``.

    Raises :class:`LayerError` for everything malformed or hostile, and at the end when the bytes were not those of
    ``diff_id``, so nothing that was read may be believed before.
    """

    def __init__(self, blob: BinaryIO, diff_id: Digest, name: str, *, limits: Limits = DEFAULT) -> None:
        """``blob`` is the layer as it is stored, of any compression; ``name`` is for errors."""
        self._name = name
        self._limits = limits
        self._diff_id = diff_id
        self._stream = _Hashing(opened(blob, Place(name), limits=limits))
        self.files = TarReader(self._stream, name, limits=limits, end_mark=False)

    @property
    def position(self) -> int:
        """Bytes of the tar stream read so far."""
        return self._stream.read_so_far

    @property
    def unpacked(self) -> int:
        """Bytes of the tar stream that came out of what was read of the blob; some of them wait to be read."""
        return self._stream.given

    def __iter__(self) -> Iterator[Change]:
        for member in self.files:
            path = member_path(member.name, self._name, limits=self._limits).decode("utf-8", "surrogateescape")
            change = self._change(path, member)
            if change is not None:
                yield change
        self._check()

    def _change(self, path: str, member: Member) -> Change | None:
        above, _, name = path.rpartition("/")
        if f"/{_HIDES}" in f"/{above}":
            raise self._refuse("a whiteout has something in it", member)
        if not name.startswith(_HIDES):
            return Change(Effect.PLACES, path, member)
        if name == _OPAQUE:
            return Change(Effect.EMPTIES, above, member)
        if name.startswith(_AUFS):
            return None  # aufs' own book-keeping (moby: WhiteoutMetaPrefix)
        hidden = name.removeprefix(_HIDES)
        if hidden in ("", ".", ".."):
            raise self._refuse("a whiteout hides no name", member)
        return Change(Effect.HIDES, f"{above}/{hidden}" if above else hidden, member)

    def _check(self) -> None:
        while self._stream.read(_REST):
            pass
        got = self._stream.digest()
        if got != self._diff_id:
            raise LayerError(
                "the layer does not hold what the image says", place=Place(self._name), got=got, want=self._diff_id
            )

    def _refuse(self, text: str, member: Member) -> LayerError:
        return LayerError(Text(text), place=Place(self._name, printable(member.name)))


class _Hashing:
    """Hashes what is read through it."""

    def __init__(self, stream: Decompressed) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.read_so_far = 0

    @property
    def given(self) -> int:
        return self._stream.given

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        self.read_so_far += len(data)
        return data

    def digest(self) -> Digest:
        return Digest("sha256", self._hash.hexdigest())
