"""What a file is, by its content; its name says nothing."""

from __future__ import annotations

import re

from trainload.lint.model import Kind

_INSTRUCTION = re.compile(r"(?:FROM|ARG)[ \t]+\S", re.IGNORECASE)
_TOP = re.compile(r"^(?P<key>[A-Za-z][A-Za-z0-9_-]*)[ \t]*:", re.MULTILINE)


def kind_of(text: str) -> Kind | None:
    """The kind, or None when it is nothing that can be checked."""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            if _INSTRUCTION.match(stripped) and not _TOP.match(line):
                return Kind.DOCKERFILE
            break
    keys = {match["key"] for match in _TOP.finditer(text)}
    if {"apiVersion", "kind"} <= keys:
        return Kind.KUBERNETES
    return Kind.COMPOSE if "services" in keys else None
