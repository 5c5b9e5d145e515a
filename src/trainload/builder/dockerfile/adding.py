"""ADD: local archives are unpacked, files come from addresses; both are as untrusted as any download."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, BinaryIO
from urllib.parse import unquote, urlsplit

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.takes import Chunks, Item, Taken
from trainload.dockerfile.program import CopyStep
from trainload.errors import ConfigError, FetchError, LayerError, Place, Text
from trainload.layers.decompress import compression, opened
from trainload.layers.tarread import Member, MemberKind, TarReader, member_path
from trainload.layers.writer import Owner
from trainload.limits import Limits
from trainload.lock.answers import Answer
from trainload.lock.model import File, Url
from trainload.system import scratch

_PIECE = 1 << 20
_MAGIC_AT, _MAGIC = 257, b"ustar"  # POSIX pax, ustar header
_SHA256 = re.compile("sha256:([0-9a-f]{64})")
_DEVICES = (MemberKind.CHARACTER, MemberKind.BLOCK)
"""In ``/dev`` of a whole system: no layer of ours has any, and every engine brings its own."""
_OWNED = 0o600  # BuildKit: what comes from an address is root's alone


def added(bench: Bench, step: CopyStep, source: str, place: Place) -> list[Taken]:
    """What one source of ADD gives. Raises :class:`ConfigError`, :class:`FetchError`, :class:`LayerError`."""
    if source.startswith(("git@", "git://", "ssh://")) or re.search(r"\.git(#.*)?$", source):
        raise ConfigError(
            Text("ADD from a git repository is not done here"), place=place, got=source,
            hints=[
                Text("clone it into the project and COPY it, which keeps what you saw"),
                Text("or RUN git clone and build with --network default, or build with --engine docker"),
            ],
        )  # fmt: skip
    if source.startswith(("http://", "https://")):
        return [_fetched(bench, step, source, place)]
    if step.checksum:
        raise ConfigError(Text("--checksum is for what comes from an address"), place=place, got=source)
    found = bench.context.take(source, step.exclude, place)
    return [_unpacked(one, place, bench.shop.limits) if step.unpack is not False else one for one in found]


def _fetched(bench: Bench, step: CopyStep, url: str, place: Place) -> Taken:
    wanted = _SHA256.fullmatch(step.checksum)
    if step.checksum and wanted is None:
        raise ConfigError(Text("--checksum is a sha256"), place=place, got=step.checksum, want="sha256:…")
    if wanted is None and url.startswith("http://"):
        raise ConfigError(  # THREATS F11
            Text("an address without TLS needs --checksum"), place=place, got=url,
            hints=[Text("ADD --checksum=sha256:… {url}", url=url)],
        )  # fmt: skip
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigError(
            Text("an address holds no password here"), place=place, got=f"{parts.hostname}{parts.path}"
        )
    name = unquote(parts.path).rpartition("/")[2]
    if not name or name in (".", ".."):
        raise ConfigError(Text("the address ends in no file name"), place=place, got=url)
    if wanted is not None:
        sha256, size = wanted[1], None
    else:
        try:
            answer = bench.answers.ask(f"ADD {url}", partial(_look, bench, url))
        except FetchError as error:
            error.place = error.place or place
            raise
        sha256, size = _locked(answer, place)
    file = File(name, sha256, size, Url(url))

    def found() -> Sequence[tuple[str, Sequence[Item]]]:
        with bench.shop.sources.open(file) as stream:
            length = stream.seek(0, 2)
        item = Item("", MemberKind.FILE, _OWNED, length, chunks=lambda: _read(bench.shop.sources.open(file)))
        return [(name, (item,))]

    return Taken(name, f"url {sha256}", found)


def _look(bench: Bench, url: str) -> Answer:
    """Fetch it once: whoever builds later gets these bytes or none."""
    http = bench.services().http
    with bench.shop.store.files.ingest() as ingest:
        http.download(url, ingest.write, limit=bench.shop.limits.unpacked, restart=ingest.restart)
        digest, size = ingest.commit()
    return {"sha256": digest.hex, "size": size}


def _locked(answer: Answer, place: Place) -> tuple[str, int]:
    sha256, size = answer.get("sha256"), answer.get("size")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256) or type(size) is not int:
        raise ConfigError(Text("an answer of the lock is broken"), place=place, got=sha256)
    return sha256, size


def _read(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while piece := stream.read(_PIECE):
            yield piece


def _unpacked(taken: Taken, place: Place, limits: Limits) -> Taken:
    """An archive's content instead of the archive; anything else as it is."""

    def found() -> Sequence[tuple[str, Sequence[Item]]]:
        return [_archive(name, items, place, limits) or (name, items) for name, items in taken.found()]

    return Taken(taken.name, f"unpacked {taken.content}", found)


def _archive(name: str, items: Sequence[Item], place: Place, limits: Limits) -> tuple[str, Sequence[Item]] | None:
    chunks = items[0].chunks
    if items[0].kind is not MemberKind.FILE or chunks is None or not _is_archive(chunks, limits):
        return None
    spool = scratch.file()  # it lives as long as the items
    nodes = {"": Item("", MemberKind.DIRECTORY, 0o755)}
    reader = TarReader(opened(_Stream(chunks()), Place(name), limits=limits), name, limits=limits, end_mark=False)
    for member in reader:
        path = member_path(member.name, name, limits=limits).decode("utf-8", "surrogateescape")
        if not path or (path.startswith("dev/") and member.kind in _DEVICES):
            continue
        item = _item(path, member, nodes, place, name)
        if member.kind is MemberKind.FILE:
            start = spool.seek(0, 2)
            for piece in reader.chunks():
                spool.write(piece)
            item = Item(path, item.kind, item.mode, member.size, "", item.owner, _part(spool, start, member.size))
        nodes[path] = item
    return name, [nodes[path] for path in sorted(nodes)]


def _item(path: str, member: Member, nodes: dict[str, Item], place: Place, name: str) -> Item:
    owner = Owner(member.uid, member.gid)
    if path.rpartition("/")[2].startswith(".wh."):
        raise LayerError(
            Text("an archive holds a name that would delete files of the image"), place=Place(name, path)
        )
    if member.kind is MemberKind.HARDLINK:
        target = member_path(member.linkname, name).decode("utf-8", "surrogateescape")
        other = nodes.get(target)
        if other is None or other.kind is not MemberKind.FILE:
            raise LayerError(Text("a hard link of the archive leads to no file of it"), place=Place(name, path))
        return Item(path, MemberKind.FILE, other.mode, other.size, "", other.owner, other.chunks)
    if member.kind is MemberKind.SYMLINK:
        target = member.linkname.decode("utf-8", "surrogateescape")
        return Item(path, MemberKind.SYMLINK, 0o777, target=target, owner=owner)
    if member.kind not in (MemberKind.FILE, MemberKind.DIRECTORY):
        raise ConfigError(
            Text("an archive holds a device or pipe, which no layer may hold"), place=place, got=f"{name}: {path}"
        )
    return Item(path, member.kind, member.mode, owner=owner)


def _part(spool: IO[bytes], start: int, size: int) -> Chunks:
    def chunks() -> Iterator[bytes]:
        left, at = size, start
        while left:
            spool.seek(at)
            piece = spool.read(min(_PIECE, left))
            at, left = at + len(piece), left - len(piece)
            yield piece

    return chunks


def _is_archive(chunks: Chunks, limits: Limits) -> bool:
    """As Docker tells: what compresses it is known, and inside is a tar header (moby: archive.IsArchivePath)."""
    head = next(chunks(), b"")
    if head[_MAGIC_AT : _MAGIC_AT + 5] == _MAGIC:
        return True
    if not compression(head[:6]):
        return False
    try:
        inner = opened(_Stream(chunks()), Place("archive"), limits=limits)
        start = b""
        while len(start) < 512 and (more := inner.read(512 - len(start))):
            start += more
    except LayerError:
        return False
    return start[_MAGIC_AT : _MAGIC_AT + 5] == _MAGIC


class _Stream:
    """Chunks as something that is read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int, /) -> bytes:
        while len(self._rest) < size and (more := next(self._chunks, b"")):
            self._rest += more
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
