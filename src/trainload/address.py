"""Hosts as ssh users write them: ``user@gpu.example:2222``, ``[::1]:22``, or a name of ``~/.ssh/config``.

The grammar is narrow on purpose: nothing that passes can be an option, hold a blank or be expanded by a shell or by
ssh's own ``%`` tokens (THREATS S01).
"""

from __future__ import annotations

import re

from trainload.errors import Text, UsageError
from trainload.values import dataclass

_USER = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}"
_HOST = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?"
_IPV6 = r"\[[0-9A-Fa-f:.]{2,45}(?:[A-Za-z0-9_-]+)?\]"
GRAMMAR = rf"(?:{_USER}@)?(?:{_HOST}|{_IPV6})(?::[0-9]{{1,5}})?"
"""For schemas; what :meth:`Address.parse` checks besides is the range of the port."""
_ADDRESS = re.compile(rf"(?:(?P<user>{_USER})@)?(?P<host>{_HOST}|{_IPV6})(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """What ssh is told to connect to."""

    host: str
    """A name or address, without brackets."""
    user: str | None = None
    port: int | None = None
    """None: what ssh's configuration says, else 22."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises :class:`UsageError` for what cannot be a host."""
        match = _ADDRESS.fullmatch(text)
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 0 < port < 65536):
            raise UsageError(
                Text("{text} is not a host", text=text[:200]),
                want="HOST, USER@HOST or USER@HOST:PORT",
                hints=[Text("for anything more, give the host a name in ~/.ssh/config and write that")],
            )
        return cls(match["host"].strip("[]"), match["user"], port)

    @property
    def login(self) -> str:
        """User and host, as ssh takes them after ``--``."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{user}{host}" + (f":{self.port}" if self.port else "")
