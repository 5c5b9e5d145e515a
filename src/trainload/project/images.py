"""Images that were saved into the project's folder: they are what is made of it, and no part of it.

Recognised by their first bytes, whatever they are called: what ``trainload save`` and ``pack`` write, ``docker
save`` and ``podman save``; and folders that are an OCI image layout, such as a store.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from trainload.errors import Text
from trainload.limits import MiB
from trainload.project.model import CodeFile
from trainload.tree import Tree

SMALLEST = MiB
"""Of an archive, in bytes: no image is smaller, and what a test of an image tool needs goes in."""
_BLOCK = 512
_START = 256 * 1024
"""zstd gives whole blocks, of at most 128 KiB (RFC 8878, 3.1.1.2.4)."""
_FIRST = re.compile(
    rb"(oci-layout|index\.json|manifest\.json|repositories|blobs/.*|[0-9a-f]{64}(/.*|\.json|\.tar)?)"
)
"""Name of the first member: of an OCI archive, or of Docker's older form."""
_GZIP, _XZ, _ZSTD = _COMPRESSED = (b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_MOST_TOLD = 5


def is_layout(tree: Tree, folder: str) -> bool:
    """image-layout.md: both files are there."""
    return all(tree.find(f"{folder}/{name}") is not None for name in ("oci-layout", "index.json"))


def saved(tree: Tree, files: Sequence[CodeFile]) -> tuple[str, ...]:
    """Paths of the archives among ``files``."""
    large = [file for file in files if file.target is None and file.size >= SMALLEST]
    return tuple(file.path for file in large if _is_archive(tree, file.path))


def _is_archive(tree: Tree, path: str) -> bool:
    with tree.open(path) as stream:
        start = stream.read(_BLOCK)
        if start.startswith(_COMPRESSED):
            start = _inflated(start + stream.read(_START))
    if len(start) < _BLOCK or start[257:262] != b"ustar":
        return False
    return _FIRST.fullmatch(start[:100].rstrip(b"\0")) is not None


def _inflated(start: bytes) -> bytes:
    """The first bytes of what is in it; none when it is no such stream."""
    if start.startswith(_GZIP):
        import zlib

        try:
            return zlib.decompressobj(wbits=31).decompress(start, _BLOCK)
        except zlib.error:
            return b""
    if start.startswith(_XZ):
        import lzma

        try:
            return lzma.LZMADecompressor().decompress(start, _BLOCK)
        except lzma.LZMAError:
            return b""
    return _from_zstd(start)


def _from_zstd(start: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdDecompressor, ZstdError
    else:
        from backports.zstd import ZstdDecompressor, ZstdError

    try:
        return ZstdDecompressor().decompress(start, _BLOCK)
    except ZstdError:
        return b""


def told(paths: Sequence[str]) -> Text:
    """All of them in one line."""
    shown = ", ".join(paths[:_MOST_TOLD]) + (f" … ({len(paths)})" if len(paths) > _MOST_TOLD else "")
    return Text("{files}: an image that was saved here is no part of the project, and is left out", files=shown)
