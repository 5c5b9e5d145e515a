"""Which addresses pip asks (pip: ``PipSession.is_secure_origin``): plain HTTP here and of trusted hosts only.

pip overlooks any other index with a warning, and then misses what it was to bring; a line that names one is left to
pip. uv asks plain HTTP as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.system.wire import shown


def check_origins(addresses: Iterable[str | None], trusted: Sequence[str]) -> None:
    """Raises :class:`Beyond` for the first address that pip would not ask; ``trusted``: of ``--trusted-host``."""
    for address in addresses:
        if address is not None and address.lower().startswith("http://") and not _is_asked(address, trusted):
            host = urlsplit(address).netloc.rpartition("@")[2]
            raise Beyond(
                Text("the index {address}, which pip does not ask without --trusted-host {host}",
                     address=shown(address), host=host)
            )  # fmt: skip


def _is_asked(address: str, trusted: Sequence[str]) -> bool:
    parts = urlsplit(address)
    host = (parts.hostname or "").lower()
    return _is_here(host) or any(_fits(host, parts.netloc.rpartition("@")[2].lower(), each) for each in trusted)


def _fits(host: str, netloc: str, trusted: str) -> bool:
    """``host`` or ``host:port``; without a port, any."""
    named = trusted.strip().lower().rpartition("://")[2].rstrip("/")
    return named in (host, f"[{host}]", netloc)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
