"""Requests, answers and refusals as values; nothing here knows of sockets (distribution-spec § API)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

API_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}


class Body(Protocol):
    """What a client sends after the head of its request."""

    @property
    def length(self) -> int | None:
        """Bytes to come; None when the client did not say."""

    def copy_to(self, write: Callable[[memoryview], object]) -> int:
        """Hand all of it to ``write``, in large pieces; returns how many bytes there were.

        Raises :class:`CutError` when the client goes away before the end.
        """


class CutError(Exception):
    """The client went away, or was silent for too long."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its head read and its body still to come."""

    method: str
    path: str
    """As it came, not decoded: no name, tag or digest has anything to decode."""
    query: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    """Names in lower case; of a repeated header the values joined by commas."""
    body: Body
    interrupt: Callable[[], object] = lambda: None
    """Ends the connection, from another thread."""

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next(iter(self.query.get(name, ())), None)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of an open file; whoever sends it closes it."""

    file: BinaryIO
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Slice = b""

    @property
    def length(self) -> int:
        return self.body.length if isinstance(self.body, Slice) else len(self.body)


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of an error's body (distribution-spec § Error Codes)."""

    code: str
    message: str
    detail: object = None


class Refusal(Exception):
    """A request that gets an error; ``answer`` is what the client is told."""

    def __init__(self, status: int, problems: Iterable[Problem], headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.problems = tuple(problems)
        self.headers = dict(headers or {})
        super().__init__("; ".join(problem.message for problem in self.problems))

    @property
    def answer(self) -> Answer:
        errors = [
            {"code": one.code, "message": one.message, **({} if one.detail is None else {"detail": one.detail})}
            for one in self.problems
        ]
        return json_answer({"errors": errors}, self.status, headers=self.headers)


def refuse(status: int, code: str, message: str, detail: object = None, **headers: str) -> Refusal:
    """A refusal for one reason; a header ``Retry_After`` is sent as ``Retry-After``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(status, [Problem(code, message, detail)], named)


def json_answer(
    value: object,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """``value`` as a JSON body."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": content_type, **(headers or {})}, data)
