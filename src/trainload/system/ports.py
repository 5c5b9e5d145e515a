"""Ports of this machine: which is free, and whether something answers there."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

_TRIED = 20
"""Ports after the preferred one; then any free one of the kernel's."""


def is_free(port: int, address: str) -> bool:
    """Whether a program could listen there now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_port(preferred: int, address: str) -> int:
    """``preferred``, or one near it, or any."""
    for port in range(preferred, min(preferred + _TRIED, 65536)):
        if is_free(port, address):
            return port
    with closing(socket.socket()) as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def answers(port: int, path: str, headers: dict[str, str]) -> bool:
    """Whether a web server on this machine answers ``GET path`` with 200; at most a second."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    with closing(connection):
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
