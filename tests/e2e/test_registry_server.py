"""``trainload registry serve`` as a process: signals, kill -9, eight clients beside gc, skopeo."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.image.model import CONFIG, LAYER, MANIFEST
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.verifier import images, violations

TRAINLOAD = (sys.executable, "-m", "trainload")


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def upload(self, name: str, data: bytes) -> str:
        digest = str(Digest.sha256(data))
        if self.ask("HEAD", f"/v2/{name}/blobs/{digest}")[0] == 404:
            location = self.ask("POST", f"/v2/{name}/blobs/uploads/")[1]["location"]
            assert self.ask("PUT", f"{location}?digest={digest}", data)[0] == 201
        return digest

    def push(self, name: str, tag: str, *layers: bytes) -> bytes:
        """As clients do: ask first, send what is missing, the manifest last; returns the manifest."""
        config = json.dumps({"tag": tag}).encode()
        blobs = [(CONFIG, config), *((LAYER, layer) for layer in layers)]
        entries = [
            {"mediaType": kind, "digest": self.upload(name, data), "size": len(data)} for kind, data in blobs
        ]
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": entries[0], "layers": entries[1:]}
        manifest = json.dumps(document).encode()
        status, _, answer = self.ask("PUT", f"/v2/{name}/manifests/{tag}", manifest, Content_Type=MANIFEST)
        assert status == 201, answer
        return manifest


@contextmanager
def serving(log: Path, *words: str) -> Iterator[Running]:
    environ = {**os.environ, "LANG": "C.UTF-8", "LANGUAGE": "en"}
    argv = [*TRAINLOAD, "registry", "serve", "--port", "0", *words]
    with (
        log.open("w") as err,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=err, text=True, env=environ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield Running(process, int(line.rpartition(":")[2]), log)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fault12_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    home = tmp_path / "folder"
    with serving(tmp_path / "log", "--directory", str(home)) as server:
        server.push("team/digits", "v1", b"layer")
        server.ask("POST", "/v2/a/blobs/uploads/")
        server.process.send_signal(number)
        assert server.process.wait(120) == 0
    assert images(home).keys() == {"team/digits:v1"}
    assert violations(home, clean=True) == []
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == f"{home} is served as a registry at http://127.0.0.1:{server.port}; Ctrl-C ends it"
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ 127\.0\.0\.1 PUT /v2/team/digits/manifests/v1 201 \d+B [\d.]+ms"
    assert any(re.fullmatch(form, line) for line in lines)


def test_fault1_kill_9_while_a_blob_comes_in_leaves_a_whole_store(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(tmp_path / "log", "--home", str(home)) as server:
        kept = server.push("a", "v1", b"kept")
        location = server.ask("POST", "/v2/a/blobs/uploads/")[1]["location"]
        assert server.ask("PATCH", location, os.urandom(3_000_000))[0] == 202
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        connection.putrequest("PATCH", location)
        connection.putheader("Content-Length", "9000000")
        connection.endheaders(os.urandom(2_000_000))
        server.process.kill()
        server.process.wait(120)
        connection.close()
    assert violations(home) == []
    with serving(tmp_path / "log", "--home", str(home)) as again:
        assert again.ask("GET", location)[0] == 404  # sessions end with the server
        assert again.ask("GET", "/v2/a/manifests/v1")[2] == kept
        again.push("a", "v2", b"more")
        again.process.terminate()
        assert again.process.wait(120) == 0
    assert violations(home, clean=True) == []


def test_fault5_I4_I5_eight_clients_push_and_pull_while_gc_runs_and_nothing_is_lost(tmp_path: Path) -> None:
    home = tmp_path / "home"
    wrong: list[str] = []
    done = threading.Event()

    def client(server: Running, number: int) -> None:
        try:
            for turn in range(6):
                name, tag = f"r{number % 3}", f"c{number}"  # tags move, repositories and layers are shared
                layers = (b"shared by all", f"of {name}".encode() * 500, f"{number} {turn}".encode() * 5000)
                manifest = server.push(name, tag, *layers)
                status, _, answer = server.ask("GET", f"/v2/{name}/manifests/{tag}")
                assert (status, answer) == (200, manifest), (status, answer)
                for layer in layers:
                    status, _, answer = server.ask("GET", f"/v2/{name}/blobs/{Digest.sha256(layer)}")
                    assert (status, answer) == (200, layer), (name, tag, turn, status, answer[:300])
        except AssertionError as error:
            wrong.append(str(error))

    def collect() -> None:
        while not done.is_set():
            store = Store.open(home)
            store.gc()
            store.close()

    with serving(tmp_path / "log", "--home", str(home), "-q") as server:
        threads = [threading.Thread(target=client, args=(server, number)) for number in range(8)]
        gc = threading.Thread(target=collect)
        for thread in (gc, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        gc.join()
        assert wrong == []
        server.process.terminate()
        assert server.process.wait(120) == 0
    store = Store.open(home)
    store.gc()
    store.close()
    assert violations(home, clean=True) == []
    assert images(home).keys() == {f"r{number % 3}:c{number}" for number in range(8)}
    assert (tmp_path / "log").read_text() == ""


def test_a_port_that_is_taken_and_a_host_for_everybody_are_told_in_the_reader_s_language(tmp_path: Path) -> None:
    def failing(*words: str) -> str:
        argv = [*TRAINLOAD, "--home", str(tmp_path / "home"), "registry", "serve", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == ""
        return f"{done.returncode} {done.stderr}"

    with serving(tmp_path / "log", "--home", str(tmp_path / "other")) as server:
        assert failing("--port", str(server.port), "--lang", "en").startswith(
            f"1 error: port {server.port} of 127.0.0.1 is taken by another program\n"
        )
        assert "已被其他程序占用" in failing("--port", str(server.port), "--lang", "zh")
    told = failing("--host", "0.0.0.0", "--lang", "en")
    assert told.startswith("2 error: 0.0.0.0 is reached from the network")
    assert "--tls-cert --htpasswd" in told
    assert not (tmp_path / "home").exists()


def call(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="not installed: skopeo")
def test_skopeo_pulls_lists_pushes_inspects_and_deletes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = Store.open(home)
    image = make(store, "digits", {"a": b"1"}, {"b": b"2"})
    store.close()
    plain = ("--tls-verify=false",)
    with serving(tmp_path / "log", "--home", str(home)) as server:
        address = f"docker://127.0.0.1:{server.port}"
        call("skopeo", "copy", "--src-tls-verify=false", f"{address}/digits", f"dir:{tmp_path}/dir")
        assert (tmp_path / "dir" / "manifest.json").read_bytes() == image.manifest_bytes
        back: Sequence[str] = ("skopeo", "copy", "--dest-tls-verify=false", f"dir:{tmp_path}/dir")
        call(*back, f"{address}/team/copy:v1")
        call(*back, "--format", "v2s2", f"{address}/team/copy:v2")
        assert json.loads(call("skopeo", "list-tags", *plain, f"{address}/team/copy"))["Tags"] == ["v1", "v2"]
        assert json.loads(call("skopeo", "inspect", *plain, f"{address}/team/copy:v1"))["Digest"] == str(
            image.digest
        )
        call("skopeo", "delete", *plain, f"{address}/team/copy:v2")
        server.process.terminate()
        server.process.wait(120)
    assert images(home) == {"digits": str(image.digest), "team/copy:v1": str(image.digest)}
    assert violations(home) == []
