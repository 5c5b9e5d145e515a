"""The one table of everything that can be set: key, kind, default, and what it means.

Reading (``config.py``), the JSON Schema (``schema.py``), ``trainload init`` and the documentation are derived
from it; nothing is written twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from trainload.address import Address
from trainload.errors import ConfigError, UsageError
from trainload.limits import Allowed
from trainload.platform import Platform
from trainload.project.kinds import (
    BOOLEAN,
    NUMBER,
    PATHS,
    SHELL,
    SIZE,
    Kind,
    checked,
    choice,
    integer,
    many,
    record,
    table,
    text,
    wrong,
)
from trainload.project.matrix import EXCLUDE as EXCLUSIONS
from trainload.project.matrix import Exclusion
from trainload.project.model import BuildFrom, Building, ChannelPriority, CondaSettings, Profile
from trainload.project.places import image_folder, inside
from trainload.project.weights import KIND as WEIGHTS_KIND
from trainload.project.weights import Pickles, Wanted
from trainload.values import dataclass

T = TypeVar("T")

PYTHON_OF_SUITE = {"bookworm": "3.11", "trixie": "3.13", "jammy": "3.10", "noble": "3.12"}
"""The distributions a base can be composed of (``apt:…``) and the Python each has."""


class Configure(StrEnum):
    NEVER = "never"
    SANDBOX = "sandbox"


class CacheWrite(StrEnum):
    """When layers are written to the cache in a registry."""

    NEVER = "never"
    PUSH = "push"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """One key of ``[tool.trainload]``; ``path`` has dots between tables."""

    path: str
    kind: Kind[T]
    meaning: str
    default: T
    """The one place of the default."""
    detected: bool = False
    """The default is only what is left when nothing was found in the project."""

    @property
    def variable(self) -> str | None:
        """The environment variable that sets it; None for tables, which do not fit into one."""
        if self.kind.split is None:
            return None
        name = {"index": "index-url", "extra-index": "extra-index-url", "run.engine": "engine"}.get(
            self.path, self.path
        )
        return "TRAINLOAD_" + re.sub(r"[.-]", "_", name).upper()


def _base(value: str) -> str | None:
    if value.startswith("apt:"):
        return value if value[4:] in PYTHON_OF_SUITE else None
    return value if _REFERENCE.fullmatch(value) else None


# a host or path of lower-case parts, then a tag and a digest (OCI distribution-spec § Pulling manifests)
_REFERENCE = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)


def _platform(value: str) -> str | None:
    try:
        platform = Platform.parse(value)
    except ConfigError:
        return None
    return f"{platform.os}/{platform.architecture}"


def _repository(value: str) -> str | None:
    """A repository in a registry that is named, without tag and digest."""
    host, slash, _ = value.partition("/")
    named = slash and ("." in host or ":" in host or host == "localhost")
    return value if named and _REPOSITORY.fullmatch(value) else None


_REPOSITORY = re.compile(r"[A-Za-z0-9.-]+(?::\d+)?/[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*", re.ASCII)


def _pattern(value: str) -> str | None:
    return value if value and "\n" not in value and len(value) <= 4096 else None


def _url(value: str) -> str | None:
    if not re.fullmatch(r"https?://[^\s/?#]+(?:[/?#]\S*)?", value):
        return None
    server = re.split("[/?#]", value.partition("://")[2])[0].rpartition("@")[2]
    port = re.fullmatch(r"(?:\[[^\]]*\]|[^:\[]*):(.*)", server)
    return value if port is None or re.fullmatch("(?:[0-9]{1,5})?", port[1], re.ASCII) else None


def _channel(value: str) -> str | None:
    """A conda channel or what channels lie below: a name, an address, or a folder."""
    return value if re.fullmatch(r"[^\s\x00-\x1f\x7f]{1,500}", value) else None


def _requirement(value: str) -> str | None:
    """A requirement on a version (PEP 508); addresses are not, they would bring code of their own."""
    return (
        value
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[\w ,.-]*\])?[ <>=!~\w.*,+]*", value, re.ASCII)
        else None
    )


_VOLUME = r"[^:\n]+:/[^:\n]*(?::(?:ro|rw))?"
_PORT = r"(?:(?:\d{1,3}(?:\.\d{1,3}){3}:)?\d{1,5}:)?\d{1,5}(?:/(?:tcp|udp))?"

_URL = checked(_url, "a URL such as https://mirror.example/simple")
_URLS = many(_URL, "an array of URLs")
_INSIDE = checked(inside, "a path inside the project")
_PATTERNS = many(checked(_pattern, "a pattern as .gitignore writes them"), "an array of patterns")
_NAME_WANT = "lower-case letters and digits with single - _ . between them"
_ALLOWED = Allowed()
_NORMAL = "a name such as dev"
_NAMES = many(text(_NORMAL, r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"), f"an array of names, each {_NORMAL}")


def _gpus(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"all|none|\d+|device=[\w,:-]+", value):
        return value
    raise wrong(value, '"all", "none", a number, or "device=0,1"')


_GPUS: Kind[str | None] = Kind('all, none, a number, or "device=0,1"', {"type": ["string", "integer"]}, _gpus, str)


def _optional(kind: Kind[T]) -> Kind[T | None]:
    return Kind(kind.want, kind.schema, kind.read, kind.split)


NAME = Key(
    "name", text(_NAME_WANT, r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"), "What the image is called.", "project", True
)
PYTHON = Key(
    "python", _optional(text("a minor version such as 3.12", r"3\.\d{1,2}")),
    "The Python in the image; the base's own when left out.", None, True,
)  # fmt: skip
BASE = Key(
    "base",
    checked(_base, f"apt: and one of {', '.join(PYTHON_OF_SUITE)}, or an image reference such as python:3.11-slim"),
    "What lies below the Python packages.", "apt:bookworm", True,
)  # fmt: skip
PROFILE = Key(
    "profile", choice(Profile),
    "How much of the distribution goes in: slim, dev (apt, git, an editor) or distroless.", Profile.SLIM,
)  # fmt: skip
_DISTRIBUTION_NAMES = many(
    text("a distribution package name such as ffmpeg", r"[a-z0-9][a-z0-9+.-]+"),
    "an array of distribution package names",
)
SYSTEM: Key[tuple[str, ...]] = Key("system", _DISTRIBUTION_NAMES, "Distribution packages to add.", ())
REQUIREMENTS: Key[tuple[str, ...] | None] = Key(
    "requirements", _optional(many(_INSIDE, "an array of paths inside the project", PATHS)),
    "Requirements files; an empty array: do not look for any.", None, True,
)  # fmt: skip
DOCKERFILE: Key[str | None] = Key(
    "dockerfile", _optional(_INSIDE), "A Dockerfile that says all: only its own instructions count.", None
)
EXTRAS: Key[tuple[str, ...]] = Key("extras", _NAMES, "Extras of the project to install.", ())
GROUPS: Key[tuple[str, ...]] = Key("groups", _NAMES, "Dependency groups (PEP 735) to install.", ())
FIND_LINKS: Key[tuple[str, ...]] = Key(
    "find-links", many(checked(lambda v: v or None, "a path of a folder"), "an array of paths", PATHS),
    "Folders with wheels, looked into before any index.", (),
)  # fmt: skip
INDEX: Key[str | None] = Key("index", _optional(_URL), "The package index, instead of uv's default.", None)
EXTRA_INDEX: Key[tuple[str, ...]] = Key("extra-index", _URLS, "Package indexes that go before the index.", ())
ALLOW_INDEX_OPTIONS = Key(
    "allow-index-options", BOOLEAN, "Let requirements files name package indexes themselves.", False
)
ACCELERATOR = Key(
    "accelerator",
    text("cpu, cuda, auto, or a version such as cu128 or rocm6.3",
         r"cpu|cuda|auto|xpu|cu\d{2,3}|rocm\d+(?:\.\d+){0,2}"),
    "Which build of torch to lock.", "cpu",
)  # fmt: skip
COMMAND: Key[tuple[str, ...]] = Key(
    "command", many(text(), "an array of strings", SHELL), "What runs.", ("python",), True
)
ENTRYPOINT: Key[tuple[str, ...] | None] = Key(
    "entrypoint", _optional(many(text(), "an array of strings", SHELL)),
    "What runs the command; the base image's, or an init, when left out; an empty array: nothing.", None,
)  # fmt: skip
USER = Key("user", integer(0, 2**32 - 2), "The numeric user everything runs as; 0 is root.", 1000)
WORKDIR = Key(
    "workdir", checked(image_folder, "an absolute path that belongs to no system folder, such as /app"),
    "Where the project's files lie in the image.", "/app",
)  # fmt: skip
ENV: Key[Mapping[str, str]] = Key(
    "env", table(text(), "a table of strings, with names of letters, digits and _", r"[A-Za-z_][A-Za-z0-9_]*",
                 hide=True),
    "Environment variables; never secrets, they can be read from the image.", {}, True,
)  # fmt: skip
BYTECODE = Key("bytecode", BOOLEAN, "Add a layer of compiled bytecode: faster cold starts, a larger image.", False)
CONFIGURE = Key(
    "configure", choice(Configure), "Whether maintainer scripts of distribution packages run, in the sandbox.",
    Configure.NEVER,
)  # fmt: skip
INCLUDE: Key[tuple[str, ...]] = Key("include", _PATTERNS, "Files that go into the image.", ("**",))
EXCLUDE: Key[tuple[str, ...]] = Key("exclude", _PATTERNS, "Files that stay out, on top of the ignore files.", ())
SECRETS: Key[tuple[str, ...]] = Key("secrets", _PATTERNS, "Files that go in although they look like secrets.", ())
PLATFORMS: Key[tuple[str, ...]] = Key(
    "platforms", many(checked(_platform, "linux/amd64 or linux/arm64"), "an array of platforms"),
    "What the lock is for.", ("linux/amd64",),
)  # fmt: skip
MIRRORS_PYPI: Key[tuple[str, ...]] = Key("mirrors.pypi", _URLS, "Mirrors of the package index.", ())
MIRRORS_APT: Key[tuple[str, ...]] = Key(
    "mirrors.apt", _URLS, "Mirrors of the distribution's archive; {distribution} is filled in.", ()
)
MIRRORS_PYTHON: Key[tuple[str, ...]] = Key(
    "mirrors.python", _URLS, "URL patterns of python-build-standalone archives.", ()
)
MIRRORS_CONDA: Key[tuple[str, ...]] = Key(
    "mirrors.conda", many(checked(_channel, "an address or a folder that channels lie below"), "an array of them"),
    "Mirrors of conda channels; {channel} is filled in, or the channel's name follows.", (),
)  # fmt: skip
MIRRORS_REGISTRY: Key[Mapping[str, tuple[str, ...]]] = Key(
    "mirrors.registry", table(_URLS, "a table from registry to an array of URLs", r"[A-Za-z0-9.-]+(?::\d+)?"),
    "Mirrors of image registries.", {},
)  # fmt: skip
MIRRORS_HUB: Key[tuple[str, ...]] = Key(
    "mirrors.hub", _URLS, "Mirrors of the hub that hf:// means, asked before HF_ENDPOINT.", ()
)
WEIGHTS: Key[tuple[Wanted, ...]] = Key(
    "weights", WEIGHTS_KIND, "Weights of models that go in: of a hub, by address, or of the project.", ()
)
WEIGHTS_PICKLES = Key(
    "weights-pickles", choice(Pickles), "Weights that are pickles, which can run code: warn or refuse.",
    Pickles.WARN,
)  # fmt: skip
VARIANT: Key[str | None] = Key(
    "variant", _optional(text("a name such as cv", r"[a-z0-9]+(?:-[a-z0-9]+)*")),
    "Which of the variants is meant when none is named.", None,
)  # fmt: skip
_VARIANTS = many(text("a name such as cv", r"[a-z0-9]+(?:-[a-z0-9]+)*"), "an array of names of variants")
_PYTHONS = many(text("a minor version such as 3.12", r"3\.\d{1,2}"), "an array of minor versions such as 3.12")
MATRIX_VARIANT: Key[tuple[str, ...]] = Key("matrix.variant", _VARIANTS, "Variants that `matrix` builds.", ())
MATRIX_PYTHON: Key[tuple[str, ...]] = Key("matrix.python", _PYTHONS, "Pythons that `matrix` builds for.", ())
MATRIX_ACCELERATOR: Key[tuple[str, ...]] = Key(
    "matrix.accelerator", many(ACCELERATOR.kind, "an array, each cpu, cuda, or a version such as cu128"),
    "Accelerators that `matrix` builds for.", (),
)  # fmt: skip
MATRIX_EXCLUDE: Key[tuple[Exclusion, ...]] = Key(
    "matrix.exclude", EXCLUSIONS, "Combinations that it leaves out.", ()
)
ENGINE: Key[str | None] = Key(
    "run.engine", _optional(text("auto, embedded, docker or podman", r"[a-z]+")),
    "What runs it; auto: the first that works.", None,
)  # fmt: skip
CACHE_REGISTRY: Key[str | None] = Key(
    "cache.registry", _optional(checked(_repository, "a repository such as registry.example/team/cache")),
    "Where layers are shared: looked up before they are made, written after a push.", None,
)  # fmt: skip
CACHE_READ = Key(
    "cache.read", BOOLEAN, "Whether to believe what registries say which layer is made of what: this one, and "
    "the one that is pushed to.", True,
)  # fmt: skip
CACHE_WRITE = Key(
    "cache.write", choice(CacheWrite), "When layers made here are written to it: never, push or always.",
    CacheWrite.PUSH,
)  # fmt: skip
GPUS: Key[str | None] = Key("run.gpus", _GPUS, "Which GPUs a run sees.", None)
MEMORY: Key[int | None] = Key("run.memory", _optional(SIZE), "Memory a run may use.", None)
MEMORY_SWAP: Key[int | None] = Key("run.memory-swap", _optional(SIZE), "Memory and swap together.", None)
CPUS: Key[float | None] = Key("run.cpus", _optional(NUMBER), "Processor cores a run may use.", None)
PIDS: Key[int | None] = Key(
    "run.pids", _optional(integer(1, 4_194_304)), "Processes and threads a run may have.", None
)
SHM: Key[int | None] = Key("run.shm", _optional(SIZE), "Size of /dev/shm, which DataLoader workers share.", None)
VOLUMES: Key[tuple[str, ...]] = Key(
    "run.volumes", many(text("SOURCE:/TARGET or SOURCE:/TARGET:ro", _VOLUME), "an array of mounts"),
    "Folders of this machine that a run sees.", (),
)  # fmt: skip
PORTS: Key[tuple[str, ...]] = Key(
    "run.ports", many(text("HOST:CONTAINER such as 8000:8000", _PORT), "an array of ports"),
    "Ports a run publishes.", (),
)  # fmt: skip
LIMIT_UNPACKED = Key("limits.max-unpacked", SIZE, "What one archive or layer may unpack to.", _ALLOWED.max_unpacked)
LIMIT_MEMBERS = Key(
    "limits.max-members", integer(1, 10_000_000), "Files that one archive, or the project's code, may have.",
    _ALLOWED.max_members,
)  # fmt: skip
LIMIT_RATIO = Key(
    "limits.max-ratio", integer(2, 1_000_000), "How many times its size an archive past 64 MiB may unpack to.",
    _ALLOWED.max_ratio,
)  # fmt: skip

_CONDA = CondaSettings()
CONDA_FILE: Key[str | None] = Key(
    "conda.file", _optional(_INSIDE),
    "The environment.yml, conda-lock.yml, pixi.lock or explicit list that counts, whatever else is there.", None,
    True,
)  # fmt: skip
CONDA_CHANNELS: Key[tuple[str, ...]] = Key(
    "conda.channels", many(checked(_channel, "a channel such as conda-forge"), "an array of channels"),
    "Conda channels, where the environment names none.", _CONDA.channels,
)  # fmt: skip
CONDA_ALIAS: Key[str | None] = Key(
    "conda.channel-alias", _optional(_URL),
    "The address that names of channels are below; conda's own when left out.", None,
)  # fmt: skip
CONDA_PRIORITY = Key(
    "conda.channel-priority", choice(ChannelPriority),
    "strict: the first channel that has a package is its only one; flexible: others where that one's do not fit; "
    "disabled: the highest version of all.", _CONDA.channel_priority,
)  # fmt: skip
_BUILDING = Building()
BUILD_SOURCES = Key(
    "build.sources", choice(BuildFrom), "Whether packages that have only their source are built, in the sandbox.",
    _BUILDING.sources,
)  # fmt: skip
BUILD_PACKAGES: Key[tuple[str, ...]] = Key(
    "build.packages", _DISTRIBUTION_NAMES,
    "Distribution packages that are there while packages are built from source, and not in the image.",
    _BUILDING.packages,
)  # fmt: skip
BUILD_CONSTRAINTS: Key[tuple[str, ...]] = Key(
    "build.constraints",
    many(checked(_requirement, "a requirement such as setuptools<81"), "an array of requirements", SHELL),
    "Bounds on the versions of what builds packages from source.", _BUILDING.constraints,
)  # fmt: skip
BUILD_TIMEOUT = Key(
    "build.timeout", integer(1, 604_800), "Seconds that building one package may take.", _BUILDING.timeout
)


def _address(value: str) -> str | None:
    try:
        return str(Address.parse(value))
    except UsageError:
        return None


_HOST = record(
    {
        "address": checked(_address, "HOST, USER@HOST or USER@HOST:PORT"),
        "engine": text("auto, docker, podman or store", "auto|docker|podman|store"),
        "folder": text("a folder there", r"[^\n]+"),
        "gpus": text("all, a number or device=…", r"[^\n]+"),
    },
    "address", "a table with address, engine, folder and gpus",
)  # fmt: skip
HOSTS: Key[Mapping[str, Mapping[str, str]]] = Key(
    "hosts", table(_HOST, "a table from name to a table with address, engine, folder and gpus", r"[A-Za-z0-9_-]+"),
    "Servers that are reached over ssh, by the names you give them.", {},
)  # fmt: skip

KEYS: tuple[Key[object], ...] = (  # type: ignore[assignment]
    NAME, PYTHON, BASE, PROFILE, SYSTEM, REQUIREMENTS, DOCKERFILE, EXTRAS, GROUPS, FIND_LINKS, INDEX,
    EXTRA_INDEX, ALLOW_INDEX_OPTIONS, ACCELERATOR, COMMAND, ENTRYPOINT, USER, WORKDIR, ENV, BYTECODE, CONFIGURE,
    INCLUDE, EXCLUDE, SECRETS, PLATFORMS, WEIGHTS, WEIGHTS_PICKLES, MIRRORS_PYPI, MIRRORS_APT, MIRRORS_PYTHON,
    MIRRORS_REGISTRY, MIRRORS_HUB, CACHE_REGISTRY,
    CACHE_READ, CACHE_WRITE, ENGINE, GPUS, MEMORY, MEMORY_SWAP, CPUS, PIDS, SHM, VOLUMES, PORTS, LIMIT_UNPACKED,
    LIMIT_MEMBERS, LIMIT_RATIO, BUILD_SOURCES, BUILD_PACKAGES, BUILD_CONSTRAINTS, BUILD_TIMEOUT,
    HOSTS, MIRRORS_CONDA, CONDA_FILE, CONDA_CHANNELS, CONDA_ALIAS, CONDA_PRIORITY, VARIANT, MATRIX_VARIANT,
    MATRIX_PYTHON, MATRIX_ACCELERATOR, MATRIX_EXCLUDE,
)  # fmt: skip
BY_PATH = {key.path: key for key in KEYS}
TABLES = {key.path.split(".")[0] for key in KEYS if "." in key.path}
