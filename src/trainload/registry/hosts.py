"""Which servers stand for a registry's name, and how they may be spoken to. Pure but for looking at certificates.

``docker.io`` is served by ``registry-1.docker.io``; mirrors come first when something is read. Plain http is for
this machine and for those that were named insecure (THREATS R22).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from trainload.reference import DOCKER_HUB
from trainload.system.wire import USUAL, Trust, is_loopback
from trainload.values import dataclass, field

_SERVERS = {DOCKER_HUB: "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Plain:
    """The hosts that may be spoken to without TLS, or with TLS that nobody vouches for."""

    names: frozenset[str] = frozenset()
    """``host`` for every port of it, or ``host:port``."""

    def named(self, netloc: str) -> bool:
        """Whether the user said so."""
        return bool({netloc, urlsplit(f"//{netloc}").hostname} & self.names)

    def allows(self, netloc: str) -> bool:
        """Whether plain http is allowed: there too, or because the bytes do not leave this machine."""
        return self.named(netloc) or is_loopback(urlsplit(f"//{netloc}").hostname or "")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server that serves a registry's repositories: the registry itself or a mirror."""

    base: str
    """``https://registry-1.docker.io``: scheme, host and port."""
    domain: str
    """The registry it serves, as references write it."""
    trust: Trust = USUAL
    mirror: bool = False
    others: tuple[str, ...] = ()
    """Bases to try when nothing there speaks the protocol of ``base``: the other of http and https."""
    plain: Plain = Plain()

    @property
    def host(self) -> str:
        return urlsplit(self.base).netloc

    @property
    def account(self) -> str:
        """Under which name credentials for it are kept: a mirror's are its own."""
        return self.host if self.mirror else self.domain


@dataclass(frozen=True, slots=True)
class Hosts:
    """What was configured about registries."""

    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Registry → addresses asked first for what is read; verified by digest, never trusted."""
    plain: Plain = Plain()
    authorities: tuple[str, ...] = ()
    """PEM files that hold for every registry."""
    certificates: tuple[Path, ...] = ()
    """Folders with one folder per registry, as Docker and Podman have them: ``*.crt``, ``*.cert``, ``*.key``."""

    def server(self, domain: str) -> Endpoint:
        """The registry itself."""
        netloc = _SERVERS.get(domain, domain)
        secure, bare = f"https://{netloc}", f"http://{netloc}"
        bases: tuple[str, ...]
        if is_loopback(urlsplit(bare).hostname or ""):
            bases = (bare, secure)
        elif self.plain.named(netloc):
            bases = (secure, bare)
        else:
            bases = (secure,)
        return Endpoint(bases[0], domain, self.trust(netloc), others=bases[1:], plain=self.plain)

    def readers(self, domain: str) -> tuple[Endpoint, ...]:
        """Who may be asked for what ``domain`` has, in order; the registry itself is the last."""
        mirrors = tuple(
            Endpoint(url.rstrip("/"), domain, self.trust(urlsplit(url).netloc), mirror=True, plain=self.plain)
            for url in self.mirrors.get(domain, ())
        )
        return (*mirrors, self.server(domain))

    def trust(self, netloc: str) -> Trust:
        """Whose certificates that host may show."""
        verify = not self.plain.named(netloc)
        found: list[str] = list(self.authorities)
        pairs: list[tuple[str, str]] = []
        for folder in self.certificates:
            try:
                files = sorted((folder / netloc).iterdir())
            except OSError:  # most registries have none
                continue
            found += [str(file) for file in files if file.suffix == ".crt"]
            pairs += [(str(file), str(file.with_suffix(".key"))) for file in files if file.suffix == ".cert"]
        client = next(iter(pairs), None)
        return Trust(tuple(found), verify, client) if found or client or not verify else USUAL


USUAL_HOSTS = Hosts()
