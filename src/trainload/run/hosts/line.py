"""One connection whose far end became a runner: questions, answers, and streams of either lines or bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from trainload.address import Address
from trainload.destinations.ship.there import There
from trainload.digest import Digest
from trainload.errors import HostError, Place, Text
from trainload.run.hosts.troubles import told
from trainload.runner import wire

_PIECE = 64 * 1024
_QUESTION = 120.0
"""Seconds: while lines are followed the far side says every ten seconds that it is there."""
_FEW = 4096
"""Lines that are none of ours, one after the other, before we take them for another language."""


class Line:
    """A context manager; for one thread."""

    def __init__(
        self, address: Address, folder: str | None, environ: Mapping[str, str], greeting: float | None = None
    ) -> None:
        """``folder``: of the store there; None: where a Trainload there would keep it.

        ``greeting``: seconds for a login.
        """
        self.address = address
        self._there = There(address, environ=environ, apart=True, greeting=greeting)
        self._wanted = folder
        self.where = str(address)
        self.patience = _QUESTION
        """Seconds until an answer, or a sign of life."""
        self.command = ""
        """Of the run that is to start, for its errors."""

    def __enter__(self) -> Line:
        self._there.__enter__()
        try:
            self._there.become_runner(runs=True)
            answer = self.ask("open", version=wire.VERSION, folder=self._wanted, writing=True)
            self.where = f"{self.address}:{answer['folder']}"
        except BaseException as error:
            self._there.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._there.__exit__(kind, error, trace)

    def ask(self, do: str, **what: object) -> dict[str, Any]:
        """The answer; what is told meanwhile is dropped. Raises :class:`HostError`, :class:`RunError`."""
        for value in self.stream(do, **what):
            if value.get("done") == do:
                return value
        raise self.lies()

    def stream(self, do: str, **what: object) -> Iterator[dict[str, Any]]:
        """What is told until it is done, and the answer as the last."""
        self.begin(do, **what)
        yield from self.answers(do)

    def begin(self, do: str, **what: object) -> None:
        """Ask, and leave the answer to :meth:`answers`."""
        self.write(wire.request(do=do, **what))

    def write(self, data: bytes) -> None:
        """Frames for the far side; while a program is joined, another thread than the one that reads."""
        self._there.session.write(data)

    def answers(self, do: str) -> Iterator[dict[str, Any]]:
        """See :meth:`stream`."""
        while True:
            value = self._next()
            yield value
            if value.get("done") == do:
                return
            if "done" in value:
                raise self.lies()

    def bytes(self, size: int) -> bytes:
        """That many bytes that follow a line."""
        return self._there.read_bytes(size, self.patience)

    def send(self, path: Path, digest: Digest) -> None:
        """A file as a blob of the store there, unless it is there. Raises :class:`HostError`."""
        size = path.stat().st_size
        found = self.ask("look", blobs=[[str(digest), size]])
        if str(digest) in found["have"]:
            return
        self._there.session.write(wire.request(do="blob", digest=str(digest), size=size, offset=0))
        with path.open("rb") as file:
            while data := file.read(_PIECE):
                self._there.session.write(wire.frame(wire.DATA, data))
        if self._next().get("digest") != str(digest):
            raise self.lies()

    def _next(self) -> dict[str, Any]:
        for _ in range(_FEW):
            value = wire.read_line(self._there.mark, self._there.read_line(self.patience))
            if isinstance(value, dict):
                if "trouble" in value:
                    raise told(value, self.where, self.address, self.command)
                return value
        raise self.lies()

    def lies(self) -> HostError:
        """The error for an answer to another question."""
        return HostError(
            Text("{host} answers what it was not asked", host=self.address),
            place=Place(self.where),
            hints=[Text("another program answers there, or its login prints without end")],
        )
