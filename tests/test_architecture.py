"""The sentence is the law: imports point only backwards along it (docs/adr/0001)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "trainload"

FOUNDATION = {
    "errors", "digest", "platform", "events", "limits", "nesting", "charset", "reference", "tree", "address",
    "values", "",
}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "system": set(),
    "project": set(),
    "lock": {"project"},
    "plan": {"project", "lock"},
    "dockerfile": {"plan"},
    "layers": {"project", "lock", "plan"},
    "image": {"plan", "layers"},
    "store": {"layers", "image"},
    "registry": {"image", "system"},
    "runner": set(),
    "resolve": {"project", "lock", "image", "system", "store", "registry"},
    "destinations": {"layers", "image", "store", "system", "registry", "runner"},
    "run": {"plan", "layers", "image", "store", "destinations", "system", "runner"},
    "builder": {
        "project", "lock", "plan", "dockerfile", "layers", "image", "store", "registry", "resolve", "destinations",
        "system",
    },
    "pipeline": {
        "dockerbuild",
        "builder", "project", "lock", "plan", "layers", "image", "store", "registry", "resolve", "destinations",
        "run", "system",
    },
    "dockerbuild": {
        "pipeline", "builder", "dockerfile", "project", "lock", "plan", "image",
    },
    "doctor": {"lock", "layers", "run", "system"},
    "capture": {"project", "layers", "image", "store", "run", "system"},
    "lint": {"project", "dockerfile"},
    "export": {"project", "lock", "plan"},
    "testing": {
        "project", "lock", "plan", "layers", "image", "store", "registry", "resolve", "destinations", "run",
        "system", "doctor", "lint",
    },
    "cli": {
        "project", "lock", "plan", "layers", "image", "store", "registry", "resolve", "destinations", "run",
        "system", "pipeline", "builder", "capture", "lint", "export", "doctor", "dockerbuild", "dockerfile",
    },
    "__main__": {"cli"},
}  # fmt: skip
ONLY_AT_THE_EDGE = {
    "socket": {"system", "runner", "destinations", "testing"},
    "http": {"runner", "system", "registry", "destinations", "testing"},
    "urllib3": {"system", "registry", "destinations"},
    "subprocess": {"runner", "system", "run"},
    "tempfile": {"system", "store"},
    "time": {
        "system",
        "destinations",
        "runner",
        "store",
        "run",
        "cli",
        "builder",
        "testing",
        "doctor",
    },
    "sqlite3": {"store"},
    "fcntl": {"store", "doctor", "run", "destinations", "runner", "testing"},
    "click": {"cli"},
    "rich": {"cli"},
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def stage(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py") if first != "__init__.py" else ""


def imported(path: Path) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            if node.module == "trainload":
                found.extend((node.lineno, f"trainload.{alias.name}") for alias in node.names)
            elif node.module:
                found.append((node.lineno, node.module))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_backwards_along_the_sentence(path: Path) -> None:
    here = stage(path)
    allowed = FOUNDATION if here in FOUNDATION else FOUNDATION | MAY_IMPORT[here] | {here}
    wrong = [
        f"{path.name}:{line} imports {name}"
        for line, name in imported(path)
        if name.split(".")[0] == "trainload"
        and (name.split(".")[1] if "." in name else "") not in allowed | {"__version__"}
    ]
    assert wrong == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_network_processes_and_clocks_are_touched_at_the_edge_only(path: Path) -> None:
    here = stage(path)
    wrong = [
        f"{path.name}:{line} imports {name}"
        for line, name in imported(path)
        if name.split(".")[0] in ONLY_AT_THE_EDGE and here not in ONLY_AT_THE_EDGE[name.split(".")[0]]
    ]
    assert wrong == []


def test_every_package_says_what_it_is() -> None:
    assert [str(p) for p in SOURCE.rglob("__init__.py") if not ast.get_docstring(ast.parse(p.read_text()))] == []


def test_every_stage_has_a_rule() -> None:
    assert {stage(path) for path in modules()} <= FOUNDATION | set(MAY_IMPORT)
