"""What lines of a Dockerfile do, as values: each step has one known result, whatever program would have done it."""

from __future__ import annotations

from trainload.errors import Text
from trainload.values import dataclass


@dataclass(frozen=True, slots=True)
class UpdateDistribution:
    """``apt-get update``: what is installed later comes from the archives as they are now."""


@dataclass(frozen=True, slots=True)
class AddArchive:
    """``add-apt-repository``."""

    archive: str
    """``ppa:deadsnakes/ppa``."""


@dataclass(frozen=True, slots=True)
class InstallDistribution:
    """``apt-get install``."""

    packages: tuple[str, ...]
    """``ffmpeg``, ``git=1:2.39.5-0+deb12u2``, ``git=1:2.39*``, ``git/bookworm``."""
    recommends: bool | None = None
    """Whether what is recommended comes too; None: as the image's apt is set up."""
    options: tuple[str, ...] = ()
    """What dpkg is told about configuration files: ``--force-confold``."""
    files: tuple[str, ...] = ()
    """Packages that lie in the image (``./x.deb``), absolute."""


@dataclass(frozen=True, slots=True)
class UpgradeDistribution:
    """``apt-get upgrade``, ``apt-get dist-upgrade``."""

    whole: bool = False
    """New packages may come: ``dist-upgrade``, and ``apt upgrade``."""
    options: tuple[str, ...] = ()
    """As of :class:`InstallDistribution`."""


@dataclass(frozen=True, slots=True)
class Clear:
    """``rm -rf`` of folders that only keep what can be had again."""

    contents: tuple[str, ...] = ()
    """Absolute folders: what ``*`` means in them goes, which is all but names with a first dot."""
    folders: tuple[str, ...] = ()
    """Absolute folders that go themselves."""


@dataclass(frozen=True, slots=True)
class Remove:
    """``rm`` of things that are named one by one."""

    paths: tuple[str, ...]
    """Absolute."""
    recursive: bool = False
    force: bool = False


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


@dataclass(frozen=True, slots=True)
class AddUser:
    """``useradd``; ``adduser`` with ``debian``."""

    name: str
    uid: int | None = None
    group: str | None = None
    """Name or number of the primary group; None: one of the user's own name, or Debian's rule."""
    groups: tuple[str, ...] = ()
    own_group: bool | None = None
    """``-U`` or ``-N``; None: the default."""
    home: str | None = None
    """None: ``/home/NAME``."""
    makes_home: bool | None = None
    """None: the default of the program."""
    shell: str | None = None
    comment: str = ""
    system: bool = False
    nologin: bool = False
    """``--disabled-login``, of ``adduser`` alone."""
    debian: bool = False
    """``adduser``: Debian's rules, not shadow's."""
    program: RunProgram | None = None
    """The same, run by itself where that cannot be told."""


@dataclass(frozen=True, slots=True)
class AddGroup:
    """``groupadd``; ``addgroup`` with ``debian``."""

    name: str
    gid: int | None = None
    system: bool = False
    debian: bool = False
    force: bool = False
    """A group that is there is no error."""
    program: RunProgram | None = None
    """As of :class:`AddUser`."""


@dataclass(frozen=True, slots=True)
class ChangeUser:
    """``usermod -aG``; ``adduser USER GROUP`` with ``debian``."""

    name: str
    groups: tuple[str, ...]
    debian: bool = False
    program: RunProgram | None = None
    """As of :class:`AddUser`."""


@dataclass(frozen=True, slots=True)
class Link:
    """``ln -s``."""

    target: str
    """What it points at, as written."""
    path: str
    """Absolute; a folder means a link of the target's name in it."""
    force: bool = False
    not_into: bool = False
    """``-n``: a link to a folder is replaced, not followed."""
    finder: str = ""
    """``which`` or ``command -v``: ``target`` is a program, and the link points where that finds it."""
    search: str = ""
    """Where it looks: ``PATH``."""


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """``mkdir``."""

    path: str
    """Absolute."""
    parents: bool = False
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeMode:
    """``chmod``."""

    mode: str
    """As written: ``755``, ``+x``."""
    paths: tuple[str, ...]
    """Absolute."""
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class ChangeOwner:
    """``chown``."""

    owner: str
    """``user``, ``user:group``, ``:group``; names or numbers."""
    paths: tuple[str, ...]
    """Absolute."""
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class WriteFile:
    """``echo … > file``."""

    path: str
    """Absolute."""
    content: str
    append: bool = False


FETCHED = "/run/packages"
"""Where a program finds what was fetched for it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """``curl -o file address``, whose sha256 is checked in the same line."""

    address: str
    sha256: str
    name: str
    """In :data:`FETCHED`."""
    path: str
    """Absolute: where the line has it."""
    tool: str
    """``curl`` or ``wget``."""
    search: str = ""
    """``PATH``, where the tool has to be."""
    is_new: bool = False
    """Where the file is there already, the tool takes another name."""


@dataclass(frozen=True, slots=True)
class RunProgram:
    """A program that ends, needs no network, and shares nothing with the commands beside it but files.

    It is run by itself, so that the others can be placed.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    """Variables that are set for it alone, sorted."""
    fails: Text | None = None
    """Why the line is run where this fails: it might do better with a network."""
    fetched: tuple[Fetched, ...] = ()
    """Files that it is given."""


@dataclass(frozen=True, slots=True)
class Edit:
    """``s`` of sed, for each line."""

    pattern: str
    """As Python's ``re`` writes it."""
    new: str
    """Literally."""
    every: bool = False
    """All that fit in a line, not only the first."""
    where: str | None = None
    """Only lines in which this is found."""


@dataclass(frozen=True, slots=True)
class EditFile:
    """``sed -i``."""

    path: str
    """Absolute."""
    edits: tuple[Edit, ...]
    program: RunProgram | None = None
    """The same, run by itself where that cannot be told."""


@dataclass(frozen=True, slots=True)
class SetPip:
    """``pip config set``."""

    tool: str
    section: str
    name: str
    value: str
    search: str = ""
    """``PATH``, where the tool has to be."""
    home: str = ""
    """``HOME``, where a variable says so; empty: root's."""
    whole: bool = False
    """For all users: ``/etc/pip.conf``."""
    program: RunProgram | None = None
    """As of :class:`AddUser`."""


@dataclass(frozen=True, slots=True)
class FetchWeights:
    """``python -c "…from_pretrained('x')"``, ``huggingface-cli download``."""

    repository: str
    tool: tuple[str, ...] = ()
    """The interpreter or program that would be called."""
    loaders: tuple[str, ...] = ()
    """Classes whose ``from_pretrained`` is called: ``AutoModel``; empty: the whole repository."""
    revision: str | None = None
    files: tuple[str, ...] = ()
    """Names or patterns; empty: all of them, or those the loaders take."""
    folder: str | None = None
    """``--local-dir``; None: the hub's cache."""
    kind: str = "model"
    """``model`` or ``dataset``."""
    exclude: tuple[str, ...] = ()
    """Patterns of files that are not taken."""


@dataclass(frozen=True, slots=True)
class Within:
    """``cd``, ``export``: how the steps after it differ from the line's beginning, until the next of these."""

    folder: str | None = None
    """Absolute; None: as before the line."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables that are set, sorted."""
    venv: str | None = None
    """Its ``bin/activate`` was read."""
    home: str | None = None
    """What ``~`` was taken for."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Changes nothing that stays."""

    command: str


PlacedStep = (
    UpdateDistribution | UpgradeDistribution | AddArchive | InstallDistribution | Clear | Remove | InstallPython
    | InstallConda
    | CreateCondaEnvironment | AddUser | AddGroup | ChangeUser | Link | MakeFolder | ChangeMode | ChangeOwner
    | WriteFile | EditFile | SetPip | FetchWeights | RunProgram | SyncProject | InstallPoetry | Within | Nothing
)  # fmt: skip
HAS_PROGRAM = AddUser | AddGroup | ChangeUser | EditFile | SetPip
"""Steps that what lies below may make others: they say how to run the same."""
