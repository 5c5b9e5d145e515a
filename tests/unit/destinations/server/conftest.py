"""A registry on loopback and a client that says exactly what it is told to."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from trainload.destinations.server.listener import Served
from trainload.destinations.server.serve import Server, Settings, serving
from trainload.digest import Digest
from trainload.errors import TrainloadError
from trainload.image.model import CONFIG, INDEX, LAYER, MANIFEST


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error's code."""
        return str(self.json["errors"][0]["code"])


@dataclass(frozen=True)
class Peer:
    """A client of one server."""

    server: Server
    home: Path

    def ask(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, /, **headers: str) -> Reply:
        """One request on a connection of its own; a header ``Content_Range`` is sent as ``Content-Range``."""
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=120)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named, encode_chunked=not isinstance(body, bytes | None))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def upload(self, name: str, data: bytes, algorithm: str = "sha256") -> str:
        """POST and PUT; returns the digest."""
        digest = str(Digest.of(data, algorithm))
        location = self.ask("POST", f"/v2/{name}/blobs/uploads/").headers["location"]
        assert self.ask("PUT", f"{location}?digest={digest}", data).status == 201
        return digest

    def manifest(self, name: str, text: str = "x", **more: object) -> bytes:
        """The bytes of a manifest whose blobs were pushed to ``name``."""
        config, layer = f'{{"of":"{text}"}}'.encode(), text.encode()
        self.upload(name, config)
        self.upload(name, layer)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.descriptor(config, CONFIG),
            "layers": [self.descriptor(layer, LAYER)],
            **more,
        }
        return json.dumps(document).encode()

    def descriptor(self, data: bytes, media_type: str = MANIFEST) -> dict[str, object]:
        return {"mediaType": media_type, "digest": str(Digest.sha256(data)), "size": len(data)}

    def push(self, name: str, tag: str, text: str = "x", **more: object) -> str:
        """A whole small image; returns its manifest's digest."""
        data = self.manifest(name, text, **more)
        reply = self.ask("PUT", f"/v2/{name}/manifests/{tag}", data, Content_Type=MANIFEST)
        assert reply.status == 201, reply
        return str(Digest.sha256(data))

    def index(self, *children: bytes, **more: object) -> bytes:
        document = {
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [self.descriptor(one) for one in children], **more
        }  # fmt: skip
        return json.dumps(document).encode()


Serve = Callable[..., Peer]


@pytest.fixture
def log() -> list[Served]:
    return []


@pytest.fixture
def failures() -> list[TrainloadError]:
    return []


@pytest.fixture
def serve(tmp_path: Path, log: list[Served], failures: list[TrainloadError]) -> Iterator[Serve]:
    """Starts a server; keywords as of ``Settings``."""
    with ExitStack() as running:

        def start(**settings: Any) -> Peer:  # noqa: ANN401 - as Settings types them
            wanted = replace(Settings(tmp_path / "home"), **settings)
            server = running.enter_context(serving(wanted, log.append, failures.append, grace=2.0))
            return Peer(server, wanted.home)

        yield start


@pytest.fixture
def peer(serve: Serve) -> Peer:
    return serve()
