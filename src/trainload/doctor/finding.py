"""One finding, and the rule which of them stand in the way of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from trainload.errors import Text


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Something is slower, or missing for some runs only."""
    PROBLEM = "problem"
    """It stands in the way of ``trainload run``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one piece."""

    piece: Text
    status: Status
    text: Text
    tried: str
    """What was done to find out: a path, a program, an address."""
    mend: tuple[str, ...] = ()
    """Commands that mend it, the best first."""
    engine: bool = False
    """The piece is one of several ways to run something."""


def judged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One engine that works is enough: what is wrong with the others is no problem then."""
    found = tuple(findings)
    works = any(one.engine and one.status is Status.OK for one in found)
    return tuple(
        replace(one, status=Status.WARNING) if works and one.engine and one.status is Status.PROBLEM else one
        for one in found
    )
