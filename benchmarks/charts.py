"""Charts of what was measured, as PNG and SVG; matplotlib draws them without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "trainload"  # the same chart is the same file
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from benchmarks import tables  # noqa: E402
from benchmarks.results import OURS, Part, Parts  # noqa: E402

_OURS, _OTHERS, _FLOOR = "#0b7285", "#adb5bd", "#e8590c"
_INCHES = (8.0, 4.5)
_TITLES = {"small": "scikit-learn and pandas", "large": "PyTorch (CPU)"}
_MOST = 6
"""Tools in the chart of both projects: the quickest ones besides ours."""


def draw(parts: Parts, folder: Path) -> None:
    """All that the parts have something for."""
    shown = [parts[name] for name in ("small", "large") if name in parts and parts[name].rows]
    for part in shown:
        _scenarios(part, folder)
    if shown:
        _both(shown, folder)
    if "scaling" in parts and "curves" in parts["scaling"].data:
        _scaling(parts["scaling"].data["curves"], folder)
    if "year" in parts and "year" in parts["year"].data:
        _year(parts["year"].data["year"], folder)


def _both(shown: Sequence[Part], folder: Path) -> None:
    """What is built and pushed: a column for each project, a panel for each scenario."""
    names = [name for name in shown[-1].scenarios if name.endswith(("pushed", "running"))]
    figure, axes = plt.subplots(
        len(names), len(shown), figsize=(_INCHES[0] * 1.3, 1.55 * len(names)), squeeze=False, sharex="col"
    )
    for column, part in enumerate(shown):
        for axis, name in zip(axes[:, column], names, strict=True):
            _bars(axis, part, name, _MOST)
        axes[0, column].set_title(f"{_TITLES[part.name]}\n\n{names[0]}", fontsize=9, loc="left")
        axes[-1, column].set_xlabel("seconds; the line: what it costs at least", fontsize=8)
    figure.text(0.01, 0.002, tables.machine(shown), fontsize=6, color="#868e96")
    _write(figure, folder / "side")


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
    if scenario in part.floors:
        axis.axvline(part.floors[scenario], color=_FLOOR, linewidth=1)
    if not found:
        axis.set_yticks([])
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, fontsize=7, ha="center")
    axis.set_title(scenario, fontsize=9, loc="left")
    axis.set_xscale("log")
    axis.tick_params(labelsize=7)
    axis.margins(x=0.18)


def _year(outcomes: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=_INCHES)
    for name, one in outcomes.items():
        left.plot([size / 1e9 for size in one["weekly"]], label=name, color=_OURS if name == OURS else None)
    left.set(xlabel="week", ylabel="GB in the registry", yscale="log", title="stored, 20 projects")
    left.legend(fontsize=7)
    names = list(outcomes)
    bars = right.bar(names, [outcomes[name]["pulled"] / 1e12 for name in names],
                     color=[_OURS if name == OURS else _OTHERS for name in names])  # fmt: skip
    right.bar_label(bars, fmt="%.0f", fontsize=8)
    right.set(ylabel="TB", title="pulled by 1,000 nodes")
    right.tick_params(axis="x", labelsize=7)
    _write(figure, folder / "year")


def _scaling(curves: Sequence[Mapping[str, Any]], folder: Path) -> None:
    shown = [curve for curve in curves if curve["what"] in ("packages", "bytes", "files")]
    figure, axes = plt.subplots(1, len(shown), figsize=(_INCHES[0], 3.2), squeeze=False)
    for axis, curve in zip(axes[0], shown, strict=True):
        points = [(x, y) for x, y in curve["points"] if y > 0]
        axis.plot([x for x, _ in points], [y for _, y in points], "o-", color=_OURS)
        axis.set(xscale="log", yscale="log", title=f"{curve['what']}: exponent {curve['exponent']:.2f}",
                 xlabel=f"{curve['what']} {curve['unit']}", ylabel="seconds")  # fmt: skip
    _write(figure, folder / "scaling")


def _write(figure: Figure, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(stem.with_suffix(".png"), dpi=110, metadata={"Software": None})
    plt.close(figure)
