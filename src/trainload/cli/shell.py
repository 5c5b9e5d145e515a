"""``trainload shell``: look around in an image, with the project's folder as it is now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.running import for_project, perform, stored_image, with_code
from trainload.cli.runoptions import Given, run_options
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError

if TYPE_CHECKING:
    from trainload.cli.running import Target
    from trainload.pipeline import Wishes
    from trainload.run.request import Request

_ROOT = "0"
# bash where there is one; the image decides, not we
_SHELL = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"
# apt would become its user _apt for downloads, which a user namespace with one user does not have
_APT = """
if command -v apt-get >/dev/null 2>&1 && [ -z "$APT_CONFIG" ]; then
    printf 'APT::Sandbox::User "root";\\n' >/tmp/.apt.conf && export APT_CONFIG=/tmp/.apt.conf
fi
"""


@click.command(context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]})
@click.argument("image", required=False)
@click.option("--root", is_flag=True, help="As root inside: for apt, and to look at what is not yours.")
@click.option("--no-code", is_flag=True, help="With the code of the image, instead of this folder, live.")
@pass_world
@build_options
@run_options
def command(world: World, given: Given, wishes: Wishes, *, image: str | None, root: bool, no_code: bool) -> int:
    """Open a shell in the project's image, built first if needed, or in another.

    This folder is mounted where the image has its code: edits are seen at once, on both sides. Everything else that
    is changed inside is kept for `trainload capture`, unless --rm is given. --profile dev adds apt, git, curl and
    an editor for this shell; the project and its lock stay as they are.
    """
    if root and given.request.user is not None:
        raise UsageError(Text("{one} and {other} exclude each other", one="--root", other="--user"))
    if root:
        given = replace(given, request=replace(given.request, user=_ROOT))
    if image is None:
        target, request = _project(world, given, wishes, live=not no_code)
    else:
        target = stored_image(world, image, wishes.flags)
        request = with_code(world, given.request, target) if given.code else given.request
    if request.entrypoint is None:
        script = (_APT if root else "") + _SHELL
        request = replace(request, entrypoint="sh", arguments=("-c", script))
    return perform(world, target, request, replace(given.way, asks=True, keep=not given.way.remove))


def _project(world: World, given: Given, wishes: Wishes, *, live: bool) -> tuple[Target, Request]:
    from trainload.cli.project import other_profile, project_target

    target, defaults = project_target(world, other_profile(world, wishes))
    request = for_project(world, replace(given, code=live or given.code), target, defaults)
    _tell(world, target, request, live=live or given.code, keep=not given.way.remove)
    return target, request


def _tell(world: World, target: Target, request: Request, *, live: bool, keep: bool) -> None:
    place = request.workdir or target.image.config.runtime.workdir
    if live:
        world.say(Text("{place} is this folder, live; `exit` leaves", place=place))
    else:
        world.say(Text("{place} is the image's own code; `exit` leaves", place=place))
    if keep:
        world.say(Text("what is changed elsewhere is kept: `trainload capture` takes it into the project"))
        return
    world.say(
        Text("what is changed elsewhere is gone afterwards, except below {outputs}", outputs=f"{place}/outputs")
    )
