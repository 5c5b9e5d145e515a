"""Proves to registries who the user is: Basic, or tokens of the registry's token server (distribution: spec/auth).

A proof is bound to the registry's scheme, host and port (THREATS D8); credentials are looked up when a registry
asks for them, not before, so that no helper program runs for an open registry.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import urlsplit

from trainload.errors import RegistryError, Text
from trainload.limits import DEFAULT
from trainload.registry.challenge import (
    Challenge,
    Credential,
    Token,
    TokenRequest,
    challenges,
    check_realm,
    choose,
    read_token,
    token_request,
)
from trainload.registry.hosts import Endpoint, Hosts
from trainload.registry.protocol import Answer, refused
from trainload.registry.session import whole
from trainload.system.http import Http
from trainload.system.wire import REDIRECTS, RETRY_STATUS, Cut, origin, redirect_target, shown
from trainload.values import dataclass, field


class Credentials(Protocol):
    """Where users' credentials are kept."""

    def find(self, registry: str, scopes: Iterable[str] = ()) -> Credential | None:
        """Who the user is at ``registry`` (as references write it). Raises :class:`RegistryError`."""


@dataclass(slots=True)
class Authorizer:
    """What is known to prove to each endpoint; safe for threads."""

    http: Http
    hosts: Hosts
    credentials: Credentials
    _challenges: dict[str, Challenge] = field(default_factory=dict)
    """Base → how it wants proof."""
    _proofs: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)
    """(base, scopes) → Authorization header."""
    _guard: threading.RLock = field(default_factory=threading.RLock)

    def header(self, endpoint: Endpoint, scopes: tuple[str, ...]) -> str | None:
        """What proves it, once the registry has asked for proof; may ask its token server."""
        with self._guard:
            challenge = self._challenges.get(endpoint.base)
            if challenge is None:
                return None
            known = self._known(endpoint, challenge, scopes)
            return known if known is not None else self._prove(endpoint, challenge, scopes)

    def challenged(self, endpoint: Endpoint, answer: Answer, scopes: tuple[str, ...], used: str | None) -> bool:
        """After a 401: whether there is now another proof than ``used``. Raises :class:`RegistryError`."""
        challenge = choose(challenges(answer.headers.get("www-authenticate", "")))
        if challenge is None:
            return False
        with self._guard:
            if challenge.scheme == "bearer":
                check_realm(challenge.parameters.get("realm", ""), endpoint.base, endpoint.plain)
            known = self._known(endpoint, challenge, scopes)
            self._challenges[endpoint.base] = challenge
            if known is not None and known != used:
                return True  # another thread has renewed it meanwhile
            if known is not None and challenge.scheme == "basic":
                return False
            return self._prove(endpoint, challenge, scopes) not in (None, used)

    def token(self, endpoint: Endpoint, challenge: Challenge, scopes: tuple[str, ...], *, offline: bool) -> Token:
        """A new token. Raises :class:`RegistryError`; :class:`Cut` when another try may help."""
        check_realm(challenge.parameters.get("realm", ""), endpoint.base, endpoint.plain)
        credential = self.credentials.find(endpoint.account, scopes)
        answer = self._ask(endpoint, token_request(challenge, scopes, credential, offline=offline))
        if answer.status in RETRY_STATUS:
            raise Cut(f"HTTP {answer.status}", answer.headers.get("retry-after"))
        if answer.status != 200:
            raise refused(answer, Text("{url} gives no token", url=shown(answer.url)), account=endpoint.account)
        return read_token(answer)

    def _known(self, endpoint: Endpoint, challenge: Challenge, scopes: tuple[str, ...]) -> str | None:
        if challenge.scheme == "basic":
            return self._proofs.get((endpoint.base, ()))
        exact = self._proofs.get((endpoint.base, scopes))
        wider = (p for (base, have), p in self._proofs.items() if base == endpoint.base and _cover(have, scopes))
        return exact if exact is not None else next(wider, None)

    def _prove(self, endpoint: Endpoint, challenge: Challenge, scopes: tuple[str, ...]) -> str | None:
        """A new proof, kept for the next requests; None when we have no credentials to make one of."""
        if challenge.scheme == "bearer":
            proof = "Bearer " + self.token(endpoint, challenge, scopes, offline=False).bearer
        else:
            credential = self.credentials.find(endpoint.account, scopes)
            if credential is None or credential.is_token:
                return None
            scopes, proof = (), basic(credential)
        self._proofs[endpoint.base, scopes] = proof
        return proof

    def _ask(self, endpoint: Endpoint, request: TokenRequest) -> Answer:
        """The token server's answer; each address on the way is looked at, the password stays with the first."""
        url = request.url
        for _ in range(self.http.limits.redirects + 1):
            same = origin(url) == origin(request.url)
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if request.form is not None else {}
            if request.basic is not None and same:
                headers["Authorization"] = basic(request.basic)
            trust = self.hosts.trust(urlsplit(url).netloc)
            response = self.http.exchange(request.method, url, headers, request.form, trust)
            if response.status not in REDIRECTS:
                return whole(url, response, DEFAULT.error_body)
            response.close()
            url = check_realm(
                redirect_target(url, response.headers.get("Location", "")), endpoint.base, endpoint.plain
            )
            if request.form is not None and origin(url) != origin(request.url):
                raise RegistryError(
                    Text("{url} sends a login on to another place", url=shown(request.url)), got=shown(url)
                )
        raise RegistryError(
            Text("{url} redirects too often", url=shown(request.url)), want=f"at most {self.http.limits.redirects}"
        )


def _cover(have: tuple[str, ...], want: tuple[str, ...]) -> bool:
    """Whether a token for ``have`` allows ``want``."""
    granted = {one.rpartition(":")[0]: set(one.rpartition(":")[2].split(",")) for one in have}
    needs = ((one.rpartition(":")[0], set(one.rpartition(":")[2].split(","))) for one in want)
    return all(actions <= granted.get(resource, set()) for resource, actions in needs)


def basic(credential: Credential) -> str:
    """The Authorization header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{credential.user}:{credential.secret}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Nobody:
    """No credentials at all."""

    def find(self, registry: str, scopes: Iterable[str] = ()) -> Credential | None:
        return None


NOBODY = Nobody()
