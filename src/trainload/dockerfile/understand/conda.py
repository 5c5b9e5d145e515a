"""``conda``, ``mamba`` and ``micromamba``: environments, packages that are added, commands run in one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from trainload.dockerfile.installs import CondaActive, CreateCondaEnvironment, InstallConda, InstallPython
from trainload.dockerfile.steps import Nothing, PlacedStep
from trainload.dockerfile.understand.options import Options, Table, read
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.values import replace

_TOOL = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?(?:conda|mamba|micromamba)")
_FLAGS = {"-y": "yes", "--yes": "yes", "-q": "plain", "--quiet": "plain"}
_VALUED = {
    "-n": "name", "--name": "name", "-p": "prefix", "--prefix": "prefix", "-f": "file", "--file": "file",
    "--solver": "plain", "--experimental-solver": "plain",
}  # fmt: skip
_ENVIRONMENT = Table(_FLAGS, _VALUED)
_INSTALL = Table(
    {
        **_FLAGS, "--override-channels": "override", "--strict-channel-priority": "strict",
        "--no-channel-priority": "disabled", "--freeze-installed": "plain", "--no-update-deps": "plain",
    },
    {**_VALUED, "-c": "channel", "--channel": "channel"},
)  # fmt: skip
_CLEAN = Table({**_FLAGS, "-a": "all", "--all": "all", "-t": "all", "-i": "all", "-p": "all", "-f": "force",
                "--afy": "all", "--tarballs": "all", "--packages": "all", "--index-cache": "all",
                "--force-pkgs-dirs": "force"})  # fmt: skip
_SPEC = re.compile(r"(?:[A-Za-z0-9_./-]+::)?[A-Za-z0-9_.-]+(?:[=<>!~]{1,2}[A-Za-z0-9_.*+!,<>=|~-]+)?")
_ARCHIVE = re.compile(r".*\.(?:conda|tar\.bz2|txt|ya?ml)")
_CHANNEL = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*|https?://[A-Za-z0-9_.:/-]+")
_TOKEN = re.compile(r"/t/")
_NAME = re.compile(r"[A-Za-z0-9_./-]+")
_FILE = re.compile(r".*\.ya?ml")
_RUN_FLAGS = frozenset({"--no-capture-output", "--live-stream"})
_ACTIVATING = ("/usr/local/bin/_dockerfile_shell.sh",)
"""SHELL of micromamba's own images: bash, in the base environment where MAMBA_DOCKERFILE_ACTIVATE is 1."""
_BASH = ("/bin/bash", "-o", "pipefail", "-c")


def is_conda(name: str) -> bool:
    """Whether a program of this name is one of them."""
    return _TOOL.fullmatch(name) is not None


def read_conda(words: Sequence[str], workdir: str, active: CondaActive | None = None) -> tuple[PlacedStep, ...]:
    """What a call does, ``run`` apart. Raises :class:`Beyond`."""
    tool, *rest = words
    if rest[:2] in (["env", "create"], ["env", "update"]):
        options = read(f"{tool} env", rest[2:], _ENVIRONMENT)
        return (_environment(tool, options, workdir, update=rest[1] == "update"),)
    if rest[:1] in (["install"], ["create"]):
        return (_install(tool, rest, workdir, active),)
    if rest[:1] == ["clean"]:
        read(f"{tool} clean", rest[1:], _CLEAN)
        return (Nothing(f"{tool} clean"),)
    raise Beyond(Text("{command}", command=" ".join(words[:2])))


def read_run(words: Sequence[str]) -> tuple[CondaActive, tuple[str, ...]] | None:
    """``conda run -n x COMMAND``: the environment, and the command; None: it is something else."""
    if not words or not is_conda(words[0]) or tuple(words[1:2]) != ("run",):
        return None
    tool, rest, environment = words[0], list(words[2:]), None
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in _RUN_FLAGS and not equals:
            continue
        if option not in ("-n", "--name", "-p", "--prefix") or not (equals or rest):
            raise Beyond(Text("the option {option} of {command}", option=option, command=f"{tool} run"))
        environment = _named(value if equals else rest.pop(0), "/")
    return CondaActive(tool, environment), tuple(rest)


def shell_of(shell: Sequence[str], env: Mapping[str, str]) -> tuple[CondaActive | None, tuple[str, ...]]:
    """``SHELL ["conda", "run", "-n", "x", "/bin/bash", "-c"]``: the environment, and the shell itself."""
    if tuple(shell) == _ACTIVATING:
        active = env.get("MAMBA_DOCKERFILE_ACTIVATE") == "1"
        return (CondaActive("micromamba", "base") if active else None), _BASH
    found = read_run(shell)
    return found if found is not None else (None, tuple(shell))


def inside(steps: Sequence[PlacedStep], active: CondaActive | None) -> tuple[PlacedStep, ...]:
    """``steps`` of a command that runs while ``active`` is. Raises :class:`Beyond`."""
    if active is None:
        return tuple(steps)
    found: list[PlacedStep] = []
    for step in steps:
        if not isinstance(step, InstallPython | Nothing):
            raise Beyond(Text("{command}", command="conda activate" if active.script else f"{active.tool} run"))
        found.append(replace(step, active=active) if isinstance(step, InstallPython) else step)
    return tuple(found)


def _named(name: str, workdir: str) -> str:
    if not _NAME.fullmatch(name):
        raise Beyond(Text("the environment {name}", name=name))
    return posixpath.normpath(posixpath.join(workdir, name)) if "/" in name else name


def _where(options: Options, workdir: str) -> str | None:
    prefix, name = options.one("prefix"), options.one("name")
    if prefix is not None:
        return _named(prefix if "/" in prefix else f"./{prefix}", workdir)
    return _named(name, workdir) if name is not None else None


def _environment(tool: str, options: Options, workdir: str, *, update: bool) -> CreateCondaEnvironment:
    file = options.one("file") or "environment.yml"
    if options.rest or len(options.all("file")) > 1 or not _NAME.fullmatch(file) or not _FILE.fullmatch(file):
        raise Beyond(Text("{command} without a file", command=f"{tool} env"))
    path = posixpath.normpath(posixpath.join(workdir, file))
    return CreateCondaEnvironment(tool, path, _where(options, workdir), update, _channels(options))


def _channels(options: Options) -> tuple[str, ...]:
    for channel in options.all("channel"):
        if not _CHANNEL.fullmatch(channel) or _TOKEN.search(channel):
            raise Beyond(Text("the channel {name}", name=channel))
    return options.all("channel")


def _install(tool: str, words: Sequence[str], workdir: str, active: CondaActive | None) -> PlacedStep:
    verb, *rest = words
    options = read(f"{tool} {verb}", rest, _INSTALL)
    if "yes" not in options.flags:
        raise Beyond(Text("{command} without -y asks", command=f"{tool} {verb}"))
    files = options.all("file")
    if any(_FILE.fullmatch(file) for file in files):
        if posixpath.basename(tool) != "micromamba" or options.flags - {"yes", "plain"}:
            raise Beyond(Text("the option {option} of {command}", option="--file", command=f"{tool} {verb}"))
        return _environment(tool, options, workdir, update=verb == "install")
    for file in files:
        if not _NAME.fullmatch(file):
            raise Beyond(Text("the file {path}", path=file))
    specs = options.rest if verb == "create" or files else options.rest or [""]
    for spec in specs:
        if not _SPEC.fullmatch(spec) or _ARCHIVE.fullmatch(spec):
            raise Beyond(Text("the package {name}", name=spec))
    environment = _where(options, workdir)
    if environment is None and verb == "create":
        raise Beyond(Text("an environment without a name"))
    if environment is None and active is not None:
        environment = active.environment
    priority = next((flag for flag in ("strict", "disabled") if flag in options.flags), None)
    paths = tuple(posixpath.normpath(posixpath.join(workdir, file)) for file in files)
    creates, override = verb == "create", "override" in options.flags
    return InstallConda(tool, tuple(specs), _channels(options), environment, creates, override, priority, paths)
