"""``mkdir``, ``ln -s``, ``chmod``, ``chown``, ``rm -rf`` of caches, ``echo … > file`` (coreutils)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from trainload.dockerfile.steps import (
    ChangeMode,
    ChangeOwner,
    Clear,
    Link,
    MakeFolder,
    Nothing,
    PlacedStep,
    Remove,
    WriteFile,
)
from trainload.dockerfile.understand.editing import read_sed
from trainload.dockerfile.understand.options import Table, read
from trainload.dockerfile.understand.parts import Beyond, Command, Word
from trainload.errors import Text

PROGRAMS = frozenset({"mkdir", "ln", "chmod", "chown", "rm", "echo", "touch", "sed"})
CACHES = (
    "/var/lib/apt/lists", "/var/cache/apt", "/var/cache/apt/archives", "/tmp", "/var/tmp",  # noqa: S108
    "/root/.cache", "/root/.cache/pip", "/root/.cache/uv", "/var/cache/debconf",
)  # fmt: skip
"""What lines remove so that an image is smaller."""
_KEPT = frozenset(
    {
        "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root",
        "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var",  # noqa: S108
    }
)  # fmt: skip
"""Without which an image is none."""
_ENGINE = ("/dev/", "/proc/", "/sys/", "/run/", "/var/lib/apt/", "/var/lib/dpkg/")
"""What an engine puts there, and what is looked at to place later lines."""
_STAY = ("/tmp", "/var/tmp")  # noqa: S108
_VERBOSE = {"-v": "plain", "--verbose": "plain"}
_MKDIR = Table({"-p": "parents", "--parents": "parents", **_VERBOSE}, {"-m": "mode", "--mode": "mode"})
_LN = Table({"-s": "symbolic", "--symbolic": "symbolic", "-f": "force", "--force": "force",
             "-n": "not-into", "--no-dereference": "not-into", **_VERBOSE})  # fmt: skip
_CHANGE = Table({"-R": "recursive", "--recursive": "recursive", **_VERBOSE, "-f": "plain"})
_RM = Table({"-r": "recursive", "-R": "recursive", "--recursive": "recursive", "-f": "force",
             "--force": "force", **_VERBOSE})  # fmt: skip
_OCTAL = re.compile(r"0?[0-7]{3,4}")
_SYMBOLIC = re.compile(r"[ugoa]*(?:[+=-][rwxX]+)(?:,[ugoa]*(?:[+=-][rwxX]+))*")
_ID = r"[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}"
_OWNER = re.compile(rf"(?:{_ID})?(?::(?:{_ID})?)?")
_PATH = re.compile(r"[A-Za-z0-9_./@+:,=-]+")


def read_files(command: Command, workdir: str, search: str = "") -> tuple[PlacedStep, ...]:
    """``search``: ``PATH``. Raises :class:`Beyond`."""
    name = command.name
    if name == "sed":
        paths = [_path(workdir, word.text) if _PATH.fullmatch(word.text) else "" for word in command.words[1:]]
        return read_sed(command, paths)
    if command.output is not None and name != "echo":
        raise Beyond(Text("output that goes elsewhere"))
    if any(word.finder for word in command.words) and name != "ln":
        raise Beyond(Text("the output of a command"))
    if name == "rm":
        return _rm(command.words[1:], workdir)
    if name == "echo":
        return _echo(command, workdir)
    if name == "ln":
        return _ln(command.words[1:], workdir, search)
    words = [_text(word) for word in command.words[1:]]
    match name:
        case "mkdir":
            return _mkdir(words, workdir)
        case "chmod":
            return _chmod(words, workdir)
        case "chown":
            return _chown(words, workdir)
    raise Beyond(Text("{command}", command=name))


def _text(word: Word) -> str:
    if word.is_pattern:
        raise Beyond(Text("the pattern {pattern}", pattern=word.text))
    return word.text


def _mkdir(words: Sequence[str], workdir: str) -> tuple[PlacedStep, ...]:
    options = read("mkdir", words, _MKDIR)
    mode = options.one("mode")
    if mode is not None and not _OCTAL.fullmatch(mode):
        raise Beyond(Text("the mode {mode}", mode=mode))
    paths = [_path(workdir, path) for path in options.rest]
    return tuple(
        MakeFolder(path, "parents" in options.flags, int(mode, 8) if mode is not None else None)
        for path in _some("mkdir", paths)
    )


def _ln(given: Sequence[Word], workdir: str, search: str) -> tuple[PlacedStep, ...]:
    options = read("ln", [word.text if word.finder else _text(word) for word in given], _LN)
    if "symbolic" not in options.flags or len(options.rest) != 2:
        raise Beyond(Text("{command} other than of one symbolic link", command="ln"))
    target, path = options.rest
    found = [word for word in given if word.finder]
    if found and (len(found) > 1 or target != found[0].text or not search or path.endswith("/")):
        raise Beyond(Text("the output of a command"))
    if not _PATH.fullmatch(target):
        raise Beyond(Text("the path {path}", path=target))
    if path.endswith("/"):
        path += posixpath.basename(target.rstrip("/"))
    told = (found[0].finder, search) if found else ("", "")
    return (Link(target, _path(workdir, path), "force" in options.flags, "not-into" in options.flags, *told),)


def _chmod(words: Sequence[str], workdir: str) -> tuple[PlacedStep, ...]:
    flags = [word for word in words if word in _CHANGE.flags]
    rest = [word for word in words if word not in _CHANGE.flags]
    if len(rest) < 2 or not (_OCTAL.fullmatch(rest[0]) or _SYMBOLIC.fullmatch(rest[0])):
        raise Beyond(Text("the mode {mode}", mode=rest[0] if rest else ""))
    recursive = any(_CHANGE.flags[flag] == "recursive" for flag in flags)
    return (ChangeMode(rest[0], tuple(_path(workdir, path) for path in rest[1:]), recursive),)


def _chown(words: Sequence[str], workdir: str) -> tuple[PlacedStep, ...]:
    options = read("chown", words, _CHANGE)
    owner, *paths = options.rest or [""]
    if not _OWNER.fullmatch(owner) or owner in ("", ":"):
        raise Beyond(Text("the owner {owner}", owner=owner))
    found = tuple(_path(workdir, path) for path in _some("chown", paths))
    return (ChangeOwner(owner, found, "recursive" in options.flags),)


def _rm(words: Sequence[Word], workdir: str) -> tuple[PlacedStep, ...]:
    """Of caches, and of all in them: what lies there later is known to be nothing. Else of what is named whole."""
    options = read("rm", [word.text for word in words], _RM)
    patterns = {word.text for word in words if word.is_pattern}
    contents: list[str] = []
    folders: list[str] = []
    others: list[str] = []
    for path in options.rest:
        inside = path in patterns and path.endswith("/*")
        folder = path.removesuffix("/*") if inside else path.removesuffix("/")
        if folder not in CACHES or (not inside and (path in patterns or folder in _STAY)):
            others.append(_removed(path, path in patterns, workdir))
        elif not {"recursive", "force"} <= options.flags:
            raise Beyond(Text("{command} other than -rf of caches", command="rm"))
        else:
            (contents if inside else folders).append(folder)
    found: list[PlacedStep] = [Clear(tuple(contents), tuple(folders))] if contents or folders else []
    if others:
        found.append(Remove(tuple(others), "recursive" in options.flags, "force" in options.flags))
    return tuple(found) or (Nothing("rm"),)


def _removed(path: str, is_pattern: bool, workdir: str) -> str:  # noqa: FBT001
    found = "/" if is_pattern else _path(workdir, path)
    if found in _KEPT or found.startswith(_ENGINE):
        raise Beyond(Text("{command} other than -rf of caches", command="rm"))
    return found


def _echo(command: Command, workdir: str) -> tuple[PlacedStep, ...]:
    """What every shell's echo writes the same: no options, no backslashes (XCU echo, application usage)."""
    words = [_text(word) for word in command.words[1:]]
    if command.output is None:
        return (Nothing("echo"),)
    text = " ".join(words)
    if "\\" in text or (words and words[0].startswith("-")):
        raise Beyond(Text("an echo whose output depends on the shell"))
    path = _path(workdir, command.output.path)
    if path.startswith(("/dev/", "/proc/", "/sys/", "/var/lib/")):
        raise Beyond(Text("the path {path}", path=path))
    return (WriteFile(path, f"{text}\n", command.output.append),)


def _some(command: str, paths: Sequence[str]) -> Sequence[str]:
    if not paths:
        raise Beyond(Text("{command} without a path", command=command))
    return paths


def _path(workdir: str, path: str) -> str:
    if not _PATH.fullmatch(path) or ".." in path.split("/"):
        raise Beyond(Text("the path {path}", path=path))
    found = posixpath.normpath(posixpath.join(workdir, path))
    return "/" + found.lstrip("/")
