"""What this machine says about itself: where our data lies, how many cores we may use, which CAs it trusts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # OpenSSL's own, then those of others


def data_home(environ: Mapping[str, str], cwd: Path) -> Path:
    """The store's folder: ``$TRAINLOAD_HOME``, else the platform's data folder for this user."""
    chosen = environ.get("TRAINLOAD_HOME")
    if chosen:
        return cwd / chosen
    from platformdirs import user_data_path

    return user_data_path("trainload", appauthor=False)


def cpu_count() -> int:
    """Cores this process may run on (its affinity, not the machine's total)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ca_file(environ: Mapping[str, str]) -> str | None:
    """A bundle of certificate authorities the user named; None: the system's own."""
    return next((environ[name] for name in _CA_VARIABLES if environ.get(name)), None)


def now() -> datetime:
    """The time, in UTC; read once per command and passed on."""
    return datetime.now(UTC)
