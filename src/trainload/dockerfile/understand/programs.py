"""Programs that can run by themselves: they end, ask no network, and share nothing with their neighbours but files.

A line that installs something is placed around them. A line that has nothing else is run as it stands.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence

from trainload.dockerfile.steps import RunProgram
from trainload.dockerfile.understand import uv
from trainload.dockerfile.understand.conda import is_conda
from trainload.dockerfile.understand.parts import Command, Word
from trainload.dockerfile.understood import RunLine

_ALONE = frozenset(
    {
        "cp", "mv", "rm", "rmdir", "install", "touch", "sed", "mkdir", "ln", "chmod", "chown", "chgrp", "find",
        "cat", "ls", "tar", "unzip", "gzip", "gunzip", "truncate", "which", "test", "echo", "printf", "date",
        "uname", "true",
        "useradd", "groupadd", "usermod", "groupmod", "adduser", "addgroup", "chsh", "passwd",
        "ldconfig", "locale-gen", "update-locale", "update-ca-certificates", "fc-cache", "update-alternatives",
        "dpkg-reconfigure", "debconf-set-selections", "chpasswd", "tee", "grep", "sort", "head", "tail",
        "dpkg-divert", "apt-mark", "update-rc.d", "virtualenv", "sha256sum", "shasum",
    }
)  # fmt: skip
"""Of coreutils, shadow and Debian; none of them leaves something running."""
_READERS = frozenset({"debconf-set-selections", "chpasswd", "tee", "cat", "grep", "sed", "sort", "head", "tail",
                      "sha256sum", "shasum"})  # fmt: skip
"""That may stand behind a pipe: they read all of it, and run nothing."""
_PYTHON = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?python(?:3(?:\.[0-9]{1,2})?)?")
_PIP = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?pip(?:3(?:\.[0-9]{1,2})?)?")
_YES = re.compile(r"-[a-z]*y[a-z]*|--yes|--assume-yes")
_REMOVES = frozenset({"remove", "purge", "autoremove", "autopurge"})


def read_program(command: Command, line: RunLine) -> RunProgram | None:
    """``command`` as one that runs by itself; None: it is not known to be one."""
    words = [word.text for word in command.words]
    if command.assignments or line.mounts or not (_is_alone(words) or uv.alone(words)):
        return None
    if line.script is None:
        return RunProgram(tuple(words))
    if command.source is not None:
        before = read_program(command.source, line)
        if before is None or posixpath.basename(words[0]) not in _READERS:
            return None
        head = f"{before.argv[-1]} | "
    else:
        head = ""
    text = head + " ".join(map(_written, command.words))
    if command.output is not None:
        text += f" {'>>' if command.output.append else '>'} {shlex.quote(command.output.path)}"
    argv = (*(line.shell or ("/bin/sh", "-c")), text)
    return RunProgram(argv, uv.ALONE, uv.FAILS) if uv.is_uv(words) else RunProgram(argv)


def _written(word: Word) -> str:
    if word.finder:
        return f'"$({word.finder} {word.text})"'
    return word.text if word.is_pattern else shlex.quote(word.text)


def _is_alone(words: Sequence[str]) -> bool:
    name, *rest = words or [""]
    if rest in (["--version"], ["-V"]) or (name == "gosu" and rest[1:] == ["true"]):
        return True  # whether it is there and starts: images of databases and servers end their lines so
    if name == "find":
        return not {"-exec", "-execdir", "-ok", "-okdir"} & set(rest)
    if name in ("apt-get", "apt"):
        verbs = [word for word in rest if not word.startswith("-")]
        return bool(verbs) and verbs[0] in _REMOVES and any(_YES.fullmatch(word) for word in rest)
    if _PIP.fullmatch(name):
        return rest[:1] == ["config"] or (rest[:1] == ["uninstall"] and "-r" not in rest)
    if _PYTHON.fullmatch(name):
        return rest[:2] == ["-m", "venv"] and "--upgrade-deps" not in rest
    if name == "virtualenv":
        return not {"--download"} & set(rest)
    if is_conda(name):
        return rest[:1] in (["config"], ["init"])
    if name == "git":
        return rest[:1] == ["config"] or rest[:2] == ["lfs", "install"]
    return name in _ALONE
