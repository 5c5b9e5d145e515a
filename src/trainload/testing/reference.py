"""The reference pages that follow from the source; ``./dev texts`` writes them, a test compares them."""

from __future__ import annotations

import ast
import re
import sys
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


def help_text(*words: str) -> str:
    """What ``trainload WORDS --help`` prints, in English, 80 cells wide, as on any machine."""
    return run([sys.executable, "-m", "trainload", *words, "--help"], env=ENGLISH).stdout.decode()


def command_line() -> str:
    """``docs/reference/cli.md``."""
    parts = [
        "# Command line\n\nWritten from the program's own help by `./dev texts`. Options of the first block are "
        "accepted before and after a verb.\n",
        _block("trainload"),
    ]
    for verb in verbs():
        parts.append(f"\n## trainload {verb}\n\n{_block('trainload', verb)}")
        parts += [f"\n### trainload {verb} {kind}\n\n{_block('trainload', verb, kind)}" for kind in kinds(verb)]
    return "\n".join(parts)


def _block(*words: str) -> str:
    return f"```text\n{help_text(*words[1:]).rstrip()}\n```\n"


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
