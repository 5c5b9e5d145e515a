"""``trainload registry``: the store as a registry, for this machine or a network without one."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from trainload.cli.options import pass_world
from trainload.cli.world import World
from trainload.errors import Text, TrainloadError, printable
from trainload.events import Level, Said
from trainload.system.flag import Flag

if TYPE_CHECKING:
    from trainload.destinations.server.listener import Served
    from trainload.destinations.server.serve import Settings

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def command() -> None:
    """Serve images as a registry."""


@command.command()
@click.option(
    "--directory",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Serve a store of its own in FOLDER, made if absent; default: the store that holds your images.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on; default: 127.0.0.1, this machine only.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=5000, help="Port to listen on; 0: any free one; default: 5000."
)
@click.option("--tls-cert", metavar="FILE", type=_FILE, help="Certificate (PEM), with those above it.")
@click.option("--tls-key", metavar="FILE", type=_FILE, help="Its key (PEM), if it is in a file of its own.")
@click.option("--htpasswd", metavar="FILE", type=_FILE, help="Who may come in: a file as `htpasswd -B` writes it.")
@click.option("--read-only", is_flag=True, help="Let nobody push or delete.")
@click.option("--insecure", is_flag=True, help="Serve a network without TLS or without passwords.")
@click.option(
    "--allow-host", metavar="NAME", multiple=True, help="Another name this machine is called by; can be repeated."
)
@pass_world
def serve(world: World, /, **_: object) -> None:
    """Serve the store as a registry until Ctrl-C.

    Docker, Podman, skopeo and everything else that speaks to registries can pull the images of the store and push
    new ones. Only this machine is served, unless --host says more: that needs --tls-cert and --htpasswd.
    """
    from trainload.destinations.server.serve import serving

    settings = settings_of(world, click.get_current_context().params)
    lines = Lines(world)
    with told_to_stop() as stop, serving(settings, lines.served, lines.failed) as server:
        document = {"address": server.address, "url": server.url, "store": str(settings.home)}
        world.say(
            Text("{store} is served as a registry at {url}; Ctrl-C ends it", store=settings.home, url=server.url)
        )
        if settings.insecure and not settings.local:
            world.warn(Text("whoever reaches {address} can read and replace these images", address=server.address))
        world.result(document, server.address)  # last: who waits for the address begins to ask
        stop.wait()
        world.say(Text("requests that are going on may finish; Ctrl-C again ends them too"))


def settings_of(world: World, given: Mapping[str, Any]) -> Settings:
    """What the options ask for; paths are relative to the folder the command works in."""
    from trainload.destinations.server.serve import Settings

    def path(name: str) -> Path | None:
        return None if given[name] is None else world.cwd / given[name]

    return Settings(
        home=path("directory") or world.home,
        host=given["host"],
        port=given["port"],
        certificate=path("tls_cert"),
        key=path("tls_key"),
        accounts=path("htpasswd"),
        read_only=given["read_only"],
        insecure=given["insecure"],
        names=frozenset(name.lower() for name in given["allow_host"]),
    )


class Lines:
    """The log on stderr: one line for each request; quiet, only what went wrong."""

    def __init__(self, world: World) -> None:
        self._world = world

    def served(self, one: Served) -> None:
        if self._world.quiet and one.status < 500:
            return
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        milliseconds = f"{one.seconds * 1000:.1f}ms"
        words = (when, one.client, one.method, one.target, one.status, f"{one.size}B", milliseconds)
        self._world.stderr.write(" ".join(printable(word) for word in words) + "\n")  # one write: lines stay whole
        self._world.stderr.flush()

    def failed(self, error: TrainloadError) -> None:
        """What the store said when a request could not be answered."""
        self._world.reporter.report(Said(error.text, Level.WARNING))


@contextmanager
def told_to_stop() -> Iterator[Flag]:
    """Set by the first SIGINT or SIGTERM; the second one ends the process as usual."""
    stop = Flag()
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:
        for one in before:
            signal.signal(one, signal.SIG_DFL)
        stop.set()

    for one, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup and background jobs stay as they are
            signal.signal(one, end)
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
