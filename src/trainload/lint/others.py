"""What other checkers said, as findings: they are run as programs, where a user has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from trainload.errors import Text
from trainload.lint.model import Finding, Flaw, Kind
from trainload.lint.source import Source

ARGUMENTS: Mapping[str, tuple[Kind, tuple[str, ...]]] = {
    "hadolint": (Kind.DOCKERFILE, ("hadolint", "--no-fail", "--format", "json")),
    "compose": (Kind.COMPOSE, ("docker", "compose", "-f")),
    "kubeconform": (Kind.KUBERNETES, ("kubeconform", "-output", "json")),
}
"""What each is for, and its command in front of the file."""
_LINE = re.compile(r"\bline (\d+)")


def argv(program: str, file: str) -> Sequence[str]:
    words = [*ARGUMENTS[program][1], file]
    return [*words, "config", "--quiet"] if program == "compose" else words


def findings(program: str, said: tuple[int, str, str], file: str, text: str) -> tuple[Finding, ...]:
    """``said``: exit code, stdout and stderr. Raises ValueError when it is not what the program writes."""
    code, stdout, stderr = said
    source = Source.of(text)
    found = {"hadolint": _hadolint, "kubeconform": _kubeconform}.get(program)
    flaws = list(found(stdout, text)) if found else list(_compose(code, stderr))
    return tuple(Finding(rule, file, flaw, source.part(flaw.line, flaw.last)) for rule, flaw in flaws)


def _hadolint(stdout: str, text: str) -> Iterator[tuple[str, Flaw]]:
    for one in json.loads(stdout or "[]"):
        line = int(one["line"])
        yield f"hadolint:{one['code']}", Flaw(line, line, Text("{message}", message=one["message"]))


def _kubeconform(stdout: str, text: str) -> Iterator[tuple[str, Flaw]]:
    for one in json.loads(stdout or "{}").get("resources", []):
        if one.get("status") in ("statusValid", "statusSkipped"):
            continue
        line = _document(text, str(one.get("name", "")))
        yield "kubeconform", Flaw(line, line, Text("{message}", message=str(one.get("msg", "")).strip()))


def _document(text: str, name: str) -> int:
    """Where a document's name stands."""
    for number, line in enumerate(text.splitlines(), 1):
        if name and re.match(rf"\s*name:\s*[\"']?{re.escape(name)}[\"']?\s*$", line):
            return number
    return 1


def _compose(code: int, stderr: str) -> Iterator[tuple[str, Flaw]]:
    if code == 0:
        return
    said = [line for line in stderr.splitlines() if line.strip() and "obsolete" not in line]
    message = said[-1] if said else f"exit code {code}"
    match = _LINE.search(message)
    line = int(match[1]) if match else 1
    yield "compose", Flaw(line, line, Text("{message}", message=message))
