"""The results file, and what is told and drawn from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from benchmarks import readme, results, tables, verdicts
from benchmarks.budget import PARTS
from benchmarks.measure import LONGEST, Figure, trouble
from benchmarks.results import OURS, Part, Row
from benchmarks.side.sample import Sample

PUSHED = "cold build, pushed"


def row(scenario: str, tool: str, *seconds: float, wanted: int = 5, failed: str = "") -> Row:
    samples = tuple(Sample(one, one / 2, 1 << 20, 1000) for one in seconds)
    return Row(scenario, tool, samples, wanted, failed=failed)


def large() -> Part:
    part = Part("large", versions={OURS: "1.0", verdicts.PEER: "20.10"})
    part.rows += [
        row(PUSHED, OURS, 4.0, 5.0, 6.0),
        row(PUSHED, verdicts.PEER, 100.0),
        row(PUSHED, "buildah + uv", failed="buildah ended with 125: no space | left"),
        row("one line of code edited, pushed", OURS, 0.4),
        row("one line of code edited, pushed", verdicts.PEER, 1.2),
    ]
    part.floors = {PUSHED: 2.0, "one line of code edited, pushed": 0.1}
    return part


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    part = large()
    part.figures.append(Figure("trainload --help", 0.1, "s", 0.12))
    part.data["year"] = {"x": 1}
    results.write(tmp_path / "results.json", {"large": part})
    assert results.read(tmp_path / "results.json") == {"large": part}


def test_a_part_that_is_measured_anew_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.write(path, {"large": large(), "help": Part("help")})
    parts = results.read(path)
    parts["help"] = Part("help", seconds=3.0)
    results.write(path, parts)
    again = results.read(path)
    assert again["large"] == large()
    assert again["help"].seconds == 3.0


def test_no_file_is_no_results(tmp_path: Path) -> None:
    assert results.read(tmp_path / "none.json") == {}


def test_a_table_says_how_many_rounds_there_were_and_who_failed() -> None:
    told = tables.side(large())
    assert "| trainload | 5.00 | 4.00 – 6.00 | 3 of 5 | 1.0 | 2.5 | 2.5 | 1 | 0.00 |" in told
    assert "| Docker classic + pip | 100.00 | 100.00 – 100.00 | 1 of 5 | 20.0 | 50.0 |" in told
    assert "| buildah + uv | failed: buildah ended with 125: no space / left |" in told
    assert "**cold build, pushed**, at least 2.00 s" in told


def test_targets_are_told_as_reached_or_not_and_why_not() -> None:
    found = {one.what: one for one in verdicts.verdicts({"large": large()})}
    cold = found["large project, cold build, pushed, times Docker classic + pip"]
    assert (cold.reached, cold.got) == (True, "20.0 × (5.00 s against 100.00 s)")
    edit = found["large project, one line of code edited, pushed, times Docker classic + pip"]
    assert edit.reached is False
    assert edit.why.startswith(
        "4 × would be 0.30 s; at least 0.10 s, ours is 4.0 × that, with 0.20 s of processors"
    )
    assert found["trainload --help"].reached is None
    assert found["large project, one line of code edited → pushed"].reached is True


def test_the_whole_is_in_time_only_when_all_parts_are_there() -> None:
    parts = {name: Part(name, seconds=120.0) for name in PARTS}
    assert f"✓ all {len(PARTS)} parts of ./dev bench: ≤ 30 min wanted, 24.0 min: reached" in verdicts.report(parts)
    parts["engines"].failed = "no Docker"
    assert "24.0 min: not reached (not whole: engines)" in verdicts.report(parts)
    del parts["engines"]
    assert f"? all {len(PARTS)} parts of ./dev bench: ≤ 30 min wanted, –: not measured" in verdicts.report(parts)


def test_what_grows_faster_than_in_proportion_is_told() -> None:
    curves = [{"what": "files", "exponent": 1.3}, {"what": "bytes", "exponent": 0.9}]
    told = verdicts.report({"scaling": Part("scaling", data={"curves": curves})})
    assert "≤ 1.1 wanted, 1.30: not reached (files grow so)" in told


def test_a_year_below_its_target_says_what_the_bytes_are() -> None:
    ours = {"pushed": 10, "pulled": 90, "accelerators": 81}
    year = Part("year", data={"year": {OURS: ours, "one pip layer": {"pushed": 1000, "pulled": 500}}})
    told = verdicts.report({"year": year})
    assert "15.0 ×: not reached (90% of what nodes pull of ours are torch" in told
    assert "pushed and stored it is 100 ×, pulled 5.6 ×" in told


def test_readmes_show_what_the_results_say(tmp_path: Path) -> None:
    for name in readme.LANGUAGES:
        (tmp_path / name).write_text(f"above\n\n{readme.BEGIN}\nold\n{readme.END}\n\nbelow\n", encoding="utf-8")
    assert len(readme.publish({"large": large()}, tmp_path)) == 2
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"above\n\n{readme.BEGIN}\n\n|")
    assert text.endswith(f"{readme.END}\n\nbelow\n")
    assert "| from nothing until it is in the registry | 5.00 s | 100.0 s | 20 × |  |  |" in text
    assert "Versions: Docker 20.10, Trainload 1.0" in text
    assert readme.publish({"large": large()}, tmp_path) == []


def test_readmes_of_this_project_show_the_results_that_lie_beside_them() -> None:
    parts = results.read(Path(readme.__file__).parent / "results" / "results.json")
    for name, words in readme.LANGUAGES.items():
        text = (readme.TOP / name).read_text(encoding="utf-8")
        inside = text.partition(readme.BEGIN)[2].partition(readme.END)[0].strip()
        assert inside == readme.block(parts, words)


def test_who_fails_or_hangs_is_told_and_the_rest_goes_on() -> None:
    with trouble() as failed:
        subprocess.run(["sh", "-c", "echo no >&2; exit 3"], check=True, capture_output=True)
    assert failed.what == "sh -c echo no >&2; exit 3 ended with 3: no"
    with trouble() as hung:
        raise subprocess.TimeoutExpired(["docker", "pull"], LONGEST)
    assert hung.what == "docker pull was not over after 400 s"
    with trouble() as fine:
        pass
    assert fine.what == ""


def test_a_mistake_of_the_benchmark_itself_is_no_failure_of_a_peer() -> None:
    with pytest.raises(TypeError), trouble():
        raise TypeError("ours")
