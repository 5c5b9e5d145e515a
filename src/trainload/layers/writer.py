"""Writes a layer, ``application/vnd.oci.image.layer.v1.tar+gzip``, whose bytes depend on its entries only.

The blob is a sequence of gzip members: spliced deflate streams as they lie in a wheel, and between them what we
compress ourselves, cut at fixed places of the tar stream, so that neither core count nor the size of a caller's
chunks shows in the digest (DESIGN § 5, docs/adr/0003).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from trainload.errors import LayerError, Place, Text
from trainload.layers import deflate
from trainload.layers.model import ByteSink, NotingSink, Written
from trainload.layers.tar import ROOT, Header, Owner, Type, encode, entry_name, padding
from trainload.layers.verify import Deflated, TarDigest
from trainload.values import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["CHUNK", "ROOT", "LayerWriter", "Owner", "Stream"]

CHUNK = 1 << 20
"""Plain bytes per gzip member of what we compress: part of every digest."""
_SMALL = 8 << 10
"""Headers between two splices up to this size are written by the fixed Huffman encoder: part of every digest."""
_FLUSH = 1 << 20
"""Bytes that go to the sink at once."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Content that does not fit in memory: exactly ``size`` bytes in chunks of any length."""

    size: int
    chunks: Iterable[bytes]


class LayerWriter:
    """Appends entries to a layer; ``close`` ends it.

    Paths are image paths, with or without the first slash, in ``os.fsdecode`` form. A path may come once, never
    below a path that is not a directory; callers give sorted paths. Use it as a context manager: leaving it by an
    error ends its threads; what the sink got is then to be thrown away.
    """

    def __init__(self, sink: ByteSink, *, mtime: int = 0, stored: bool = False) -> None:
        """``mtime``: seconds, SOURCE_DATE_EPOCH or 0, of every entry. ``stored``: compress nothing."""
        self._sink = sink
        self._stored = stored
        self._mtime = mtime
        self._names: dict[str, bool] = {"": True}
        self._noted = sink.noted if isinstance(sink, NotingSink) else None
        self._entries = 0
        self._unpacked = 0
        self._tar = TarDigest()
        self._pending = bytearray()
        self._content = False
        self._out: list[bytes] = []
        self._held = 0
        self._compressing: deque[Future[bytes]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> LayerWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.abandon()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def directory(self, path: str, *, mode: int = 0o755, owner: Owner = ROOT) -> None:
        """A directory entry. It replaces the attributes of the same directory in lower layers (layer.md)."""
        self._header(path, Type.DIRECTORY, mode, owner)

    def file(self, path: str, content: bytes | Stream, *, mode: int = 0o644, owner: Owner = ROOT) -> None:
        """A regular file. Raises :class:`LayerError` when a stream has not exactly its size (THREATS P04)."""
        size = content.size if isinstance(content, Stream) else len(content)
        self._header(path, Type.FILE, mode, owner, size=size)
        done = 0
        for chunk in content.chunks if isinstance(content, Stream) else (content,):
            done += len(chunk)
            if done > size:
                break
            self._plain(chunk, content=True)
        if done != size:
            raise LayerError(
                Text("the file changed while it was read: {got} bytes, listed with {want}", got=done, want=size),
                place=Place(path),
                retryable=True,
            )
        self._plain(bytes(padding(size)))

    def poured(self, path: str, size: int, pour: Callable[[Callable[[bytes], None]], object]) -> None:
        """As :meth:`file`, of content that comes by itself: ``pour`` gives just ``size`` bytes to its argument."""
        self._header(path, Type.FILE, 0o644, ROOT, size=size)
        done = 0

        def take(data: bytes) -> None:
            nonlocal done
            done += len(data)
            if done <= size:
                self._plain(data, content=True)

        pour(take)
        if done != size:
            raise LayerError(
                Text("the file changed while it was read: {got} bytes, listed with {want}", got=done, want=size),
                place=Place(path),
                retryable=True,
            )
        self._plain(bytes(padding(size)))

    def symlink(self, path: str, target: str, *, owner: Owner = ROOT) -> None:
        """A symbolic link; ``target`` as it stands."""
        self._header(path, Type.SYMLINK, 0o777, owner, target=target)

    def hardlink(self, path: str, target: str, *, mode: int = 0o644, owner: Owner = ROOT) -> None:
        """Another name of the file ``target``, an image path that was written before."""
        name = entry_name(target)
        if self._names.get(name, True):
            raise LayerError(Text("{path} is a hard link to {target}, which is no file", path=path, target=target))
        self._header(path, Type.HARDLINK, mode, owner, target=name)

    def whiteout(self, path: str) -> None:
        """Takes ``path`` of lower layers away (layer.md § Whiteouts); only lines of a Dockerfile make any."""
        above, slash, name = entry_name(path).rpartition("/")
        mark = f"{above}{slash}.wh.{name}"
        self._check_parents(mark)
        self._names[mark] = False
        self._entry(Header(mark, Type.FILE, 0o644, 0, 0, 0, self._mtime, ""))

    def splice(
        self, path: str, promise: Deflated, chunks: Iterable[bytes], *, mode: int = 0o644, owner: Owner = ROOT
    ) -> None:
        """A regular file whose content is a raw deflate stream; it goes in as it is, and is verified meanwhile.

        Raises :class:`LayerError` here or later, at the latest in ``close``, when it is not what it promises.
        """
        self._header(path, Type.FILE, mode, owner, size=promise.size)
        if not promise.size:
            return
        self._flush()
        self._drain(0)
        self._append(deflate.MEMBER)
        held = b""
        for chunk in chunks:
            if held:
                self._append(held)
                self._tar.deflated(promise, held, last=False)
            held = chunk
        self._append(held)
        self._tar.deflated(promise, held, last=True)
        self._append(deflate.trailer(promise.crc32, promise.size))
        self._unpacked += promise.size
        self._plain(bytes(padding(promise.size)))

    def close(self) -> Written:
        """Ends the archive and flushes to the sink. Raises :class:`LayerError` for a broken splice."""
        self._plain(bytes(1024))
        self._flush()
        self._drain(0)
        self._send()
        diff_id = self._tar.close()
        return Written(diff_id, self._unpacked, self._entries)

    def _header(self, path: str, kind: Type, mode: int, owner: Owner, *, size: int = 0, target: str = "") -> None:
        name = entry_name(path)
        if name in self._names:
            raise LayerError(Text("the path {path} comes twice in one layer", path=path))
        self._check_parents(name)
        self._names[name] = kind is Type.DIRECTORY
        self._entry(Header(name, kind, mode, size, owner.uid, owner.gid, self._mtime, target))

    def _entry(self, header: Header) -> None:
        self._entries += 1
        if self._noted is not None:
            self._noted.append(header)
        self._plain(encode(header))

    def _check_parents(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        known = self._names.get(parent)
        if known:
            return
        if known is False:
            raise LayerError(Text("{path} lies below {parent}, which is no directory", path=name, parent=parent))
        self._check_parents(parent)

    def _plain(self, data: bytes, *, content: bool = False) -> None:
        self._pending += data
        self._content |= content and bool(data)
        self._unpacked += len(data)
        while len(self._pending) >= CHUNK:
            self._compress(bytes(self._pending[:CHUNK]))
            del self._pending[:CHUNK]

    def _flush(self) -> None:
        """Ends the current member: what comes next starts its own."""
        plain = bytes(self._pending)
        self._pending.clear()
        if self._content or len(plain) > _SMALL:
            self._compress(plain)
        elif plain:
            self._drain(0)
            self._tar.plain(plain)
            self._append(deflate.fixed(plain))
        self._content = False

    def _compress(self, plain: bytes) -> None:
        self._tar.plain(plain)
        if self._stored:
            self._append(deflate.stored(plain))
            return
        if len(plain) < CHUNK and not self._compressing:
            self._append(deflate.compress(plain))
            return
        from concurrent.futures import ThreadPoolExecutor

        workers = min(os.cpu_count() or 1, 8)
        self._pool = self._pool or ThreadPoolExecutor(workers, thread_name_prefix="trainload-deflate")
        self._compressing.append(self._pool.submit(deflate.compress, plain))
        self._drain(2 * workers)

    def _drain(self, most: int) -> None:
        while len(self._compressing) > most:
            self._append(self._compressing.popleft().result())

    def _append(self, data: bytes) -> None:
        self._out.append(data)
        self._held += len(data)
        if self._held >= _FLUSH:
            self._send()

    def _send(self) -> None:
        if self._out:
            out, self._out, self._held = self._out, [], 0
            self._sink.write(b"".join(out))
