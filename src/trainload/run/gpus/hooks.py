"""What NVIDIA's hooks do to a container, as data: no program that a file names is ever called.

nvidia-container-toolkit: cmd/nvidia-cdi-hook. A hook of somebody else is refused, because without it the container
would be another one than the specification describes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainload.errors import Place, RunError, Text
from trainload.run.gpus.cdi import Hook
from trainload.run.gpus.model import Link

_PROGRAMS = ("nvidia-cdi-hook", "nvidia-ctk", "nvidia-container-toolkit.nvidia-ctk")
_NOTHING = frozenset({"disable-device-node-modification"})
"""Keeps the container from making device nodes: ours cannot make any."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What a hook changes inside."""

    links: tuple[Link, ...] = ()
    folders: tuple[str, ...] = ()
    modes: tuple[tuple[str, int], ...] = ()
    driver: str | None = None
    notes: tuple[Text, ...] = ()


def effects(hook: Hook, file: str) -> Effects:
    """Of one hook of the specification ``file``. Raises :class:`RunError` for a program we do not know."""
    words = list(hook.args[1:])
    if words[:1] == ["hook"]:
        words = words[1:]
    program = hook.path.rpartition("/")[2]
    if program not in _PROGRAMS or not words:
        raise RunError(
            Text("the embedded engine cannot do what the hook {program} does", program=hook.path),
            place=Place(file),
            hints=(Text("Docker and Podman call it: --engine docker"),),
        )
    verb, options = words[0], _options(words[1:])
    if verb == "create-symlinks":
        return Effects(links=tuple(_link(value, file) for value in _of(options, "link")))
    if verb in ("update-ldcache", "create-soname-symlinks"):
        return Effects(folders=tuple(_folder(value, file) for value in _of(options, "folder")))
    if verb == "chmod":
        mode = next(iter(_of(options, "mode")), "")
        if not re.fullmatch(r"[0-7]{3,4}", mode):
            raise _broken(f"--mode {mode}", file)
        return Effects(modes=tuple((_folder(path, file), int(mode, 8)) for path in _of(options, "path")))
    if verb == "enable-cuda-compat":
        return Effects(driver=next(iter(_of(options, "host-driver-version")), None))
    if verb in _NOTHING:
        return Effects()
    note = Text(
        "the hook {hook} of {file} is unknown: what it does is missing in the container", hook=verb, file=file
    )
    return Effects(notes=(note,))


def _options(words: Sequence[str]) -> list[tuple[str, str]]:
    """``--name value`` and ``--name=value``."""
    found: list[tuple[str, str]] = []
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else ""
        found.append((name.lstrip("-"), value))
    return found


def _of(options: Sequence[tuple[str, str]], name: str) -> list[str]:
    return [value for option, value in options if option == name]


def _link(value: str, file: str) -> Link:
    target, _, path = value.partition("::")
    if not target or not path.startswith("/") or "\n" in value:
        raise _broken(f"--link {value}", file)
    return Link(_folder(path, file), target)


def _folder(path: str, file: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise _broken(path, file)
    return path.rstrip("/") or "/"


def _broken(got: str, file: str) -> RunError:
    return RunError(Text("a hook of this CDI specification cannot be understood"), place=Place(file), got=got)
