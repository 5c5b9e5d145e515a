"""The figures that the READMEs show, written from the results file: nobody copies them by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tables
from benchmarks.results import OURS, Parts, versions
from benchmarks.verdicts import PEER

TOP = Path(__file__).parents[1]
BEGIN, END = "<!-- benchmarks: written by ./dev bench --publish -->", "<!-- benchmarks: end -->"
_OTHER = "BuildKit + uv, cache mount"
_SHOWN = ("cold build, pushed", "one small package added, pushed", "one line of code edited, pushed",
          "one line of code edited, running")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Words:
    """One language."""

    scenarios: Mapping[str, str]
    project: str
    times: str
    measured: str
    chart: str


LANGUAGES: Mapping[str, Words] = {
    "README.md": Words(
        {
            "cold build, pushed": "from nothing until it is in the registry",
            "one small package added, pushed": "one small package more",
            "one line of code edited, pushed": "one line of code edited",
            "one line of code edited, running": "one line edited, until the program runs",
        },
        "A PyTorch project",
        "times as fast",
        "Medians; {machine}. Versions: {versions}. All scenarios, peers and limits: "
        "[benchmarks](benchmarks/README.md), `./dev bench`.",
        "side by side: both projects, all scenarios of building",
    ),
    "README.zh-CN.md": Words(
        {
            "cold build, pushed": "从零开始，直到进入仓库",
            "one small package added, pushed": "增加一个小包",
            "one line of code edited, pushed": "修改一行代码",
            "one line of code edited, running": "修改一行代码，直到程序运行",
        },
        "PyTorch 项目",
        "快几倍",
        "中位数；{machine}。版本：{versions}。所有场景、对手和下限："
        "[基准测试](benchmarks/README.md)，`./dev bench`。",
        "并排比较：两个项目，所有构建场景",
    ),
}


def block(parts: Parts, words: Words) -> str:
    """The lines between the marks; empty where the large project was not measured."""
    part = parts.get("large")
    if part is None:
        return ""
    lines = [f"| {words.project} | Trainload | {PEER} | {words.times} | {_OTHER} | {words.times} |",
             "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for scenario in _SHOWN:
        found = part.medians(scenario)
        if OURS in found:
            cells = [f"{found[OURS]:.2f} s"]
            for peer in (PEER, _OTHER):
                cells += [f"{found[peer]:.1f} s", _times(found[peer] / found[OURS])] if peer in found else ["", ""]
            lines.append(f"| {words.scenarios[scenario]} | {' | '.join(cells)} |")
    known = versions([part])
    named = {"Docker": PEER, "BuildKit": _OTHER, "Trainload": OURS}
    told = ", ".join(f"{name} {known[tool]}" for name, tool in named.items() if tool in known)
    lines += ["", words.measured.format(machine=tables.machine([part]), versions=told)]
    lines += ["", f"![{words.chart}](benchmarks/results/side.png)"]
    return "\n".join(lines)


def _times(ratio: float) -> str:
    return f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


def publish(parts: Parts, top: Path = TOP) -> list[Path]:
    """Writes the block into the files that have its marks; returns those that changed."""
    changed = []
    for name, words in LANGUAGES.items():
        path = top / name
        old = path.read_text(encoding="utf-8")
        before, begin, rest = old.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            continue
        inside = block(parts, words)
        new = f"{before}{BEGIN}\n\n{inside}\n\n{END}{after}" if inside else old
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed
