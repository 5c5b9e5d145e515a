"""The prose is tested: links lead somewhere, reference pages follow from the source, configurations are valid."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from trainload.project.keys import BY_PATH, KEYS
from trainload.testing.reference import pages

TOP = Path(__file__).parents[2]


def documents() -> list[Path]:
    found = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=TOP, capture_output=True, text=True, check=True
    ).stdout.split()
    return [TOP / name for name in found]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    wrong = [
        target
        for target in re.findall(r"\]\(([^)\s]+)\)", text)
        if "://" not in target and not (document.parent / target.partition("#")[0]).exists()
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ["reference/cli.md", "reference/configuration.md", "reference/lint-rules.md"])
def test_reference_pages_follow_from_the_source(name: str) -> None:
    page = TOP / "docs" / name
    assert page.read_text(encoding="utf-8") == pages(TOP / "docs")[page], "run ./dev texts"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(TOP)))
def test_configurations_in_the_prose_are_valid(document: Path) -> None:
    for block in blocks(document, "toml"):
        table = tomllib.loads(block)["tool"]["trainload"]
        for path, value in flat(table):
            BY_PATH[path].kind.read(value)


def flat(table: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value in table.items():
        path = f"{prefix}{name}"
        if path == "variants" and isinstance(value, dict):  # each has the same keys
            for variant in value.values():
                found += flat({key: one for key, one in variant.items() if key != "inherits"})
        elif isinstance(value, dict) and path not in BY_PATH:
            found += flat(value, f"{path}.")
        else:
            found.append((path, value))
    return found


def test_every_key_is_in_the_reference() -> None:
    text = (TOP / "docs/reference/configuration.md").read_text(encoding="utf-8")
    assert [key.path for key in KEYS if f"| `{key.path}` |" not in text] == []


def test_both_readmes_and_tutorials_have_the_same_commands() -> None:
    for english, chinese in [
        ("README.md", "README.zh-CN.md"),
        ("docs/tutorial/first-image.md", "docs/tutorial/first-image.zh-CN.md"),
        ("examples/digits/README.md", "examples/digits/README.zh-CN.md"),
        ("examples/tiny-gpt/README.md", "examples/tiny-gpt/README.zh-CN.md"),
    ]:
        assert blocks(TOP / english, "sh") == blocks(TOP / chinese, "sh")


def test_every_exit_code_is_documented() -> None:
    said = (TOP / "src/trainload/cli/main.py").read_text(encoding="utf-8").split('"""')[1]
    page = (TOP / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    for code in re.findall(r"\b\d+\b", said):
        assert re.search(rf"\b{code}\b", page), code


def test_decisions_are_numbered_once_and_say_their_number() -> None:
    pages = sorted((TOP / "docs" / "adr").glob("*.md"))
    numbers = [int(page.name.partition("-")[0]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    assert [
        page.name for page, n in zip(pages, numbers, strict=True) if not page.read_text().startswith(f"# {n}. ")
    ] == []


def test_no_merge_was_left_half_done() -> None:
    """A line that git writes between two versions of a text; a changelog or a catalogue hides it well."""
    texts = (path for name in ("src", "docs", "tests", "examples") for path in (TOP / name).rglob("*"))
    marks = re.compile(rb"^(?:<{7} |>{7} |={7}$)", re.MULTILINE)
    readable = {".py", ".md", ".po", ".toml", ".yaml"}
    files = [path for path in (*TOP.glob("*.md"), *texts) if path.suffix in readable]
    assert len(files) > 1000
    assert [str(path) for path in files if marks.search(path.read_bytes())] == []
