"""Answers the near side's requests, one after the other, until its end of the connection closes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from types import FrameType
from typing import IO, Any

from trainload.runner import names, wire
from trainload.runner.blobs import Blobs
from trainload.runner.engine import Engine
from trainload.runner.home import Home, folder_for
from trainload.runner.trouble import Trouble, trouble_of

STALL = 90
"""Seconds in the middle of a blob without a byte: the near side is gone, and its next try needs our lock."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Server:
    """One conversation."""

    def __init__(self, mark: str, source: IO[bytes], output: int) -> None:
        self._mark = mark
        self._source = source
        self._output = output
        self._home: Home | None = None
        self._blobs: Blobs | None = None
        self._engine: Engine | None = None

    def serve(self) -> None:
        """Until the end, or the first trouble: what follows it was sent before it was known."""
        try:
            while True:
                kind, data = wire.read_frame(self._source)
                if kind == wire.JSON:
                    self._answer(json.loads(data.decode()))
        except wire.Gone:
            pass
        except Trouble as trouble:
            self._end(trouble)
        except OSError as error:
            self._end(trouble_of(error))
        finally:
            self._close()

    def _answer(self, request: dict[str, Any]) -> None:
        do = request["do"]
        if do == "open":
            self._open(request)
        elif do == "look":
            assert self._blobs is not None
            self._say({"done": "look", **self._blobs.look(_pairs(request["blobs"]))})
        elif do == "blob":
            assert self._blobs is not None
            digest, size = _pairs([[request["digest"], request["size"]]])[0]
            self._blobs.receive(digest, size, int(request["offset"]), self._piece)
            self._say({"done": "blob", "digest": digest})
        elif do == "commit":
            self._commit(request)
        elif do == "empty":
            assert self._blobs is not None
            self._blobs.empty()
            self._say({"done": "empty"})
        elif self._engine is not None and do == "serve":
            self._say({"done": "serve", "port": self._engine.serve(request["name"], request["types"])})
        elif self._engine is not None and do == "call":
            self._engine.call(
                request["script"], lambda code, said: self._say({"done": "call", "code": code, "text": said})
            )
        else:
            self._hosted(request)

    def _hosted(self, request: dict[str, Any]) -> None:
        from trainload.runner.hosted import VERBS, Hosted

        if request["do"] not in VERBS:
            raise Trouble("version", said=str(wire.VERSION))
        assert self._home is not None
        Hosted(self._home, self._say, self._write, lambda: wire.read_frame(self._source)).answer(request)

    def _open(self, request: dict[str, Any]) -> None:
        if request["version"] != wire.VERSION:
            raise Trouble("version", said=str(wire.VERSION))
        home = Home(folder_for(request["folder"], os.environ))
        writing = bool(request["writing"])
        there = home.read()
        if writing:
            self._home = home
            home.write()
        self._blobs = Blobs(home, writing=writing)
        self._engine = Engine(home.blobs)
        self._say({"done": "open", "folder": str(home.path), "there": there})

    def _commit(self, request: dict[str, Any]) -> None:
        """Blobs first, then the list of images: all of it or nothing."""
        assert self._home is not None
        assert self._blobs is not None
        home, image = self._home, request["image"]
        with home.lock("gc", shared=True):
            sizes = self._blobs.need(_pairs(request["needs"]))
            with home.lock("index"):
                old = names.parse((home.path / "index.json").read_bytes())
                home.replace("index.json", names.added(old, image, request["names"]))
        self._blobs.clear()
        now = names.parse((home.path / "index.json").read_bytes())
        known = names.names_of(now, image["digest"])
        self._say({"done": "commit", "image": image["digest"], "names": known, "blobs": sizes})

    def _piece(self) -> bytes:
        signal.alarm(STALL)
        kind, data = wire.read_frame(self._source)
        signal.alarm(0)
        if kind != wire.DATA:
            raise wire.Gone("not a blob's bytes")
        return data

    def _end(self, trouble: Trouble) -> None:
        with contextlib.suppress(wire.Gone):
            self._say({"trouble": trouble.code, **trouble.facts})

    def _say(self, value: dict[str, Any]) -> None:
        """Raises :class:`Gone` when nobody listens any more."""
        self._write(wire.line(self._mark, value))

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._output, data) :]
        except OSError as error:
            raise wire.Gone("nobody listens") from error

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.close()
        if self._blobs is not None:
            self._blobs.close()
        if self._home is not None:
            self._home.end()


def _pairs(found: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - a document
    """Digests and sizes; a digest becomes the name of a file."""
    pairs = [(str(digest), int(size)) for digest, size in found]
    if not all(_DIGEST.fullmatch(digest) for digest, _ in pairs):
        raise Trouble("version", said="another kind of digest")
    return pairs


def _silent(number: int, frame: FrameType | None) -> None:
    raise wire.Gone("silent")


def main(mark: str, source: IO[bytes]) -> None:
    """Serve on our standard streams; whatever prints to the standard output from now on is sent to stderr."""
    output = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGALRM, _silent)
    os.umask(0o077)  # a stricter one would lock us out of our own files
    try:
        Server(mark, source, output).serve()
    finally:
        os.close(output)
        sys.stdout.flush()
