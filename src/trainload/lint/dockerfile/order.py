"""What is copied before what: the code after what it needs, and neither weights, data nor secrets with it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from trainload.dockerfile.model import Arg, Copy, Env, Expose, Label, Run, Shell, User, Workdir
from trainload.errors import Text
from trainload.lint.dockerfile.document import Dockerfile, Script, Stage, copied, unquoted
from trainload.lint.dockerfile.pip import apt, conda, install, installs
from trainload.lint.dockerfile.weights import shown, weight
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.shell import Command

_ALL = frozenset({".", "./", "*", "./*", "/", "./."})
_APART = frozenset({
    "rm", "echo", "set", "export", "true", "useradd", "adduser", "groupadd", "mkdir", "apt-get", "apt", "conda",
    "mamba", "micromamba", "add-apt-repository", "ldconfig", "update-alternatives",
})  # fmt: skip
_BEFORE = (Run, Env, Arg, Label, Expose, Shell, User)


def takes_all(copy: Copy | None) -> bool:
    """Whether the whole context is copied."""
    return copy is not None and any(unquoted(source) in _ALL for source in copy.sources)


def code_first(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    for stage in document.stages:
        for index, item in enumerate(stage.items):
            if not takes_all(copied(item)):
                continue
            later = [
                position for position in range(index + 1, len(stage.items))
                if _installs(document, stage, position, index)
            ]  # fmt: skip
            if later:
                yield _flaw(document, stage, (index, later), around)
            break


def _installs(document: Dockerfile, stage: Stage, position: int, copy: int) -> bool:
    """Whether something is installed there that does not depend on the code."""
    item = stage.items[position]
    if not isinstance(item.what, Run):
        return False
    script = document.script(item)
    earlier = [document.script(one) for one in stage.items[:copy] if isinstance(one.what, Run)]
    had = any(True for one in earlier for _ in installs(one.commands))
    for command in script.commands:
        pip = install(command)
        if pip is not None and not pip.has("--no-deps") and not pip.only_tools and not (pip.local and had):
            return True
        if apt(command) == "install" or (conda(command) or ("", ""))[1] in ("install", "env create", "env update"):
            return True
        words = command.texts[:2]
        if words in (("npm", "ci"), ("npm", "install"), ("poetry", "install"), ("pipenv", "install")):
            return not had
    return False


def _flaw(document: Dockerfile, stage: Stage, where: tuple[int, list[int]], around: Surroundings) -> Flaw:
    index, later = where
    item, first = stage.items[index], stage.items[later[0]]
    return Flaw(
        item.line, max(item.last, item.line),
        Text("the code is copied before its dependencies are installed (line {line})", line=first.line),
        _cost(document, stage, later, around),
        _moved(document, stage, where, around),
    )  # fmt: skip


def _cost(document: Dockerfile, stage: Stage, later: list[int], around: Surroundings) -> Text:
    found = weight(
        (one for position in later for one in installs(document.script(stage.items[position]).commands)), around
    )
    if not found.megabytes:
        return Text("each edit of a source file installs everything again, and moves it to every machine")
    size = shown(found.megabytes)
    if found.exact:
        return Text("each edit of a source file installs everything again: {size}, by the lock", size=size)
    return Text("each edit of a source file installs everything again: about {size}", size=size)


def _moved(
    document: Dockerfile, stage: Stage, where: tuple[int, list[int]], around: Surroundings
) -> tuple[Edit, ...]:
    """The code's COPY behind as many installations as do not need it; what they read, in its old place."""
    index, later = where
    for count in range(len(later), 0, -1):
        edits = _moved_behind(document, stage, (index, later[count - 1]), around)
        if edits:
            return edits
    return ()


def _moved_behind(
    document: Dockerfile, stage: Stage, where: tuple[int, int], around: Surroundings
) -> tuple[Edit, ...]:
    item, last = stage.items[where[0]], stage.items[where[1]]
    copy, between = copied(item), stage.items[where[0] + 1 : where[1] + 1]
    assert copy is not None
    target = unquoted(copy.target)
    allowed = (*_BEFORE, Workdir) if target.startswith("/") else _BEFORE
    if not all(isinstance(one.what, allowed) for one in between):
        return ()
    root = posixpath.normpath(posixpath.join(document.workdir(stage, item.line) or _UNKNOWN, target))
    needed: list[str] = []
    for one in between:
        files = _reads(document.script(one)) if isinstance(one.what, Run) else []
        if files is None:
            return ()
        folder = document.workdir(stage, one.line) or _UNKNOWN
        for file in files:
            path = posixpath.relpath(posixpath.normpath(posixpath.join(folder, file)), root)
            if path.startswith(".."):
                return ()  # another folder's
            needed += [path] if path not in needed else []
    if any(around.files and file not in around.files for file in needed):
        return ()
    end = max(last.last, last.line)
    moved = document.source.part(item.line, max(item.last, item.line))
    lines = _copies(copy, _with_included(needed, around))
    return (Edit(item.line, max(item.last, item.line), lines), Edit(end + 1, end, moved))


_UNKNOWN = "/a-folder-of-the-base"


def _with_included(files: Sequence[str], around: Surroundings) -> list[str]:
    """Files that requirement files name in turn."""
    found = list(files)
    for file in found:
        for match in re.finditer(
            r"^\s*(?:-r|-c|--requirement|--constraint)[ =]*(\S+)", around.texts.get(file, ""), re.M
        ):
            other = posixpath.normpath(posixpath.join(posixpath.dirname(file), match[1]))
            if other not in found:
                found.append(other)
    return found


def _reads(script: Script) -> list[str] | None:
    """The files that a RUN's installations read; None: it may read anything."""
    found: list[str] = []
    for command in script.commands:
        pip = install(command)
        if pip is not None:
            constraints = (*pip.options.get("-c", ()), *pip.options.get("--constraint", ()))
            if pip.local or (pip.tool == "uv" and pip.verb.text == "sync"):
                return None
            found += [posixpath.normpath(file) for file in (*pip.files, *constraints) if "://" not in file]
        elif conda(command) is not None:
            found += _environment_files(command)
        elif command.name not in _APART and command.words:
            return None
    return None if any("$" in file for file in found) else found


def _environment_files(command: Command) -> list[str]:
    words = command.texts
    found = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-f", "--file")]
    return [
        posixpath.normpath(one)
        for one in [*found, *(w.partition("=")[2] for w in words if w.startswith("--file="))]
    ]


def _copies(copy: Copy, files: Sequence[str]) -> tuple[str, ...]:
    """COPY lines that put ``files`` where the whole context would have put them."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(posixpath.dirname(file), []).append(file)
    flags = f"--chown={copy.chown} " if copy.chown else ""
    base = unquoted(copy.target).rstrip("/") or "/"
    return tuple(
        f"COPY {flags}{' '.join(paths)} {posixpath.join(base, folder).rstrip('/')}/"
        for folder, paths in folders.items()
    )
