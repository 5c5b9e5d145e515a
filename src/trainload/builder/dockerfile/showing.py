"""What a RUN sees besides its layers: caches, secrets, files of the context or of other stages."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trainload.builder.dockerfile.bench import Bench, Secret, Wanted
from trainload.builder.dockerfile.takes import Item, Source, Taken
from trainload.dockerfile.model import RunMount
from trainload.dockerfile.understood import PROGRAMS, RunLine
from trainload.errors import ConfigError, Place, Text
from trainload.layers.tarread import MemberKind
from trainload.plan.lines import JobMount, LineMount
from trainload.system import scratch
from trainload.values import dataclass

SECRETS = "/run/secrets"  # BuildKit: where a secret lies unless its mount says otherwise
_AGENT = "default"  # BuildKit: which agent a mount of type ssh means
Sources = Callable[[str | None], Source]
"""``from=`` of a mount → where it looks; None: the build context."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Ready to be seen by one RUN."""

    mounts: tuple[JobMount, ...]
    env: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Bind:
    mount: RunMount
    taken: Taken


def keys(line: RunLine, sources: Sources, place: Place) -> tuple[LineMount, ...]:
    """The part of the recipe. Raises :class:`ConfigError` for what is refused."""
    found = []
    for mount in line.mounts:
        content = _bind(mount, sources, place).taken.content if mount.kind == "bind" else ""
        found.append(LineMount(mount.kind, mount.target or "", content))
    if _is_program(line):
        found.append(LineMount("bind", line.argv[0], hashlib.sha256((line.script or "").encode()).hexdigest()))
    return tuple(found)


def _is_program(line: RunLine) -> bool:
    """A heredoc that names its own interpreter, and is executed as a file."""
    return line.script is not None and line.argv[0].startswith(f"{PROGRAMS}/")


@contextmanager
def shown(bench: Bench, line: RunLine, sources: Sources, place: Place) -> Iterator[Shown]:
    """The mounts of ``line``, for as long as it runs."""
    mounts: list[JobMount] = []
    env: list[tuple[str, str]] = []
    with ExitStack() as stack:
        folder = stack.enter_context(scratch.folder("mounts"))
        folder.chmod(0o711)  # what is mounted is for the line's user, too
        for number, mount in enumerate(line.mounts):
            here = folder / str(number)
            match mount.kind:
                case "bind":
                    made = _fill(here, _bind(mount, sources, place).taken)
                    mounts.append(JobMount(str(made), mount.target or "", mount.read_only is not False))
                case "cache":
                    mounts.append(_cache(bench, mount, sources, place, stack))
                case "tmpfs":
                    here.mkdir(mode=0o755)
                    mounts.append(JobMount(str(here), mount.target or ""))
                case "secret":
                    _secret(bench, mount, here, place, (mounts, env))
                case _:
                    agent = stack.enter_context(_agent(bench, mount, here, place))
                    mounts += [JobMount(str(agent), _socket_of(line, mount))] if agent is not None else []
                    env += [("SSH_AUTH_SOCK", _socket_of(line, mount))] if agent is not None else []
        if _is_program(line):
            program = folder / "program"
            program.write_bytes((line.script or "").encode("utf-8", "surrogateescape"))
            program.chmod(0o755)
            mounts.append(JobMount(str(program), line.argv[0], read_only=True))
        yield Shown(tuple(mounts), tuple(env))


def not_given(line: RunLine, wanted: Wanted) -> Iterator[Text]:
    """A line may go on without a secret or an agent that is not required (BuildKit), and often fails."""
    for mount in line.mounts:
        name = mount.id or posixpath.basename(mount.target or "")
        if mount.kind == "secret" and name not in wanted.secrets:
            yield Text("the secret {name} is not given: --secret id={name},src=FILE", name=name)
        if mount.kind == "ssh" and (mount.id or _AGENT) not in wanted.agents:
            yield _agent_missing(mount.id or _AGENT)


def _agent_missing(name: str) -> Text:
    return Text(
        "the ssh agent {name} is not given: --ssh {name}, and --network default to reach anything", name=name
    )


def _socket_of(line: RunLine, mount: RunMount) -> str:
    """Where the line finds the agent, as with BuildKit."""
    number = [one for one in line.mounts if one.kind == "ssh"].index(mount)
    return mount.target or f"/run/buildkit/ssh_agent.{number}"


@contextmanager
def _agent(bench: Bench, mount: RunMount, here: Path, place: Place) -> Iterator[Path | None]:
    """A socket that leads to the agent; None: it is not given, and the line can do without."""
    name = mount.id or _AGENT
    given = bench.wanted.agents.get(name)
    if given is None:
        if mount.required:
            raise ConfigError(Text("the ssh agent {id} is not given", id=name), place=place,
                              hints=[_agent_missing(name)])  # fmt: skip
        yield None
        return
    from trainload.system.relay import relayed

    with ExitStack() as stack:
        try:
            socket = stack.enter_context(relayed(given, here))
        except OSError as error:
            raise ConfigError(
                Text("nothing answers at the socket of the ssh agent {id}: {reason}", id=name,
                     reason=error.strerror),
                place=place, got=given, hints=[Text('start one and give it a key: eval "$(ssh-agent)"; ssh-add')],
            ) from error  # fmt: skip
        socket.chmod(mount.mode if mount.mode is not None else 0o600)
        _give(socket, mount)
        yield socket


def _bind(mount: RunMount, sources: Sources, place: Place) -> _Bind:
    source = sources(mount.from_)
    if mount.from_ is None and (mount.source or "").strip() in ("/", "//") and mount.source != ".":
        raise ConfigError(  # THREATS F11, CVE-2024-1753
            Text("a bind mount shows files of the build context, not of this machine"), place=place,
            got=f"source={mount.source}", want="source=. or a path in the context",
        )  # fmt: skip
    return _Bind(mount, source.take(mount.source or ".", (), place)[0])


def _fill(here: Path, taken: Taken) -> Path:
    """The files in a folder of their own: what .dockerignore leaves out is not seen, nothing of ours is changed."""
    for _, items in taken.found():
        for item in items:
            _put(here, item)
        break
    return here


def _put(here: Path, item: Item) -> None:
    path = here / item.path if item.path else here
    if item.kind is MemberKind.DIRECTORY:
        path.mkdir(mode=0o755, exist_ok=True)
        path.chmod(0o755)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if item.kind is MemberKind.SYMLINK:
        path.symlink_to(item.target)
        return
    assert item.chunks is not None
    with path.open("wb") as file:
        for piece in item.chunks():
            file.write(piece)
    path.chmod(item.mode & 0o777)


def _cache(bench: Bench, mount: RunMount, sources: Sources, place: Place, stack: ExitStack) -> JobMount:
    name = hashlib.sha256((mount.id or mount.target or "").encode()).hexdigest()[:32]
    folder = bench.caches / name
    if mount.sharing == "private":
        folder = stack.enter_context(scratch.folder("cache"))
    if not folder.exists() or mount.sharing == "private":
        folder.mkdir(parents=True, exist_ok=True)
        if mount.from_ is not None:
            _fill(folder, sources(mount.from_).take(mount.source or ".", (), place)[0])
        folder.chmod(mount.mode if mount.mode is not None else 0o755)
        _give(folder, mount)
    if mount.sharing == "locked":
        stack.enter_context(bench.shop.store.lock(f"mount-{name}"))
    return JobMount(str(folder), mount.target or "", bool(mount.read_only))


def _give(path: Path, mount: RunMount) -> None:
    """To the user the mount names, where we may."""
    if os.geteuid() == 0 and (mount.uid or mount.gid):
        os.chown(path, mount.uid, mount.gid)


def _secret(
    bench: Bench,
    mount: RunMount,
    here: Path,
    place: Place,
    out: tuple[list[JobMount], list[tuple[str, str]]],
) -> None:
    name = mount.id or (mount.target or "").rpartition("/")[2]
    given = bench.wanted.secrets.get(name)
    if given is None:
        if mount.required:
            raise ConfigError(
                Text("the secret {id} is not given", id=name), place=place,
                hints=[Text("give it: --secret id={id},src=FILE", id=name)],
            )  # fmt: skip
        return
    data = _read(bench, given, name)
    mounts, env = out
    if mount.env is not None:
        env.append((mount.env, data.decode("utf-8", "surrogateescape")))
    if mount.env is None or mount.target is not None:
        here.write_bytes(data)
        here.chmod(mount.mode if mount.mode is not None else 0o400)
        _give(here, mount)
        mounts.append(JobMount(str(here), mount.target or f"{SECRETS}/{name}", read_only=True))


def _read(bench: Bench, secret: Secret, name: str) -> bytes:
    if secret.variable is not None:
        value = bench.environ.get(secret.variable)
        if value is None:
            raise ConfigError(Text("the secret {id} is not given", id=name), got=f"env={secret.variable}")
        return value.encode("utf-8", "surrogateescape")
    path = Path(secret.file or name)
    try:
        return (bench.root / path).read_bytes()
    except OSError as error:
        text = Text("the secret {id} cannot be read: {reason}", id=name, reason=error.strerror)
        raise ConfigError(text, place=Place(str(path))) from error
