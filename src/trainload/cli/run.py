"""``trainload run``: the project in this folder, or an image as Docker runs it."""

from __future__ import annotations

import click

from trainload.cli.dockerfiles import late_dockerfile_options
from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.running import for_project, perform, stored_image, with_code
from trainload.cli.runoptions import Given, run_options
from trainload.cli.wishes import Later, late_build_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.values import replace

_BREAK = "\0--"  # where the user wrote -- ; click forgets it, and no argument can hold a NUL


class RunCommand(click.Command):
    """Keeps apart ``run IMAGE ARGS`` and ``run -- ARGS``, and leaves the program's own options alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args = [*args[: at + 1], _BREAK, *args[at + 1 :]]
        return super().parse_args(ctx, args)


def image_and_arguments(words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """``IMAGE ARGS…``, ``IMAGE -- ARGS…`` or ``-- ARGS…``; a later ``--`` is the program's own."""
    if not words:
        return None, ()
    if words[0] == _BREAK:
        return None, words[1:]
    image, *rest = words
    if rest[:2] == ["--", _BREAK]:
        return image, tuple(rest[2:])
    return image, tuple(word for word in rest if word != _BREAK)


def given_on(given: Given, on: str | None, *, debug: bool) -> Given:
    """The command line with its server. Raises :class:`UsageError` for what only works here."""
    if on is None:
        return given
    if given.code or debug:
        option = "--debug" if debug else "--code"
        raise UsageError(Text("{option} and --on exclude each other", option=option))
    return replace(given, way=replace(given.way, on=on))


@click.command(cls=RunCommand, context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]})
@click.argument("words", metavar="[IMAGE] [-- ARGS…]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--debug",
    is_flag=False,
    flag_value="0",
    type=click.IntRange(0, 65535),
    metavar="[PORT]",
    help="Under debugpy: an editor attaches at PORT; default: 5678.",
)
@click.option("--debug-no-wait", is_flag=True, help="With --debug: begin before the editor is there.")
@on_option
@click.option("--built", metavar="DIGEST", hidden=True)  # as `trainload dev` built it: nothing is looked at again
@pass_world
@late_build_options
@late_dockerfile_options(runs=True)
@run_options
def command(
    world: World, given: Given, later: Later, *, words: tuple[str, ...], built: str | None, on: str | None,
    **options: int | None,
) -> int:  # fmt: skip
    """Run the project in this folder, built first if needed, or an image.

    ARGS are added to the project's command; after an IMAGE they replace its command, as in Docker. What the
    project writes to ./outputs stays here.

    With --on it is built here, shipped and run on a server, where it goes on when the connection is lost. What it
    writes to ./outputs is brought back at its end.
    """
    given = given_on(given, on, debug=options["debug"] is not None)
    image, arguments = image_and_arguments(words)
    if options["debug"] is not None:
        from trainload.cli.debugging import Debugging, run_debugged

        asked = Debugging(image, arguments, options["debug"] or None, wait=not options["debug_no_wait"])
        return run_debugged(world, given, later, asked)
    if image is None:
        from trainload.cli.project import built_target, project_target

        if built is not None:
            target, defaults = built_target(world, later.flags, built)
        else:
            own = not arguments and given.request.entrypoint is None
            target, defaults = project_target(world, later.make(), runs=own)
        request = for_project(world, given, target, defaults)
        way = replace(given.way, watched=built is not None)
        return perform(world, target, replace(request, arguments=arguments, append=True), way)
    target = stored_image(world, image, later.flags)
    request = replace(given.request, arguments=arguments)
    request = with_code(world, request, target) if given.code else request
    return perform(world, target, request, given.way)
