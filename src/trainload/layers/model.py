"""What layer makers take and give; they know bytes, not where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

from trainload.digest import Digest
from trainload.lock.model import File
from trainload.values import dataclass

if TYPE_CHECKING:
    from trainload.layers.tar import Header


class ByteSink(Protocol):
    """Takes the compressed bytes of a layer in order."""

    def write(self, data: bytes, /) -> object: ...


class Earlier(Protocol):
    """First bytes of a layer, to be read while the same layer is written."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


@runtime_checkable
class BegunSink(Protocol):
    """A sink that may know how far an earlier process came with the same layer."""

    def write(self, data: bytes, /) -> object: ...

    def earlier(self) -> Earlier | None: ...


@runtime_checkable
class NotingSink(Protocol):
    """A sink whose owner wants to know what is in the layer."""

    @property
    def noted(self) -> list[Header] | None:
        """Gets each entry; None: nobody wants to know."""

    def write(self, data: bytes, /) -> object: ...


class Sources(Protocol):
    """Gives the locked files by their exact bytes."""

    def open(self, file: File, /) -> BinaryIO:
        """``file`` as a seekable file on disk whose size and sha256 were verified; the caller closes it.

        Raises :class:`FetchError` when it cannot be had.
        """


@dataclass(frozen=True, slots=True)
class Written:
    """What a layer maker knows once its last byte is out; the sink knows digest and size of the blob."""

    diff_id: Digest
    """Digest of the uncompressed tar stream (config.md § Layer DiffID)."""
    unpacked: int
    """Its size in bytes."""
    entries: int
