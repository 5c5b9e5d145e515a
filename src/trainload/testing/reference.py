"""The reference pages that follow from the source; ``./dev texts`` writes them, a test compares them."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from trainload.lint.table import RULES
from trainload.project.keys import KEYS
from trainload.project.kinds import shown
from trainload.system.process import run

MAIN = Path(__file__).parents[1] / "cli" / "main.py"
ENGLISH = {
    "LANGUAGE": "en",
    "COLUMNS": "100",
    "NO_COLOR": "1",
    "TRAINLOAD_HOME": "/nowhere",
    "PATH": "/usr/bin:/bin",
}


def verbs() -> list[str]:
    """Every verb, in the order of ``trainload --help``."""
    for node in ast.parse(MAIN.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "VERBS":
            assert node.value is not None
            table: dict[str, dict[str, tuple[str, str]]] = ast.literal_eval(node.value)
            return [verb for section in table.values() for verb in section]
    raise AssertionError("cli/main.py has no VERBS")


def kinds(verb: str) -> list[str]:
    """The commands below a verb such as ``export``, as its help lists them."""
    listed = re.search(r"^Commands:\n((?:  \S.*\n?|   .*\n?)+)", help_text(verb), re.MULTILINE)
    return re.findall(r"^  (\S+)", listed[1], re.MULTILINE) if listed else []


@cache
def help_text(*words: str) -> str:
    """What ``trainload WORDS --help`` prints, in English, 80 cells wide, as on any machine."""
    known = _all_verbs() if len(words) <= 1 else {}
    return known.get(words) or _help_texts([words])[words]


@cache
def _all_verbs() -> dict[tuple[str, ...], str]:
    return _help_texts([(), *((verb,) for verb in verbs())])


_HELPS = """
import json, os, sys
from contextlib import redirect_stdout
from io import StringIO
from trainload.cli.main import run
texts = []
for words in json.loads(sys.argv[1]):
    out = StringIO()
    with redirect_stdout(out):
        run([*words, "--help"], environ=dict(os.environ), cwd=None, stdout=out, stderr=sys.stderr)
    texts.append(out.getvalue())
json.dump(texts, sys.stdout)
"""


def _help_texts(wanted: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """In one process: a start of Python for each verb would take most of the time."""
    done = run([sys.executable, "-c", _HELPS, json.dumps(wanted)], env=ENGLISH)
    assert done.exit_code == 0, done.complaint
    return dict(zip(wanted, json.loads(done.stdout), strict=True))


def command_line() -> str:
    """``docs/reference/cli.md``."""
    parts = [
        "# Command line\n\nWritten from the program's own help by `./dev texts`. Options of the first block are "
        "accepted before and after a verb.\n",
        _block("trainload"),
    ]
    below = [(verb, kind) for verb in verbs() for kind in kinds(verb)]
    texts = _help_texts(below)
    for verb in verbs():
        parts.append(f"\n## trainload {verb}\n\n{_block('trainload', verb)}")
        parts += [f"\n### trainload {verb} {kind}\n\n{_quoted(texts[verb, kind])}" for kind in kinds(verb)]
    return "\n".join(parts)


def _block(*words: str) -> str:
    return _quoted(help_text(*words[1:]))


def _quoted(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def configuration() -> str:
    """The table of keys in ``docs/reference/configuration.md``."""
    lines = ["| Key | Value | Default | |", "|---|---|---|---|"]
    for key in KEYS:
        default = "found" if key.detected else "" if key.default is None else f"`{_default(key.default)}`"
        variable = f" `{key.variable}`" if key.variable else ""
        cells = [f"`{key.path}`", key.kind.want, default, key.meaning + variable]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return "{}" if value == {} else shown(value)


def lint_rules() -> str:
    """``docs/reference/lint-rules.md``."""
    parts = [
        "# Rules of trainload lint\n\nWritten from the table of rules by `./dev texts`. "
        "[How to use them](../guides/lint.md). `# trainload: ignore[RULE]` on a line, or in the comments above it, "
        "keeps a rule quiet there.\n"
    ]
    for kind, title in (("dockerfile", "Dockerfiles"), ("compose", "Compose files"), ("kubernetes", "Kubernetes")):
        rows = [f"| `{rule.id}` | {rule.meaning} |" for rule in RULES if rule.kind.value == kind]
        parts.append("\n".join([f"## {title}", "", "| Rule | Finds |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def pages(docs: Path) -> dict[Path, str]:
    """Every page that follows from the source, as it should read."""
    table = docs / "reference" / "configuration.md"
    before, _, rest = table.read_text(encoding="utf-8").partition("<!-- keys -->\n")
    after = rest.partition("<!-- /keys -->")[2]
    return {
        docs / "reference" / "cli.md": command_line(),
        docs / "reference" / "lint-rules.md": lint_rules(),
        table: f"{before}<!-- keys -->\n{configuration()}\n<!-- /keys -->{after}",
    }


if __name__ == "__main__":
    for page, text in pages(Path(sys.argv[1])).items():
        page.write_text(text, encoding="utf-8")
