"""Docker's API over a real socket: what goes wrong there is told, never half believed."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from trainload.errors import RunError
from trainload.run.engines.docker.api import Api, ApiError
from trainload.run.engines.docker.host import address
from trainload.run.engines.docker.memory import ran_out
from trainload.system.daemon import Address, DaemonError

Answering = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def daemon(folder: Path, answering: Answering) -> Iterator[Api]:
    """A daemon that knows ``/_ping``; the rest is ``answering``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            if self.path == "/_ping":
                self.send_response(200)
                self.send_header("Api-Version", "1.44")
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                answering(self)
            self.close_connection = True

        do_GET = do_POST = handle_one  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Server(str(folder / "s"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Api(Address(f"unix://{folder}/s"))
        finally:
            server.shutdown()
            thread.join()


def answer(handler: BaseHTTPRequestHandler, status: int, data: bytes, length: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)


def test_the_newest_api_is_used_and_questions_are_quoted(tmp_path: Path) -> None:
    asked: list[str] = []

    def answering(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        answer(handler, 200, b'{"a": 1}')

    with daemon(tmp_path, answering) as api:
        assert api.get("/x/a b", filters='{"l":["a=b&c"]}', none=None) == {"a": 1}
    assert asked == ["/v1.44/x/a%20b?filters=%7B%22l%22%3A%5B%22a%3Db%26c%22%5D%7D"]


def test_fault_15_an_error_after_a_200_is_an_error(tmp_path: Path) -> None:
    lines = b'{"status":"Loading"}\n{"errorDetail":{"message":"no space left"},"error":"no space left"}\n'
    with daemon(tmp_path, lambda handler: answer(handler, 200, lines)) as api:
        told: list[object] = []
        with pytest.raises(ApiError, match="no space left"):
            told.extend(api.progress("/images/load", [b"tar"]))
    assert told in ([], [{"status": "Loading"}])


def test_fault_14_a_daemon_that_goes_away_in_the_middle_is_an_error(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, lambda handler: answer(handler, 200, b'{"a":', length=1000)) as api,
        pytest.raises(DaemonError, match="cannot be reached"),
    ):
        api.get("/info")


def test_what_docker_says_is_told_and_a_404_can_be_nothing(tmp_path: Path) -> None:
    def answering(handler: BaseHTTPRequestHandler) -> None:
        missing = "missing" in handler.path
        answer(handler, 404 if missing else 500, json.dumps({"message": "it \x1b[31m broke"}).encode())

    with daemon(tmp_path, answering) as api:
        assert api.find("/missing") is None
        with pytest.raises(ApiError) as caught:
            api.get("/broken")
        assert "it \\x1b[31m broke" in str(caught.value)  # nothing moves the cursor (W05)


def test_why_docker_cannot_be_used_is_told_with_what_to_do(tmp_path: Path) -> None:
    absent = Api(Address(f"unix://{tmp_path}/none")).unavailable()
    assert absent is not None and "not installed or not running" in str(absent)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    refused = Api(Address(f"unix://{tmp_path}/dead")).unavailable()
    assert refused is not None and "sudo systemctl start docker" in str(refused)


OUT = {"ExitCode": 137, "StartedAt": "2026-11-27T10:00:00Z", "FinishedAt": "2026-11-27T10:00:01.5Z"}


def test_the_word_that_memory_ran_out_may_come_after_the_end(tmp_path: Path) -> None:
    asked: list[dict[str, list[str]]] = []
    events = [b'{"Type":"container","Action":"oom"}\n', b""]

    def answering(handler: BaseHTTPRequestHandler) -> None:
        asked.append(parse_qs(urlsplit(handler.path).query))
        answer(handler, 200, events[len(asked) - 1])

    container = {"Id": "f0", "HostConfig": {"Memory": 64 << 20}, "State": OUT}
    with daemon(tmp_path, answering) as api:
        assert [ran_out(api, container) for _ in events] == [True, False]
        failed = {**container, "State": {**OUT, "ExitCode": 1}}
        events.append(b"")
        assert not ran_out(api, failed)
    since, end = 1795773600, 1795773601.5
    assert [(float(one["since"][0]), float(one["until"][0])) for one in asked] == [
        (since, end + 3), (since, end + 3), (since, end),  # an exit code of its own is nobody's SIGKILL
    ]  # fmt: skip
    assert json.loads(asked[0]["filters"][0]) == {"container": ["f0"], "event": ["oom"]}


@pytest.mark.parametrize(
    "container",
    [
        {"Id": "f0", "HostConfig": {"Memory": 0}, "State": OUT},
        {"Id": "f0", "HostConfig": {"Memory": 64 << 20}, "State": {**OUT, "OOMKilled": True}},
        {"Id": "f0", "HostConfig": {"Memory": 64 << 20}, "State": {**OUT, "Running": True}},
        {"Id": "f0", "HostConfig": {"Memory": 64 << 20}, "State": {**OUT, "ExitCode": 0}},
        {"Id": "f0", "HostConfig": {"Memory": 64 << 20}, "State": {**OUT, "StartedAt": "0001-01-01T00:00:00Z"}},
    ],
)
def test_docker_is_not_asked_about_memory_where_its_state_says_enough(
    tmp_path: Path, container: dict[str, object]
) -> None:
    assert not ran_out(Api(Address(f"unix://{tmp_path}/none")), container)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
def test_a_socket_that_is_not_ours_is_told_with_the_group(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(tmp_path / "closed"))
        (tmp_path / "closed").chmod(0)
        told = Api(Address(f"unix://{tmp_path}/closed")).unavailable()
    assert told is not None and "usermod -aG docker" in str(told)


KEY = hashlib.sha256(b"gpu").hexdigest()
META = f"/home/a/.docker/contexts/meta/{KEY}/meta.json"
CERTIFICATE = f"/home/a/.docker/contexts/tls/{KEY}/docker/ca.pem"
CONTEXT = json.dumps({"Endpoints": {"docker": {"Host": "tcp://gpu:2376", "SkipTLSVerify": False}}}).encode()
CURRENT = {"/home/a/.docker/config.json": b'{"currentContext": "gpu"}', META: CONTEXT}


@pytest.mark.parametrize(
    ("environ", "files", "url", "tls"),
    [
        ({}, {}, "unix:///var/run/docker.sock", False),
        ({"DOCKER_HOST": "unix:///x"}, CURRENT, "unix:///x", False),
        ({"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1"}, {}, "tcp://h:2376", True),
        ({"DOCKER_HOST": "tcp://h:2375"}, {}, "tcp://h:2375", False),
        ({}, CURRENT, "tcp://gpu:2376", False),
        ({}, {**CURRENT, CERTIFICATE: b"pem"}, "tcp://gpu:2376", True),
        ({"DOCKER_CONTEXT": "default"}, CURRENT, "unix:///var/run/docker.sock", False),
        ({"XDG_RUNTIME_DIR": "/u"}, {"/u/docker.sock": b""}, "unix:///u/docker.sock", False),
        ({}, {"/home/a/.docker/config.json": b"junk"}, "unix:///var/run/docker.sock", False),
    ],
)  # fmt: skip
def test_docker_is_where_its_own_client_finds_it(
    environ: dict[str, str], files: dict[str, bytes], url: str, tls: bool
) -> None:
    found = address({"HOME": "/home/a", **environ}, files.get, files.__contains__)
    assert (found.url, found.tls is not None) == (url, tls)


def test_a_context_that_is_not_there_is_told() -> None:
    with pytest.raises(RunError, match="no docker context lost"):
        address({"DOCKER_CONTEXT": "lost"}, lambda path: None, lambda path: False)
