"""Numbers as people read them: decimal sizes, durations, and widths of texts that hold Chinese characters."""

from __future__ import annotations

import unicodedata

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: int) -> str:
    """``count`` bytes, decimal as registries and disks are sold: ``999 B``, ``1.4 kB``, ``192 MB``."""
    value, unit = float(abs(count)), 0
    while value >= 999.5 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    digits = 1 if unit and value < 9.95 else 0
    return f"{'-' if count < 0 else ''}{value:.{digits}f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """``seconds`` as ``0.4 s``, ``12 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def rate(count: int, seconds: float) -> str:
    """Bytes per second as ``91 MB/s``; empty when it took too little time to say."""
    return f"{size(int(count / seconds))}/s" if seconds >= 0.05 else ""


def cells(text: str) -> int:
    """How many terminal cells ``text`` takes: two for wide characters, none for combining ones (UAX #11)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """``text`` filled with spaces to ``width`` cells."""
    fill = " " * (width - cells(text))
    return fill + text if right else text + fill


def shorten(text: str, width: int) -> str:
    """``text`` cut to at most ``width`` cells, with ``…`` where something is missing."""
    if cells(text) <= width:
        return text
    kept = ""
    for character in text:
        if cells(kept) + cells(character) >= width:
            break
        kept += character
    return kept + "…"
