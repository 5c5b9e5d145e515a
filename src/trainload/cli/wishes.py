"""Options that say what image is wanted; the same on every verb that may build."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, TypeVar

import click

from trainload.cli.options import registry_options
from trainload.cli.world import World

if TYPE_CHECKING:
    from trainload.pipeline import Wishes

R = TypeVar("R")

_OPTIONS = (
    click.option("--base", help="What the image stands on, e.g. apt:bookworm."),
    click.option("--python", help="Minor version of Python, e.g. 3.11."),
    click.option("--profile", help="slim, dev or distroless."),
    click.option("--accelerator", help="Which torch build to lock: cpu, cuda, cu128, rocm6.3 or auto."),
    click.option("--system", multiple=True, help="A distribution package to add; may be given several times."),
    click.option("--find-links", multiple=True, help="A folder with wheels; may be given several times."),
    click.option("--platform", metavar="OS/ARCH", help="linux/amd64 or linux/arm64."),
    click.option("--frozen", is_flag=True, help="Refuse to change the lock."),
    click.option("--offline", is_flag=True, help="Fetch nothing."),
    click.option("--allow-stale", is_flag=True, help="Accept distribution indexes past their date."),
    click.option("--allow-unhashed", is_flag=True, help="Lock files on trust that nobody tells a hash of."),
    click.option("--allow-unrecorded", is_flag=True, help="Accept files of a wheel that its RECORD does not list."),
    click.option("--max-unpacked", metavar="SIZE", help="What an archive may unpack to; default: 50g."),
    click.option("--portable", is_flag=True, help="Refuse names that differ only in case or form."),
)

_KEYS = {
    "base": "base", "python": "python", "profile": "profile", "accelerator": "accelerator", "system": "system",
    "find_links": "find-links", "max_unpacked": "limits.max-unpacked",
}  # fmt: skip
"""Parameter → key of the configuration it stands for."""


def build_options(verb: Callable[Concatenate[World, Wishes, ...], R]) -> Callable[Concatenate[World, ...], R]:
    """Gives a verb the :class:`Wishes` of its command line as second argument; put it below ``pass_world``."""

    @functools.wraps(verb)
    def called(world: World, *args: object, **kwargs: object) -> R:
        from trainload.pipeline import Wishes
        from trainload.platform import Platform
        from trainload.project.config import read_given

        given = {key: value for name, key in _KEYS.items() if (value := kwargs.pop(name)) not in (None, ())}
        read_given(given, {})  # what makes no sense is told before anything is made
        platform = kwargs.pop("platform")
        wishes = Wishes(
            flags=given,
            frozen=bool(kwargs.pop("frozen")),
            allow_stale=bool(kwargs.pop("allow_stale")),
            unhashed=bool(kwargs.pop("allow_unhashed")),
            offline=bool(kwargs.pop("offline")),
            platform=Platform.parse(str(platform)) if platform else None,
            unrecorded=bool(kwargs.pop("allow_unrecorded")),
            portable=bool(kwargs.pop("portable")),
        )
        return verb(world, wishes, *args, **kwargs)

    for option in reversed(_OPTIONS):
        option(called)
    return registry_options(called)
