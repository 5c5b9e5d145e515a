"""``trainload doctor``: what works on this machine, tried for real, and what mends the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.render import colours
from trainload.cli.units import cells, pad
from trainload.cli.world import World
from trainload.errors import Text, TrainloadError

if TYPE_CHECKING:
    from trainload.doctor.examine import Project
    from trainload.doctor.finding import Finding
    from trainload.doctor.network import Server
    from trainload.lock.model import Lock
    from trainload.project.config import Sources

_TINTS = {"ok": "\x1b[32m", "warning": "\x1b[1;33m", "problem": "\x1b[1;31m"}
_OFF = "\x1b[0m"
_DEFAULT_INDEX = re.compile(r"by\s+default:\s+<(https?://[^>\s]+)>")
"""Where uv's help names its own default."""
_ALTERNATIVES = 4
"""Mirrors of a distribution that are asked at once."""
_QUICK = 2.0
"""Seconds for one server."""


@click.command()
@pass_world
def command(world: World) -> int:
    """Try each piece on this machine, and say what mends those that do not work.

    The sandbox runs a tiny program; Docker, Podman, the GPU's driver, the disk, mirrors and registries are asked.
    Exit code 1: something stands in the way of `trainload run`.
    """
    from trainload.doctor.examine import examine
    from trainload.doctor.finding import Status
    from trainload.doctor.here import Here
    from trainload.system.http import Retry

    world.http.connect_timeout = world.http.stall_timeout = _QUICK
    world.http.retry = Retry(tries=1)
    machine = Here(world.environ, world.now, world.home, world.http)
    findings = examine(machine, _project(world))
    problems = sum(one.status is Status.PROBLEM for one in findings)
    world.result(
        {"ok": not problems, "findings": [_document(world, one) for one in findings]}, _lines(world, findings)
    )
    if problems:
        world.warn(Text("problems that stand in the way of trainload run: {count}", count=problems))
    return 1 if problems else 0


def _project(world: World) -> Project:
    """The project in this folder, if there is one that can be read; its own verbs tell what is wrong with it."""
    from trainload.doctor.examine import Project
    from trainload.project import keys
    from trainload.project.config import read_sources
    from trainload.system.tree import DiskTree

    try:
        sources = read_sources(DiskTree(world.cwd), {}, world.environ)
    except TrainloadError as error:
        world.warn(error.text)
        return Project(str(world.home))
    gpus = sources.choose(keys.GPUS).value
    return Project(str(world.home), tuple(_servers(world, sources)), gpus not in (None, "none", "0"), _lock(world))


def _lock(world: World) -> Lock | None:
    from trainload.lock.toml import FILE_NAME, loads

    path = world.cwd / FILE_NAME
    try:
        return loads(path.read_bytes(), FILE_NAME) if path.is_file() else None
    except (OSError, TrainloadError):
        return None


def _servers(world: World, sources: Sources) -> Iterator[Server]:
    """Who would be asked by a lock or a build."""
    from trainload.doctor.network import Server
    from trainload.project import keys

    index = (*sources.choose(keys.MIRRORS_PYPI).value, sources.choose(keys.INDEX).value)
    for url in [url for url in index if url] or _usual_index(world):
        yield Server(url, "TRAINLOAD_MIRRORS_PYPI=https://…/simple")
    base = sources.choose(keys.BASE).value
    distribution = "ubuntu" if base in ("apt:jammy", "apt:noble") else "debian"
    yield from _archives(distribution, sources.choose(keys.MIRRORS_APT).value)
    registries = list(sources.choose(keys.MIRRORS_REGISTRY).value)
    if not base.startswith("apt:"):
        from trainload.reference import Reference

        registries.append(Reference.parse(base).domain)
    try:
        for registry in dict.fromkeys(registries):
            for endpoint in world.hosts.readers(registry)[:2]:
                yield Server(f"{endpoint.base}/v2/", f"TRAINLOAD_MIRRORS_REGISTRY={registry}=https://…")
    except TrainloadError as error:
        world.warn(error.text)


def _usual_index(world: World) -> list[str]:
    """What uv would ask: its environment says so, or its help; empty when neither can be read."""
    from uv import find_uv_bin

    from trainload.system.process import run

    wished = world.environ.get("UV_DEFAULT_INDEX") or world.environ.get("UV_INDEX_URL")
    if wished:
        return [wished]
    try:
        said = run([find_uv_bin(), "pip", "compile", "--help"], env={**world.environ, "NO_COLOR": "1"}).stdout
    except (FileNotFoundError, TrainloadError):
        return []
    found = _DEFAULT_INDEX.search(said.decode("utf-8", "replace"))
    return [f"{found[1].rstrip('/')}/"] if found else []


def _archives(distribution: str, wished: Sequence[str]) -> Iterator[Server]:
    """The mirrors that are configured; without any, those that a lock would try one after the other."""
    from trainload.doctor.network import Server
    from trainload.resolve.archives import find_archives

    variable = "TRAINLOAD_MIRRORS_APT=https://…/{distribution}"
    for url in wished:
        yield Server(f"{url.format(distribution=distribution)}/", variable)
    if not wished:
        for root in find_archives().of(distribution)[:_ALTERNATIVES]:
            yield Server(f"{root.url}/", variable, distribution)


def _document(world: World, one: Finding) -> dict[str, object]:
    return {
        "piece": one.piece.template.format(**one.piece.values),
        "status": one.status,
        "text": world.translate(one.text),
        "tried": one.tried,
        "mend": list(one.mend),
    }


def _lines(world: World, findings: Sequence[Finding]) -> list[str]:
    colour = colours(world.stdout, world.environ)
    words = {one.status: world.translate(_WORDS[one.status]) for one in findings}
    pieces = [world.translate(one.piece) for one in findings]
    width, wide = max(map(cells, words.values())), max(map(cells, pieces))
    lines = []
    for one, piece in zip(findings, pieces, strict=True):
        word = pad(words[one.status], width)
        word = f"{_TINTS[one.status]}{word}{_OFF}" if colour else word
        lines.append(f"{word}  {pad(piece, wide)}  {world.translate(one.text)}")
        lines += [f"{' ' * (width + wide + 4)}$ {step}" for step in one.mend]
    return lines


_WORDS = {"ok": Text("ok"), "warning": Text("warning"), "problem": Text("problem")}
