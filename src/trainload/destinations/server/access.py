"""Who may ask what: passwords, foreign web pages, and what may be opened to a network. Pure but for the clock.

A registry on loopback has no password, so it must make sure that no web page in a browser on this machine talks to
it: a page that comes under a name of its own which resolves to 127.0.0.1 (DNS rebinding), or one that sends forms.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from trainload.destinations.server.messages import Request, refuse

_REMEMBERED = 1000


@dataclass(slots=True)
class Accounts:
    """Users and their passwords. bcrypt is slow on purpose, so that a password once found right is remembered."""

    check: Callable[[str, str], bool]
    """Whether a user has that password."""
    _seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _right: set[bytes] = field(default_factory=set)
    _one: threading.Lock = field(default_factory=threading.Lock)
    """bcrypt keeps a core busy: guessing many at a time must not stop everybody else."""

    def admit(self, header: str | None) -> str | None:
        """The user whom an ``Authorization`` header names, with the right password (RFC 7617)."""
        pair = _basic(header)
        if pair is None:
            return None
        user, password = pair
        mark = hashlib.blake2b(f"{user}:{password}".encode(), key=self._seed).digest()
        if mark in self._right:
            return user
        with self._one:
            right = self.check(user, password)
        if not right:
            return None
        if len(self._right) >= _REMEMBERED:
            self._right.clear()
        self._right.add(mark)
        return user


@dataclass(frozen=True, slots=True)
class Guard:
    """What every request must pass."""

    accounts: Accounts | None = None
    read_only: bool = False
    local: bool = True
    """Reached by this machine only: other names for it than an address or localhost are a web page's trick."""
    names: frozenset[str] = frozenset()
    """Other names that are meant, such as ``host.docker.internal``."""

    def check(self, request: Request) -> None:
        """Raises :class:`Refusal`."""
        host = host_of(request.headers.get("host", ""))
        if self.local and not (is_local_name(host) or host in self.names):
            raise refuse(403, "DENIED", f"this registry is not called {host[:200]}")
        writes = request.method not in ("GET", "HEAD")
        if writes and "origin" in request.headers:
            raise refuse(403, "DENIED", "a web page may not change this registry")
        if self.accounts is not None and self.accounts.admit(request.headers.get("authorization")) is None:
            raise refuse(
                401,
                "UNAUTHORIZED",
                "user and password, please",
                WWW_Authenticate='Basic realm="Trainload registry"',
            )
        if writes and self.read_only:
            raise refuse(405, "UNSUPPORTED", "this registry is served for reading only")


def host_of(header: str) -> str:
    """The name or address in a ``Host`` header, without its port and in small letters."""
    text = header.strip().lower()
    if text.startswith("["):
        return text.partition("]")[0][1:]
    return text.partition(":")[0].removesuffix(".")


def is_local_name(host: str) -> bool:
    """Whether no name service can be behind it: an address, or localhost (RFC 6761 § 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _basic(header: str | None) -> tuple[str, str] | None:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None
