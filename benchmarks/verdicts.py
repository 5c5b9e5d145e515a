"""What was promised beside what was measured: reached or not, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.budget import MINUTES, PARTS
from benchmarks.results import OURS, Part, Parts, figure
from benchmarks.scaling import LINEAR
from benchmarks.year.simulate import LEAST

PEER = "Docker classic + pip"
"""What targets that name Docker are measured against: what `docker build` is without further ado."""
_FACTORS = (
    ("cold build, pushed", 15.0),
    ("one small package added, pushed", 50.0),
    ("one line of code edited, pushed", 4.0),
)
_YEAR = 20.0
_SECONDS = (
    ("nothing changed", "a build when nothing changed", 0.25),
    ("one line of code edited, pushed", "one line of code edited → pushed", 0.5),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    what: str
    want: str
    got: str
    reached: bool | None
    """None: not measured."""
    why: str = ""
    """What stands in the way, in figures of the same run."""

    def line(self) -> str:
        sign = {None: "?", True: "✓", False: "✗"}[self.reached]
        said = {None: "not measured", True: "reached", False: "not reached"}[self.reached]
        why = f" ({self.why})" if self.why else ""
        return f"{sign} {self.what}: {self.want} wanted, {self.got or '–'}: {said}{why}"


def verdicts(parts: Parts) -> list[Verdict]:
    large = parts.get("large") or parts.get("small")
    return [*_factors(large), _year(parts), *_single(parts, large), _time(parts)]


def _factors(part: Part | None) -> Iterator[Verdict]:
    for scenario, wanted in _FACTORS:
        what = f"{part.name if part else 'large'} project, {scenario}, times {PEER}"
        want = f"≥ {wanted:g} ×"
        found = part.medians(scenario) if part else {}
        if part is None or OURS not in found or PEER not in found:
            yield Verdict(what, want, "", None)
            continue
        ours, theirs = found[OURS], found[PEER]
        ratio = theirs / ours
        why = (
            ""
            if ratio >= wanted
            else f"{wanted:g} × would be {theirs / wanted:.2f} s; {_gap(part, scenario, ours)}"
        )
        yield Verdict(what, want, f"{ratio:.1f} × ({ours:.2f} s against {theirs:.2f} s)", ratio >= wanted, why)


def _gap(part: Part, scenario: str, ours: float) -> str:
    """What it costs at least, and how far from that we are."""
    floor = part.floors.get(scenario)
    cpu = next((row.series.cpu for row in part.rows if (row.scenario, row.tool) == (scenario, OURS)), 0.0)
    least = f"at least {floor:.2f} s, ours is {ours / floor:.1f} × that" if floor else f"ours is {ours:.2f} s"
    return f"{least}, with {cpu:.2f} s of processors; where they go: docs/performance.md"


def _year(parts: Parts) -> Verdict:
    what, want = "a year of updates, all bytes, times one pip layer", f"≥ {_YEAR:g} ×"
    found = parts["year"].data.get("year") if "year" in parts else None
    if not found:
        return Verdict(what, want, "", None)
    ours, theirs = found[OURS], found["one pip layer"]
    ratio = _moved(theirs) / _moved(ours)
    why = "" if ratio >= _YEAR else _heavy(found, theirs)
    return Verdict(what, want, f"{ratio:.1f} ×", ratio >= _YEAR, why)


def _heavy(found: Mapping[str, Mapping[str, float]], theirs: Mapping[str, float]) -> str:
    """What the bytes are, and what no cut of layers can save."""
    ours = found[OURS]
    said = [f"{ours['accelerators'] / ours['pulled']:.0%} of what nodes pull of ours are torch, triton and CUDA, "
            "whose releases change every byte"]  # fmt: skip
    if LEAST in found:
        least = found[LEAST]
        said.append(
            f"an image in which no wheel travels twice comes to {_moved(theirs) / _moved(least):.1f} ×, "
            f"and we are at {_moved(ours) / _moved(least):.2f} × its bytes"
        )
    said.append(
        f"pushed and stored it is {theirs['pushed'] / ours['pushed']:.0f} ×, "
        f"pulled {theirs['pulled'] / ours['pulled']:.1f} ×"
    )
    return "; ".join(said)


def _time(parts: Parts) -> Verdict:
    what, want = f"all {len(PARTS)} parts of ./dev bench", f"≤ {MINUTES:g} min"
    measured = [parts[name] for name in PARTS if name in parts and not parts[name].quick]
    if len(measured) < len(PARTS):
        return Verdict(what, want, "", None)
    minutes = sum(part.seconds for part in measured) / 60
    failed = [part.name for part in measured if part.failed]
    why = f"not whole: {', '.join(failed)}" if failed else ""
    return Verdict(what, want, f"{minutes:.1f} min", minutes <= MINUTES and not failed, why)


def _moved(outcome: Mapping[str, float]) -> float:
    return outcome["pushed"] + outcome["pulled"]


def _single(parts: Parts, part: Part | None) -> Iterator[Verdict]:
    splice, threaded = figure(parts, "times the floor"), figure(parts, "times the floor on two threads")
    why = f"{threaded or 0:.2f} × the floor on two threads; ours hashes each member once more, against its RECORD"
    yield _limit("splice of torch, times inflating and hashing on one thread", splice, 1.25, "×", why)
    for scenario, what, most in _SECONDS:
        ours = part.medians(scenario).get(OURS) if part else None
        why = _gap(part, scenario, ours) if part and ours else ""
        yield _limit(f"{part.name if part else 'large'} project, {what}", ours, most, "s", why)
    yield _limit("trainload --help", figure(parts, "trainload --help"), 0.12, "s")
    curves = parts["scaling"].data.get("curves", []) if "scaling" in parts else []
    steepest = max(curves, key=lambda curve: curve["exponent"], default=None)
    said = f"{steepest['what']} grow so" if steepest else ""
    power = steepest["exponent"] if steepest else None
    yield _limit("scaling, the steepest power of what a build costs", power, LINEAR, "", said)


def _limit(what: str, value: float | None, most: float, unit: str, why: str = "") -> Verdict:
    """``why``: what stands in the way where it is not reached."""
    want = f"≤ {most:g} {unit}".strip()
    if value is None:
        return Verdict(what, want, "", None)
    reached = value <= most
    return Verdict(what, want, f"{value:.2f} {unit}".strip(), reached, "" if reached else why)


def report(parts: Parts) -> str:
    return "\n".join(one.line() for one in verdicts(parts))
