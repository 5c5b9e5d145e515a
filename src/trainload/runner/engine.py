"""An engine beside us takes an image: the blobs that came as a registry on loopback, and the engine's own program.

The registry is read only, holds this one image, and is called by a name nobody can guess: other users of this
machine reach its port, too.
"""

from __future__ import annotations

import hmac
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PIECE = 1 << 20
_WORDS = 1 << 20
"""Bytes of what a program says that are passed on: the last ones."""


class Engine:
    """At most one program at a time; :meth:`close` ends it, for then nobody waits for it any more."""

    def __init__(self, blobs: Path) -> None:
        self._blobs = blobs
        self._server: ThreadingHTTPServer | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def serve(self, name: str, types: Mapping[str, str]) -> int:
        """Show the blobs as the repository ``name``; ``types``: the manifests' media types. The port."""
        blobs = self._blobs

        class Handler(_Handler):
            repository, manifests, folder = name, types, blobs

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return int(self._server.server_address[1])

    def call(self, script: str, done: Callable[[int, str], object]) -> None:
        """Let a shell run ``script``; its exit code and words are told to ``done`` in another thread."""
        self._child = subprocess.Popen(
            ["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=_until_end, args=(self._child, done), daemon=True).start()

    def close(self) -> None:
        if self._child is not None and self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGTERM)
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _until_end(child: subprocess.Popen[bytes], done: Callable[[int, str], object]) -> None:
    assert child.stdout is not None
    out, said = child.stdout.fileno(), b""
    with child:
        for piece in iter(lambda: os.read(out, _PIECE), b""):
            said = (said + piece)[-_WORDS:]
    done(child.wait(), said.decode("utf-8", "replace"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """An engine that has what it wants is nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    """What a pull asks for (distribution-spec, end-1 to end-3); blobs are whole when they are here."""

    protocol_version = "HTTP/1.1"
    repository: str
    manifests: Mapping[str, str]
    folder: Path

    def do_GET(self) -> None:
        words = self.path.strip("/").split("/")
        if words == ["v2"]:
            self._send(b"{}", "application/json")
            return
        words = [""] * 3 + words
        name, kind, digest = "/".join(words[3:-2]), words[-2], words[-1]
        ours = hmac.compare_digest(name.encode(), f"v2/{self.repository}".encode())
        media_type = self.manifests.get(digest)
        path = self.folder / digest.partition(":")[2]
        if ours and kind == "manifests" and media_type is not None:
            self._send(path.read_bytes(), media_type, digest)
        elif ours and kind == "blobs" and digest.startswith("sha256:") and path.is_file():
            self._send_file(path, digest)
        else:
            self._send(b'{"errors":[{"code":"NAME_UNKNOWN"}]}', "application/json", status=404)

    do_HEAD = do_GET  # noqa: N815 - the names http.server wants

    def log_message(self, format: str, *args: object) -> None:
        return

    def _send(self, data: bytes, media_type: str, digest: str = "", status: int = 200) -> None:
        self._head(status, media_type, len(data), digest)
        if self.command != "HEAD":
            self.wfile.write(data)

    def _send_file(self, path: Path, digest: str) -> None:
        with path.open("rb") as file:
            self._head(200, "application/octet-stream", os.fstat(file.fileno()).st_size, digest)
            if self.command != "HEAD":
                for piece in iter(lambda: file.read(_PIECE), b""):
                    self.wfile.write(piece)

    def _head(self, status: int, media_type: str, size: int, digest: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(size))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
