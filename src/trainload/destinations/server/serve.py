"""A running registry server: ``with serving(Settings(home)) as server: … server.address``."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trainload.destinations.server.access import Accounts, Guard, is_loopback
from trainload.destinations.server.listener import Listener, Served
from trainload.destinations.server.registry import Registry
from trainload.errors import Place, RegistryError, Text, TrainloadError, UsageError

GRACE = 10.0
"""Seconds that requests have to finish when the server is stopped."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is served, where, and to whom."""

    home: Path
    """A store; made if it is absent."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: any that is free."""
    certificate: Path | None = None
    """PEM: the certificate and those above it."""
    key: Path | None = None
    """PEM; None: it is in ``certificate``."""
    accounts: Path | None = None
    """A file as ``htpasswd`` writes it."""
    read_only: bool = False
    insecure: bool = False
    """May be reached from a network without TLS or without passwords."""
    names: frozenset[str] = field(default_factory=frozenset)
    """Other names this machine is called by, for a server on loopback."""

    @property
    def local(self) -> bool:
        """Only this machine can reach it."""
        return is_loopback(self.host)

    def check(self) -> None:
        """Raises :class:`UsageError` for what would open the store to a network by accident."""
        if self.insecure or self.local:
            return
        wanted = (("--tls-cert", self.certificate), ("--htpasswd", self.accounts))
        missing = [option for option, value in wanted if value is None]
        if missing:
            raise UsageError(
                Text("{host} is reached from the network: anyone could read and replace images", host=self.host),
                want=" ".join(missing),
                hints=[
                    Text("`htpasswd -Bc FILE USER` makes a password file; see docs/guides/lan-registry.md"),
                    Text("--insecure serves without them, for a network where you trust everyone"),
                    Text("without --host only this machine is served"),
                ],
            )


@dataclass(frozen=True, slots=True)
class Server:
    """One that is running."""

    host: str
    port: int
    scheme: str

    @property
    def address(self) -> str:
        """As it stands before a repository in an image's name: ``127.0.0.1:5000``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"


@contextmanager
def serving(
    settings: Settings,
    log: Callable[[Served], object] = lambda _: None,
    failed: Callable[[TrainloadError], object] = lambda _: None,
    grace: float = GRACE,
) -> Iterator[Server]:
    """A registry in threads of this process, for as long as the block lasts.

    ``log`` is told each request, ``failed`` what the store said when one could not be answered. Raises
    :class:`UsageError`, :class:`RegistryError` (address taken, certificate), :class:`StoreError`.
    """
    settings.check()
    tls = _tls(settings)
    guard = Guard(
        accounts=_accounts(settings.accounts) if settings.accounts else None,
        read_only=settings.read_only,
        local=settings.local,
        names=settings.names,
    )
    with contextlib.closing(_listen(settings.host, settings.port)) as sock:
        registry = Registry(settings.home, guard, failed)
        with contextlib.closing(registry):
            registry.open()
            listener = Listener(sock, tls, registry.answer, log, registry.tick)
            listener.start()
            try:
                yield Server(settings.host, sock.getsockname()[1], "https" if tls else "http")
            finally:
                listener.stop(grace)


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise _no_socket(error, host, port) from error


def _no_socket(error: OSError, host: str, port: int) -> RegistryError:
    if error.errno == errno.EADDRINUSE:
        return RegistryError(
            Text("port {port} of {host} is taken by another program", port=port, host=host),
            hints=[
                Text("`--port 0` takes any that is free and prints it"),
                Text("macOS keeps port 5000 for AirPlay: `--port 5001`"),
            ],
        )
    return RegistryError(
        Text("cannot listen on port {port} of {host}", port=port, host=host), got=error.strerror or str(error)
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        if settings.key is not None:
            raise UsageError(Text("a key without a certificate"), want="--tls-cert")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise RegistryError(
            Text("the certificate and its key cannot be used"),
            place=Place(str(settings.certificate)),
            got=str(error),
            hints=[Text("both are PEM files, and the key belongs to the certificate and has no password")],
        ) from error
    return context


def _accounts(path: Path) -> Accounts:
    """The users of an ``htpasswd`` file: bcrypt, SHA-1 or Apache's MD5."""
    from passlib.apache import HtpasswdFile

    try:
        file = HtpasswdFile.from_string(path.read_bytes(), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RegistryError(
            Text("the password file cannot be read"), place=Place(str(path)), got=str(error)
        ) from error
    if not file.users():
        raise RegistryError(
            Text("the password file has no user"),
            place=Place(str(path)),
            hints=[Text("`htpasswd -B {file} USER` adds one", file=path)],
        )
    return Accounts(lambda user, password: file.check_password(user, password) is True)
