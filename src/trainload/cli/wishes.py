"""Options that say what image is wanted; the same on every verb that may build."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from trainload.cli.options import registry_options
from trainload.cli.world import World

if TYPE_CHECKING:
    from trainload.pipeline import Wishes
    from trainload.platform import Platform

P = ParamSpec("P")
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


_SWITCHES = ("frozen", "allow_stale", "allow_unhashed", "offline", "allow_unrecorded", "portable")


@dataclass(frozen=True, slots=True)
class Later:
    """What the command line says about a build that may not be needed: the pipeline is loaded when it is."""

    platform: Platform | None
    make: Callable[[], Wishes]


def build_options(verb: Callable[Concatenate[World, Wishes, ...], R]) -> Callable[Concatenate[World, ...], R]:
    """Gives a verb the :class:`Wishes` of its command line as second argument; put it below ``pass_world``."""

    @functools.wraps(verb)
    def called(world: World, *args: object, **kwargs: object) -> R:
        return verb(world, _taken(kwargs).make(), *args, **kwargs)

    return _with_options(called)


def late_build_options(verb: Callable[Concatenate[World, Later, ...], R]) -> Callable[Concatenate[World, ...], R]:
    """As :func:`build_options`, for a verb that builds only now and then."""

    @functools.wraps(verb)
    def called(world: World, *args: object, **kwargs: object) -> R:
        return verb(world, _taken(kwargs), *args, **kwargs)

    return _with_options(called)


def _with_options(called: Callable[P, R]) -> Callable[P, R]:
    for option in reversed(_OPTIONS):
        option(called)
    return registry_options(called)


def _taken(kwargs: dict[str, object]) -> Later:
    """Takes the options of a build out of ``kwargs``."""
    from trainload.platform import Platform

    given = {key: value for name, key in _KEYS.items() if (value := kwargs.pop(name)) not in (None, ())}
    text = kwargs.pop("platform")
    platform = Platform.parse(str(text)) if text else None
    frozen, stale, unhashed, offline, unrecorded, portable = (bool(kwargs.pop(name)) for name in _SWITCHES)

    def make() -> Wishes:
        from trainload.pipeline import Wishes
        from trainload.project.config import read_given

        read_given(given, {})  # what makes no sense is told before anything is made
        return Wishes(
            flags=given, frozen=frozen, allow_stale=stale, unhashed=unhashed, offline=offline, platform=platform,
            unrecorded=unrecorded, portable=portable,
        )  # fmt: skip

    return Later(platform, make)
