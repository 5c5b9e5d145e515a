"""``trainload notebook``: Jupyter with the project's packages, in the project's folder."""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainload.cli.engines import listening, port_for
from trainload.cli.options import pass_world
from trainload.cli.running import for_project, perform
from trainload.cli.runoptions import Given, run_options
from trainload.cli.wishes import build_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError

if TYPE_CHECKING:
    from trainload.cli.running import Target
    from trainload.pipeline import Wishes
    from trainload.run.jupyter import Serving
    from trainload.run.request import Request

_LOOPBACK, _EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - only with --expose
_PATIENCE = 120.0  # seconds after which nobody waits for the server to answer any more
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER")

_OPTIONS = (
    click.option("--port", type=click.IntRange(1, 65535), metavar="PORT",
                 help="Where it is reached; default: 8888, or a free one near it."),
    click.option("--token", metavar="TOKEN",
                 help="What opens it; default: $JUPYTER_TOKEN, else a new one each time."),
    click.option("--no-browser", is_flag=True, help="Open no browser."),
    click.option("--expose", is_flag=True, help="For other machines too; nothing is encrypted."),
    click.option("--interface", type=click.Choice(["lab", "notebook", "none"]), default="lab",
                 help="Jupyter Lab, one notebook at a time, or only a server for an editor."),
    click.option("--with", "more", multiple=True, metavar="REQUIREMENT",
                 help="One more package for this, e.g. ipywidgets; may be given several times."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options of this verb."""

    port: int | None
    token: str | None
    no_browser: bool
    expose: bool
    interface: str
    more: tuple[str, ...]


def _options(verb: click.Command) -> click.Command:
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


@_options
@click.command(context_settings={"help_option_names": ["--help"]})
@pass_world
@build_options
@run_options
def command(world: World, given: Given, wishes: Wishes, **options: object) -> int:
    """Open Jupyter Lab in this folder, with the project's packages.

    The kernel is the image's Python, and notebooks are saved in this folder. Jupyter comes from the project's lock,
    or on top of it in an image beside the project's: no version of the project changes for it. Only this machine
    reaches it, with its token. Ctrl-C ends it.
    """
    asked = _Asked(**options)  # type: ignore[arg-type]  # click's values, by the options above
    if not given.request.network:
        raise UsageError(
            Text("{one} and {other} exclude each other", one="trainload notebook", other="--network none")
        )
    target, request, serving = _prepared(world, given, wishes, asked)
    way, inside = listening(world, target, request, given.way)
    if not asked.expose:
        serving = replace(serving, address=inside)
    program, *arguments = serving.command()
    request = replace(request, entrypoint=program, arguments=tuple(arguments))
    if way.detach:
        _tell(world, serving, asked)
    else:
        threading.Thread(target=_when_ready, args=(world, serving, asked), daemon=True).start()
    return perform(world, target, request, replace(way, asks=True))


def _prepared(world: World, given: Given, wishes: Wishes, asked: _Asked) -> tuple[Target, Request, Serving]:
    """The image, built if it must be, and the run, but for where in it the server listens."""
    from trainload.builder.beside import Beside
    from trainload.cli.project import project_target
    from trainload.run import jupyter
    from trainload.run.model import Mount, Port

    outside = _EVERYWHERE if asked.expose else _LOOPBACK
    port = port_for(asked.port, jupyter.PORT, outside)
    kind = jupyter.Interface(asked.interface)
    beside = Beside(f"with-{jupyter.name(kind)}", jupyter.requirements(kind), asked.more)
    target, defaults = project_target(world, replace(wishes, beside=beside))
    request = for_project(world, replace(given, code=True), target, defaults)
    runtime = target.image.config.runtime
    token = asked.token or world.environ.get("JUPYTER_TOKEN") or secrets.token_hex(24)
    root = (request.user or runtime.user).partition(":")[0] in ("", "0", "root") or request.caller == (0, 0)
    serving = jupyter.Serving(kind, outside, port, token, request.workdir or runtime.workdir, is_root=root)
    settings = _settings(world)
    request = replace(
        request,
        ports=(*request.ports, Port(port, port, outside)),
        mounts=(*request.mounts, Mount(str(settings), jupyter.SETTINGS)),
        env={**serving.environment(), **request.env},
        init=True,
    )
    return target, request, serving


def _settings(world: World) -> Path:
    """The folder for what users set in Jupyter, kept from one notebook to the next."""
    from trainload.run.jupyter import PREPARED

    folder = world.home / "jupyter"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, document in PREPARED.items():
        if not (path := folder / name).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return folder


def _when_ready(world: World, serving: Serving, asked: _Asked) -> None:
    """Says where it is once it answers, as what is said before scrolls away; runs in a thread of its own."""
    from trainload.run.jupyter import STATUS
    from trainload.system.ports import answers

    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if answers(serving.port, STATUS, {"Authorization": f"token {serving.token}"}):
            _tell(world, serving, asked)
            if not asked.no_browser and any(world.environ.get(name) for name in _SCREENS):
                import webbrowser

                webbrowser.open(serving.url())
            return
        time.sleep(0.2)


def _tell(world: World, serving: Serving, asked: _Asked) -> None:
    import os

    world.say(Text("notebook: {url}", url=serving.url()))
    if asked.expose:
        world.warn(
            Text("other machines reach it: {url}; whoever reads the network has the token",
                 url=serving.url(os.uname().nodename))
        )  # fmt: skip
    else:
        port = serving.port
        world.say(Text("from another machine: ssh -L {port}:127.0.0.1:{port} this-machine", port=port))
