"""``trainload shell``: look around in an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.running import Given, for_project, perform, run_options, stored_image, with_code
from trainload.cli.wishes import build_options
from trainload.cli.world import World

if TYPE_CHECKING:
    from trainload.pipeline import Wishes

# bash where there is one; the image decides, not we
_SHELL = ("-c", "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi")


@click.command(context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]})
@click.argument("image", required=False)
@pass_world
@build_options
@run_options
def command(world: World, given: Given, wishes: Wishes, *, image: str | None) -> int:
    """Open a shell in the project's image, built first if needed, or in another."""
    if image is None:
        from trainload.cli.project import project_target

        target, defaults = project_target(world, wishes)
        request = for_project(world, given, target, defaults)
    else:
        target = stored_image(world, image, wishes.flags)
        request = with_code(world, given.request, target) if given.code else given.request
    if request.entrypoint is None:
        request = replace(request, entrypoint="sh", arguments=_SHELL)
    return perform(world, target, request, given.way)
