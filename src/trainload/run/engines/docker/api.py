"""Docker's API: JSON in and out, streams, and its errors in our words."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from trainload.errors import RunError, Text
from trainload.system import daemon
from trainload.system.daemon import Address, DaemonError, Raw

_QUICK = 5.0  # seconds until a daemon that does not answer counts as away
_LOGIN = 30.0  # the same where a login by ssh comes first
_MOST = 64 * 2**20  # bytes of a JSON answer
_JSON = {"Content-Type": "application/json"}


class ApiError(RunError):
    """Docker said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(Text("Docker says: {message}", message=message))
        self.status, self.message = status, message


class Api:
    """One Docker; every exchange has its own connection, so it is safe for threads."""

    def __init__(self, address: Address) -> None:
        self.address = address

    @cached_property
    def version(self) -> str:
        """The newest API it knows: Docker 29 no longer knows those before 1.44. Raises :class:`DaemonError`."""
        patience = _LOGIN if self.address.url.startswith("ssh://") else _QUICK
        answer = daemon.exchange(self.address, "GET", "/_ping", timeout=patience)
        answer.close()
        return answer.headers.get("api-version", "1.41")

    def unavailable(self) -> Text | None:
        try:
            self.version  # noqa: B018 - asking is the test
        except DaemonError as error:
            return _why(error, self.address)
        return None

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - a document
        with self.stream("GET", path, query) as answer:
            return _document(answer.body.read(_MOST))

    def find(self, path: str, **query: object) -> Any | None:  # noqa: ANN401 - a document
        """As :meth:`get`; None when Docker has no such thing."""
        try:
            return self.get(path, **query)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def post(self, path: str, document: object = None, **query: object) -> Any:  # noqa: ANN401 - a document
        data = b"" if document is None else json.dumps(document).encode()
        with self.stream("POST", path, query, data, _JSON) as answer:
            return _document(answer.body.read(_MOST))

    def delete(self, path: str, **query: object) -> None:
        with self.stream("DELETE", path, query):
            pass

    def progress(
        self, path: str, body: Iterable[bytes] | None = None, headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Iterator[Mapping[str, Any]]:  # fmt: skip
        """The lines of a long work, whose errors come after a 200 (THREATS fault 15)."""
        with self.stream("POST", path, query, body if body is not None else b"", headers) as answer:
            rest = b""
            while data := answer.body.read(1 << 14):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield from _progress(line)
            yield from _progress(rest)

    @contextmanager
    def stream(
        self, method: str, path: str, query: Mapping[str, object], body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[daemon.Answer]:  # fmt: skip
        """An answer whose body the caller reads. Raises :class:`ApiError`."""
        answer = daemon.exchange(self.address, method, self._path(path, query), body, headers)
        try:
            if answer.status >= 400:
                raise _error(answer)
            yield answer
        finally:
            answer.close()

    def raw(self, path: str, document: object = None, **query: object) -> Raw:
        """POST that becomes a raw connection. Raises :class:`ApiError`."""
        data = b"" if document is None else json.dumps(document).encode()
        found = daemon.upgrade(self.address, self._path(path, query), data, _JSON)
        if isinstance(found, Raw):
            return found
        try:
            raise _error(found)
        finally:
            found.close()

    def _path(self, path: str, query: Mapping[str, object]) -> str:
        text = urlencode({name: value for name, value in query.items() if value is not None})
        return f"/v{self.version}{quote(path, safe='/:@')}{'?' if text else ''}{text}"


def _document(data: bytes) -> Any:  # noqa: ANN401 - a document
    return json.loads(data) if data.strip() else None


def _progress(line: bytes) -> Iterator[Mapping[str, Any]]:
    if not line.strip():
        return
    told = json.loads(line)
    message = told.get("error") or (told.get("errorDetail") or {}).get("message")
    if message:
        raise ApiError(500, str(message))
    yield told


def _error(answer: daemon.Answer) -> ApiError:
    data = answer.body.read(_MOST)
    try:
        message = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        message = data.decode("utf-8", "replace").strip() or f"HTTP {answer.status}"
    return ApiError(answer.status, message)


def _why(error: DaemonError, address: Address) -> Text:
    number = getattr(error.__cause__, "errno", None)
    if number == errno.ENOENT:
        return Text("Docker is not installed or not running: there is no {address}", address=address.url)
    if number == errno.ECONNREFUSED:
        return Text("Docker is not running: sudo systemctl start docker")
    if number in (errno.EACCES, errno.EPERM):
        return Text(
            "you may not use Docker ({address}): sudo usermod -aG docker $USER, then log in again",
            address=address.url,
        )
    return error.text
