"""A body that survives cut connections: resumed by Range, checked against what it must be, tried again a while."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainload.errors import FetchError, Text
from trainload.system.wire import Cut, count, shown
from trainload.values import dataclass

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")  # RFC 9110 § 14.4


@dataclass(frozen=True, slots=True)
class Retry:
    """When a request is tried again; seconds."""

    tries: int = 5
    """In a row without a byte of progress."""
    unreached: int = 3
    """In a row without a connection: nobody listens, or the name is wrong."""
    most: int = 100
    """Of one transfer in all, so that no server can keep us for ever."""
    first: float = 1.0
    cap: float = 30.0
    longest_retry_after: float = 120.0

    def pause(self, attempt: int, retry_after: str | None, jitter: Callable[[], float]) -> float:
        """Seconds before try ``attempt`` + 1 (0-based); a server's Retry-After wins up to its bound."""
        wanted = count((retry_after or "").strip())
        if wanted is not None:
            return min(float(wanted), self.longest_retry_after)
        return min(self.cap, self.first * 2.0**attempt) * jitter()


USUALLY = Retry()


@dataclass(slots=True)
class Transfer:
    """One body on its way."""

    url: str
    """Names it in errors."""
    write: Callable[[bytes], object]
    restart: Callable[[], object]
    """Called when the bytes come again from the first one."""
    limit: int
    """The largest accepted, in bytes."""
    size: int | None
    """Bytes it must have, if known."""
    done: int = 0
    tag: str | None = None
    """The server's strong ETag of the bytes so far."""

    def headers(self) -> dict[str, str]:
        """What asks for the rest."""
        if not self.done:
            return {}
        return {"Range": f"bytes={self.done}-", **({"If-Range": self.tag} if self.tag else {})}

    def again(self) -> None:
        """Forget the bytes so far."""
        if self.done:
            self.restart()
        self.done, self.tag = 0, None

    def take(self, chunk: bytes) -> None:
        """Pass on the next bytes. Raises :class:`FetchError` for more than may come."""
        self.done += len(chunk)
        if self.done > (self.limit if self.size is None else self.size):
            raise FetchError(
                Text("{url} sends more than it may", url=shown(self.url)),
                got=f"> {self.done - len(chunk)} bytes",
                want=f"{self.size} bytes" if self.size is not None else f"at most {self.limit} bytes",
            )
        self.write(chunk)

    def accept(self, response: BaseHTTPResponse) -> None:
        """Stand where the body of a 200 or 206 begins. Raises :class:`Cut` or :class:`FetchError`."""
        check_encoding(response, self.url)
        tag = response.headers.get("ETag", "")
        strong = tag if tag and not tag.startswith("W/") else None
        if response.status == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            same = self.tag is None or strong is None or strong == self.tag
            fits = match is not None and (self.size is None or match[3] in ("*", str(self.size)))
            if not self.done or match is None or int(match[1]) != self.done or not same or not fits:
                self.again()  # THREATS R17
                raise Cut("a part that does not continue the file")
        else:
            self.again()
        self.tag = strong
        self._check_length(response)

    def refuse_part(self) -> Cut:
        """After a 416: start over."""
        self.again()
        return Cut("HTTP 416: the part is no part of the file any more")

    def _check_length(self, response: BaseHTTPResponse) -> None:
        """Refuse a body that says beforehand that it is not the one expected (THREATS R02)."""
        length = count(response.headers.get("Content-Length", ""))
        if length is None:
            return
        whole = self.done + length
        if (whole != self.size) if self.size is not None else (whole > self.limit):
            raise FetchError(
                Text("{url} has another size than it should", url=shown(self.url)),
                got=f"{whole} bytes",
                want=f"{self.size} bytes" if self.size is not None else f"at most {self.limit} bytes",
            )


def check_encoding(response: BaseHTTPResponse, url: str) -> None:
    """Nothing is inflated behind our back (THREATS R16). Raises :class:`FetchError`."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", ""):
        text = Text("{url} sends a content encoding nobody asked for", url=shown(url))
        raise FetchError(text, got=encoding)
