"""Who gets our credentials, and what is done with tokens (THREATS D8, R11, R12, R15)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator

import pytest

from trainload.errors import RegistryError
from trainload.reference import Reference
from trainload.registry.challenge import Challenge, Credential, challenges, check_realm, choose
from trainload.registry.client import Client
from trainload.registry.hosts import Hosts, Plain
from trainload.registry.login import log_in
from trainload.system.http import Http
from trainload.testing.faults import FaultRegistry
from trainload.testing.registry import Asked, Reply

BASIC = "Basic " + base64.b64encode(b"ada:se:same").decode()


class Known:
    """Ada, at any registry; notes where she was looked up."""

    def __init__(self, credential: Credential | None = None) -> None:
        self.credential = credential or Credential("ada", "se:same")
        self.asked: list[str] = []

    def find(self, registry: str, scopes: Iterable[str] = ()) -> Credential | None:
        self.asked.append(registry)
        return self.credential


@pytest.fixture
def registry() -> Iterator[FaultRegistry]:
    with FaultRegistry() as made:
        made.memory.put(
            "team/app", b'{"schemaVersion":2,"manifests":[]}', "application/vnd.oci.image.index.v1+json", "v1"
        )
        yield made


def http() -> Http:
    return Http(stall_timeout=30, connect_timeout=30, sleep=lambda seconds: None, proxies={})


def tags(registry: FaultRegistry, credentials: Known | None = None, hosts: Hosts | None = None) -> tuple[str, ...]:
    client = Client(http(), hosts or Hosts(), credentials or Known())
    return client.tags(Reference.parse(f"{registry.host}/team/app"))


def tokens(registry: FaultRegistry, *given: str, **more: object) -> list[Asked]:
    """A token server at the registry itself that gives these tokens one after the other, then the last for ever."""
    asked: list[Asked] = []
    left = list(given)

    def token(request: Asked) -> Reply:
        asked.append(request)
        value = left.pop(0) if len(left) > 1 else left[0]
        return Reply(200, {"Content-Type": "application/json"}, json.dumps({"token": value, **more}).encode())

    registry.memory.token = token
    registry.memory.demand = f'Bearer realm="{registry.url}/token",service="reg",scope="repository:team/app:pull"'
    registry.memory.accepts = {f"Bearer {given[-1]}"}
    return asked


def test_an_open_registry_is_told_nothing(registry: FaultRegistry) -> None:
    known = Known()
    assert tags(registry, known) == ("v1",)
    assert known.asked == []
    assert not any("authorization" in one.headers for one in registry.asked)


def test_D8_basic_goes_only_after_it_was_asked_for(registry: FaultRegistry) -> None:
    registry.memory.demand, registry.memory.accepts = 'Basic realm="r"', {BASIC}
    assert tags(registry) == ("v1",)
    assert [one.headers.get("authorization") for one in registry.asked if "tags" in one.target] == [None, BASIC]


def test_a_wrong_password_is_sent_once_and_told(registry: FaultRegistry) -> None:
    registry.memory.demand = 'Basic realm="r"'
    with pytest.raises(RegistryError, match="trainload login 127") as caught:
        tags(registry)
    assert len(registry.requests("GET", "tags")) == 2
    assert "se:same" not in str(caught.value) + repr(caught.value)


def test_a_token_is_asked_for_once_and_used_again(registry: FaultRegistry) -> None:
    asked = tokens(registry, "good")
    client = Client(http(), Hosts(), Known())
    name = Reference.parse(f"{registry.host}/team/app")
    client.tags(name)
    client.tags(name)
    assert len(asked) == 1
    assert asked[0].headers["authorization"] == BASIC
    assert asked[0].query["scope"] == "repository:team/app:pull"
    assert asked[0].query["service"] == "reg"


def test_a_token_for_pushing_serves_pulling_too(registry: FaultRegistry) -> None:
    asked = tokens(registry, "good")
    client = Client(http(), Hosts(), Known())
    name = Reference.parse(f"{registry.host}/team/app:v1")
    client.find(name, pushing=True)
    client.tags(name)
    assert [one.query["scope"] for one in asked] == ["repository:team/app:pull,push"]


def test_R15_a_token_that_has_expired_is_renewed_once(registry: FaultRegistry) -> None:
    asked = tokens(registry, "old", "new")
    assert tags(registry) == ("v1",)
    assert len(asked) == 2
    registry.memory.accepts = {"Bearer never"}
    with pytest.raises(RegistryError, match="HTTP 401"):
        tags(registry)
    assert len(registry.requests("GET", "tags")) <= 6


def test_R15_a_token_that_expires_while_we_work_is_renewed(registry: FaultRegistry) -> None:
    tokens(registry, "first", "second")
    registry.memory.accepts = {"Bearer first"}
    client = Client(http(), Hosts(), Known())
    name = Reference.parse(f"{registry.host}/team/app")
    client.tags(name)
    registry.memory.accepts = {"Bearer second"}
    assert client.tags(name) == ("v1",)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"token":""}', b'{"token":7}', b'{"token":"a b"}', b'{"token":"x\\r\\nEvil: 1"}', b"<html>"],
)
def test_R15_no_token_is_an_error(registry: FaultRegistry, body: bytes) -> None:
    tokens(registry, "good")
    registry.memory.token = lambda asked: Reply(200, {}, body)
    with pytest.raises(RegistryError, match="sends no token"):
        tags(registry)


def test_R15_an_endless_token_is_refused(registry: FaultRegistry) -> None:
    tokens(registry, "good")
    registry.memory.token = lambda asked: Reply(200, {}, b'{"token":"' + b"x" * (3 << 20) + b'"}')
    with pytest.raises(RegistryError, match="more than it may"):
        tags(registry)


@pytest.mark.parametrize("status", [401, 403])
def test_R15_a_password_the_token_server_refuses_is_told(registry: FaultRegistry, status: int) -> None:
    tokens(registry, "good")
    registry.memory.token = lambda asked: Reply(status, {}, b'{"errors":[{"code":"DENIED","message":"who?"}]}')
    with pytest.raises(RegistryError, match="DENIED: who"):
        tags(registry)


def test_R15_a_token_server_in_trouble_is_asked_again(registry: FaultRegistry) -> None:
    tokens(registry, "good")
    registry.fail("GET", "/token", status=503, times=2)
    assert tags(registry) == ("v1",)


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/token",
        "http://127.0.0.1:1/token",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/token",
        "https://10.0.0.1/token",
        "https://192.168.1.1/token",
        "https://[::]/token",
        "https://[::1]/token",
        "https://[::ffff:10.0.0.1]/token",
        "https://localhost/token",
        "https://2130706433/token",
        "https://0x7f.1/token",
        "https://auth.example:0/token",
        "https://auth.example:99999/token",
        "https://user@auth.example/token",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "gopher://auth.example/",
        "//auth.example/token",
        "https://auth.example/to ken",
        "https://auth.example\\@evil.example/",
        "",
    ],
)
def test_R11_a_realm_that_is_not_trusted_gets_no_password(registry: FaultRegistry, realm: str) -> None:
    registry.memory.demand = f'Bearer realm="{realm}",service="reg"'
    known = Known()
    with pytest.raises(RegistryError, match="not trusted"):
        tags(registry, known)
    assert known.asked == []


def test_R11_another_port_of_this_machine_gets_no_password_unless_it_is_named(registry: FaultRegistry) -> None:
    with FaultRegistry() as other:
        tokens(other, "good")
        registry.memory.demand = f'Bearer realm="{other.url}/token",service="reg"'
        registry.memory.accepts = {"Bearer good"}
        with pytest.raises(RegistryError, match="not trusted") as caught:
            tags(registry)
        assert other.asked == []
        assert f"--insecure-registry {other.host}" in str(caught.value)
        assert tags(registry, hosts=Hosts(plain=Plain(frozenset({other.host})))) == ("v1",)


def test_R11_a_public_host_over_tls_is_a_realm() -> None:
    assert check_realm("https://auth.docker.io/token", "https://registry-1.docker.io", Plain())
    assert check_realm("https://8.8.8.8/token", "https://registry.example", Plain())


def test_R11_a_token_server_that_redirects_is_looked_at_again(registry: FaultRegistry) -> None:
    with FaultRegistry() as other:
        tokens(registry, "good")
        registry.memory.token = lambda asked: Reply(307, {"Location": f"{other.url}/token"})
        with pytest.raises(RegistryError, match="not trusted"):
            tags(registry)
        assert other.asked == []
        named = Hosts(plain=Plain(frozenset({other.host})))
        with pytest.raises(RegistryError):
            tags(registry, hosts=named)
        assert "authorization" not in other.asked[0].headers


def test_D8_a_redirected_login_takes_no_identity_token_along(registry: FaultRegistry) -> None:
    with FaultRegistry() as other:
        tokens(registry, "good")
        registry.memory.token = lambda asked: Reply(307, {"Location": f"{other.url}/token"})
        named = Hosts(plain=Plain(frozenset({other.host})))
        with pytest.raises(RegistryError, match="another place"):
            tags(registry, Known(Credential("<token>", "refresh", is_token=True)), named)
        assert other.asked == []


def test_an_identity_token_is_posted(registry: FaultRegistry) -> None:
    asked = tokens(registry, "good")
    assert tags(registry, Known(Credential("<token>", "ref/resh", is_token=True))) == ("v1",)
    assert asked[0].method == "POST"
    assert b"grant_type=refresh_token" in asked[0].body
    assert b"ref%2Fresh" in asked[0].body
    assert "ref" not in asked[0].target


def test_D8_a_mirrors_demand_is_answered_with_its_own_account(registry: FaultRegistry) -> None:
    known = Known()
    with FaultRegistry() as mirror:
        mirror.memory.demand = 'Basic realm="mirror"'
        tags(registry, known, Hosts({registry.host: [mirror.url]}))
        assert known.asked == [mirror.host]


def test_a_login_is_checked_before_it_is_believed(registry: FaultRegistry) -> None:
    registry.memory.demand, registry.memory.accepts = 'Basic realm="r"', {BASIC}
    found = log_in(registry.host, Credential("ada", "se:same"), http(), Hosts())
    assert (found.asked, found.credential.secret) == (True, "se:same")
    with pytest.raises(RegistryError, match="does not accept"):
        log_in(registry.host, Credential("ada", "wrong"), http(), Hosts())


def test_a_login_keeps_an_identity_token_rather_than_the_password(registry: FaultRegistry) -> None:
    asked = tokens(registry, "good", refresh_token="refresh-me")
    found = log_in(registry.host, Credential("ada", "se:same"), http(), Hosts())
    assert found.credential == Credential("ada", "refresh-me", is_token=True)
    assert asked[0].query["offline_token"] == "true"


def test_a_login_where_nobody_is_asked_says_so(registry: FaultRegistry) -> None:
    assert not log_in(registry.host, Credential("ada", "x"), http(), Hosts()).asked


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ('Basic realm="r"', [("basic", {"realm": "r"})]),
        ('Bearer realm="https://a/t",service="s",scope="x:y:pull,push"',
         [("bearer", {"realm": "https://a/t", "service": "s", "scope": "x:y:pull,push"})]),
        ('Negotiate, Basic realm="a \\"b\\"", Bearer realm=r , service=s',
         [("negotiate", {}), ("basic", {"realm": 'a "b"'}), ("bearer", {"realm": "r", "service": "s"})]),
        ("", []),
        ('bearer REALM="x"', [("bearer", {"realm": "x"})]),
        ('Basic realm="unfinished', [("basic", {})]),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, want: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in challenges(header)] == want


def test_a_token_is_preferred_to_the_password() -> None:
    found = (Challenge("negotiate"), Challenge("basic"), Challenge("bearer"))
    chosen = choose(found)
    assert chosen is not None
    assert chosen.scheme == "bearer"
    assert choose((Challenge("negotiate"),)) is None
