"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import OURS, Part, Row
from benchmarks.side.sample import Series


def side(part: Part) -> str:
    """A table for each scenario, the quickest first; ours and the floor as what others are times of."""
    lines: list[str] = []
    for scenario in part.scenarios:
        rows = [row for row in part.rows if row.scenario == scenario]
        floor = part.floors.get(scenario)
        least = f", at least {floor:.2f} s" if floor else ""
        lines += [f"**{scenario}**{least}", ""]
        lines += ["| | median s | min – max | n | × ours | × least | CPU s | MiB | MB |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
        ours = next((row.series for row in rows if row.tool.startswith(OURS) and row.samples), None)
        measured = sorted((row for row in rows if row.samples), key=lambda row: row.seconds)
        lines += [_line(row, ours, floor) for row in measured]
        lines += [f"| {row.tool} | failed: {_short(row.failed)} |" for row in rows if not row.samples]
        lines += [f"\n{row.tool}: {_short(row.failed)}" for row in measured if row.failed]
        lines.append("")
    return "\n".join(lines)


def _line(row: Row, ours: Series | None, floor: float | None) -> str:
    one = row.series
    low, high = one.spread
    least = f"{one.seconds / floor:.1f}" if floor else ""
    ratio = f"{one.seconds / ours.seconds:.1f}" if ours else ""
    moved = "" if one.sent is None else f"{one.sent / 1e6:.2f}"
    cut = f"{len(one.samples)} of {row.wanted}" if len(one.samples) < row.wanted else f"{len(one.samples)}"
    return (
        f"| {row.tool} | {one.seconds:.2f} | {low:.2f} – {high:.2f} | {cut} | {ratio} | {least} "
        f"| {one.cpu:.1f} | {one.memory / 2**20:.0f} | {moved} |"
    )


def _short(text: str) -> str:
    return " ".join(text.split())[-300:].replace("|", "/")


def sizes(part: Part) -> str:
    """What the images weigh, and what they weigh at least: their packages and their base."""
    found = part.data.get("sizes", [])
    if not found:
        return ""
    lines = ["**size of the image**", "", "| | layers | on the wire, MB | on disk, MB | × least |"]
    lines += ["|---|---:|---:|---:|---:|"]
    least = part.data.get("least bytes")
    for one in found:
        disk = f"{one['disk'] / 1e6:.0f}" if one.get("disk") else ""
        ratio = f"{one['bytes'] / least:.2f}" if least else ""
        lines.append(f"| {one['tool']} | {one['layers']} | {one['bytes'] / 1e6:.0f} | {disk} | {ratio} |")
    return "\n".join(lines)


def machine(parts: Sequence[Part]) -> str:
    """Where and when, in one line."""
    if not parts:
        return ""
    newest = max(parts, key=lambda part: part.began)
    known = newest.machine
    memory = round(known["memory"] / 2**30)
    where = f"{known['processors']} processors, {memory} GiB, Linux {known['kernel']}, {known['machine']}"
    return f"{where}; {newest.began[:10]}"
