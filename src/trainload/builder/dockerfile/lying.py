"""A layer that was just written and lies unpacked, read as if from its blob; data only where it is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainload.builder.dockerfile.listing import KINDS, WHITEOUT
from trainload.errors import LayerError
from trainload.layers.foreign.changes import Change, Effect
from trainload.layers.tar import Header
from trainload.layers.tarread import Member, MemberKind

_PIECE = 1 << 18


class Lying:
    """A :class:`trainload.layers.foreign.changes.Reader`.

    Raises :class:`OSError` or :class:`LayerError` where the folder is not what was written.
    """

    def __init__(self, headers: Sequence[Header], folder: Path) -> None:
        self._headers, self._folder = headers, folder
        self.files = _Data()
        """Of the file that was told last."""

    def __iter__(self) -> Iterator[Change]:
        for header in self._headers:
            above, slash, name = header.name.rpartition("/")
            member = _member(header)
            if name.startswith(WHITEOUT):  # a writer makes no others
                yield Change(Effect.HIDES, f"{above}{slash}{name.removeprefix(WHITEOUT)}", member)
                continue
            self.files = _Data(self._folder / header.name, header.size)
            yield Change(Effect.PLACES, header.name, member)


class _Data:
    def __init__(self, place: Path | None = None, size: int = 0) -> None:
        self._place, self._size, self._at = place, size, 0

    @property
    def left(self) -> int:
        return self._size - self._at

    def read(self, size: int = _PIECE, /) -> bytes:
        if not self.left or self._place is None:
            return b""
        with self._place.open("rb") as file:
            if os.fstat(file.fileno()).st_size != self._size:
                raise LayerError("the unpacked layer is not what was written")
            file.seek(self._at)
            data = file.read(min(size, self.left))
        self._at += len(data)
        return data

    def chunks(self) -> Iterator[bytes]:
        while data := self.read():
            yield data

    def content(self, limit: int, /) -> bytes:
        if self.left > limit:
            raise LayerError("the member is too large", got=f"{self.left} bytes", want=f"{limit} bytes")
        return self.read(self.left)


def _member(header: Header) -> Member:
    return Member(
        name=os.fsencode(header.name),
        kind=KINDS[header.type],
        mode=header.mode & 0o7777,
        uid=header.uid,
        gid=header.gid,
        size=header.size if KINDS[header.type] is MemberKind.FILE else 0,
        linkname=os.fsencode(header.target),
        mtime=header.mtime,
        uname=b"",
        gname=b"",
        device=(0, 0),
        xattrs={},
    )
