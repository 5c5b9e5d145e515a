"""``curl`` and ``wget`` of a file whose sha256 the same line checks: it is fetched here, the rest needs no network.

The check is run, too, as it stands: what is read out of it only says which bytes to fetch.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from trainload.dockerfile.steps import FETCHED, Fetched, RunProgram
from trainload.dockerfile.understand.options import Options, Table, read
from trainload.dockerfile.understand.parts import Beyond, Command
from trainload.dockerfile.understood import RunLine
from trainload.errors import Text
from trainload.values import dataclass, replace

_CURL = Table(
    flags=dict.fromkeys(
        ("-f", "--fail", "-s", "--silent", "-S", "--show-error", "-L", "--location", "-#", "--progress-bar", "-v",
         "--verbose", "--tlsv1.2", "--tlsv1.3", "--retry-connrefused", "--retry-all-errors", "-4", "-6", "--ipv4",
         "--http1.1", "--no-progress-meter"),
        "plain",
    ) | {"-O": "named", "--remote-name": "named"},
    valued={
        "-o": "file", "--output": "file", "--retry": "plain", "--retry-delay": "plain", "--retry-max-time": "plain",
        "--connect-timeout": "plain", "--max-time": "plain", "-m": "plain", "--proto": "plain",
        "--proto-redir": "plain", "--max-redirs": "plain",
    },
)  # fmt: skip
_WGET = Table(
    flags=dict.fromkeys(
        ("-q", "--quiet", "--no-verbose", "--show-progress", "-v", "--verbose", "--https-only", "-4",
         "--inet4-only"), "plain"),
    valued={
        "-O": "file", "--output-document": "file", "--progress": "plain", "-t": "plain", "--tries": "plain",
        "-T": "plain", "--timeout": "plain", "--waitretry": "plain",
    },
)  # fmt: skip
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+/[A-Za-z0-9._~/%+=,@:?&-]+")
_FILE = re.compile(r"[A-Za-z0-9_./@+:,=-]+")
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,100}")
_SUM = re.compile(r"([0-9a-fA-F]{64})(?: [ *]?|\t)(\S+)")
_CHECKS = (re.compile("sha256sum"), re.compile("shasum"))
_CHECKED = re.compile(r"(?:-c|--check|-sc|-cs|--status|--strict|--quiet|-a|256|-a256|-)")


@dataclass(frozen=True, slots=True)
class Part:
    """One command of a line, as it may stand in a script that runs by itself."""

    command: Command
    text: str | None
    """None: it does not run by itself."""
    workdir: str
    fetched: Fetched | None = None
    sums: tuple[tuple[str, str], ...] = ()
    """(path, sha256) that it checks."""


def part(command: Command, line: RunLine, program: RunProgram | None) -> Part:
    """``line``: as the command sees it; ``program``: the command by itself."""
    if command.name == "cd" and len(command.words) == 2:
        return Part(command, f"cd {shlex.quote(command.words[1].text)}", line.workdir)
    plain = program is not None and line.script is not None and program == RunProgram(program.argv)
    text = program.argv[-1] if program is not None and plain else None
    return Part(command, text, line.workdir, read_fetch(command, line), _sums(command, line.workdir))


def read_fetch(command: Command, line: RunLine) -> Fetched | None:
    """What the command fetches to which file, without its sha256; None: it is none of these."""
    if command.name not in ("curl", "wget") or line.script is None or line.mounts:
        return None
    if command.source is not None or command.assignments or not all(word.is_plain for word in command.words):
        return None
    words = [word.text for word in command.words[1:]]
    try:
        if command.name == "curl":
            options = read("curl", words, _CURL)
        else:
            options = read("wget", ["-q" if word == "-nv" else word for word in words], _WGET)
    except Beyond:
        return None
    path = _target(command, options)
    if len(options.rest) != 1 or not _ADDRESS.fullmatch(options.rest[0]) or path is None:
        return None
    address = options.rest[0]
    parts = urlsplit(address)
    name = posixpath.basename(unquote(parts.path))
    if parts.username is not None or not _FILE.fullmatch(path) or path.endswith("/"):
        return None
    full = posixpath.normpath(posixpath.join(line.workdir, path))
    is_new = command.name == "wget" and "file" not in options.values and command.output is None
    search = line.env.get("PATH", "")
    return Fetched(address, "", name if _NAME.fullmatch(name) else "file", full, command.name, search, is_new)


def _target(command: Command, options: Options) -> str | None:
    """Where it goes, as written."""
    given, last = options.all("file"), posixpath.basename(urlsplit(options.rest[0]).path) if options.rest else ""
    plain = bool(last) and "?" not in options.rest[0] and "%" not in last
    if command.output is not None:
        bare = command.name == "curl" and not given and "named" not in options.flags and not command.output.append
        return command.output.path if bare else None
    if given:
        return given[0] if len(given) == 1 and given[0] != "-" and "named" not in options.flags else None
    return last if plain and (command.name == "wget" or "named" in options.flags) else None


def _sums(command: Command, workdir: str) -> tuple[tuple[str, str], ...]:
    """``echo "… file" | sha256sum -c -``."""
    source, words = command.source, [word.text for word in command.words[1:]]
    if source is None or source.name not in ("echo", "printf") or source.source is not None:
        return ()
    is_check = any(one.fullmatch(command.name) for one in _CHECKS) and all(map(_CHECKED.fullmatch, words))
    if not is_check or not {"-c", "--check", "-sc", "-cs"} & set(words):
        return ()
    given = [word.text for word in source.words[1:]]
    if source.name == "printf" and len(given) == 3 and re.fullmatch(r"%s +\*?%s(?:\\n)?", given[0]):
        text = f"{given[1]}  {given[2]}"
    else:
        text = " ".join(given).removesuffix("\\n")
    match = _SUM.fullmatch(text)
    return ((posixpath.normpath(posixpath.join(workdir, match[2])), match[1].lower()),) if match else ()


def scripts(parts: Sequence[Part], shell: Sequence[str]) -> Mapping[int, tuple[int, RunProgram]]:
    """Number of the first command → number after the last, and a program for all of them, offline.

    Raises :class:`Beyond` for a file that no command checks.
    """
    found: dict[int, tuple[int, RunProgram]] = {}
    end = 0
    for number, one in enumerate(parts):
        if one.fetched is not None and number >= end:
            end, program = _script(parts, number, shell)
            found[number] = end, program
    return found


def _script(parts: Sequence[Part], start: int, shell: Sequence[str]) -> tuple[int, RunProgram]:
    stop = start
    while stop < len(parts) and (parts[stop].text is not None or parts[stop].fetched is not None):
        stop += 1
    sums = {path: sha256 for one in parts[start:stop] for path, sha256 in one.sums}
    fetched: list[Fetched] = []
    texts: list[str] = []
    end = start
    for number, one in enumerate(parts[start:stop], start):
        if one.fetched is not None:
            if one.fetched.path not in sums:
                text = "{command}, of whose file the line checks no sha256"
                raise Beyond(Text(text, command=one.command.name))
            taken = {each.name for each in fetched}
            name = f"{len(fetched)}-{one.fetched.name}" if one.fetched.name in taken else one.fetched.name
            fetched.append(replace(one.fetched, sha256=sums[one.fetched.path], name=name))
            texts.append(f"cat {FETCHED}/{name} > {shlex.quote(one.fetched.path)}")
            end = number + 1
            continue
        assert one.text is not None
        texts.append(one.text)
        if one.sums or any(_speaks(one, each.path) for each in fetched):
            end = number + 1
    script = " && ".join(texts[: end - start])
    return end, RunProgram((*(shell or ("/bin/sh", "-c")), script), fetched=tuple(fetched))


def _speaks(part: Part, path: str) -> bool:
    """Whether a command names a file, or a folder or pattern that it is in."""
    for word in part.command.words[1:]:
        named = posixpath.normpath(posixpath.join(part.workdir, word.text))
        if named == path or path.startswith(f"{named.rstrip('/')}/") or fnmatch.fnmatchcase(path, named):
            return True
    return False
