"""What changed from one run to another, as their records say; pure. What is in the images is compared elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainload.run.words import bytes_in_words
from trainload.store.runs import Run

_SIZES = ("memory", "memory and swap", None, None, "shm")
_LIMITS = ("memory", "memory and swap", "cpus", "processes", "shm")
_ELSEWHERE = frozenset({"arguments", "append", "entrypoint", "env", "mounts", "limits", "caller", "called", "host"})
"""Of a request: what the command holds, what is compared by a rule of its own, and what is only a name."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One thing that is not the same; None where it was not given."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class RunDifference:
    """From one record to another."""

    fields: tuple[FieldChange, ...]
    command: tuple[str, str] | None
    """Both, as a shell would take them; None when they are the same."""
    environment: tuple[tuple[str, ...], tuple[str, ...]]
    """Names that only the first run had, and that only the second had; values are never recorded."""

    def __bool__(self) -> bool:
        return bool(self.fields or self.command or any(self.environment))


def compare(old: Run, new: Run) -> RunDifference:
    """Everything but when they ran and how they ended."""
    before, after = dict(_fields(old)), dict(_fields(new))
    changes = [
        FieldChange(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]
    names = [set(_words(run.request.get("env"))) for run in (old, new)]
    return RunDifference(
        fields=tuple(changes),
        command=None if old.command == new.command else (shlex.join(old.command), shlex.join(new.command)),
        environment=(tuple(sorted(names[0] - names[1])), tuple(sorted(names[1] - names[0]))),
    )


def _fields(run: Run) -> Iterator[tuple[str, str]]:
    """What was given, one value per name."""
    yield "image", run.name
    yield "engine", run.engine
    if run.host is not None:
        yield "host", run.host
    if run.git_commit is not None:
        yield "commit", run.git_commit[:12] + ("+" if run.git_dirty else "")
    request = run.request
    limits = _list(request.get("limits"))
    for name, size, value in zip(_LIMITS, _SIZES, limits, strict=False):
        if value is not None:
            yield name, bytes_in_words(value) if size is not None and isinstance(value, int) else str(value)
    for mount in map(_list, _list(request.get("mounts"))):
        source, target, read_only = (*mount, False, False)[:3]
        yield f"mount {target}", f"{source}{' (ro)' if read_only else ''}"
    for name, value in request.items():
        if name not in _ELSEWHERE and value not in (None, "", False, [], {}):
            yield name.replace("_", " "), _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_plain(one)}" for name, one in sorted(value.items()))
    if isinstance(value, list | tuple):
        return " ".join(_plain(one) for one in value)
    return str(value)


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in _list(value))
