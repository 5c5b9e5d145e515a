"""What uv is told of wheels whose server sends no parts of files (PEP 658)."""

from __future__ import annotations

import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from trainload.errors import FetchError, Text
from trainload.system.metadata import MetadataServer, can_be_asked

TOOL = "http://wheels.example/a/tool-1.0%2Bcpu-py3-none-any.whl"


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    def metadata(address: str) -> bytes:
        if address == TOOL:
            return b"Name: tool\n"
        raise FetchError(Text("it is gone"))

    with MetadataServer(metadata) as made:
        yield made


def get(url: str) -> bytes | int:
    """The body, or the status of a refusal."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_metadata_of_a_link_is_that_of_the_wheel_it_stands_for(server: MetadataServer) -> None:
    other, link = server.link("http://wheels.example/other-1.whl"), server.link(TOOL)
    assert link.startswith("http://127.0.0.1:")
    assert link.endswith("/tool-1.0%2Bcpu-py3-none-any.whl")
    assert get(f"{link}.metadata") == b"Name: tool\n"
    assert (server.meant(link), server.meant(TOOL)) == (TOOL, TOOL)
    assert server.meant(other) == "http://wheels.example/other-1.whl"
    assert not server.failed


def test_what_cannot_be_told_is_noted(server: MetadataServer) -> None:
    gone, link = server.link("http://wheels.example/other-1.whl"), server.link(TOOL)
    for url in (f"{gone}.metadata", link, link.replace("/1/", "/2/") + ".metadata"):
        server.failed = False
        assert get(url) == 404
        assert server.failed


def test_whoever_does_not_know_its_address_is_told_nothing(server: MetadataServer) -> None:
    link = server.link(TOOL)
    scheme, _, host, key, rest = link.split("/", 4)
    for wrong in ("", key[:-1], "x" * len(key), "%00", "é".encode().hex()):
        assert get("/".join((scheme, "", host, wrong, f"{rest}.metadata"))) == 404
    assert not server.failed


def test_a_uv_that_goes_away_while_it_is_told_is_nothing_to_tell(capfd: pytest.CaptureFixture[str]) -> None:
    asked, gone = threading.Event(), threading.Event()
    threads = []

    def metadata(address: str) -> bytes:
        threads.append(threading.current_thread())
        asked.set()
        gone.wait(60)
        return bytes(1 << 20)

    with MetadataServer(metadata) as made:
        link = urlsplit(made.link(TOOL))
        with socket.create_connection((link.hostname or "", link.port or 0)) as client:
            client.sendall(f"GET {link.path}.metadata HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
            assert asked.wait(60)
        gone.set()
        threads[0].join(60)
    assert capfd.readouterr() == ("", "")


def test_it_is_gone_when_it_is_left() -> None:
    with MetadataServer(lambda _: b"") as made:
        assert made.meant(TOOL) == TOOL  # nothing listens yet
        link = made.link(TOOL)
    with pytest.raises(urllib.error.URLError):
        get(f"{link}.metadata")


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_cannot_ask_this_machine(name: str) -> None:
    assert can_be_asked({})
    assert can_be_asked({name: "", "https_proxy": "http://proxy.example"})
    assert not can_be_asked({name: "http://proxy.example"})
