"""A server from its settings to its address: what is refused, TLS, passwords, reading only."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest
from tests.unit.destinations.server.conftest import Serve

from trainload.destinations.server.serve import Settings, serving
from trainload.errors import RegistryError, StoreError, UsageError
from trainload.image.model import MANIFEST
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.verifier import snapshot, violations

HTPASSWD = (
    "bea:$2y$05$tUU654py12mYeGEv3VRC8OgCgIGnLgU6GQVUOaoV4EjGe94X0ebiy\n"  # htpasswd -B, password "secret"
    "sam:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"  # htpasswd -s
    "ann:$apr1$phiNaFAH$mP7fdJr6zrg/WoZqIFOji0\n"  # htpasswd -m
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def test_a_server_makes_the_store_and_leaves_nothing_but_it(tmp_path: Path) -> None:
    with serving(Settings(tmp_path / "new" / "home")) as server:
        assert server.address == f"127.0.0.1:{server.port}"
        assert server.url == f"http://{server.address}"
        assert (tmp_path / "new" / "home" / "oci-layout").exists()
    assert violations(tmp_path / "new" / "home", clean=True) == []


def test_what_a_network_could_reach_needs_tls_and_passwords(tmp_path: Path) -> None:
    cert, users = tmp_path / "cert", tmp_path / "users"
    for host in ("0.0.0.0", "::", "192.0.2.1", "laptop.example"):
        for given, missing in (
            ({}, "--tls-cert --htpasswd"),
            ({"certificate": cert}, "--htpasswd"),
            ({"accounts": users}, "--tls-cert"),
        ):
            with pytest.raises(UsageError) as refused:
                Settings(tmp_path, host=host, **given).check()  # type: ignore[arg-type]
            assert refused.value.want == missing
        Settings(tmp_path, host=host, certificate=cert, accounts=users).check()
        Settings(tmp_path, host=host, insecure=True).check()


def test_a_port_that_is_taken_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(RegistryError, match=f"port {port} of 127.0.0.1 is taken") as refused,
            serving(Settings(tmp_path / "home", port=port)),
        ):
            pass
    assert "--port 0" in str(refused.value)
    assert not (tmp_path / "home").exists()


def test_a_folder_that_is_no_store_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    (tmp_path / "blobs" / "sha256" / "x").touch()
    before = snapshot(tmp_path)
    with pytest.raises(StoreError), serving(Settings(tmp_path)):
        pass
    assert snapshot(tmp_path) == before


def test_tls_and_passwords(serve: Serve, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(HTPASSWD)
    cert, key = certificate
    peer = serve(certificate=cert, key=key, accounts=users)
    assert peer.server.scheme == "https"
    context = ssl.create_default_context(cafile=str(cert))

    def status(user: str, password: str) -> int:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}"}
        request = urllib.request.Request(f"{peer.server.url}/v2/", headers=headers)
        try:
            with urllib.request.urlopen(request, context=context, timeout=120) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            assert error.headers["WWW-Authenticate"].startswith("Basic realm=")
            return error.code

    assert [status(user, "secret") for user in ("bea", "sam", "ann")] == [200, 200, 200]
    assert [status(user, "wrong") for user in ("bea", "sam", "ann", "nobody")] == [401] * 4


def test_a_large_blob_goes_through_tls_whole(serve: Serve, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    peer = serve(certificate=cert, key=key)
    data = os.urandom(1_500_000)
    store = Store.open(peer.home)
    with store.writing():
        digest = store.put(data)
        store.repositories.add_blob("a", digest)
    context = ssl.create_default_context(cafile=str(cert))
    with urllib.request.urlopen(f"{peer.server.url}/v2/a/blobs/{digest}", context=context, timeout=120) as answer:
        assert answer.read() == data


@pytest.mark.parametrize("content", ["", "# nobody\n", "\0\0"])
def test_a_password_file_without_users_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "users").write_text(content)
    with pytest.raises(RegistryError), serving(Settings(tmp_path / "home", accounts=tmp_path / "users")):
        pass
    with pytest.raises(RegistryError), serving(Settings(tmp_path / "home", accounts=tmp_path / "absent")):
        pass


def test_a_certificate_that_does_not_fit_is_told(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    key = certificate[1]
    for wrong in (Settings(tmp_path, certificate=key), Settings(tmp_path, certificate=tmp_path / "absent")):
        with pytest.raises(RegistryError, match="certificate"), serving(wrong):
            pass
    with pytest.raises(UsageError), serving(Settings(tmp_path, key=key)):
        pass


def test_fault11_I10_a_store_served_for_reading_is_not_written_to(serve: Serve, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    image = make(store, "digits", {"a": b"1"})
    store.close()

    def everything() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in sorted(store.home.rglob("*"))}

    before = everything()
    peer = serve(read_only=True)
    for method in ("GET", "HEAD"):
        assert peer.ask(method, "/v2/digits/manifests/latest").status == 200
        assert peer.ask(method, f"/v2/digits/blobs/{image.manifest.layers[0].digest}").status == 200
    assert peer.ask("POST", "/v2/digits/blobs/uploads/").status == 405
    assert peer.ask("PUT", "/v2/digits/manifests/v1", b"{}", Content_Type=MANIFEST).status == 405
    assert peer.ask("DELETE", f"/v2/digits/manifests/{image.digest}").status == 405
    assert everything() == before


def test_ipv6(serve: Serve) -> None:
    try:
        peer = serve(host="::1")
    except RegistryError:
        pytest.skip("this machine has no IPv6")
    assert peer.server.address == f"[::1]:{peer.server.port}"
    assert peer.ask("GET", "/v2/").status == 200
