"""NVIDIA's drivers and the newest CUDA each runs (CUDA toolkit release notes, table 3)."""

from __future__ import annotations

import re

_CUDA = {
    450: (11, 0), 460: (11, 2), 470: (11, 4), 495: (11, 5), 510: (11, 6), 515: (11, 7), 520: (11, 8), 525: (12, 0),
    530: (12, 1), 535: (12, 2), 545: (12, 3), 550: (12, 4), 555: (12, 5), 560: (12, 6), 565: (12, 7), 570: (12, 8),
    575: (12, 9), 580: (13, 0),
}  # fmt: skip


def cuda_of(text: str) -> tuple[int, int] | None:
    """The newest CUDA for a driver's version, as ``535.104.05`` or in a longer text; None: no version in it."""
    match = re.search(r"(?:^|\s)([0-9]{3})\.[0-9]+(?:\.[0-9]+)?(?=\s|$)", text)
    branch = int(match[1]) if match else 0
    known = [number for number in _CUDA if number <= branch]
    return _CUDA[max(known)] if known else None
