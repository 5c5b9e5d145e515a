"""What lines of a Dockerfile install for Python, as values: pip, uv, Poetry and conda (see :mod:`steps`)."""

from __future__ import annotations

from trainload.values import dataclass


@dataclass(frozen=True, slots=True)
class CondaActive:
    """The environment that is active while a command runs: ``conda run -n x``."""

    tool: str
    environment: str | None
    """As in :class:`InstallConda`."""
    script: str = ""
    """What activates it, absolute or ``activate`` beside conda; empty: conda itself runs the command."""


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with a Python project that is installed."""

    path: str
    """Absolute."""
    extras: tuple[str, ...] = ()
    editable: bool = False


@dataclass(frozen=True, slots=True)
class InstallPython:
    """``pip install``, ``python -m pip install``, ``uv pip install``."""

    tool: tuple[str, ...]
    """What is called: ``("pip",)``, ``("python3.11", "-m", "pip")``, ``("uv", "pip")``."""
    requirements: tuple[str, ...] = ()
    """Requirement specifiers as written."""
    files: tuple[str, ...] = ()
    """Of ``-r``, absolute."""
    constraints: tuple[str, ...] = ()
    """Of ``-c``, absolute."""
    index: str | None = None
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    """Addresses of pages, and folders of the image, absolute."""
    no_index: bool = False
    """Nothing but ``find_links`` is asked."""
    trusted: tuple[str, ...] = ()
    """Hosts that pip asks without encryption."""
    prereleases: bool = False
    user: bool = False
    upgrade: bool = False
    reinstall: bool = False
    dependencies: bool = True
    prefix: str | None = None
    """Absolute."""
    system: bool = False
    """``--break-system-packages``, or uv's ``--system``."""
    hashes: bool = False
    """``--require-hashes``."""
    target: str | None = None
    """``--target``, absolute: what is installed elsewhere does not count."""
    projects: tuple[Project, ...] = ()
    """``pip install .``."""
    required: tuple[Project, ...] = ()
    """Projects that are installed already; what they need is not."""
    isolated: bool = True
    """Projects are built with what their pyproject.toml names, not with what is installed."""
    cache_kept: bool = False
    """Neither an option nor a variable keeps pip from leaving its cache."""
    active: CondaActive | None = None
    folder: str | None = None
    """Where uv is called, absolute: it looks for ``.venv`` there and above."""
    python: str | None = None
    """``--python`` of uv, absolute: a program, or the root of an environment."""


@dataclass(frozen=True, slots=True)
class SyncProject:
    """``uv sync``: the environment of a project, as its ``uv.lock`` has it."""

    program: str
    """``uv``, or its path."""
    folder: str
    """Of the project, absolute."""
    environment: str
    """Absolute."""
    tools: InstallPython
    """Where what builds the project is looked for; it names nothing."""
    chosen: tuple[str, ...] = ()
    """What of the lock comes: ``--no-dev``, ``--extra=gpu``."""
    more: tuple[str, ...] = ()
    """Other options that uv hears: ``--no-editable``, ``--inexact``, ``--python=3.11``."""
    without: tuple[str, ...] = ()
    """Packages that are left out."""
    project: bool = True
    """The project itself is installed, if it is a package."""
    checked: bool = True
    """It has to be seen that the lock fits the project."""
    begun: bool = False
    """The environment is there."""
    filled: bool = False
    """What is locked lies in it."""


@dataclass(frozen=True, slots=True)
class InstallPoetry:
    """``poetry install --no-root``."""

    program: str
    folder: str
    """Of the project, absolute."""
    only: tuple[str, ...] = ()
    """Groups; none: the usual ones, with ``more`` and without ``less``."""
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    every_extra: bool = False
    creates: bool | None = None
    """An environment is made; None: as Poetry is set up. ``inside``: in the project's folder."""
    inside: bool | None = None
    begun: bool = False
    """The lock was checked, and the environment is there."""


@dataclass(frozen=True, slots=True)
class InstallConda:
    """``conda install``, ``conda create``; mamba's and micromamba's."""

    tool: str
    """What is called: ``conda``, ``/opt/conda/bin/mamba``."""
    specs: tuple[str, ...]
    channels: tuple[str, ...] = ()
    """Before those of the image's configuration."""
    environment: str | None = None
    """A name or, with a slash, an absolute prefix; None: the one that is active, or base."""
    creates: bool = False
    override: bool = False
    """No other channels than ``channels``."""
    priority: str | None = None
    """``strict`` or ``disabled``, where the line says so."""
    files: tuple[str, ...] = ()
    """Absolute; each has a specification in every line."""


@dataclass(frozen=True, slots=True)
class CreateCondaEnvironment:
    """``conda env create -f``, ``conda env update -f``, ``micromamba install -f``."""

    tool: str
    file: str
    """Absolute."""
    environment: str | None = None
    """As in :class:`InstallConda`; None: the name in the file."""
    update: bool = False
    channels: tuple[str, ...] = ()
