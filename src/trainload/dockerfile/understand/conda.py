"""``conda``, ``mamba`` and ``micromamba``: environments that are made of a file, and packages that are added."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from trainload.dockerfile.steps import CreateCondaEnvironment, InstallConda, Nothing, PlacedStep
from trainload.dockerfile.understand.options import Table, read
from trainload.dockerfile.understand.words import Beyond
from trainload.errors import Text

PROGRAMS = frozenset({"conda", "mamba", "micromamba"})
_FLAGS = {"-y": "yes", "--yes": "yes", "-q": "plain", "--quiet": "plain"}
_VALUED = {"-n": "name", "--name": "name", "-p": "prefix", "--prefix": "prefix"}
_CREATE = Table(_FLAGS, {**_VALUED, "-f": "file", "--file": "file"})
_INSTALL = Table(
    {**_FLAGS, "--override-channels": "override"}, {**_VALUED, "-c": "channel", "--channel": "channel"}
)
_CLEAN = Table({**_FLAGS, "-a": "all", "--all": "all", "-t": "all", "-i": "all", "-p": "all", "-f": "force",
                "--afy": "all", "--tarballs": "all", "--force-pkgs-dirs": "force"})  # fmt: skip
_SPEC = re.compile(r"(?:[A-Za-z0-9_./-]+::)?[A-Za-z0-9_.-]+(?:[=<>!~]{1,2}[A-Za-z0-9_.*+!,<>=|-]+)?")
_NAME = re.compile(r"[A-Za-z0-9_./-]+")


def read_conda(words: Sequence[str], workdir: str) -> tuple[PlacedStep, ...]:
    """Raises :class:`Beyond`."""
    tool, *rest = words
    if rest[:2] in (["env", "create"], ["env", "update"]):
        return (_environment(tool, rest[2:], workdir, update=rest[1] == "update"),)
    if rest[:1] == ["install"]:
        return (_install(tool, rest[1:]),)
    if rest[:1] == ["clean"]:
        read(f"{tool} clean", rest[1:], _CLEAN)
        return (Nothing(f"{tool} clean"),)
    raise Beyond(Text("{command}", command=" ".join(words[:2])))


def _environment(tool: str, words: Sequence[str], workdir: str, *, update: bool) -> CreateCondaEnvironment:
    options = read(tool, words, _CREATE)
    file = options.one("file")
    if options.rest or file is None or not _NAME.fullmatch(file):
        raise Beyond(Text("{command} without a file", command=f"{tool} env"))
    where = posixpath.normpath(posixpath.join(workdir, file))
    return CreateCondaEnvironment(tool, where, options.one("prefix") or options.one("name"), update)


def _install(tool: str, words: Sequence[str]) -> InstallConda:
    options = read(tool, words, _INSTALL)
    if "yes" not in options.flags:
        raise Beyond(Text("{command} without -y asks", command=f"{tool} install"))
    for spec in options.rest or [""]:
        if not _SPEC.fullmatch(spec):
            raise Beyond(Text("the package {name}", name=spec))
    environment = options.one("prefix") or options.one("name")
    return InstallConda(tool, tuple(options.rest), options.all("channel"), environment)
