"""Options every verb takes, before or after its name, and how a verb gets its World."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Concatenate, ParamSpec, TextIO, TypeVar

import click

from trainload.cli.texts import LANGUAGES, Catalogue
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.system import host
from trainload.values import dataclass

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Start:
    """What the process gives us, and what the global options make of it while click reads the command line."""

    environ: Mapping[str, str]
    cwd: Path | None
    """None: the current folder is gone."""
    stdout: TextIO
    stderr: TextIO
    catalogue: Catalogue
    json: bool = False
    quiet: bool = False
    home: str | None = None
    directory: str | None = None
    folder: str | None = None
    """The project's folder as an argument of the verb, as ``docker build FOLDER`` has it."""
    insecure: tuple[str, ...] = ()
    """Registries named by ``--insecure-registry``."""
    authorities: tuple[str, ...] = ()
    """Files named by ``--registry-ca``."""


def _keep(name: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
        if value:
            setattr(started(ctx), name, value)

    return keep


def _nothing(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """``--lang`` was read before anything else, so that errors of the command line are in that language too."""


def everywhere(*, hidden: bool) -> list[click.Parameter]:
    """The global options; ``hidden`` on verbs, where the epilog names them."""
    return [
        click.Option(
            ["-C", "--directory"], metavar="FOLDER", expose_value=False, hidden=hidden, callback=_keep("directory"),
            help="Work as if called in FOLDER.",
        ),
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, hidden=hidden, callback=_keep("quiet"),
            help="Say nothing but warnings and errors.",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, hidden=hidden, callback=_keep("json"),
            help="Print the result as one JSON document on stdout.",
        ),
        click.Option(
            ["--lang"], type=click.Choice(list(LANGUAGES)), expose_value=False, hidden=hidden, callback=_nothing,
            help="Language of messages; default: the locale's.",
        ),
        click.Option(
            ["--home"], metavar="FOLDER", expose_value=False, hidden=hidden, callback=_keep("home"),
            help="Where images and caches are kept; default: $TRAINLOAD_HOME, else the user's data folder.",
        ),
    ]  # fmt: skip


def registry_options(verb: Callable[P, R]) -> Callable[P, R]:
    """How registries are spoken to: for verbs that do; the World knows it then."""
    verb = click.option(
        "--registry-ca", multiple=True, metavar="FILE", type=click.Path(exists=True, dir_okay=False),
        expose_value=False, callback=_keep("authorities"),
        help="A certificate authority that may vouch for registries (PEM).",
    )(verb)  # fmt: skip
    return click.option(
        "--insecure-registry", multiple=True, metavar="HOST[:PORT]", expose_value=False, callback=_keep("insecure"),
        help="A registry that may be spoken to without TLS, or with TLS nobody vouches for.",
    )(verb)  # fmt: skip


def folder_argument(verb: Callable[P, R]) -> Callable[P, R]:
    """``trainload build .``: who comes from Docker names the folder last."""
    return click.argument(
        "folder", required=False, expose_value=False, callback=_keep("folder"), metavar="[FOLDER]"
    )(verb)


def started(ctx: click.Context) -> Start:
    start = ctx.find_root().obj
    assert isinstance(start, Start)
    return start


def world_of(ctx: click.Context) -> World:
    """The command's World. Raises :class:`UsageError` when the folder to work in is not there."""
    start = started(ctx)
    if start.cwd is None:
        raise UsageError(Text("the current folder does not exist any more"), hints=[Text("cd into another folder")])
    cwd = start.cwd / (start.directory or "") / (start.folder or "")
    if not cwd.is_dir():
        raise UsageError(Text("{folder} is not a folder", folder=cwd))
    environ = {**start.environ, **({"TRAINLOAD_HOME": str(start.cwd / start.home)} if start.home else {})}
    world = World(
        home=host.data_home(environ, start.cwd),
        cwd=cwd,
        environ=environ,
        now=host.now(),
        cpus=host.cpu_count(),
        json=start.json,
        quiet=start.quiet,
        catalogue=start.catalogue,
        stdout=start.stdout,
        stderr=start.stderr,
        insecure=start.insecure,
        authorities=start.authorities,
    )
    ctx.call_on_close(world.close)
    return world


def pass_world(verb: Callable[Concatenate[World, P], R]) -> Callable[P, R]:
    """Gives a verb its World as first argument; put it below the options."""

    @functools.wraps(verb)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        return verb(world_of(click.get_current_context()), *args, **kwargs)

    return called
