"""Streams and figures of Docker's API, as our values; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from trainload.run.engines.interface import Usage

Document = Mapping[str, Any]
_HEADER = 8  # bytes before each piece of a stream: kind, three zeros, size (Engine API, ContainerAttach)


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def usage(stats: Document, limit: int | None) -> Usage:
    """Of ``GET /containers/ID/stats``; memory without the page cache, as ``docker stats`` shows it."""
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    cpu = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0)
    processes = (stats.get("pids_stats") or {}).get("current") or 0
    return Usage(cpu / 1e9, max(0, memory.get("usage", 0) - cache), limit, processes)


def pieces(stream: Readable) -> Iterator[tuple[bool, bytes]]:
    """(stderr, data) of a stream that carries both."""
    while header := _exactly(stream, _HEADER):
        if len(header) < _HEADER:
            return
        yield header[0] == 2, _exactly(stream, int.from_bytes(header[4:], "big"))


def _exactly(stream: Readable, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            break
        data += more
    return data


def lines(stream: Readable) -> Iterator[tuple[bool, bytes]]:
    """The log of a container with a terminal: one stream, its lines as messages."""
    rest = b""
    while data := stream.read(1 << 16):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield False, line + b"\n"
    if rest:
        yield False, rest
