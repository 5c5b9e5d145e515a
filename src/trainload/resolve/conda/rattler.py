"""rattler at the edge: one question to its solver, and its complaints in our words. Imported only when asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from trainload.errors import LockError, Text
from trainload.project.model import ChannelPriority

if TYPE_CHECKING:
    from rattler import RepoDataRecord

_CREDENTIALS = re.compile(r"://[^/\s@]*@|/t/[^/\s]+")


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be solved, for one platform."""

    channels: tuple[str, ...]
    """Addresses by priority."""
    specs: tuple[str, ...]
    subdir: str
    """``linux-64`` or ``linux-aarch64``."""
    virtual: tuple[tuple[str, str, str], ...]
    """(name, version, build) of what the target system has: ``__glibc``, ``__cuda`` …"""
    priority: ChannelPriority
    cache: Path
    """Where indexes are kept."""
    offline: bool = False
    installed: tuple[bytes, ...] = ()
    """``conda-meta/*.json`` of packages that are there already: they are kept where they fit."""
    pip_with_python: bool = False
    """Python brings pip, as conda's own tools have it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One package of an answer, as the index has it; nothing of it was judged yet."""

    name: str
    version: str
    build: str
    url: str
    subdir: str
    size: int | None
    sha256: str
    """Hexadecimal; empty when the index has none."""
    noarch: str
    depends: tuple[str, ...]
    constrains: tuple[str, ...]
    site_packages: str = ""


class UnreachableError(LockError):
    """A channel could not be read; another address of it may be tried."""


def module() -> ModuleType:
    """rattler. Raises :class:`LockError` naming the extra where it is not installed."""
    try:
        import rattler
    except ImportError as error:
        raise LockError(
            "conda environments need rattler, which is not installed",
            hints=[Text("install it with Trainload: pip install 'trainload[conda]'")],
        ) from error
    return rattler


def usual_alias() -> str:
    """The address that conda's tools take names of channels to be below."""
    address: str = module().Channel("channel").base_url
    return address.rstrip("/").removesuffix("/channel")


def solve(question: Question, preferred: Sequence[Record] = ()) -> tuple[Record, ...]:
    """The packages that fulfil the question, sorted by name; ``preferred`` are kept where they fit.

    Raises :class:`LockError` with the solver's reason, and :class:`UnreachableError`.
    """
    rattler = module()
    from rattler.exceptions import FetchRepoDataError, GatewayError, InvalidMatchSpecError, IoError, SolverError

    try:
        found: list[RepoDataRecord] = asyncio.run(_asked(rattler, question, preferred))
    except SolverError as error:
        raise LockError(
            Text("the conda packages contradict each other, or are not in the channels"),
            got=_essence(str(error)),
            hints=[Text("loosen a version, or name another channel: channel::package")],
        ) from error
    except InvalidMatchSpecError as error:
        raise LockError("a dependency is not as conda writes it", got=_essence(str(error))) from error
    except (GatewayError, FetchRepoDataError, IoError, OSError) as error:
        raise UnreachableError(
            "a conda channel could not be read",
            got=_essence(str(error)),
            hints=[
                Text("check its name and the network; mirrors.conda in [tool.trainload] names one you can reach")
            ],
            retryable=True,
        ) from error
    return tuple(sorted((_record(each) for each in found), key=lambda record: record.name))


async def _asked(rattler: ModuleType, question: Question, preferred: Sequence[Record]) -> list[RepoDataRecord]:
    from rattler.repo_data.gateway import SourceConfig

    config = SourceConfig(cache_action="force-cache-only" if question.offline else "cache-or-fetch")
    gateway = rattler.Gateway(cache_dir=question.cache, default_config=config)
    priorities = {
        ChannelPriority.STRICT: rattler.ChannelPriority.Strict,
        ChannelPriority.FLEXIBLE: rattler.ChannelPriority.Flexible,
        ChannelPriority.DISABLED: rattler.ChannelPriority.Disabled,
    }
    sources = [rattler.Channel(f"{address}/") for address in question.channels]
    platforms = [rattler.Subdir(question.subdir), rattler.Subdir("noarch")]
    locked = await _still_there(rattler, gateway, sources, platforms, preferred)
    answer: list[RepoDataRecord] = await rattler.solve(
        sources=sources,
        specs=[rattler.MatchSpec(spec) for spec in question.specs],
        gateway=gateway,
        platforms=platforms,
        locked_packages=[*locked, *_installed(rattler, question.installed)],
        virtual_packages=[
            rattler.GenericVirtualPackage(
                rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
            )
            for name, version, build in question.virtual
        ],
        channel_priority=priorities[question.priority],
        add_pip_as_python_dependency=question.pip_with_python,
        channel_relations="disabled",  # the channels are those that were named, and no others
    )
    return answer


def _installed(rattler: ModuleType, documents: Sequence[bytes]) -> list[RepoDataRecord]:
    if not documents:
        return []
    from trainload.system import scratch

    found: list[RepoDataRecord] = []
    with scratch.folder("conda-meta") as folder:
        for number, data in enumerate(documents):
            path = folder / f"{number}.json"
            path.write_bytes(data)
            found.append(rattler.PrefixRecord.from_path(path))
    return found


async def _still_there(
    rattler: ModuleType,
    gateway: object,
    sources: Sequence[object],
    platforms: Sequence[object],
    preferred: Sequence[Record],
) -> list[RepoDataRecord]:
    """The records of the last lock that the channels still have."""
    if not preferred:
        return []
    wanted = {(each.name, each.version, each.build, each.subdir) for each in preferred}
    specs = [rattler.MatchSpec(f"{each.name}=={each.version}={each.build}") for each in preferred]
    query = gateway.query  # type: ignore[attr-defined]
    answers: list[list[RepoDataRecord]] = await query(
        sources=sources, platforms=platforms, specs=specs, recursive=False
    )
    return [
        record
        for records in answers
        for record in records
        if (record.name.normalized, str(record.version), str(record.build), record.subdir) in wanted
    ]


def _record(found: RepoDataRecord) -> Record:
    noarch = found.noarch
    return Record(
        name=found.name.normalized,
        version=str(found.version),
        build=str(found.build),
        url=found.url,
        subdir=found.subdir,
        size=found.size,
        sha256=found.sha256.hex() if found.sha256 is not None else "",
        noarch="python" if noarch.python else "generic" if noarch.generic else "",
        depends=tuple(found.depends),
        constrains=tuple(found.constrains),
        site_packages=found.python_site_packages_path or "",
    )


def _essence(text: str) -> str:
    """A complaint on one line, without credentials (THREATS C09)."""
    line = " ".join(_CREDENTIALS.sub("://…@" if "@" in text else "/t/…", text).split())
    return line if len(line) <= 800 else line[:799] + "…"
