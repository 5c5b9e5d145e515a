"""Charts of what was measured, as PNG and SVG; matplotlib draws them without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "trainload"  # the same chart is the same file
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import NullFormatter  # noqa: E402

from benchmarks import tables  # noqa: E402
from benchmarks.results import OURS, Part, Parts  # noqa: E402
from benchmarks.scaling import PROCESSORS  # noqa: E402
from benchmarks.side.shipping import EDITED, FIRST  # noqa: E402
from benchmarks.side.transfers import AFTER_BUMP, COLD_PULL, IMPORT  # noqa: E402
from benchmarks.year.simulate import LEAST  # noqa: E402

_OURS, _OTHERS, _FLOOR = "#0b7285", "#adb5bd", "#e8590c"
_INCHES = (8.0, 4.5)
_TITLES = {"small": "scikit-learn", "large": "PyTorch (CPU)"}
_MOST = 6
"""Tools in the chart of both projects: the quickest ones besides ours."""
_MOVED = (COLD_PULL, AFTER_BUMP, IMPORT, FIRST, EDITED)


def draw(parts: Parts, folder: Path) -> None:
    """All that the parts have something for."""
    shown = [parts[name] for name in ("small", "large") if name in parts and parts[name].rows]
    for part in shown:
        _scenarios(part, folder)
    if shown:
        _both(shown, folder / "side", _built(shown))
        _both(shown, folder / "moving", [name for name in shown[-1].scenarios if name in _MOVED])
    if "scaling" in parts and "curves" in parts["scaling"].data:
        _scaling(parts["scaling"].data["curves"], folder)
    if "year" in parts and "year" in parts["year"].data:
        _year(parts["year"].data["year"], folder)


def _built(shown: Sequence[Part]) -> list[str]:
    return [name for name in shown[-1].scenarios if name.endswith(("pushed", "running"))]


def _both(shown: Sequence[Part], stem: Path, names: Sequence[str]) -> None:
    """A column for each project, a panel for each scenario."""
    if not names:
        return
    figure, axes = plt.subplots(
        len(names), len(shown), figsize=(_INCHES[0] * 1.3, 1.55 * len(names)), squeeze=False, sharex="col"
    )
    for column, part in enumerate(shown):
        for axis, name in zip(axes[:, column], names, strict=True):
            _bars(axis, part, name, _MOST)
        axes[0, column].set_title(f"{_TITLES[part.name]}\n\n{names[0]}", fontsize=9, loc="left")
        axes[-1, column].set_xlabel("seconds; the line: what it costs at least", fontsize=8)
    figure.text(0.01, 0.002, tables.machine(shown), fontsize=6, color="#868e96")
    _write(figure, stem)


def _scenarios(part: Part, folder: Path) -> None:
    """One panel for each scenario with a bar for each tool."""
    names = [name for name in part.scenarios if part.medians(name)]
    heights = [len(part.medians(name)) + 1.6 for name in names]
    figure, axes = plt.subplots(
        len(names), 1, figsize=(_INCHES[0], max(0.24 * sum(heights), 3.0)), sharex=True, squeeze=False,
        height_ratios=heights,
    )  # fmt: skip
    for axis, name in zip(axes[:, 0], names, strict=True):
        _bars(axis, part, name)
    axes[-1, 0].set_xlabel("seconds; the line: what it costs at least", fontsize=8)
    figure.text(0.01, 0.002, tables.machine([part]), fontsize=6, color="#868e96")
    _write(figure, folder / f"side-{part.name}")


def _bars(axis: Axes, part: Part, scenario: str, most: int | None = None) -> None:
    """Seconds on a logarithmic axis, the floor as a line."""
    ours = {tool: seconds for tool, seconds in part.medians(scenario).items() if OURS in tool}
    others = sorted(
        (item for item in part.medians(scenario).items() if item[0] not in ours), key=lambda item: item[1]
    )
    found = sorted([*ours.items(), *others[:most]], key=lambda item: -item[1])
    colours = [_OURS if tool in ours else _OTHERS for tool, _ in found]
    bars = axis.barh([tool for tool, _ in found], [seconds for _, seconds in found], color=colours)
    axis.bar_label(bars, fmt=" %.2f s", fontsize=7)
    axis.set_title(scenario, fontsize=9, loc="left")
    if not found:
        axis.set_axis_off()
        axis.text(0.0, 0.8, "not measured", transform=axis.transAxes, fontsize=8)
        return
    if scenario in part.floors:
        axis.axvline(part.floors[scenario], color=_FLOOR, linewidth=1)
    axis.set_xscale("log")
    axis.tick_params(labelsize=7)
    axis.margins(x=0.25)


def _year(outcomes: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=_INCHES)
    for name, one in outcomes.items():
        colour, style = (_OURS, "-") if name == OURS else (_FLOOR, "--") if name == LEAST else (None, "-")
        width = 2.5 if name == OURS else 1.5  # ours and the least lie on each other
        sizes = [size / 1e9 for size in one["weekly"]]
        left.plot(sizes, style, label=name, color=colour, linewidth=width)
    left.set(xlabel="week", ylabel="GB in the registry", yscale="log", title="stored, 20 projects")
    left.legend(fontsize=7)
    names = list(outcomes)
    bars = right.bar([fill(name, 12) for name in names], [outcomes[name]["pulled"] / 1e12 for name in names],
                     color=[_OURS if name == OURS else _OTHERS for name in names])  # fmt: skip
    right.bar_label(bars, fmt="%.0f", fontsize=8)
    right.set(ylabel="TB", title="pulled by 1,000 nodes")
    right.tick_params(axis="x", labelsize=7)
    _write(figure, folder / "year")


def _scaling(curves: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """A panel for each curve; the dashed line is what grows in proportion, from the largest amount down."""
    rows = -(-len(curves) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(_INCHES[0], 2.8 * rows), squeeze=False)
    places = list(axes.flat)
    for axis, curve in zip(places, curves, strict=False):
        _curve(axis, curve)
    for axis in places[len(curves) :]:
        axis.set_axis_off()
        axis.text(0, 0.6, "dashed: in proportion", fontsize=8, color=_FLOOR)
    _write(figure, folder / "scaling")


def _curve(axis: Axes, curve: Mapping[str, Any]) -> None:
    points = [(x, y) for x, y in curve["points"] if y > 0]
    amounts, seconds = [x for x, _ in points], [y for _, y in points]
    axis.plot(amounts, seconds, "o-", color=_OURS)
    few, what = len(amounts) < 4, curve["what"] + (f", {curve['unit']}" if curve["unit"] else "")
    if curve["what"] == PROCESSORS:
        what += f": {seconds[0] / seconds[-1]:.2f} times as fast"
    else:
        axis.plot(amounts, [seconds[-1] * x / amounts[-1] for x in amounts], "--", color=_FLOOR, linewidth=1)
        what += f": power {curve['exponent']:.2f}"
    axis.set_title(what, fontsize=9)
    axis.set_ylabel("seconds", fontsize=8)
    if few:
        axis.set_xticks(amounts, [f"{x:g}" for x in amounts])
        axis.set_ylim(0)
    else:
        axis.set(xscale="log", yscale="log")
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=7)


def _write(figure: Figure, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(stem.with_suffix(".png"), dpi=110, metadata={"Software": None})
    plt.close(figure)
