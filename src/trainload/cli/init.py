"""``trainload init``: writes what was found as a commented configuration, and explains it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.world import World
from trainload.errors import ConfigError, Place, Text
from trainload.project.model import Origin, Project
from trainload.tree import Tree

if TYPE_CHECKING:
    from trainload.project.starter import Configured

_WORDS = {
    Origin.FLAG: Text("given"), Origin.ENVIRONMENT: Text("environment"), Origin.FILE: Text("configured"),
    Origin.DETECTED: Text("found"), Origin.DEFAULT: Text("default"),
}  # fmt: skip


@click.command()
@click.option(
    "--force", is_flag=True, help="Write the configuration anew; what it sets is kept, its comments are not."
)
@pass_world
def command(world: World, *, force: bool) -> None:
    """Write a commented configuration and explain what was found.

    It goes into [tool.trainload] of pyproject.toml where there is one, else into trainload.toml.
    """
    from trainload.project.config import read_sources
    from trainload.project.detect import read_project
    from trainload.system.files import replace
    from trainload.system.tree import DiskTree

    tree = DiskTree(world.cwd)
    file = _file(tree, force=force)
    # this machine's variables are not the project's: a lock made elsewhere must be the same
    project = read_project(tree, environ={k: v for k, v in world.environ.items() if not k.startswith("TRAINLOAD_")})
    configured = read_sources(tree, {}, {}).own
    replace(world.cwd / file, _document(tree, file, project, configured))
    _explain(world, project, configured, file)


def _file(tree: Tree, *, force: bool) -> str:
    from trainload.project.config import OWN, PYPROJECT
    from trainload.project.document import read_toml, table_at

    file, place = OWN, Place(OWN)
    there = tree.find(OWN) is not None
    if not there and tree.find(PYPROJECT) is not None:
        file, place = PYPROJECT, Place(PYPROJECT, "tool.trainload")
        there = "trainload" in table_at(read_toml(tree, PYPROJECT), "tool")
    if there and not force:
        raise ConfigError(
            Text("there is a configuration already; nothing was written"),
            place=place,
            hints=[Text("edit it, or write it anew with trainload init --force")],
        )
    return file


def _document(tree: Tree, file: str, project: Project, configured: Configured) -> bytes:
    from trainload.project.config import OWN
    from trainload.project.document import LIMIT
    from trainload.project.starter import Renderer, starter

    if file == OWN:
        return (starter(project, configured, "", Renderer()) + _variants(tree, file)).encode()
    old = tree.read(file, limit=LIMIT)
    text = starter(project, configured, "tool.trainload", Renderer()) + _variants(tree, file, "tool", "trainload")
    return with_table(old, text, Path(file).name)


def _variants(tree: Tree, file: str, *path: str) -> str:
    """The variants, which are kept as they are."""
    from trainload.project.config import VARIANTS
    from trainload.project.document import read_toml, table_at

    found = table_at(read_toml(tree, file), *path, VARIANTS) if tree.find(file) is not None else {}
    if not found:
        return ""
    import tomlkit

    table: dict[str, object] = {VARIANTS: dict(found)}
    for part in reversed(path):
        table = {part: table}
    return "\n" + tomlkit.dumps(table)


def with_table(old: bytes, table_text: str, file: str) -> bytes:
    """``old`` with ``[tool.trainload]`` made new at the end; every other byte stays, as do its line ends.

    Raises :class:`ConfigError` when the document is written so that a table cannot be put at its end.
    """
    text = old.decode("utf-8-sig")
    mark = b"\xef\xbb\xbf" if old.startswith(b"\xef\xbb\xbf") else b""
    end = "\r\n" if "\r\n" in text else "\n"
    before = tomllib.loads(text)
    if "trainload" in before.get("tool", {}):
        text = _without_table(text)
    body = text.rstrip("\r\n")
    new = (body + end + end if body else "") + table_text.replace("\n", end)
    try:
        after = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        after = {}
    if _rest(after) != _rest(before):
        raise ConfigError(
            Text("a table cannot be added to this file; nothing was written"),
            place=Place(file, "tool"),
            hints=[Text("write [tool] as tables of their own, or put the configuration into trainload.toml")],
        )
    return mark + new.encode()


def _without_table(text: str) -> str:
    import tomlkit
    from tomlkit.container import Container
    from tomlkit.items import AbstractTable

    document = tomlkit.parse(text)
    tool = document["tool"]
    if isinstance(tool, AbstractTable | Container):
        tool.remove("trainload")
    return tomlkit.dumps(document)


def _rest(document: Mapping[str, object]) -> dict[str, object]:
    tool = document.get("tool")
    others = {key: value for key, value in tool.items() if key != "trainload"} if isinstance(tool, dict) else {}
    return {**{key: value for key, value in document.items() if key != "tool"}, "tool": others}


def _explain(world: World, project: Project, configured: Configured, file: str) -> None:
    from trainload.project.starter import Renderer, guesses

    render = Renderer()
    found = guesses(project, configured)
    told = [
        guess for guess in found if guess.origin is not Origin.DEFAULT or guess.key in ("base", "python", "command")
    ]
    rows = [
        [guess.key, "" if guess.value is None else render(guess.value), _WORDS[guess.origin], guess.reason]
        for guess in told
    ]
    world.result(
        {
            "file": file,
            "values": {
                guess.key: {
                    "value": guess.value,
                    "origin": str(guess.origin),
                    "reason": world.translate(guess.reason),
                }
                for guess in found
            },
        },
        table([Text("KEY"), Text("VALUE"), Text("FROM"), Text("WHY")], rows, world.catalogue),
    )
    for warning in project.warnings:
        world.warn(warning)
    world.say(Text("wrote {file}; change a value there, or see what goes in with trainload plan", file=file))
