"""What lines of a Dockerfile do, as values: each step has one known result, whatever program would have done it."""

from __future__ import annotations

from trainload.dockerfile.installs import (
    CreateCondaEnvironment,
    InstallConda,
    InstallPoetry,
    InstallPython,
    SyncProject,
)
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
