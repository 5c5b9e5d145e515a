"""The metadata of wheels that lie on servers which send no parts of files, such as Python's own ``http.server``.

uv would read each of these wheels whole, PyTorch's too, to know what it needs, and then it would come once more. So
the links of such a page lead uv to this machine. It asks for the metadata alone there (PEP 658), and is told that
of the wheel, which comes into the store for it.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trainload.errors import TrainloadError

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

_SUFFIX = ".metadata"
_POLL = 0.01  # seconds in which it sees that it is to end
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def can_be_asked(environ: Mapping[str, str]) -> bool:
    """Whether uv asks this machine itself: it would ask a proxy for us, too."""
    return not any(environ.get(name) for name in _PROXIES)


class MetadataServer:
    """A context manager that listens on loopback from its first link on; its addresses cannot be guessed."""

    def __init__(self, metadata: Callable[[str], bytes]) -> None:
        """``metadata``: of the wheel at an address; called by several threads."""
        self.failed = False
        """Something could not be told; uv may know better."""
        self._metadata = metadata
        self._addresses: list[str] = []
        self._start = ""
        self._server: ThreadingHTTPServer | None = None

    def link(self, address: str) -> str:
        """What stands for the wheel at ``address``, under the same file name."""
        if not self._start:
            self._listen()
        self._addresses.append(address)
        return f"{self._start}{len(self._addresses) - 1}/{PurePosixPath(urlsplit(address).path).name}"

    def meant(self, url: str) -> str:
        """The address that ``url`` stands for, or ``url``."""
        if not self._start or not url.startswith(self._start):
            return url
        return self._addresses[int(url.removeprefix(self._start).partition("/")[0])]

    def __enter__(self) -> MetadataServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _listen(self) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # few pages need it

        told = self._told

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                data = told(self.path)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, format: str, *args: object) -> None:
                return None

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False  # a transfer ends when it is stopped

            def handle_error(self, request: object, client_address: object) -> None:
                """A uv that goes away is nothing to tell."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(_POLL,), daemon=True).start()
        self._start = f"http://127.0.0.1:{self._server.server_address[1]}/{secrets.token_urlsafe(16)}/"

    def _told(self, path: str) -> bytes | None:
        start = urlsplit(self._start).path
        if not hmac.compare_digest(path[: len(start)].encode(), start.encode()):
            return None
        try:
            if path.endswith(_SUFFIX):
                return self._metadata(self._addresses[int(path[len(start) :].partition("/")[0])])
        except (TrainloadError, ValueError, IndexError):
            pass
        self.failed = True
        return None
