"""What a run of the benchmarks found: values, as JSON and as tables."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure
from benchmarks.side.sample import Series, series
from benchmarks.side.scenarios import Row


@dataclass(slots=True)
class Results:
    versions: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)
    """What single parts found, as JSON."""

    def document(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "versions": self.versions,
            "figures": [
                {"what": one.what, "value": one.value, "unit": one.unit, "target": one.target, "met": one.met,
                 "note": one.note} for one in self.figures
            ],
            "side by side": [_row(row) for row in self.rows],
            **self.parts,
        }  # fmt: skip

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kernel, kind = platform.release(), platform.machine()
    return {"processors": os.cpu_count(), "memory": memory, "kernel": kernel, "machine": kind}


def _row(row: Row) -> dict[str, Any]:
    found = series(row.samples)
    return {
        "project": row.sort, "scenario": row.scenario, "tool": row.tool, "rounds": len(row.samples),
        "median": found.seconds, "min": found.spread[0], "max": found.spread[1], "cpu": found.cpu,
        "memory": found.memory, "sent": found.sent, "note": row.note,
    }  # fmt: skip


def table(rows: Sequence[Row], sort: str, floors: Mapping[str, float]) -> str:
    """One project: a Markdown table for each scenario, the quickest first; ours and the floor as what others are
    times of.
    """
    lines: list[str] = []
    for scenario in dict.fromkeys(row.scenario for row in rows if row.sort == sort):
        taken = {row.tool: series(row.samples) for row in rows if row.sort == sort and row.scenario == scenario}
        floor = floors.get(scenario)
        least = f", at least {floor:.2f} s" if floor else ""
        lines += [f"**{scenario}**{least}", ""]
        lines += ["| | median s | min – max | n | × ours | × least | CPU s | MiB | sent MB |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
        ours = taken.get("trainload")
        lines += [_line(tool, one, ours, floor) for tool, one in sorted(taken.items(), key=_seconds)]
        lines.append("")
    return "\n".join(lines)


def _seconds(item: tuple[str, Series]) -> float:
    return item[1].seconds


def _line(tool: str, one: Series, ours: Series | None, floor: float | None) -> str:
    low, high = one.spread
    least = f"{one.seconds / floor:.1f}" if floor else ""
    ratio = f"{one.seconds / ours.seconds:.1f}" if ours else ""
    sent = "" if one.sent is None else f"{one.sent / 1e6:.2f}"
    return (
        f"| {tool} | {one.seconds:.2f} | {low:.2f} – {high:.2f} | {len(one.samples)} | {ratio} | {least} "
        f"| {one.cpu:.1f} "
        f"| {one.memory / 2**20:.0f} | {sent} |"
    )


def medians(rows: Sequence[Row], sort: str, scenario: str) -> Mapping[str, float]:
    return {row.tool: series(row.samples).seconds for row in rows if (row.sort, row.scenario) == (sort, scenario)}
