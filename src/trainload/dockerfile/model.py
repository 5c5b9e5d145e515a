"""A Dockerfile's instructions as values: what is written, before any variable is expanded.

The grammar is BuildKit's (docs.docker.com/reference/dockerfile); flags of an instruction are its fields.
"""

from __future__ import annotations

from trainload.values import dataclass

DOCKERFILE = "Dockerfile"
SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Heredoc:
    """``<<EOF`` with the lines up to its end mark."""

    name: str
    content: str
    """As it stands, with its tabs even for ``<<-``."""
    expand: bool
    """The end mark was not quoted: variables in it are expanded, by us for COPY, by the shell for RUN."""
    chomp: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """A command in its shell form (one text) or its exec form (a JSON list)."""

    words: tuple[str, ...]
    is_exec: bool


@dataclass(frozen=True, slots=True)
class From:
    image: str
    """A reference, ``scratch``, or the name of a stage above."""
    name: str | None = None
    """``AS name``, in small letters."""
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Arg:
    pairs: tuple[tuple[str, str | None], ...]
    """Name and default; None: no default."""


@dataclass(frozen=True, slots=True)
class Env:
    pairs: tuple[tuple[str, str], ...]
    is_old: bool = False
    """``ENV name value``, without an equals sign: the rest of the line is one value."""


@dataclass(frozen=True, slots=True)
class Label:
    pairs: tuple[tuple[str, str], ...]
    is_old: bool = False


@dataclass(frozen=True, slots=True)
class RunMount:
    """``--mount=type=…`` of a RUN; what is not written is None."""

    kind: str = "bind"
    """``bind``, ``cache``, ``tmpfs``, ``secret`` or ``ssh``."""
    target: str | None = None
    source: str | None = None
    from_: str | None = None
    """A stage or an image; None: the build context (bind), or nothing (cache)."""
    id: str | None = None
    read_only: bool | None = None
    sharing: str = "shared"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size: int | None = None
    """Bytes, of a tmpfs."""
    required: bool = False
    env: str | None = None
    """A secret's variable."""


@dataclass(frozen=True, slots=True)
class Run:
    command: Words
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    """Of ``--mount``, as written: variables in them are expanded before they are read (``mounts.py``)."""
    network: str | None = None
    """``none``, ``default`` or ``host``."""


@dataclass(frozen=True, slots=True)
class Copy:
    sources: tuple[str, ...]
    """Paths or patterns, without the markers of heredocs."""
    target: str
    from_: str | None = None
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Add:
    copy: Copy
    checksum: str | None = None
    unpack: bool | None = None
    """None: local archives are, what comes from an address is not."""


@dataclass(frozen=True, slots=True)
class Cmd:
    command: Words


@dataclass(frozen=True, slots=True)
class Entrypoint:
    command: Words


@dataclass(frozen=True, slots=True)
class Shell:
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    user: str


@dataclass(frozen=True, slots=True)
class Workdir:
    path: str


@dataclass(frozen=True, slots=True)
class Expose:
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopSignal:
    signal: str


@dataclass(frozen=True, slots=True)
class Healthcheck:
    command: Words | None
    """None: ``NONE``, which also takes back a base's."""
    interval: int = 0
    """Nanoseconds, as an image config has them; 0: the engine's default."""
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Maintainer:
    name: str


@dataclass(frozen=True, slots=True)
class Onbuild:
    text: str
    """The instruction as it is written; it is read when an image is built from this one."""


What = (
    From | Arg | Env | Label | Run | Copy | Add | Cmd | Entrypoint | Shell | User | Workdir | Expose | Volume
    | StopSignal | Healthcheck | Maintainer | Onbuild
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction and where it stands."""

    what: What
    line: int
    """Its first line, from 1; 0: it is not in the file, but a base's ONBUILD."""
    text: str
    """As written, lines joined, heredocs left out."""
    last: int = 0
    """Its last line."""


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file."""

    name: str
    """For messages: ``docker/train.Dockerfile``."""
    instructions: tuple[Instruction, ...]
    escape: str = "\\"
    """The escape character: ``# escape=`` may set it to a backtick."""
    syntax: str | None = None
    """``# syntax=``: a frontend that Docker would fetch and run; never done here (THREATS F10)."""
