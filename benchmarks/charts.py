"""Charts of what was measured, as PNG and SVG; matplotlib draws them without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "trainload"  # the same chart is the same file
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from benchmarks.results import medians  # noqa: E402
from benchmarks.scaling import Curve  # noqa: E402
from benchmarks.side.scenarios import Row  # noqa: E402
from benchmarks.year.simulate import Outcome  # noqa: E402

_OURS, _OTHERS, _FLOOR = "#0b7285", "#adb5bd", "#e8590c"
_INCHES = (8.0, 4.5)


def scenarios(rows: Sequence[Row], sort: str, floor: Mapping[str, float], folder: Path) -> None:
    """One panel for each scenario: a bar for each tool, seconds on a logarithmic axis, the floor as a line."""
    names = [name for name in dict.fromkeys(row.scenario for row in rows if row.sort == sort) if name in floor]
    if not names:
        return
    height = 0.28 * sum(len(medians(rows, sort, name)) + 2 for name in names)
    figure, axes = plt.subplots(
        len(names), 1, figsize=(_INCHES[0], max(height, 3.0)), sharex=True, squeeze=False,
        height_ratios=[len(medians(rows, sort, name)) + 1 for name in names],
    )  # fmt: skip
    for axis, name in zip(axes[:, 0], names, strict=True):
        found = sorted(medians(rows, sort, name).items(), key=lambda item: -item[1])
        colours = [_OURS if tool == "trainload" else _OTHERS for tool, _ in found]
        bars = axis.barh([tool for tool, _ in found], [seconds for _, seconds in found], color=colours)
        axis.bar_label(bars, fmt=" %.2f s", fontsize=7)
        axis.axvline(floor[name], color=_FLOOR, linewidth=1)
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_xscale("log")
        axis.tick_params(labelsize=7)
        axis.margins(x=0.15)
    axes[-1, 0].set_xlabel("seconds (the line: what it costs at least)", fontsize=8)
    _write(figure, folder / f"scenarios-{sort}")


def year(outcomes: Mapping[str, Outcome], folder: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=_INCHES)
    for name, one in outcomes.items():
        left.plot([size / 1e9 for size in one.weekly], label=name, color=_OURS if name == "trainload" else None)
    left.set(xlabel="week", ylabel="GB in the registry", yscale="log", title="stored, 20 projects")
    left.legend(fontsize=7)
    names = list(outcomes)
    bars = right.bar(names, [outcomes[name].pulled / 1e12 for name in names],
                     color=[_OURS if name == "trainload" else _OTHERS for name in names])  # fmt: skip
    right.bar_label(bars, fmt="%.0f", fontsize=8)
    right.set(ylabel="TB", title="pulled by 1,000 nodes")
    right.tick_params(axis="x", labelsize=7)
    _write(figure, folder / "year")


def scaling(curves: Sequence[Curve], folder: Path) -> None:
    shown = [curve for curve in curves if curve.what in ("packages", "bytes", "files")]
    figure, axes = plt.subplots(1, len(shown), figsize=(_INCHES[0], 3.2))
    for axis, curve in zip(axes, shown, strict=True):
        points = [(x, y) for x, y in curve.points if y > 0]
        axis.plot([x for x, _ in points], [y for _, y in points], "o-", color=_OURS)
        axis.set(xscale="log", yscale="log", title=f"{curve.what}: exponent {curve.slope:.2f}",
                 xlabel=f"{curve.what} {curve.unit}", ylabel="seconds")  # fmt: skip
    _write(figure, folder / "scaling")


def _write(figure: Figure, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(stem.with_suffix(".png"), dpi=110, metadata={"Software": None})
    plt.close(figure)
