"""What ``--gpus`` asks for, in Docker's words (docker/cli: opts/gpus.go)."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from trainload.errors import Text, UsageError

_NAME = re.compile(r"(?:[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_-]*=)?[A-Za-z0-9][A-Za-z0-9_.:-]*")
_CAPABILITIES = frozenset({"gpu", "compute", "compat32", "graphics", "utility", "video", "display", "ngx", "all"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which GPUs, and for what."""

    text: str
    """As it was written."""
    count: int | None = None
    """So many, the first ones; None with no ``names``: all."""
    names: tuple[str, ...] = ()
    """Numbers, UUIDs, or whole names of CDI devices."""
    capabilities: frozenset[str] = frozenset()
    """Which parts of the driver; empty: what the image says."""


def wanted(text: str | None) -> Wanted | None:
    """``all``, ``2``, ``device=0,1``, ``"device=GPU-…","capabilities=compute,utility"``; None for no GPU at all.

    Raises :class:`UsageError`.
    """
    if text is None:
        return None
    count: int | None = None
    names: list[str] = []
    capabilities: list[str] = []
    key = ""
    for field in next(csv.reader([text.strip("'")], skipinitialspace=True), []):
        # Docker demands quotes around "device=0,1"; without them the 1 stands alone, and means the same
        name, _, value = field.partition("=") if re.match(r"[a-z]+=", field) else (key, "", field)
        key = name
        words = [word for word in value.split(",") if word]
        if name in ("", "count") and value in ("all", "none", "-1") and not names:
            count = {"all": None, "-1": None, "none": 0}[value]
        elif name in ("", "count") and re.fullmatch(r"[0-9]{1,4}", value) and not names:
            count = int(value)
        elif name == "device" and words and all(_NAME.fullmatch(word) for word in words):
            names += words
        elif name == "capabilities" and set(words) <= _CAPABILITIES:
            capabilities += words
        elif not (name == "driver" and value in ("", "nvidia", "cdi")):
            raise UsageError(
                Text("--gpus {wanted} is not understood", wanted=text),
                want="all, a number, device=0,1 or device=GPU-…",
            )
    if count == 0 and not names:
        return None
    return Wanted(text, count, tuple(dict.fromkeys(names)), frozenset(capabilities) - {"gpu"})
