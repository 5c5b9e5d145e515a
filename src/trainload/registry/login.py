"""Checks credentials against a registry before anybody keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainload.errors import RegistryError, Text
from trainload.registry.auth import Authorizer
from trainload.registry.challenge import Credential, challenges, choose
from trainload.registry.hosts import Endpoint, Hosts
from trainload.registry.protocol import Answer, Request, refused
from trainload.registry.session import Session, settle
from trainload.system.http import Http


@dataclass(frozen=True, slots=True)
class _Given:
    """The credentials that are being tried."""

    credential: Credential

    def find(self, registry: str, scopes: Iterable[str] = ()) -> Credential | None:
        return self.credential


class _Mute:
    """Proves nothing, to see what is demanded."""

    def header(self, endpoint: Endpoint, scopes: tuple[str, ...]) -> str | None:
        return None

    def challenged(self, endpoint: Endpoint, answer: Answer, scopes: tuple[str, ...], used: str | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials that a registry accepts."""

    credential: Credential
    """What is to be kept: an identity token where the registry gives one, so that no password lies about."""
    asked: bool
    """False: the registry lets anybody in, so nothing was checked."""


def log_in(registry: str, credential: Credential, http: Http, hosts: Hosts) -> Login:
    """Raises :class:`RegistryError` when the registry does not accept ``credential``."""
    endpoint = settle(hosts.server(registry), http)
    authority = Authorizer(http, hosts, _Given(credential))
    session = Session(endpoint, http, authority)
    first = Session(endpoint, http, _Mute()).ask(Request("GET", "/v2/"))
    if first.status == 200:
        return Login(credential, asked=False)
    challenge = choose(challenges(first.headers.get("www-authenticate", "")))
    if first.status != 401 or challenge is None:
        raise refused(first, Text("{url} is no registry that can be logged in to", url=endpoint.base))
    if challenge.scheme == "bearer":
        token = session.persist(lambda: authority.token(endpoint, challenge, (), offline=True))
        if token.identity is not None:
            return Login(Credential(credential.user, token.identity, is_token=True), asked=True)
        return Login(credential, asked=True)
    answer = session.ask(Request("GET", "/v2/"))
    if answer.status != 200:
        raise RegistryError(
            Text("{registry} does not accept this user and password", registry=registry),
            got=refused(answer, Text("")).got,
        )
    return Login(credential, asked=True)
