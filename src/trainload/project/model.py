"""What the user wrote, and the reason for each guess.

``Project`` is the first word of the sentence. It is made from a file listing and file bytes only
(``detect.py``, ``config.py``); every value says where it came from, and ``trainload plan`` shows that.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from trainload.errors import Text
from trainload.limits import Allowed
from trainload.project.weights import Pickles, Wanted
from trainload.values import dataclass, field

T = TypeVar("T")


class Origin(StrEnum):
    """Where a value came from; an earlier one wins."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DETECTED = "detected"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Chosen(Generic[T]):
    """A value with its origin and its reason."""

    value: T
    origin: Origin
    reason: Text


class Profile(StrEnum):
    """How much of a distribution goes below the project (``base = "apt:…"`` only)."""

    SLIM = "slim"
    """Python, libc, shell and coreutils, certificates, tzdata, tini."""
    DEV = "dev"
    """``slim`` with apt, git, curl, procps and an editor."""
    DISTROLESS = "distroless"
    """No shell."""


@dataclass(frozen=True, slots=True)
class UvLock:
    """``uv.lock`` beside ``pyproject.toml``: honoured exactly."""

    path: str = "uv.lock"
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PylockFile:
    """A PEP 751 lock the user keeps: honoured exactly."""

    path: str = "pylock.toml"
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequirementFiles:
    """Requirements files in order, with everything they include; paths are relative to the project."""

    files: tuple[str, ...]
    """The roots, as configured or detected."""
    included: tuple[str, ...] = ()
    """What they reach through ``-r`` and ``-c``."""
    find_links: tuple[str, ...] = ()
    """``--find-links`` lines."""
    index_options: tuple[str, ...] = ()
    """``--index-url`` and ``--extra-index-url`` lines; only with ``allow-index-options`` (THREATS F08)."""


@dataclass(frozen=True, slots=True)
class PyprojectDependencies:
    """``[project]`` dependencies (PEP 621), with extras and dependency groups (PEP 735) to add."""

    path: str = "pyproject.toml"
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoDependencies:
    """The scripts import the standard library only."""


@dataclass(frozen=True, slots=True, order=True)
class OwnProject:
    """A project inside the folder that a line installs: ``-e .``, ``./lib[extra]``."""

    path: str
    """Its folder, relative to the project's; empty: that itself."""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class GitRequirement:
    """A package that is built from a repository: ``name @ git+https://…@revision``."""

    url: str
    """``https://…``, without a user or password."""
    revision: str = ""
    """A commit, tag or branch; empty: the repository's own ``HEAD``."""
    subdirectory: str = ""
    name: str = ""
    """Normalised; empty where the line does not say it."""
    extras: tuple[str, ...] = ()
    marker: str = ""


@dataclass(frozen=True, slots=True)
class CondaFile:
    """conda's ``environment.yml``: conda packages, the Python among them, and what pip puts beside them."""

    path: str = "environment.yml"
    name: str = ""
    """The environment's own name."""
    channels: tuple[str, ...] = ()
    """By priority, as they are written."""
    specs: tuple[str, ...] = ()
    """``python=3.11``, ``conda-forge::numpy>=1.26`` …"""
    pip: tuple[str, ...] = ()
    """Requirements of the ``pip:`` section and of the files it includes (PEP 508), and of ``projects``."""
    constraints: tuple[str, ...] = ()
    """Bounds on their versions."""
    included: tuple[str, ...] = ()
    """Files that the section reads."""
    find_links: tuple[str, ...] = ()
    index_options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables, by name."""
    paths: tuple[str, ...] = ()
    """Folders, relative to the project, that Python imports from: of projects that the section installs."""
    repositories: tuple[GitRequirement, ...] = ()
    """What it takes from version control."""


class CondaLockKind(StrEnum):
    """Who made a lock of a conda environment."""

    CONDA_LOCK = "conda-lock"
    PIXI = "pixi"
    EXPLICIT = "explicit"


@dataclass(frozen=True, slots=True)
class CondaLockFile:
    """A lock of a conda environment that the user keeps: honoured exactly."""

    path: str
    kind: CondaLockKind
    environment: str = "default"
    """Which of a pixi lock's environments."""


@dataclass(frozen=True, slots=True)
class DockerfileInput:
    """A Dockerfile says all: what the image stands on, what goes in and what runs."""

    path: str = "Dockerfile"


Dependencies = (
    UvLock | PylockFile | RequirementFiles | PyprojectDependencies | CondaFile | CondaLockFile | NoDependencies
    | DockerfileInput
)  # fmt: skip


class ChannelPriority(StrEnum):
    """How conda's solver treats a package that several channels have."""

    STRICT = "strict"
    """Only the first channel that has it counts."""
    FLEXIBLE = "flexible"
    """Other channels count where the first one's do not fit, as conda itself does it."""
    DISABLED = "disabled"
    """The highest version of all channels."""


@dataclass(frozen=True, slots=True)
class CondaSettings:
    """``[tool.trainload.conda]``: where conda packages come from."""

    channels: tuple[str, ...] = ("conda-forge",)
    """Where the file names none."""
    channel_alias: str | None = None
    """The address that names of channels are below; None: conda's own."""
    channel_priority: ChannelPriority = ChannelPriority.FLEXIBLE


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Where to fetch from instead; data, never trusted: every byte is verified by hash."""

    pypi: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    """Archive roots, e.g. ``https://mirror.example/debian``; ``{distribution}`` in one is filled in."""
    python: tuple[str, ...] = ()
    """URL patterns of python-build-standalone archives."""
    registry: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hub: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()
    """Addresses that conda channels lie below, or folders; ``{channel}`` in one is filled in."""


@dataclass(frozen=True, slots=True)
class Cache:
    """``[tool.trainload.cache]``: layers shared through a registry (docs/adr/0025)."""

    registry: str | None = None
    """The repository; None: none is configured."""
    read: bool = True
    write: str = "push"
    """``never``, ``push`` or ``always``."""


@dataclass(frozen=True, slots=True)
class Resources:
    """``[tool.trainload.run]``: defaults of a run, as ``docker run`` would take them. Sizes in bytes."""

    engine: str | None = None
    gpus: str | None = None
    memory: int | None = None
    memory_swap: int | None = None
    cpus: float | None = None
    pids: int | None = None
    shm: int | None = None
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()


_USUAL_LIMITS: Chosen[Allowed] = Chosen(Allowed(), Origin.DEFAULT, Text("the default"))


class BuildFrom(StrEnum):
    """What becomes of packages that have only their source."""

    SANDBOX = "sandbox"
    """They are built in the sandbox, while the image is made."""
    NEVER = "never"
    """They are refused by name."""


@dataclass(frozen=True, slots=True)
class Building:
    """``[tool.trainload.build]``: how packages that have only their source become wheels."""

    sources: BuildFrom = BuildFrom.SANDBOX
    packages: tuple[str, ...] = ()
    """Distribution packages that are there while they are built, and not in the image."""
    constraints: tuple[str, ...] = ()
    """Requirements (PEP 508) that bound the versions of what builds them."""
    timeout: int = 3600
    """Seconds one build may take."""


_USUAL_BUILDING: Chosen[Building] = Chosen(Building(), Origin.DEFAULT, Text("the default"))
_NO_ENTRYPOINT: Chosen[tuple[str, ...] | None] = Chosen(None, Origin.DEFAULT, Text("the base's, or an init"))
_NO_CACHE: Chosen[Cache] = Chosen(Cache(), Origin.DEFAULT, Text("the default"))
_NO_WEIGHTS: Chosen[tuple[Wanted, ...]] = Chosen((), Origin.DEFAULT, Text("the default"))
_PICKLES: Chosen[Pickles] = Chosen(Pickles.WARN, Origin.DEFAULT, Text("the default"))
_USUAL_CONDA: Chosen[CondaSettings] = Chosen(CondaSettings(), Origin.DEFAULT, Text("the default"))
_NO_SECRETS: Chosen[tuple[str, ...]] = Chosen((), Origin.DEFAULT, Text("no secret goes in unless it is named"))


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; one place per default is ``project/config.py``."""

    name: Chosen[str]
    python: Chosen[str | None]
    """``3.11``, or None: the base's own."""
    base: Chosen[str]
    """``apt:bookworm`` or an image reference."""
    profile: Chosen[Profile]
    system: Chosen[tuple[str, ...]]
    dependencies: Chosen[Dependencies]
    find_links: Chosen[tuple[str, ...]]
    """Folders with wheels; relative to the project, or absolute when they come from the environment."""
    indexes: Chosen[tuple[str, ...]]
    """Package indexes by precedence, the default one last (``""``: uv's own default); empty: uv's own only."""
    accelerator: Chosen[str]
    """``cpu``, ``cuda``, ``cu128``, ``rocm6.3`` or ``auto``."""
    command: Chosen[tuple[str, ...]]
    user: Chosen[int]
    workdir: Chosen[str]
    env: Chosen[Mapping[str, str]]
    bytecode: Chosen[bool]
    configure: Chosen[str]
    """``never``, or ``sandbox``: run maintainer scripts that do something, as a visible step."""
    include: Chosen[tuple[str, ...]]
    exclude: Chosen[tuple[str, ...]]
    platforms: Chosen[tuple[str, ...]]
    mirrors: Chosen[Mirrors]
    run: Chosen[Resources]
    secrets: Chosen[tuple[str, ...]] = _NO_SECRETS
    """Patterns of files that go in although they look like secrets (THREATS P08, P11)."""
    limits: Chosen[Allowed] = _USUAL_LIMITS
    build: Chosen[Building] = _USUAL_BUILDING
    entrypoint: Chosen[tuple[str, ...] | None] = _NO_ENTRYPOINT
    """What runs the command; None: what the base image says, else an init."""
    cache: Chosen[Cache] = _NO_CACHE
    weights: Chosen[tuple[Wanted, ...]] = _NO_WEIGHTS
    weights_pickles: Chosen[Pickles] = _PICKLES
    conda: Chosen[CondaSettings] = _USUAL_CONDA


LOCK = "pylock.trainload.toml"
"""The lock of a project; one of a variant says which: ``pylock.trainload-cv.toml``."""


def lock_file(name: str) -> str:
    """The lock of a variant or combination of that name (PEP 751 § File name: no further dots)."""
    return f"pylock.trainload-{name}.toml"


@dataclass(frozen=True, slots=True)
class Project:
    """A folder as Trainload understands it."""

    settings: Settings
    warnings: tuple[Text, ...] = ()
    requires_python: str | None = None
    """``requires-python`` of pyproject.toml: what a Python that the base decides on must satisfy."""
    variant: str | None = None
    """Which one it is."""
    locks: tuple[str, ...] = (LOCK,)
    """Its lock's file, then those whose versions a new lock begins with."""


class Left(StrEnum):
    """Why a file of the project does not go into the image."""

    SECRET = "secret"  # noqa: S105 - a word, not a password
    IGNORED = "ignored"
    EXCLUDED = "excluded"
    GENERATED = "generated"
    WEIGHTS = "weights"
    """It goes in, in layers of its own."""


@dataclass(frozen=True, slots=True, order=True)
class CodeFile:
    """One file or symbolic link of the project that goes into the code layer."""

    path: str
    """Relative to the project, ``/`` between parts; ``os.fsdecode`` form when it is not UTF-8."""
    size: int
    executable: bool = False
    target: str | None = None
    """A symbolic link's target, relative and inside the project (THREATS P01, P02)."""


@dataclass(frozen=True, slots=True)
class CodeListing:
    """What goes into the code layer, sorted by path, and what was left out and why."""

    files: tuple[CodeFile, ...]
    left_out: tuple[tuple[str, Left, str], ...] = ()
    """(path, why, the rule or the kind of secret). A folder left out as a whole is one entry, ending in ``/``."""
    warnings: tuple[Text, ...] = ()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)
