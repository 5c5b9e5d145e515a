"""What a registry demands as proof (RFC 9110 § 11.6.1), and how tokens are had (distribution: spec/auth). No I/O.

A realm is an address the registry chose, and gets the user's password: it is looked at closely (THREATS R11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

from trainload.errors import ImageError, RegistryError, Text
from trainload.image.strict_json import parse_object
from trainload.limits import DEFAULT
from trainload.registry.hosts import Plain
from trainload.registry.protocol import Answer
from trainload.system.wire import is_loopback, origin, shown
from trainload.values import dataclass, field

CLIENT_ID = "trainload"
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=\s|,|$)(?!\s*=)")
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_BEARER = re.compile(r"[A-Za-z0-9._~+/=-]{1,65536}")
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")
"""A host that ends in a number is an IPv4 address in some spelling (WHATWG URL § host parsing)."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Who a user is at one registry."""

    user: str
    secret: str = field(repr=False)
    """A password, or an identity token."""
    is_token: bool = False
    """It is an identity token (OAuth 2 refresh token), as ``docker login`` gets it from some registries."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove who we are."""

    scheme: str
    """In lower case: ``basic`` or ``bearer``."""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """How to ask for a token."""

    method: str
    url: str
    form: bytes | None = field(default=None, repr=False)
    basic: Credential | None = None
    """Whose password goes along as Basic authorization."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token server gave."""

    bearer: str = field(repr=False)
    identity: str | None = field(default=None, repr=False)
    """A refresh token, where one was asked for and given."""


def challenges(header: str) -> tuple[Challenge, ...]:
    """What stands in ``WWW-Authenticate``; what cannot be read is left out."""
    found: list[Challenge] = []
    at = 0
    while (match := _SCHEME.match(header, at)) is not None:
        parameters: dict[str, str] = {}
        at = match.end()
        while (pair := _PARAMETER.match(header, at)) is not None:
            quoted = re.sub(r"\\(.)", r"\1", pair[2]) if pair[2] is not None else pair[3]
            parameters.setdefault(pair[1].lower(), quoted)
            at = pair.end()
        found.append(Challenge(match[1].lower(), parameters))
    return tuple(found)


def choose(found: tuple[Challenge, ...]) -> Challenge | None:
    """The one we answer: a token rather than the password itself."""
    known = {challenge.scheme: challenge for challenge in reversed(found)}
    return known.get("bearer") or known.get("basic")


def check_realm(realm: str, base: str, plain: Plain) -> str:
    """``realm``, if a password may go there: the registry itself, another host over TLS, or one the user named.

    ``base``: the registry's address. Raises :class:`RegistryError` (THREATS R11).
    """
    parts = urlsplit(realm)
    sound = realm.isascii() and not re.search(r"[\x00-\x20\x7f\\]", realm) and parts.scheme in ("http", "https")
    if sound and parts.hostname and "@" not in parts.netloc and _port_is_one(realm):
        if origin(realm) == origin(base) or plain.named(parts.netloc):
            return realm
        if parts.scheme == "https" and not _is_inside(parts.hostname):
            return realm
    raise RegistryError(
        Text("the registry at {base} wants passwords sent to a place that is not trusted", base=shown(base)),
        got=shown(realm)[:300],
        want="https://…, a public host, or the registry itself",
        hints=[Text("if that server is yours, name it: --insecure-registry {host}", host=parts.netloc[:100])],
    )


def token_request(
    challenge: Challenge, scopes: tuple[str, ...], credential: Credential | None, *, offline: bool = False
) -> TokenRequest:
    """How to ask the challenge's realm for ``scopes``; ``offline``: an identity token too."""
    realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service")
    if credential is not None and credential.is_token:
        form = {
            "grant_type": "refresh_token", "refresh_token": credential.secret, "client_id": CLIENT_ID,
            "service": service or "", "scope": " ".join(scopes),
        }  # fmt: skip
        return TokenRequest("POST", realm, urlencode(form).encode())
    query = [("service", service)] if service is not None else []
    query += [("scope", one) for one in scopes]
    if offline:
        query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
    if credential is not None:
        query.append(("account", credential.user))
    joint = "&" if urlsplit(realm).query else "?"
    return TokenRequest("GET", f"{realm}{joint}{urlencode(query)}" if query else realm, None, credential)


def read_token(answer: Answer) -> Token:
    """The token in a token server's answer. Raises :class:`RegistryError` (THREATS R15)."""
    where = shown(answer.url)
    try:
        document = parse_object(answer.body, where, limit=DEFAULT.error_body)
    except ImageError as error:
        raise RegistryError(
            Text("{url} sends no token", url=where), got=error.got, want="a JSON object with a token"
        ) from error
    bearer = document.get("token") or document.get("access_token")
    if not isinstance(bearer, str) or not _BEARER.fullmatch(bearer):
        raise RegistryError(Text("{url} sends no token", url=where), got=", ".join(sorted(document))[:200])
    identity = document.get("refresh_token")
    return Token(bearer, identity if isinstance(identity, str) and identity else None)


def _is_inside(host: str) -> bool:
    """Whether ``host`` is a number or a name of this machine or of a private network."""
    if is_loopback(host):
        return True
    try:
        return not ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return _NUMERIC_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


def _port_is_one(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False
