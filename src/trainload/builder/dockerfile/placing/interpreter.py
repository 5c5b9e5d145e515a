"""Which Python a pip of an image installs for, and where: what the program's first line and its folders say."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import chain

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.configured import configure
from trainload.dockerfile.installs import InstallPython
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.layers.tarread import MemberKind
from trainload.lock.found import FoundPython, Installed
from trainload.plan.placed import InstallScheme
from trainload.values import dataclass, replace

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAM = re.compile(r"(?P<prefix>.*/)?bin/python(?P<minor>3\.[0-9]{1,2})")
_SHEBANG = re.compile(rb"#! *(/[^\s]+)[ \t]*\r?\n")
_LONG_SHEBANG = re.compile(rb"#!/bin/sh\n'''exec' \"?(/[^\s\"]+)\"? ")
_OF_PACKAGES = (".dist-info", ".egg-info", ".egg-link", ".egg")


@dataclass(frozen=True, slots=True)
class Target:
    """What packages are installed for."""

    python: FoundPython
    scheme: InstallScheme
    installed: tuple[Installed, ...]
    """What counts as installed, sorted by name."""
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs the line."""

    env: Mapping[str, str]
    uid: int
    gid: int
    home: str
    """Absolute."""


def find_target(step: InstallPython, ground: Ground, caller: Caller) -> tuple[Target, InstallPython]:
    """Where ``step`` installs, and ``step`` with what the image's configuration adds.

    Raises :class:`Beyond` for anything that is not as it usually is.
    """
    called = _interpreter(step, ground, caller.env)
    program = ground.real(called)
    match = _PROGRAM.fullmatch(program)
    seen = ground.find(program)
    if match is None or seen is None or seen.kind is not MemberKind.FILE:
        raise Beyond(Text("the image's {program} is no Python that is known", program=called))
    venv = _environment(called, ground)
    python = _known(ground, program, venv)
    prefix = (match["prefix"] or "").strip("/")
    step = configure(step, ground, caller.home.strip("/"), prefix if venv is None else venv)
    _check_path(caller.env.get("PYTHONPATH", ""), ground)
    return _target(step, ground, caller, python, _Called(called, venv, prefix)), step


@dataclass(frozen=True, slots=True)
class _Called:
    """A Python as a line calls it."""

    program: str
    venv: str | None
    """The root of its virtual environment."""
    prefix: str
    """Of the Python itself."""


def _target(step: InstallPython, ground: Ground, caller: Caller, python: FoundPython, how: _Called) -> Target:
    minor, venv, called = python.minor, how.venv, how.program
    if venv is None:
        _check_managed(step, ground, how.prefix, minor)
    if step.user and venv is not None:
        raise Beyond(Text("--user in a virtual environment"))
    home = caller.home.strip("/")
    if step.target is not None:
        return _apart(step.target, ground, Target(python, _own(home, minor, called), ()), caller)
    own = _scheme(venv, how.prefix, minor, called, ground)
    if caller.uid != 0 and not step.user and step.prefix is None and _is_callers(own, ground, caller):
        return Target(python, own, python.installed, caller.uid, caller.gid)
    if step.user or (caller.uid != 0 and step.prefix is None):
        if venv is not None:
            raise Beyond(Text("the user {user}, who is not root", user=caller.uid))
        return _for_user(step, ground, Target(python, _own(home, minor, called), python.installed), caller)
    if step.prefix is not None:
        return _prefixed(step, ground, python, called, how.prefix)
    return Target(python, own, python.installed)


def _is_callers(scheme: InstallScheme, ground: Ground, caller: Caller) -> bool:
    """pip installs where it may write (site_packages_writable), and there everything is the caller's."""
    folders = [ground.find(path) for path in (scheme.site, scheme.scripts, scheme.data)]
    return all(seen is not None and seen.owner.uid == caller.uid and seen.mode & 0o200 for seen in folders)


def find_program(name: str, ground: Ground, env: Mapping[str, str]) -> str | None:
    """A program as the shell finds it: an absolute path, links not followed; None when there is none."""
    if name.startswith("/"):
        return name if _is_program(ground, name) else None
    for folder in env.get("PATH", DEFAULT_PATH).split(":"):
        path = f"{folder.rstrip('/')}/{name}"
        if folder.startswith("/") and _is_program(ground, path):
            return path
    return None


def _is_program(ground: Ground, path: str) -> bool:
    seen = ground.at(ground.real(path))
    return seen is not None and seen.kind in (MemberKind.FILE, MemberKind.HARDLINK) and bool(seen.mode & 0o111)


def _interpreter(step: InstallPython, ground: Ground, env: Mapping[str, str]) -> str:
    """The Python that runs, as it is called."""
    first = step.tool[0]
    program = find_program(first, ground, env)
    if program is None:
        raise Beyond(Text("the image has no {program}", program=first))
    if first == "uv":
        found = _of_uv(step, ground, env)
        if found is None:
            raise Beyond(Text("uv that looks for a Python itself"))
        return found
    if len(step.tool) > 1:
        return program
    head = (ground.read(program) or b"")[:500]
    match = _SHEBANG.match(head) or _LONG_SHEBANG.match(head)
    if match is None:
        raise Beyond(Text("the image's {program} is no Python that is known", program=program))
    return match[1].decode("utf-8", "replace")


def _of_uv(step: InstallPython, ground: Ground, env: Mapping[str, str]) -> str | None:
    """The Python of the environment that uv takes; with ``--system`` the first that is of none.

    docs.astral.sh/uv/pip/environments § Discovery of Python environments
    """
    if step.python is not None:
        own = f"{step.python}/bin/python"
        return find_program(own if ground.find(f"{step.python}/pyvenv.cfg") else step.python, ground, env)
    if step.system:
        folders = [folder for folder in env.get("PATH", DEFAULT_PATH).split(":") if folder.startswith("/")]
        names = [f"{folder.rstrip('/')}/{name}" for folder in folders for name in ("python3", "python")]
        return next((path for path in names if _is_program(ground, path) and not _environment(path, ground)), None)
    if step.active is not None:
        return None
    folder, root = (step.folder or "/").rstrip("/"), env.get("VIRTUAL_ENV")
    while not root:
        if ground.find(f"{folder}/.venv") is not None:
            root = f"{folder}/.venv"
        elif not folder or ground.find(f"{folder}/pyvenv.cfg") is not None:
            return None
        folder = folder.rpartition("/")[0]
    is_venv = root.startswith("/") and ground.find(f"{root}/pyvenv.cfg") is not None
    return find_program(f"{root.rstrip('/')}/bin/python", ground, env) if is_venv else None


def _environment(called: str, ground: Ground) -> str | None:
    """The virtual environment a Python is called in (PEP 405)."""
    folder = called.strip("/").rpartition("/")[0]
    prefix = folder.rpartition("/")[0]
    for place in (folder, prefix):
        if ground.find(f"{place}/pyvenv.cfg") is not None:
            return prefix
    return None


def _known(ground: Ground, program: str, venv: str | None) -> FoundPython:
    for python in chain(ground.facts.pythons, _beside(ground, venv)):
        own = venv is not None and (f"/{ground.real(venv)}/" in "".join(f"{folder}/" for folder in python.folders))
        ours = venv is not None and python.is_ours and ground.real(venv) == "opt/venv"
        if python.path == f"/{program}" and (
            (venv is None and not python.folders and not python.is_ours) or own or ours
        ):
            return python
    raise Beyond(Text("the image's {program} is no Python that is known", program=f"/{program}"))


def _beside(ground: Ground, venv: str | None) -> Iterator[FoundPython]:
    """Of an environment that is not on the image's PATH."""
    if venv is not None:
        path = f"/{venv}/bin:{ground.env.get('PATH') or DEFAULT_PATH}"
        yield from replace(ground, env={**ground.env, "PATH": path}).facts.pythons


def _check_path(variable: str, ground: Ground) -> None:
    """PYTHONPATH: folders with a project's own modules, not with packages or what takes a module's place."""
    for folder in filter(None, variable.split(":")):
        if not folder.startswith("/"):
            raise Beyond(Text("the variable {name}, which changes where Python packages lie", name="PYTHONPATH"))
        for name in ground.folder(folder):
            stem = name.removesuffix(".py")
            own = {"pip", "setuptools", "pkg_resources", "sitecustomize", "usercustomize", *sys.stdlib_module_names}
            if name.endswith(_OF_PACKAGES) or stem in own:
                raise Beyond(Text("{path}, where PYTHONPATH leads Python", path=f"{folder.rstrip('/')}/{name}"))


def _check_managed(step: InstallPython, ground: Ground, prefix: str, minor: str) -> None:
    """PEP 668: pip refuses, and so does the line."""
    managed = ground.find(f"{prefix}/lib/python{minor}/EXTERNALLY-MANAGED") is not None
    if managed and (not step.system or step.tool[0] == "uv"):
        raise Beyond(Text("the image's Python says that its packages are managed by the distribution"))


def _scheme(venv: str | None, prefix: str, minor: str, called: str, ground: Ground) -> InstallScheme:
    if venv is not None:
        root = ground.real(venv)
        return InstallScheme(
            f"{root}/lib/python{minor}/site-packages", f"{root}/bin", f"{root}/include/site/python{minor}", root,
            called, is_venv=True,
        )  # fmt: skip
    if prefix == "usr":
        if not ground.facts.status:
            raise Beyond(Text("a distribution whose Python is not known"))
        return InstallScheme(
            f"usr/local/lib/python{minor}/dist-packages", "usr/local/bin", f"usr/local/include/python{minor}",
            "usr/local", called,
        )  # fmt: skip
    return InstallScheme(
        f"{prefix}/lib/python{minor}/site-packages",
        f"{prefix}/bin",
        f"{prefix}/include/python{minor}",
        prefix,
        called,
    )


def _own(home: str, minor: str, called: str) -> InstallScheme:
    """``--user`` (site.USER_BASE)."""
    root = f"{home}/.local"
    return InstallScheme(
        f"{root}/lib/python{minor}/site-packages", f"{root}/bin", f"{root}/include/python{minor}", root, called
    )


def _for_user(step: InstallPython, ground: Ground, target: Target, caller: Caller) -> Target:
    if ground.folder(target.scheme.site):
        raise Beyond(Text("packages of the user's own that are there already"))
    if step.tool[0] == "uv":
        raise Beyond(Text("the option {option} of {command}", option="--user", command="uv pip"))
    return Target(target.python, target.scheme, target.installed, caller.uid, caller.gid)


def _prefixed(step: InstallPython, ground: Ground, python: FoundPython, called: str, prefix: str) -> Target:
    """``--prefix``: what the Python itself has counts as installed all the same."""
    assert step.prefix is not None
    root = ground.real(step.prefix)
    if prefix == "usr" or ground.folder(root) or step.tool[0] == "uv":
        raise Beyond(Text("--prefix with a folder that is not empty, or a Python of the distribution"))
    scheme = InstallScheme(
        f"{root}/lib/python{python.minor}/site-packages", f"{root}/bin", f"{root}/include/python{python.minor}",
        root, called,
    )  # fmt: skip
    return Target(python, scheme, python.installed)


def _apart(folder: str, ground: Ground, target: Target, caller: Caller) -> Target:
    """``--target``: a folder of its own, beside which nothing counts as installed."""
    root = ground.real(folder)
    if ground.folder(root) or caller.uid != 0:
        raise Beyond(Text("--target with a folder that is not empty, or for a user who is not root"))
    scheme = InstallScheme(root, f"{root}/bin", f"{root}/include/python", root, target.scheme.interpreter)
    return Target(target.python, scheme, ())
