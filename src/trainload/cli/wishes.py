"""Options that say what image is wanted; the same on every verb that may build."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate, TypeVar

import click

from trainload.cli.world import World

if TYPE_CHECKING:
    from trainload.limits import Limits
    from trainload.pipeline import Wishes

R = TypeVar("R")

# option → key of the configuration it stands for
_FLAGS: dict[str, tuple[str, bool, str]] = {
    "base": ("base", False, "What the image stands on, e.g. apt:bookworm."),
    "python": ("python", False, "Minor version of Python, e.g. 3.11."),
    "profile": ("profile", False, "slim, dev or distroless."),
    "accelerator": ("accelerator", False, "Which torch build to lock: cpu, cuda, cu128, rocm6.3 or auto."),
    "system": ("system", True, "A distribution package to add; may be given several times."),
    "find-links": ("find-links", True, "A folder with wheels; may be given several times."),
}


def build_options(verb: Callable[Concatenate[World, Wishes, ...], R]) -> Callable[Concatenate[World, ...], R]:
    """Gives a verb the :class:`Wishes` of its command line as second argument; put it below ``pass_world``."""

    @functools.wraps(verb)
    def called(world: World, *args: object, **kwargs: object) -> R:
        from trainload.pipeline import Wishes
        from trainload.platform import Platform

        flags = {key: kwargs.pop(option.replace("-", "_")) for option, (key, _, _) in _FLAGS.items()}
        platform = kwargs.pop("platform")
        wishes = Wishes(
            flags={key: value for key, value in flags.items() if value not in (None, ())},
            frozen=bool(kwargs.pop("frozen")),
            allow_stale=bool(kwargs.pop("allow_stale")),
            offline=bool(kwargs.pop("offline")),
            platform=Platform.parse(str(platform)) if platform else None,
            limits=_limits(kwargs.pop("max_unpacked"), unrecorded=bool(kwargs.pop("allow_unrecorded"))),
        )
        return verb(world, wishes, *args, **kwargs)

    for option, (_, many, text) in reversed(_FLAGS.items()):
        called = click.option(f"--{option}", multiple=many, help=text)(called)
    called = click.option("--platform", metavar="OS/ARCH", help="linux/amd64 or linux/arm64.")(called)
    called = click.option("--allow-stale", is_flag=True, help="Accept distribution indexes past their date.")(
        called
    )
    called = click.option(
        "--allow-unrecorded", is_flag=True, help="Accept files of a wheel that its RECORD does not list."
    )(called)
    called = click.option("--max-unpacked", metavar="SIZE", help="What a wheel may unpack to; default: 50g.")(
        called
    )
    called = click.option("--offline", is_flag=True, help="Fetch nothing.")(called)
    return click.option("--frozen", is_flag=True, help="Refuse to change the lock.")(called)


def _limits(unpacked: object, *, unrecorded: bool) -> Limits:
    from trainload.limits import DEFAULT
    from trainload.run.words import size_in_bytes

    most = size_in_bytes(str(unpacked), "--max-unpacked") if unpacked is not None else DEFAULT.unpacked
    return replace(DEFAULT, unpacked=most, unrecorded=unrecorded)
