"""Lists, referrers, and where a registry is looked for (THREATS R12, R14, R21, R22)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.digest import Digest, canonical_json
from trainload.errors import ConfigError, ImageError, RegistryError, TrainloadError
from trainload.image.model import CONFIG, INDEX, MANIFEST
from trainload.reference import Reference, registry_named
from trainload.registry.client import Client
from trainload.registry.hosts import Hosts, Plain
from trainload.registry.machine import hosts_here
from trainload.registry.session import whole
from trainload.system.http import Http
from trainload.system.process import run
from trainload.testing.faults import FaultRegistry
from trainload.testing.registry import MemoryRegistry

SUBJECT = b'{"schemaVersion":2,"manifests":[]}'


@pytest.fixture
def registry() -> Iterator[FaultRegistry]:
    with FaultRegistry() as made:
        for number in range(7):
            made.memory.put("team/app", SUBJECT, INDEX, f"v{number}")
        yield made


def client(**settings: object) -> Client:
    http = Http(stall_timeout=30, connect_timeout=30, sleep=lambda seconds: None, proxies={})
    return Client(http, **settings)  # type: ignore[arg-type]


def name(registry: FaultRegistry) -> Reference:
    return Reference.parse(f"{registry.host}/team/app")


def test_a_connection_is_free_for_others_as_soon_as_the_answer_to_head_is_told(registry: FaultRegistry) -> None:
    http = Http(stall_timeout=30, connect_timeout=30, proxies={})
    url = f"http://{registry.host}/v2/team/app/manifests/v1"
    held = http.exchange("HEAD", url, {"Accept": INDEX})  # as another thread may still hold it
    assert whole(url, held, 1000).body == b""
    assert whole(url, http.exchange("GET", url, {"Accept": INDEX}), 1000).body == SUBJECT


def test_R14_a_list_is_read_page_by_page(registry: FaultRegistry) -> None:
    registry.memory.page = 3
    assert client().tags(name(registry)) == tuple(f"v{number}" for number in range(7))
    assert len(registry.requests("GET", "tags/list")) == 3


@pytest.mark.parametrize(
    "link",
    [
        '<http://127.0.0.1:1/v2/team/app/tags/list>; rel="next"',
        '<https://evil.example/tags>; rel="next"',
        '<//evil.example/tags>; rel="next"',
        "<file:///etc/passwd>; rel=next",
    ],
)
def test_R14_a_list_does_not_go_on_elsewhere(registry: FaultRegistry, link: str) -> None:
    registry.fail("GET", "tags/list", headers={"Link": link}, times=-1)
    with pytest.raises(RegistryError, match="continues its list at another place"):
        client().tags(name(registry))
    assert len(registry.requests("GET", "tags/list")) == 1


def test_R14_a_list_without_end_ends(registry: FaultRegistry) -> None:
    registry.fail("GET", "tags/list", headers={"Link": '</v2/team/app/tags/list?last=x>; rel="next"'}, times=-1)
    with pytest.raises(RegistryError, match="has no end"):
        client().tags(name(registry))
    assert len(registry.requests("GET", "tags/list")) == 2


@pytest.mark.parametrize("body", [b"[]", b'{"tags":"x"}', b'{"tags":[1]}', b'{"tags":["a"],"tags":[]}', b"\xff"])
def test_R05_a_list_that_is_none_is_refused(registry: FaultRegistry, body: bytes) -> None:
    registry.fail("GET", "tags/list", body=body, times=-1)
    with pytest.raises(ImageError):
        client().tags(name(registry))


def artifact(kind: str) -> bytes:
    blob = {"mediaType": CONFIG, "digest": str(Digest.sha256(b"{}")), "size": 2}
    subject = {"mediaType": INDEX, "digest": str(Digest.sha256(SUBJECT)), "size": len(SUBJECT)}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob, "layers": [blob]}
    return canonical_json({**document, "artifactType": kind, "subject": subject})


@pytest.mark.parametrize("api", [True, False])
def test_R21_referrers_are_found_by_the_api_or_the_fallback_tag(registry: FaultRegistry, api: bool) -> None:
    subject = Digest.sha256(SUBJECT)
    sbom, other = artifact("application/sbom"), artifact("application/other")
    if api:
        registry.memory.put("team/app", sbom, MANIFEST)
        registry.memory.put("team/app", other, MANIFEST)
    else:
        registry.memory.referrers = False
        children = [
            {"mediaType": MANIFEST, "digest": str(Digest.sha256(data)), "size": len(data), "artifactType": kind}
            for data, kind in ((sbom, "application/sbom"), (other, "application/other"))
        ]
        index = canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
        registry.memory.put("team/app", index, INDEX, f"sha256-{subject.hex}")
    found = client().referrers(name(registry), subject, "application/sbom")
    assert [one.digest for one in found] == [Digest.sha256(sbom)]
    assert len(client().referrers(name(registry), subject)) == 2


def test_R21_no_referrers_are_none(registry: FaultRegistry) -> None:
    assert client().referrers(name(registry), Digest.sha256(b"x")) == ()
    registry.memory.referrers = False
    assert client().referrers(name(registry), Digest.sha256(b"x")) == ()


@pytest.mark.parametrize("body", [b'{"schemaVersion":2,"layers":[],"manifests":[]}', b"{}", b"[" * 10_000])
@pytest.mark.parametrize("api", [True, False])
def test_R21_a_hostile_index_of_referrers_is_refused(registry: FaultRegistry, body: bytes, api: bool) -> None:
    registry.memory.referrers = api
    registry.memory.put("team/app", body, INDEX, f"sha256-{Digest.sha256(b'x').hex}")
    if api:
        registry.fail("GET", "/referrers/", body=body, times=-1)
    with pytest.raises(TrainloadError):
        client().referrers(name(registry), Digest.sha256(b"x"))


def test_R07_a_digest_header_that_is_none_is_refused(registry: FaultRegistry) -> None:
    for bad in ("sha256:../../x", "SHA256:" + "A" * 64, "md5:" + "0" * 32, "sha256:00"):
        registry.faults.clear()
        registry.fail("HEAD", "/manifests/", headers={"Docker-Content-Digest": bad}, times=-1)
        with pytest.raises(RegistryError, match="digest that is none"):
            client().find(name(registry).with_tag("v1"))


def test_a_registry_that_says_little_is_asked_for_the_whole(registry: FaultRegistry) -> None:
    registry.fail("HEAD", "/manifests/", headers={"Docker-Content-Digest": ""}, times=-1)
    found = client().find(name(registry).with_tag("v1"))
    assert found is not None
    assert found.digest == Digest.sha256(SUBJECT)


def test_docker_hub_is_served_by_another_host() -> None:
    assert Hosts().server("docker.io").base == "https://registry-1.docker.io"
    assert Hosts().server("ghcr.io").base == "https://ghcr.io"


def test_R22_plain_http_is_for_this_machine_and_for_named_registries() -> None:
    assert Hosts().server("ghcr.io").others == ()
    assert Hosts().server("10.0.0.5:5000").others == ()
    for here in ("localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.9.9.9"):
        assert Hosts().server(here).base == f"http://{here}"
    named = Hosts(plain=Plain(frozenset({"lab.example:5000", "old.example"})))
    assert named.server("lab.example:5000").others == ("http://lab.example:5000",)
    assert not named.server("lab.example:5000").trust.verify
    assert named.server("lab.example:5001").others == ()
    assert named.server("lab.example").others == ()
    assert named.server("old.example:8443").others == ("http://old.example:8443",)


def test_R22_mirrors_come_from_the_environment_the_project_and_docker(tmp_path: Path) -> None:
    daemon = tmp_path / "daemon.json"
    daemon.write_text('{"registry-mirrors": ["https://c.example", "http://plain.example", 7]}')
    environ = {"TRAINLOAD_MIRRORS_REGISTRY": "docker.io=https://a.example, ghcr.io=https://g.example/"}
    hosts = hosts_here(environ, {"docker.io": ["https://b.example"]}, daemon=[daemon])
    bases = [endpoint.base for endpoint in hosts.readers("docker.io")]
    assert bases == ["https://a.example", "https://b.example", "https://c.example", "https://registry-1.docker.io"]
    assert [endpoint.base for endpoint in hosts.readers("ghcr.io")] == ["https://g.example", "https://ghcr.io"]
    assert hosts.server("docker.io").base == "https://registry-1.docker.io"


@pytest.mark.parametrize(
    "value",
    ["docker.io", "docker.io=ftp://x", "=https://x", "docker.io=https://", "docker.io=https://x:y",
     "docker.io=https://x:5000 ghcr.io=https://y"],
)  # fmt: skip
def test_a_variable_that_says_nothing_is_told(value: str) -> None:
    with pytest.raises(ConfigError, match="TRAINLOAD_MIRRORS_REGISTRY"):
        hosts_here({"TRAINLOAD_MIRRORS_REGISTRY": value}, {})


def test_R22_a_mirror_without_tls_must_be_named() -> None:
    with pytest.raises(ConfigError, match="not protected by TLS"):
        hosts_here({}, {"docker.io": ["http://lab.example"]}, daemon=[])
    named = hosts_here({}, {"docker.io": ["http://lab.example"]}, ["lab.example"], daemon=[])
    assert named.readers("docker.io")[0].base == "http://lab.example"
    with pytest.raises(ConfigError, match="not the name of a registry"):
        hosts_here({}, {}, ["http://lab.example/"])


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io/", "ghcr.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_a_registry_is_named_as_people_write_it(text: str, want: str) -> None:
    assert registry_named(text) == want


@pytest.mark.parametrize("text", ["ghcr.io/team", "a b", "", "user@ghcr.io", "ghcr.io:port"])
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="not the name of a registry"):
        registry_named(text)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of nobody's for 127.0.0.1, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    pem = folder / "both.pem"
    done = run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "crt")]
    )  # fmt: skip
    assert done.exit_code == 0, done.complaint
    pem.write_bytes((folder / "crt").read_bytes() + (folder / "key").read_bytes())
    return pem


def secure(certificate: Path) -> FaultRegistry:
    memory = MemoryRegistry()
    memory.put("team/app", SUBJECT, INDEX, "v1")
    return FaultRegistry(memory, certificate)


def test_R22_a_certificate_nobody_vouches_for_is_refused(certificate: Path) -> None:
    with secure(certificate) as registry, pytest.raises(RegistryError):
        client().tags(name(registry))
    assert registry.asked == []


def test_R22_the_users_authority_and_the_named_registry_are_trusted(certificate: Path, tmp_path: Path) -> None:
    with secure(certificate) as registry:
        assert client(hosts=Hosts(authorities=(str(certificate),))).tags(name(registry)) == ("v1",)
        assert client(hosts=Hosts(plain=Plain(frozenset({registry.host})))).tags(name(registry)) == ("v1",)
        folder = tmp_path / "certs.d" / registry.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(certificate.read_bytes())
        assert client(hosts=Hosts(certificates=(tmp_path / "certs.d",))).tags(name(registry)) == ("v1",)
