"""Whether what a container is to start can be started, known before it is tried: Docker's 126 and 127, and why."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.run.inside import Inside
from trainload.run.model import Mount

NOT_EXECUTABLE, NOT_FOUND = 126, 127  # sh(1); Docker's too
_FIRST = 256
"""Bytes of a script in which its first line ends; Linux reads as many (BINPRM_BUF_SIZE)."""
_INITS = frozenset({"tini", "tini-static", "dumb-init", "docker-init", "catatonit"})


def find_command(
    inside: Inside, mounts: Sequence[Mount], command: Sequence[str], env: Mapping[str, str], workdir: str
) -> str:
    """Where the first word lies. Raises :class:`RunError`, also for the program behind ``tini --``."""
    found = _program(inside, mounts, command[0], env, workdir)
    if command[0].rpartition("/")[2] in _INITS and list(command[1:2]) == ["--"] and len(command) > 2:
        _program(inside, mounts, command[2], env, workdir)
    return found


def _program(inside: Inside, mounts: Sequence[Mount], command: str, env: Mapping[str, str], workdir: str) -> str:
    if "/" in command:
        candidates = [os.path.join(workdir, command)]  # noqa: PTH118 - a path inside
    else:
        candidates = [f"{folder or workdir}/{command}" for folder in env["PATH"].split(":")]
    found = [_executable(inside, mounts, path) for path in candidates]
    if any(found):
        path = candidates[found.index(True)]
        _check_script(inside, mounts, path)
        return path
    if all(result is None for result in found):
        raise _wrong(
            Text("the image has no program {command}", command=command),
            Text("it was looked for in {places}", places=", ".join(dict.fromkeys(candidates))),
        )
    raise _wrong(Text("{command} is not a program that can be executed", command=command), code=NOT_EXECUTABLE)


def _check_script(inside: Inside, mounts: Sequence[Mount], path: str) -> None:
    """The first line of a script names a program: Linux says of one that is missing that the script is."""
    try:
        with _seen(inside, mounts, path).open("rb") as stream:
            first, newline, _ = stream.read(_FIRST).partition(b"\n")
    except OSError:
        return
    if not first.startswith(b"#!") or not newline:
        return
    path = posixpath.normpath(path)
    if first.endswith(b"\r"):
        raise _wrong(
            Text("{command} cannot be started", command=path),
            Text("{path} has the line ends of Windows, so its first line names no program: save it with LF, or "
                 "RUN sed -i 's/\\r$//' {path}", path=path),
        )  # fmt: skip
    words = first[2:].split()
    program = words[0].decode("utf-8", "replace") if words else ""
    if program.startswith("/") and _executable(inside, mounts, program) is None:
        raise _wrong(
            Text("{command} cannot be started", command=path),
            Text("the first line of {path} names a program: is {program} in the image?", path=path,
                 program=program),
        )  # fmt: skip


def _wrong(text: Text, hint: Text | None = None, code: int = NOT_FOUND) -> RunError:
    error = RunError(text, hints=(hint,) if hint is not None else ())
    error.exit_code = code
    return error


def _executable(inside: Inside, mounts: Sequence[Mount], path: str) -> bool | None:
    place, resolved = _place(inside, mounts, path)
    return place.executable(resolved)


def _seen(inside: Inside, mounts: Sequence[Mount], path: str) -> Path:
    place, resolved = _place(inside, mounts, path)
    return place.at(place.resolve(resolved))


def _place(inside: Inside, mounts: Sequence[Mount], path: str) -> tuple[Inside, str]:
    """The root that ``path`` lies in: the image's, or a mounted folder."""
    resolved = inside.resolve(path)
    for mount in reversed(mounts):
        if resolved == mount.target or resolved.startswith(mount.target.rstrip("/") + "/"):
            return Inside(Path(mount.source)), resolved[len(mount.target) :]
    return inside, resolved
