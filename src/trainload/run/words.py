"""Sizes and signals as ``docker run`` takes them and as people read them back; sizes are binary, as limits are."""

from __future__ import annotations

import re
import signal

from trainload.errors import Text, UsageError

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([bkmgtp]?)(i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}  # go-units: RAMInBytes


def size_in_bytes(text: str, option: str) -> int:
    """``512m``, ``2g``, ``1.5GiB``, ``1048576`` in bytes. Raises :class:`UsageError` naming ``option``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            Text("{option} is not a size", option=option), got=text, want="a number with k, m or g, as 2g"
        )
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def bytes_in_words(count: int) -> str:
    """``2 GiB``, ``1.5 GiB``, ``100 MiB``."""
    value, unit = float(count), "B"
    for following in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, following
    return f"{value:.4g} {unit}"


def signal_number(text: str) -> int | None:
    """``SIGQUIT``, ``quit``, ``3`` or ``RTMIN+2``, as STOPSIGNAL may be (moby: signal.ParseSignal); None: none."""
    name = text.strip().upper().removeprefix("SIG")
    realtime = re.fullmatch(r"RT(?:MIN\+|MAX-)([0-9]{1,2})", name)
    if realtime is not None:
        steps = int(realtime[1])
        number = signal.SIGRTMIN + steps if "MIN" in name else signal.SIGRTMAX - steps
    elif re.fullmatch("[0-9]{1,2}", name):
        number = int(name)
    else:
        found = signal.Signals.__members__.get(f"SIG{name}")
        number = 0 if found is None else found.value
    return number if 0 < number <= signal.SIGRTMAX else None


def ending(code: int, *, memory: int | None = None, out_of_memory: bool = False) -> Text:
    """How a program ended, from its exit code; ``memory``: its limit in bytes, which killed something of it."""
    if code == 0:
        return Text("finished")
    if out_of_memory and memory is not None:
        limit = bytes_in_words(memory)
        if code == 128 + signal.SIGKILL:
            return Text("killed by the memory limit of {limit}", limit=limit)
        return Text("exit code {code}; the memory limit of {limit} killed a process", code=code, limit=limit)
    if code > 128 and code - 128 in {number.value for number in signal.Signals}:
        return Text("ended by {signal}", signal=signal.Signals(code - 128).name)
    return Text("exit code {code}", code=code)


def stopped_by_force(grace: float) -> Text:
    """It did not heed its stop signal."""
    return Text("killed because it did not stop within {seconds} s", seconds=f"{grace:g}")
