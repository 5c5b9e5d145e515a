"""What a RUN line does, where that is understood: typed steps that are placed, not run.

``understand(line)`` is pure over the text. It promises the same result or says why it cannot: then the line is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainload.dockerfile.model import Heredoc, RunMount
from trainload.errors import Text


@dataclass(frozen=True, slots=True)
class RunLine:
    """One RUN with everything its shell would see."""

    line: int
    """Of the Dockerfile."""
    script: str | None
    """Shell form: the text, continuations joined, the markers of heredocs in it; None for the exec form."""
    argv: tuple[str, ...]
    """What is executed: the exec form, or the shell's words and the script."""
    shell: tuple[str, ...]
    """SHELL in force: ``("/bin/sh", "-c")``."""
    env: Mapping[str, str]
    """ENV so far, and ARGs on top, as the program sees them."""
    args: frozenset[str] = frozenset()
    """Names in ``env`` that are ARGs: they do not stay in the image."""
    user: str = ""
    """USER in force; empty: root."""
    workdir: str = "/"
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[RunMount, ...] = ()
    network: str | None = None


@dataclass(frozen=True, slots=True)
class InstallDistribution:
    """``apt-get update && apt-get install …``."""

    packages: tuple[str, ...]
    """As written: ``ffmpeg``, ``git=1:2.39*``."""
    recommends: bool
    """Without ``--no-install-recommends``."""
    lists_kept: bool = True
    """Nothing removes ``/var/lib/apt/lists``."""
    archives: tuple[str, ...] = ()
    """``ppa:deadsnakes/ppa`` of ``add-apt-repository``."""


@dataclass(frozen=True, slots=True)
class InstallPython:
    """``pip install``, ``python -m pip install``, ``uv pip install``."""

    tool: tuple[str, ...]
    """What is called: ``("pip",)``, ``("python3.11", "-m", "pip")``, ``("uv", "pip")``."""
    requirements: tuple[str, ...] = ()
    """Requirement specifiers, paths and addresses as written."""
    files: tuple[str, ...] = ()
    """``-r``."""
    constraints: tuple[str, ...] = ()
    """``-c``."""
    index: str | None = None
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    prereleases: bool = False
    user: bool = False
    upgrade: bool = False
    reinstall: bool = False
    dependencies: bool = True
    cache_kept: bool = True
    """Without ``--no-cache-dir``."""
    prefix: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class InstallConda:
    """``conda install``, ``mamba install``."""

    tool: str
    specs: tuple[str, ...]
    channels: tuple[str, ...] = ()
    environment: str | None = None
    """``-n`` or ``-p``."""


@dataclass(frozen=True, slots=True)
class CreateCondaEnvironment:
    """``conda env create -f``, ``conda env update -f``."""

    tool: str
    file: str
    environment: str | None = None
    update: bool = False


@dataclass(frozen=True, slots=True)
class AddUser:
    """``useradd``, ``adduser``."""

    name: str
    uid: int | None = None
    gid: int | None = None
    group: str | None = None
    groups: tuple[str, ...] = ()
    home: str | None = None
    """None: ``/home/NAME``."""
    makes_home: bool = False
    shell: str | None = None
    comment: str = ""
    system: bool = False
    debian: bool = False
    """``adduser``: Debian's rules, not shadow's."""


@dataclass(frozen=True, slots=True)
class AddGroup:
    """``groupadd``, ``addgroup``."""

    name: str
    gid: int | None = None
    system: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """``ln -s``."""

    target: str
    """What it points at, as written."""
    path: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """``mkdir``."""

    path: str
    parents: bool = False
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeMode:
    """``chmod``."""

    mode: str
    """As written: ``755``, ``+x``."""
    paths: tuple[str, ...]
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class ChangeOwner:
    """``chown``."""

    owner: str
    paths: tuple[str, ...]
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class FetchWeights:
    """``python -c "…from_pretrained('x')"``, ``huggingface-cli download``."""

    repository: str
    revision: str | None = None
    files: tuple[str, ...] = ()
    """Empty: all of them."""
    folder: str | None = None
    """``--local-dir``; None: the hub's cache."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Changes nothing that stays."""

    reason: Text


PlacedStep = (
    InstallDistribution | InstallPython | InstallConda | CreateCondaEnvironment | AddUser | AddGroup | Link
    | MakeFolder | ChangeMode | ChangeOwner | FetchWeights | Nothing
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Understood:
    """The line is placed: these steps, in order, have its result."""

    steps: tuple[PlacedStep, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """The line is run."""

    reason: Text = field(default_factory=lambda: Text("what it does is not known before it runs"))


Understanding = Understood | Opaque
