"""A tar that comes over a connection as pieces, verified by the hash of all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

from trainload.errors import HostError

_LONGEST = 1 << 20


class Far(Protocol):
    """The connection to a host, as far as copies need it: see :class:`trainload.run.hosts.line.Line`."""

    def stream(self, do: str, **what: object) -> Iterator[dict[str, Any]]: ...

    def bytes(self, size: int) -> bytes: ...

    def lies(self) -> HostError: ...


class Incoming:
    """``read(n)`` over what comes."""

    def __init__(self, line: Far, run: str, path: str) -> None:
        """Raises :class:`RunError` when nothing lies there."""
        self._line = line
        self._told = line.stream("copy", run=run, path=path)
        self._hashed = hashlib.sha256()
        self._rest = b""
        self._over = False
        self._fill()

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, empty at the end. Raises :class:`HostError` for other bytes than were there."""
        if not self._rest:
            self._fill()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def drain(self) -> None:
        """To the end: the hash is only told there."""
        while not self._over:
            self._fill()

    def _fill(self) -> None:
        if self._over:
            return
        for value in self._told:
            if "bytes" in value:
                size = int(value["bytes"])
                if not 0 < size <= _LONGEST:
                    raise self._line.lies()
                self._rest = self._line.bytes(size)
                self._hashed.update(self._rest)
                return
            if "sha256" in value and value["sha256"] != self._hashed.hexdigest():
                raise self._line.lies()
        self._over = True
