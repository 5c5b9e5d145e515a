"""HTTP as hostile or broken clients speak it, and clients that go away: raw bytes on a socket."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from tests.unit.destinations.server.conftest import Peer, Serve

from trainload.destinations.server import listener, uploads, wire
from trainload.destinations.server.listener import Served
from trainload.digest import Digest
from trainload.image.model import MANIFEST
from trainload.store.store import Store
from trainload.testing.verifier import violations


def talk(peer: Peer, data: bytes, *, shut: bool = True) -> bytes:
    """Send bytes, then read until the server closes the connection."""
    with socket.create_connection((peer.server.host, peer.server.port), timeout=60) as sock:
        sock.sendall(data)
        if shut:
            sock.shutdown(socket.SHUT_WR)
        found = b""
        while part := sock.recv(65536):
            found += part
        return found


def begin(sock: socket.socket, request: str, length: int) -> None:
    """Until the server waits for the body."""
    head = f"{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    sock.sendall(head.encode())
    assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


HOST = b"Host: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v2/ HTTP/1.1\r\n\r\n", 400),  # RFC 9112 § 3.2: Host is a MUST
        (b"GET /v2/ HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: 0x1\r\n\r\n", 400),
        (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
         b"\r\n", 400),
        (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
        (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: " + b"x" * wire.HEAD_LIMIT + b"\r\n\r\n", 431),
        (b"GET /v2/?" + b"a=b&" * 101 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    ],
)  # fmt: skip
def test_a_request_that_two_readers_could_see_differently_is_refused(
    peer: Peer, request_bytes: bytes, status: int
) -> None:
    smuggled = b"DELETE /v2/a/manifests/v1 HTTP/1.1\r\n" + HOST + b"\r\n"
    peer.push("a", "v1")
    answer = talk(peer, request_bytes + smuggled)
    assert statuses(answer) == [status]
    assert b"Connection: close" in answer
    assert peer.ask("GET", "/v2/a/manifests/v1").status == 200


def test_requests_on_one_connection_are_answered_in_order(peer: Peer) -> None:
    digest = Digest.sha256(b"body")
    first = b"POST /v2/a/blobs/uploads/?digest=" + str(digest).encode() + b" HTTP/1.1\r\n" + HOST
    chunked = first + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    measured = first + b"Content-Length: 4\r\n\r\nbody"
    read = b"GET /v2/a/blobs/" + str(digest).encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    missing = b"HEAD /v2/a/manifests/v1 HTTP/1.1\r\n" + HOST + b"\r\n"
    assert statuses(talk(peer, chunked + read + missing + measured + read)) == [201, 200, 404, 201, 200]


def test_a_client_that_asks_first_is_told_to_go_on_or_not(peer: Peer) -> None:
    """RFC 9110 § 10.1.1: nobody sends a gigabyte to be told that its name is wrong."""
    digest = str(Digest.sha256(b"body")).encode()
    expect = b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    good = b"POST /v2/a/blobs/uploads/?digest=" + digest + b" HTTP/1.1\r\n" + HOST + expect
    with socket.create_connection((peer.server.host, peer.server.port), timeout=60) as sock:
        sock.sendall(good)
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"body")
        assert statuses(sock.recv(1000)) == [201]
    bad = b"POST /v2/A/blobs/uploads/?digest=" + digest + b" HTTP/1.1\r\n" + HOST + expect
    assert statuses(talk(peer, bad)) == [400]


def test_an_answer_before_the_whole_body_reaches_a_client_that_is_still_sending(peer: Peer) -> None:
    head = b"PUT /v2/a/manifests/v1 HTTP/1.1\r\n" + HOST + b"Content-Length: 8000000\r\n\r\n"
    assert statuses(talk(peer, head + b"x" * 8_000_000)) == [413]


def test_fault8_what_arrived_before_a_cut_stays_and_the_client_goes_on_there(peer: Peer) -> None:
    data = os.urandom(700_000)
    location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    for length, sent in ((len(data), 300_001), (len(data) - 300_001, 100_000)):
        start = 300_001 if sent == 100_000 else 0
        head = f"PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
        assert talk(peer, head + data[start : start + sent]) == b""
    status = peer.ask("GET", location)
    # whole pieces are taken; of a piece that was cut nothing is
    have = int(status.headers["range"].removeprefix("0-")) + 1
    assert 0 < have <= 400_001
    rest = peer.ask("PATCH", location, data[have:], Content_Range=f"{have}-{len(data) - 1}")
    assert rest.status == 202
    assert peer.ask("PUT", f"{location}?digest={Digest.sha256(data)}").status == 201


def test_fault8_a_client_that_comes_back_takes_over_from_its_own_dead_connection(peer: Peer) -> None:
    location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    with socket.create_connection((peer.server.host, peer.server.port), timeout=60) as dead:
        begin(dead, f"PATCH {location}", 1000)  # and nothing more, as when a laptop's lid is closed
        began = time.monotonic()
        assert peer.ask("PATCH", location, b"hello").status == 202
        assert time.monotonic() - began < 30
        assert dead.recv(100) == b""
    assert peer.ask("PUT", f"{location}?digest={Digest.sha256(b'hello')}").status == 201


def test_R02_a_silent_client_is_cut_and_a_slow_head_is_408(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE", 1.0)
    peer = serve()
    assert talk(peer, b"", shut=False) == b""
    monkeypatch.setattr(wire, "IDLE", 60.0)
    monkeypatch.setattr(wire, "HEAD_TIME", 1.0)
    assert statuses(talk(peer, b"GET /v2/ HTTP/1.1\r\n", shut=False)) == [408]


def test_connections_beyond_the_bound_wait_for_their_turn(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST", 2)
    peer = serve()
    held = [socket.create_connection((peer.server.host, peer.server.port), timeout=60) for _ in range(2)]
    time.sleep(0.1)
    done: list[int] = []
    waiting = threading.Thread(target=lambda: done.append(peer.ask("GET", "/v2/").status))
    waiting.start()
    waiting.join(0.5)
    assert done == []
    held[0].close()
    waiting.join(60)
    assert done == [200]
    held[1].close()


def test_uploads_are_bounded_and_given_up_when_nobody_asks(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST", 2)
    peer = serve()
    first = [peer.ask("POST", "/v2/a/blobs/uploads/") for _ in range(2)]
    refused = peer.ask("POST", "/v2/a/blobs/uploads/")
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "TOOMANYREQUESTS", "30")
    monkeypatch.setattr(uploads, "IDLE", -1.0)
    assert peer.ask("POST", "/v2/a/blobs/uploads/").status == 202
    assert peer.ask("GET", first[0].headers["location"]).status == 404


def test_the_log_has_a_line_for_each_request_and_no_client_can_forge_one(peer: Peer, log: list[Served]) -> None:
    peer.push("a", "v1")
    peer.ask("GET", "/v2/a/manifests/v1")
    peer.ask("GET", "/v2/a/tags/list?n=1")
    talk(peer, b"not HTTP\r\n\r\n")
    for _ in range(1200):  # a line is written after its answer is sent
        if len(log) == 8:
            break
        time.sleep(0.05)
    lines = {(one.method, one.target): one for one in log}
    assert lines["PUT", "/v2/a/manifests/v1"].status == 201
    assert lines["GET", "/v2/a/manifests/v1"].status == 200
    assert lines["GET", "/v2/a/manifests/v1"].size > 100
    assert lines["GET", "/v2/a/tags/list?n=1"].seconds >= 0
    assert [one.status for one in log if one.method == "-"] == [400]


def test_stopping_lets_a_request_finish_and_closes_idle_connections(tmp_path: Path) -> None:
    from trainload.destinations.server.serve import Settings, serving

    data = os.urandom(200_000)
    with serving(Settings(tmp_path / "home"), grace=60.0) as server:
        peer = Peer(server, tmp_path / "home")
        idle = socket.create_connection((server.host, server.port), timeout=60)
        location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        busy = socket.create_connection((server.host, server.port), timeout=60)
        digest = Digest.sha256(data)
        begin(busy, f"PUT {location}?digest={digest}", len(data))
        busy.sendall(data[:100_000])
        threading.Timer(0.5, lambda: busy.sendall(data[100_000:])).start()
        began = time.monotonic()
    assert time.monotonic() - began < 50
    answer = busy.recv(1000)
    assert statuses(answer) == [201]
    assert b"Connection: close" in answer
    assert idle.recv(10) == b""
    assert Store.open(tmp_path / "home").has(digest)
    assert violations(tmp_path / "home", clean=True) == []
    idle.close()
    busy.close()


def test_stopping_cuts_what_does_not_end_and_leaves_nothing(tmp_path: Path) -> None:
    from trainload.destinations.server.serve import Settings, serving

    with serving(Settings(tmp_path / "home"), grace=0.3) as server:
        peer = Peer(server, tmp_path / "home")
        location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        busy = socket.create_connection((server.host, server.port), timeout=60)
        begin(busy, f"PATCH {location}", 99)
        busy.sendall(b"x")
    assert busy.recv(10) == b""
    busy.close()
    assert violations(tmp_path / "home", clean=True) == []


def test_fault3_a_full_disk_is_507_with_the_reason_and_no_path_of_ours(peer: Peer) -> None:
    location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    line = f"PUT {location}?digest={Digest.sha256(b'')} HTTP/1.1"
    head = f"{line}\r\nHost: localhost\r\nContent-Length: {10**17}\r\n\r\n"
    answer = talk(peer, head.encode())
    assert statuses(answer) == [507]
    assert b"full" in answer


def test_eight_clients_at_once_push_and_pull_what_they_pushed(peer: Peer) -> None:
    wrong: list[object] = []

    def client(number: int) -> None:
        for turn in range(5):
            text = f"{number % 4} {turn}"  # two clients push the same thing at the same time
            digest = peer.push(f"r{number % 4}", f"t{turn}", text)
            got = peer.ask("GET", f"/v2/r{number % 4}/manifests/{digest}", Accept=MANIFEST)
            if got.status != 200 or str(Digest.sha256(got.body)) != digest:
                wrong.append(got)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert violations(peer.home) == []
    for number in range(4):
        assert peer.ask("GET", f"/v2/r{number}/tags/list").json["tags"] == [f"t{turn}" for turn in range(5)]
