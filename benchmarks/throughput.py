"""One layer of 1 GiB to and from our registry, beside a plain HTTP copy with sha256 of the same bytes."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.measure import Ended, Figure, process, timed, touch_memory
from benchmarks.project import TRAINLOAD
from trainload.digest import Digest, canonical_json
from trainload.image.model import CONFIG, LAYER, MANIFEST
from trainload.image.parse import make_image
from trainload.store.store import Store

_SIZE = 1 << 30
_PIECE = 1 << 20
_TIMES = 3


def figures(scratch: Path, until: Deadline) -> Iterator[Figure]:
    home = scratch / "home"
    layer = _image(home)
    plain_push, plain_pull = _plain(scratch, layer)
    pushes, pulls = [], []
    for attempt in until.rounds(_TIMES):
        with _serving(scratch / f"served-{attempt}") as host:
            address = f"{host}/big:one"
            touch_memory()
            pushes.append(_trainload(home, "push", "big", address))
            touch_memory()
            pulls.append(_trainload(scratch / f"pulled-{attempt}", "pull", address))
    for what, plain, ours in (("push", plain_push, pushes), ("pull", plain_pull, pulls)):
        best = min(one.seconds for one in ours)
        yield Figure(f"1 GiB: plain HTTP {what} and sha256", plain, "s")
        yield Figure(f"1 GiB: trainload {what}", best, "s", least=plain)
        yield Figure("1 GiB: its throughput beside that", 100 * plain / best, "%", 80, at_least=True)
        yield Figure("1 GiB: peak memory of it", max(one.peak for one in ours) / 2**20, "MiB", 150)


def _image(home: Path) -> Path:
    """An image of one layer of random bytes in the store at ``home``; the layer's file."""
    store = Store.open(home)
    with store.writing():
        with store.ingest(_SIZE) as ingest:
            for _ in range(_SIZE // _PIECE):
                ingest.write(os.urandom(_PIECE))
            digest, size = ingest.commit()
        config = canonical_json(
            {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [str(digest)]}}
        )
        described = {"mediaType": CONFIG, "digest": str(Digest.sha256(config)), "size": len(config)}
        layers = [{"mediaType": LAYER, "digest": str(digest), "size": size}]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}
        store.commit_image(make_image(canonical_json(manifest), config, "big"), ["big"])
    return store.path(digest)


def _trainload(home: Path, *words: str) -> Ended:
    return process([TRAINLOAD, "-q", *words], cwd=home.parent, environ={**os.environ, "TRAINLOAD_HOME": str(home)})


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Our registry over a store of its own; its host and port."""
    argv = [TRAINLOAD, "-q", "registry", "serve", "--port", "0", "--directory", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"127\.0\.0\.1:\d+", server.stdout.readline())
        assert found is not None
        try:
            yield found[0]
        finally:
            server.terminate()


class _Plain(BaseHTTPRequestHandler):
    """Takes and gives one file, and hashes what it takes."""

    def do_PUT(self) -> None:
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        with Path(self.path).open("wb") as out:
            while left and (data := self.rfile.read(min(left, _PIECE))):
                digest.update(data)
                out.write(data)
                left -= len(data)
            os.fsync(out.fileno())
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        with Path(self.path).open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(_SIZE))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _plain(scratch: Path, layer: Path) -> tuple[float, float]:
    """Seconds of a push and of a pull that do no more than copy, hash and sync."""
    argv = [sys.executable, "-m", "benchmarks.throughput"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            touch_memory()
            push = min(timed(lambda: _put(port, layer, scratch / "pushed")) for _ in range(_TIMES))
            touch_memory()
            pull = min(timed(lambda: _get(port, scratch / "pushed", scratch / "pulled")) for _ in range(_TIMES))
        finally:
            server.terminate()
    return push, pull


def _put(port: int, source: Path, target: Path) -> None:
    connection = HTTPConnection("127.0.0.1", port, blocksize=_PIECE)
    with source.open("rb") as file:
        connection.request("PUT", str(target), body=file, headers={"Content-Length": str(_SIZE)})
        assert connection.getresponse().status == 201
    connection.close()


def _get(port: int, source: Path, target: Path) -> None:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", str(source))
    answer, digest = connection.getresponse(), hashlib.sha256()
    with target.open("wb") as out:
        while data := answer.read(_PIECE):
            digest.update(data)
            out.write(data)
        os.fsync(out.fileno())
    connection.close()


if __name__ == "__main__":
    with HTTPServer(("127.0.0.1", 0), _Plain) as plain:
        sys.stdout.write(f"{plain.server_address[1]}\n")
        sys.stdout.flush()
        plain.serve_forever()
