"""Options that say what image is wanted; the same on every verb that may build."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from trainload.cli.options import registry_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.values import dataclass

if TYPE_CHECKING:
    from trainload.builder.caching import Caching
    from trainload.pipeline import Wishes
    from trainload.platform import Platform
    from trainload.reference import Reference

P = ParamSpec("P")
R = TypeVar("R")
Words = tuple[str, ...]

_OPTIONS = (
    click.option("--variant", metavar="NAME", help="Which of the project's variants is meant."),
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
    "variant": "variant", "base": "base", "python": "python", "profile": "profile", "accelerator": "accelerator",
    "system": "system", "find_links": "find-links", "max_unpacked": "limits.max-unpacked",
}  # fmt: skip
"""Parameter → key of the configuration it stands for."""


_SWITCHES = ("frozen", "allow_stale", "allow_unhashed", "offline", "allow_unrecorded", "portable")


@dataclass(frozen=True, slots=True)
class Later:
    """What the command line says about a build that may not be needed: the pipeline is loaded when it is."""

    platform: Platform | None
    flags: Mapping[str, object]
    """Settings by key."""
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

    return Later(platform, given, make)


_CACHING = (
    click.option("--no-cache", is_flag=True, help="Make every layer anew, whether or not it is known."),
    click.option("--cache-from", multiple=True, metavar="REPOSITORY",
                 help="Take layers that this cache in a registry has; may be given several times."),
    click.option("--cache-to", multiple=True, metavar="REPOSITORY",
                 help="Write the layers that were made here to this cache in a registry."),
)  # fmt: skip


def caching_options(verb: Callable[..., R]) -> Callable[..., R]:
    """Gives a verb ``caching``, which makes the :class:`Caching` of its command line."""

    @functools.wraps(verb)
    def called(*args: object, no_cache: bool, cache_from: Words, cache_to: Words, **kwargs: object) -> R:
        def caching() -> Caching:
            from trainload.builder.caching import Caching

            return Caching(no_cache, repositories(cache_from), repositories(cache_to))

        return verb(*args, caching=caching, **kwargs)

    for option in reversed(_CACHING):
        option(called)
    return called


def repositories(words: Words) -> tuple[Reference, ...]:
    """Caches by their names. Raises :class:`UsageError` for what names an image, or no registry."""
    from trainload.reference import Reference

    found = [Reference.parse(word) for word in words]
    for word, reference in zip(words, found, strict=True):
        if reference.tag or reference.digest or "/" not in word or not _names_registry(word):
            raise UsageError(
                Text("a cache is a repository of a registry"), got=word, want="registry.example/team/cache"
            )
    return tuple(found)


def _names_registry(word: str) -> bool:
    host = word.partition("/")[0]
    return "." in host or ":" in host or host == "localhost"
