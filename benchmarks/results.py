"""What a run of the benchmarks found: values, and the file that keeps them; one part can be measured anew."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure
from benchmarks.side.sample import Sample, Series, series

OURS = "trainload"


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kernel, kind = platform.release().split("-")[0], platform.machine()
    return {"processors": os.cpu_count(), "memory": memory, "kernel": kernel, "machine": kind}


@dataclass(frozen=True, slots=True)
class Row:
    """One tool in one scenario."""

    scenario: str
    tool: str
    samples: tuple[Sample, ...]
    wanted: int = 0
    """Rounds there should have been; fewer were made where the time was over."""
    note: str = ""
    failed: str = ""
    """Why there are no samples, or no more."""

    @property
    def series(self) -> Series:
        return series(self.samples)

    @property
    def seconds(self) -> float:
        """The median."""
        return self.series.seconds


@dataclass(slots=True)
class Part:
    """One part of the benchmarks, as it was measured at one time."""

    name: str
    quick: bool = False
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="minutes"))
    seconds: float = 0.0
    machine: Mapping[str, Any] = field(default_factory=_machine)
    versions: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    floors: dict[str, float] = field(default_factory=dict)
    """Scenario → seconds: the least it costs, measured in the same run."""
    data: dict[str, Any] = field(default_factory=dict)
    """What only this part has, as JSON."""
    failed: str = ""

    def medians(self, scenario: str) -> Mapping[str, float]:
        return {row.tool: row.seconds for row in self.rows if row.scenario == scenario and row.samples}

    @property
    def scenarios(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.scenario for row in self.rows))


Parts = Mapping[str, Part]


def read(path: Path) -> dict[str, Part]:
    """What an earlier run found; nothing where there is no file."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    return {name: _part(name, found) for name, found in document["parts"].items()}


def write(path: Path, parts: Parts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"format": 1, "parts": {name: _document(part) for name, part in parts.items()}}
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def _document(part: Part) -> dict[str, Any]:
    found = asdict(part)
    del found["name"]
    for row, value in zip(found["rows"], part.rows, strict=True):
        if value.samples:
            low, high = value.series.spread
            row |= {"median": value.seconds, "min": low, "max": high}
    return found


def _part(name: str, found: Mapping[str, Any]) -> Part:
    rows = [
        Row(
            row["scenario"], row["tool"], tuple(Sample(**one) for one in row["samples"]), row["wanted"],
            row["note"], row["failed"],
        )
        for row in found["rows"]
    ]  # fmt: skip
    return Part(**{**found, "name": name, "rows": rows, "figures": [Figure(**one) for one in found["figures"]]})


def figure(parts: Parts, what: str) -> float | None:
    """The value of the first figure whose name ends so."""
    for part in parts.values():
        for one in part.figures:
            if one.what.endswith(what):
                return one.value
    return None


def versions(parts: Sequence[Part]) -> dict[str, str]:
    return {tool: version for part in parts for tool, version in part.versions.items()}
