"""What the runner does for an engine beside it."""

from __future__ import annotations

import http.client
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.runner.engine import Engine

MANIFEST, BLOB = b"{}", b"layer" * 100_000
TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    for data in (MANIFEST, BLOB):
        (tmp_path / Digest.sha256(data).hex).write_bytes(data)
    engine = Engine(tmp_path)
    yield engine
    engine.close()


def get(port: int, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        line.request(method, path)
        answer = line.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        line.close()


def test_one_image_is_shown_under_its_name_only(engine: Engine) -> None:
    port = engine.serve("trainload/secret", {str(Digest.sha256(MANIFEST)): TYPE})
    manifest, blob = f"manifests/{Digest.sha256(MANIFEST)}", f"blobs/{Digest.sha256(BLOB)}"
    assert get(port, "/v2/") == (200, "application/json", b"{}")
    assert get(port, f"/v2/trainload/secret/{manifest}") == (200, TYPE, MANIFEST)
    assert get(port, f"/v2/trainload/secret/{manifest}", "HEAD") == (200, TYPE, b"")
    assert get(port, f"/v2/trainload/secret/{blob}") == (200, "application/octet-stream", BLOB)
    for path in (
        f"/v2/trainload/other/{manifest}", f"/v2/{blob}", f"/{blob}", "/v2/trainload/secret/manifests/latest",
        "/v2/trainload/secret/blobs/sha256:..", "/v2/trainload/secret/blobs/sha256:", "/v2/_catalog", "/",
        f"/v2/trainload/secret/manifests/{Digest.sha256(BLOB)}",
    ):  # fmt: skip
        assert get(port, path)[0] == 404, path


def test_an_engine_that_has_enough_of_a_blob_is_nothing_to_tell(
    engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    digest = Digest.sha256(b"large")
    with (tmp_path / digest.hex).open("wb") as file:
        file.truncate(1 << 28)  # more than sockets hold
    port, before = engine.serve("x", {}), set(threading.enumerate())
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET /v2/x/blobs/{digest} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        assert client.recv(64).startswith(b"HTTP/1.1 200")
        (answering,) = set(threading.enumerate()) - before
    answering.join(60)
    assert not answering.is_alive()
    assert capfd.readouterr() == ("", "")


def test_it_listens_on_loopback_alone(engine: Engine) -> None:
    port = engine.serve("x", {})
    lines = Path("/proc/net/tcp").read_text().splitlines()
    assert [line.split()[1] for line in lines if f":{port:04X} " in line and line.split()[3] == "0A"] == [
        f"0100007F:{port:04X}"
    ]


def test_a_program_runs_and_its_words_and_code_are_told(engine: Engine) -> None:
    told: queue.Queue[tuple[int, str]] = queue.Queue()
    engine.call("echo out; echo err >&2; cat; exit 3", lambda code, said: told.put((code, said)))
    assert told.get(timeout=60) == (3, "out\nerr\n")


def test_a_program_ends_with_whoever_asked_for_it(engine: Engine, tmp_path: Path) -> None:
    done = threading.Event()
    engine.call(f"echo $$ >{tmp_path}/pid; sleep 100 & wait", lambda *_: done.set())
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.02)
    engine.close()
    assert done.wait(60), "all of it: the pipe is closed by its children too"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
