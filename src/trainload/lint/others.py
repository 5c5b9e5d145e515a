"""What other checkers said, as findings: they are run as programs, where a user has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from trainload.errors import Text
from trainload.lint.model import Finding, Flaw, Kind
from trainload.lint.nodes import read
from trainload.lint.source import Source

PROGRAMS: Mapping[str, tuple[Kind, tuple[tuple[str, ...], ...]]] = {
    "hadolint": (Kind.DOCKERFILE, (("hadolint",),)),
    "compose": (Kind.COMPOSE, (("docker", "compose"), ("docker-compose",))),
    "kubeconform": (Kind.KUBERNETES, (("kubeconform",),)),
}
"""What each is for, and its command, with others of the same kind behind it."""
_AFTER = {
    "hadolint": ("--no-fail", "--format", "json"),
    # what this machine's variables are is no fault of the file
    "compose": ("config", "--quiet", "--no-interpolate"),
    # custom resources have no schema there
    "kubeconform": ("-output", "json", "-ignore-missing-schemas"),
}
_LINE = re.compile(r"\bline (\d+)")
_PATH = re.compile(r"\b(?:services|volumes|networks|secrets|configs)(?:\.(?:[\w-]+|\[\d*\]))+")
_NO_PLUGIN = 125
"""Docker's exit code for words it does not know: it has no ``compose``."""


def argv(program: str, command: Sequence[str], file: str) -> Sequence[str]:
    if program == "compose":
        return [*command, "-f", file, *_AFTER[program]]
    return [*command, *_AFTER[program], file]


def findings(program: str, said: tuple[int, str, str], file: str, text: str) -> tuple[Finding, ...]:
    """``said``: exit code, stdout and stderr. Raises ValueError when it is not what the program writes."""
    code, stdout, stderr = said
    source = Source.of(text)
    found = {"hadolint": _hadolint, "kubeconform": _kubeconform}.get(program)
    flaws = list(found(stdout, text)) if found else list(_compose(code, stderr, text))
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


def _compose(code: int, stderr: str, text: str) -> Iterator[tuple[str, Flaw]]:
    if code == 0:
        return
    if code == _NO_PLUGIN:
        raise ValueError(stderr)
    said = [line for line in stderr.splitlines() if line.strip() and "level=warning" not in line]
    message = re.sub(r"^validating \S+: ", "", said[-1]) if said else f"exit code {code}"
    match, path = _LINE.search(message), _PATH.search(message)
    line = int(match[1]) if match else _line_of(path[0], text) if path else 1
    yield "compose", Flaw(line, line, Text("{message}", message=message))


def _line_of(path: str, text: str) -> int:
    """Where ``services.llm.deploy.devices.0`` stands, as far as it is there; ``[]`` is one item of several."""
    documents = read(text, "")
    here, line = documents[0] if documents else None, 1
    for name in path.split("."):
        if here is None:
            break
        number = name.strip("[]")
        if here.items is not None:
            here = here.items[int(number)] if number.isdecimal() and int(number) < len(here.items) else None
            line = here.line if here is not None else line
            continue
        pair = here.pair(name)
        here, line = (pair[1], pair[0].line) if pair is not None else (None, line)
    return line
