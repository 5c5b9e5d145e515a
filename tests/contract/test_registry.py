"""The client against real peers: Debian's docker-registry (open, htpasswd, tokens), our server, skopeo."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, Protocol
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.peers import DockerRegistry

from trainload.destinations.cargo import from_store
from trainload.destinations.pull import Pull
from trainload.destinations.push import push
from trainload.destinations.server.serve import Settings, serving
from trainload.digest import Digest, canonical_json
from trainload.errors import RegistryError
from trainload.events import How
from trainload.image.model import CONFIG, LAYER_GZIP, MANIFEST, Descriptor
from trainload.reference import Reference
from trainload.registry.challenge import Credential
from trainload.registry.client import Client
from trainload.registry.hosts import Hosts, Plain
from trainload.registry.login import log_in
from trainload.store.store import Store
from trainload.system.http import Http
from trainload.system.process import run
from trainload.testing.faults import FaultRegistry
from trainload.testing.images import make
from trainload.testing.registry import Asked, MemoryRegistry, Reply
from trainload.testing.verifier import violations

pytestmark = pytest.mark.skipif(bool(DockerRegistry.missing()), reason=DockerRegistry.missing())
BLOB = os.urandom(3 << 20)


class Peer(Protocol):
    """A registry that runs."""

    @property
    def host(self) -> str: ...


@pytest.fixture(scope="module", params=["docker-registry", "trainload registry serve"])
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    folder = tmp_path_factory.mktemp("registry")
    if request.param == "docker-registry":
        with DockerRegistry(folder) as made:
            yield made
    else:
        with serving(Settings(folder)) as server:
            yield SimpleNamespace(host=server.address)


def test_an_upload_that_is_cut_arrives_whole(peer: Peer) -> None:
    """Ours goes on where it was; docker-registry forgets such a session, and it is begun anew."""
    client = Client(Http(sleep=lambda seconds: None))
    name = Reference.parse(f"{peer.host}/cut/app")
    layer, opened = blob_of(BLOB[::-1]), []

    def open_blob() -> BinaryIO:
        opened.append(True)
        return Cutting(BLOB[::-1]) if len(opened) == 1 else io.BytesIO(BLOB[::-1])

    assert client.upload(name, layer, open_blob) is How.SENT
    assert 2 <= len(opened) <= 3  # a third time when ours asks before the server has read what was on the way
    taken = bytearray()
    client.download(name, layer, taken.extend, taken.clear)
    assert taken == BLOB[::-1]


class Cutting(io.BytesIO):
    """The line dies after a megabyte."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 1 << 20:
            raise ConnectionResetError("the line died")
        return super().read(size)


def blob_of(data: bytes, kind: str = LAYER_GZIP) -> Descriptor:
    return Descriptor(kind, Digest.sha256(data), len(data))


def test_what_was_pushed_is_found_listed_and_read_back(peer: Peer) -> None:
    client = Client(Http())
    name = Reference.parse(f"{peer.host}/team/app:v1")
    config, layer = blob_of(b"{}", CONFIG), blob_of(BLOB)
    assert client.find(name) is None
    assert client.upload(name, layer, lambda: io.BytesIO(BLOB)) is How.SENT
    assert client.upload(name, layer, lambda: io.BytesIO(BLOB)) is How.PRESENT
    assert client.upload(name, config, lambda: io.BytesIO(b"{}")) is How.SENT
    other = Reference.parse(f"{peer.host}/team/other")
    assert client.upload(other, layer, lambda: io.BytesIO(BLOB), [name]) is How.MOUNTED
    data = canonical_json(
        {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": str(config.digest), "size": config.size},
            "layers": [{"mediaType": LAYER_GZIP, "digest": str(layer.digest), "size": layer.size}],
        }
    )  # fmt: skip
    digest = client.put_manifest(name, data, MANIFEST)
    found = client.find(name)
    assert found == Descriptor(MANIFEST, digest, len(data))
    assert client.manifest(name).data == data
    assert client.manifest(Reference(name.domain, name.path, digest=digest)).data == data
    assert client.tags(name) == ("v1",)
    taken = bytearray()
    assert client.download(name, layer, taken.extend, taken.clear) == len(BLOB)
    assert taken == BLOB
    assert client.referrers(name, digest) == ()
    client.delete(Reference(name.domain, name.path, digest=digest))
    assert client.find(name) is None
    with pytest.raises(RegistryError, match="MANIFEST_UNKNOWN"):
        client.manifest(name)


HTPASSWD = "ada:$2b$05$abcdefghijklmnopqrstuuD2LS7tOnBtMTw66lFYK7sX9w07QdC7."
"""Ada's password is se:same (bcrypt)."""


class Ada:
    """One user, everywhere; a wrong password when told."""

    def __init__(self, secret: str = "se:same") -> None:
        self.secret = secret

    def find(self, registry: str, scopes: Iterable[str] = ()) -> Credential | None:
        return Credential("ada", self.secret)


def push_and_read(client: Client, host: str) -> None:
    name = Reference.parse(f"{host}/team/app:v1")
    layer = blob_of(BLOB)
    assert client.upload(name, layer, lambda: io.BytesIO(BLOB)) is How.SENT
    assert client.upload(replace(name, path="other/app"), layer, lambda: io.BytesIO(BLOB), [name]) is How.MOUNTED
    taken = bytearray()
    client.download(name, layer, taken.extend, taken.clear)
    assert taken == BLOB


def test_a_registry_with_htpasswd_is_pushed_to_by_who_may(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD + "\n")
    settings = [f"auth: {{htpasswd: {{realm: r, path: {tmp_path / 'htpasswd'}}}}}"]
    with DockerRegistry(tmp_path / "registry", settings) as peer:
        push_and_read(Client(Http(), credentials=Ada()), peer.host)
        for client in (Client(Http()), Client(Http(), credentials=Ada("wrong"))):
            with pytest.raises(RegistryError, match="trainload login"):
                client.tags(Reference.parse(f"{peer.host}/team/app"))
        assert log_in(peer.host, Credential("ada", "se:same"), Http(), Hosts()).asked
        with pytest.raises(RegistryError, match="does not accept"):
            log_in(peer.host, Credential("ada", "wrong"), Http(), Hosts())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_registry_with_a_token_server_is_pushed_to_by_who_may(tmp_path: Path) -> None:
    made = run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=auth",
         "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    )  # fmt: skip
    assert made.exit_code == 0, made.complaint
    memory = MemoryRegistry(token=lambda asked: token_for(asked, tmp_path))
    with FaultRegistry(memory) as tokens:
        settings = [
            f"auth: {{token: {{realm: '{tokens.url}/token', service: reg, issuer: auth, "
            f"rootcertbundle: {tmp_path / 'crt'}}}}}"
        ]
        with DockerRegistry(tmp_path / "registry", settings) as peer:
            hosts = Hosts(plain=Plain(frozenset({tokens.host})))
            push_and_read(Client(Http(), hosts, Ada()), peer.host)
            asked = [one.query.get("scope", "") for one in tokens.asked]
            assert any("team/app:pull,push" in scope for scope in asked)
            with pytest.raises(RegistryError):
                Client(Http(), hosts, Ada("wrong")).tags(Reference.parse(f"{peer.host}/team/app"))
            with pytest.raises(RegistryError):
                Client(Http(), hosts).tags(Reference.parse(f"{peer.host}/team/app"))
            assert log_in(peer.host, Credential("ada", "se:same"), Http(), hosts).asked


def token_for(asked: Asked, folder: Path) -> Reply:
    """A JSON web token for all that is asked, to Ada (distribution: docs/spec/auth/jwt.md)."""
    if asked.headers.get("authorization") != "Basic " + base64.b64encode(b"ada:se:same").decode():
        return Reply(401, {}, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}')
    scopes = [scope for name, scope in parse_qsl(urlsplit(asked.target).query) if name == "scope"]
    access = [
        dict(zip(("type", "name", "actions"), (kind, name, actions.split(",")), strict=True))
        for kind, name, actions in (scope.split(":") for scope in scopes)
    ]
    certificate = "".join((folder / "crt").read_text().split("\n")[1:-2])
    now = int(time.time())
    claims = {
        "iss": "auth",
        "sub": "ada",
        "aud": "reg",
        "exp": now + 300,
        "nbf": now - 5,
        "iat": now,
        "access": access,
    }
    signed = b".".join(unpadded(json.dumps(part).encode()) for part in (
        {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}, {**claims, "jti": "1"}))  # fmt: skip
    done = run(["openssl", "dgst", "-sha256", "-sign", str(folder / "key")], stdin=signed)
    token = (signed + b"." + unpadded(done.stdout)).decode()
    return Reply(200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())


def unpadded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_what_we_pushed_and_we_read_what_skopeo_pushed(peer: Peer, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    image = make(store, "app", {"a": b"1"}, {"b": b"2" * 100_000})
    name = f"{peer.host}/skopeo/app:v1"
    push(store, Client(Http()), from_store(store, image.digest), [Reference.parse(name)])
    there = run(["skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'layout'}:app"])
    assert there.exit_code == 0, there.complaint
    again = f"{peer.host}/skopeo/back:v2"
    back = run(["skopeo", "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'layout'}:app", f"docker://{again}"])
    assert back.exit_code == 0, back.complaint
    other = Store.open(tmp_path / "other")
    assert Pull(other, Client(Http()), Reference.parse(again)).run().digest == image.digest
    other.close()
    store.close()
    assert violations(tmp_path / "other") == []
