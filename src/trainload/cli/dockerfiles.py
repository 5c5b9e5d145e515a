"""Options that say how a Dockerfile is built; the same on every verb that reads one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from trainload.cli import units
from trainload.errors import RunError, Text, UsageError
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.builder.dockerfile.bench import Secret
    from trainload.builder.dockerfile.origins import Built as Stage
    from trainload.cli.wishes import Later
    from trainload.cli.world import World
    from trainload.pipeline import Wishes
    from trainload.plan.model import Plan
    from trainload.project.model import Project

P = ParamSpec("P")
R = TypeVar("R")
Words = tuple[str, ...]
_WIDTH = 60
_HOW = {"base": Text("base"), "placed": Text("placed"), "run": Text("run"), "config": Text("config")}

_OPTIONS = (
    click.option("-f", "--file", metavar="DOCKERFILE", help="A Dockerfile that says all about the image."),
    click.option("--target", metavar="STAGE", help="The stage of the Dockerfile to make; default: the last."),
    click.option("--build-arg", "arguments", multiple=True, metavar="NAME[=VALUE]", help="A value for an ARG."),
    click.option("--secret", "secrets", multiple=True, metavar="id=ID[,src=FILE|,env=NAME]",
                 help="Shown to RUN --mount=type=secret, and kept nowhere."),
    click.option("--ssh", "agents", multiple=True, metavar="default|ID[=SOCKET]",
                 help="An ssh agent that RUN --mount=type=ssh may ask; default: that of SSH_AUTH_SOCK."),
)  # fmt: skip
_NETWORKS = click.Choice(["none", "default", "host"])
_NETWORK = click.option(
    "--network", "lines_network", type=_NETWORKS, help="What RUN lines may reach; default: none."
)
_BUILD_NETWORK = click.option("--build-network", "lines_network", type=_NETWORKS,
                              help="What RUN lines of a Dockerfile may reach; default: none.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options as they were written."""

    file: str | None
    target: str | None
    arguments: Words
    secrets: Words
    agents: Words
    network: str | None


def dockerfile_options(verb: Callable[Concatenate[World, Wishes, P], R]) -> Callable[..., R]:
    """Puts what a verb's command line says of a Dockerfile into its :class:`Wishes`; below ``build_options``."""

    @functools.wraps(verb)
    def called(world: World, wishes: Wishes, *args: P.args, **kwargs: P.kwargs) -> R:
        asked = _asked(kwargs)
        wishes = replace(wishes, flags={**wishes.flags, **_flags(world, asked)})
        return verb(world, _with_file(world, wishes, asked), *args, **kwargs)

    return _with_options(called, _NETWORK)


def late_dockerfile_options(
    *, runs: bool = False
) -> Callable[[Callable[Concatenate[World, Later, P], R]], Callable[..., R]]:
    """As :func:`dockerfile_options`, below ``late_build_options``; ``runs``: ``--network`` is the container's."""

    def decorated(verb: Callable[Concatenate[World, Later, P], R]) -> Callable[..., R]:
        @functools.wraps(verb)
        def called(world: World, later: Later, *args: P.args, **kwargs: P.kwargs) -> R:
            asked = _asked(kwargs)
            flags = _flags(world, asked)

            def make() -> Wishes:
                wishes = later.make()
                return _with_file(world, replace(wishes, flags={**wishes.flags, **flags}), asked)

            return verb(world, replace(later, flags={**later.flags, **flags}, make=make), *args, **kwargs)

        return _with_options(called, _BUILD_NETWORK if runs else _NETWORK)

    return decorated


def _with_options(called: Callable[..., R], network: Callable[..., Callable[..., R]]) -> Callable[..., R]:
    for option in reversed((*_OPTIONS, network)):
        option(called)
    return called


def _asked(kwargs: dict[str, object]) -> _Asked:
    """Takes the options out of ``kwargs``."""
    file, target, network = (kwargs.pop(name) for name in ("file", "target", "lines_network"))
    arguments, secrets, agents = (kwargs.pop(name) for name in ("arguments", "secrets", "agents"))
    assert isinstance(arguments, tuple) and isinstance(secrets, tuple) and isinstance(agents, tuple)
    return _Asked(_text(file), _text(target), arguments, secrets, agents, _text(network))


def _text(value: object) -> str | None:
    return str(value) if value else None


def _flags(world: World, asked: _Asked) -> dict[str, object]:
    return {} if asked.file is None else {"dockerfile": _inside(world, asked.file)}


def _with_file(world: World, wishes: Wishes, asked: _Asked) -> Wishes:
    """Raises :class:`UsageError`."""
    if asked == _Asked(None, None, (), (), (), None):
        return wishes
    from trainload.builder.dockerfile.bench import Wanted

    wanted = Wanted(
        target=asked.target,
        arguments=_arguments(world, asked.arguments),
        secrets=dict(_secret(text) for text in asked.secrets),
        agents=dict(_agent(world, text) for text in asked.agents),
        network=asked.network not in (None, "none"),
        network_asked=asked.network,
    )
    return replace(wishes, dockerfile=wanted)


def _inside(world: World, file: str) -> str:
    """The file, below the project's folder; with ``build FOLDER`` named from where we were called, as in Docker.

    Raises :class:`UsageError`.
    """
    import os
    from pathlib import Path

    from trainload.cli.options import started

    start = started(click.get_current_context())
    named = (start.cwd or world.cwd) / (start.directory or "") / file
    if start.folder is None or not named.exists():
        named = world.cwd / file
    path = os.path.relpath(named, world.cwd)
    if not path.startswith("../"):
        return path
    raise UsageError(
        Text("the Dockerfile lies outside of the project's folder"), got=file,
        hints=[Text("build in its folder: trainload -C {folder} build -f {name}", folder=Path(path).parent,
                    name=Path(path).name)],
    )  # fmt: skip


def _arguments(world: World, words: Words) -> dict[str, str]:
    """``NAME=value``, or ``NAME`` with the value of the environment, if it has one."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise UsageError(Text("--build-arg needs a name"), got=word, want="NAME=value")
        if equals:
            found[name] = value
        elif name in world.environ:
            found[name] = world.environ[name]
    return found


def _secret(text: str) -> tuple[str, Secret]:
    from trainload.builder.dockerfile.bench import Secret

    fields = dict(part.partition("=")[::2] for part in text.split(","))
    name, file = fields.get("id", ""), fields.get("src") or fields.get("source")
    odd = set(fields) - {"id", "src", "source", "env", "type"}
    if not name or odd or (file and fields.get("env")):
        raise UsageError(
            Text("this is no secret"), got=text.partition("=")[0], want="id=ID,src=FILE or id=ID,env=NAME"
        )
    return name, Secret(file if file or fields.get("env") else name, fields.get("env"))


def _agent(world: World, text: str) -> tuple[str, str]:
    """Raises :class:`UsageError` for a key, as Docker takes one: an agent of the user's own keeps it."""
    from pathlib import Path

    name, equals, socket = text.partition("=")
    socket = socket if equals else world.environ.get("SSH_AUTH_SOCK", "")
    if not name or not socket:
        raise UsageError(
            Text("there is no ssh agent: SSH_AUTH_SOCK is not set"), got=text,
            hints=[Text('start one and give it a key: eval "$(ssh-agent)"; ssh-add')],
        )  # fmt: skip
    path = world.cwd / Path(socket).expanduser()
    if not path.is_socket():
        raise UsageError(Text("this is no socket of an ssh agent"), got=socket,
                         hints=[Text('a key goes into an agent: eval "$(ssh-agent)"; ssh-add FILE')])  # fmt: skip
    return name, str(path)


def show_lines(world: World, wishes: Wishes, project: Project) -> None:
    """``trainload plan`` of a Dockerfile: line by line, what is placed and what is run."""
    from trainload.dockerbuild import look

    looked = look(world.site, wishes, project)
    stages = looked.stages
    for stage in stages:
        for warning in stage.warnings:
            world.warn(warning)
    document: list[dict[str, object]] = [
        {
            "stage": stage.stage.label,
            "platform": str(stage.stage.platform),
            "lines": [
                {
                    "line": row.line, "text": row.text, "how": row.how.value, "why": world.translate(row.why),
                    "present": row.present,
                }
                for row in stage.rows
            ],
        }
        for stage in stages
    ]  # fmt: skip
    if looked.weights is not None:
        document[-1]["weights"] = list(_weights(looked.weights))
    world.result(document, [*_table(world, stages), *_weight_lines(world, looked.weights)])


def _weights(plan: Plan) -> Iterator[dict[str, object]]:
    for layer in plan.layers:
        yield {"title": layer.title, "size": layer.size, "path": None}
    for mount in plan.mounts:
        size = sum(layer.size or 0 for layer in mount.layers)
        yield {"title": mount.title, "size": size, "path": f"/{mount.path}"}


def _weight_lines(world: World, plan: Plan | None) -> Iterator[str]:
    if plan is None:
        return
    for layer in plan.layers:
        text = Text("on top of it, weights: {title}, {size}", title=layer.title, size=units.size(layer.size or 0))
        yield world.translate(text)
    for mount in plan.mounts:
        yield world.translate(Text("mounted when it runs: weights at /{path}", path=mount.path))


def _table(world: World, stages: Sequence[Stage]) -> Iterator[str]:
    there = world.translate(Text("already there"))
    rows = [
        (
            str(row.line), world.translate(_HOW[row.how.value]), _short(row.text), world.translate(row.why),
            there if row.present else "",
        )
        for stage in stages
        for row in stage.rows
    ]  # fmt: skip
    widths = [max((units.cells(row[n]) for row in rows), default=0) for n in range(5)]
    for row in rows:
        cells = [units.pad(cell, widths[n], right=n == 0) for n, cell in enumerate(row)]
        yield "  ".join(cells).rstrip()
    yield ""
    layers = [row for stage in stages for row in stage.rows if row.how.value in ("placed", "run")]
    yield world.translate(
        Text(
            "{placed} lines placed, {run} run; {missing} layers to make",
            placed=sum(row.how.value == "placed" for row in layers),
            run=sum(row.how.value == "run" for row in layers),
            missing=sum(not row.present for row in layers),
        )
    )


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _WIDTH else words[: _WIDTH - 1] + "…"


def lock_file(world: World, wishes: Wishes, project: Project) -> None:
    """``trainload lock`` of a Dockerfile."""
    from trainload.dockerbuild import lock

    file, changed = lock(world.site, wishes, project)
    if not changed:
        world.say(Text("{file} holds what the project asks for", file=file))
    world.result({"file": file, "changed": changed})


def hand_over(world: World, wishes: Wishes, builder: str) -> None:
    """``--engine``: the whole file goes to another builder, and the image stays with it."""
    from trainload.pipeline import dockerfile_of
    from trainload.project.model import DockerfileInput
    from trainload.run.handing import Order, argv, environment, shown
    from trainload.system.child import Child

    project = dockerfile_of(world.site, wishes)
    if project is None:
        raise UsageError(
            Text("--engine of a build is for Dockerfiles, and this project has none"),
            hints=[Text("name it with -f")],
        )
    if project.settings.weights.value:
        raise UsageError(
            Text("{builder} cannot put the weights in that the configuration names", builder=builder),
            hints=[Text("build it without --engine")],
        )
    wanted, value = wishes.dockerfile, project.settings.dependencies.value
    assert isinstance(value, DockerfileInput)
    order = Order(
        file=value.path,
        tags=tuple(wishes.references) or (project.settings.name.value,),
        target=wanted.target if wanted else None,
        arguments=wanted.arguments if wanted else {},
        secrets=tuple(_told(name, secret) for name, secret in sorted(wanted.secrets.items())) if wanted else (),
        agents=tuple(f"{name}={path}" for name, path in sorted(wanted.agents.items())) if wanted else (),
        network=wanted.network_asked if wanted else None,
        platform=str(wishes.platform) if wishes.platform else None,
        no_cache=wishes.caching.anew,
    )
    words = argv(builder, order)
    world.say(Text("handed to {builder}: {command}", builder=builder, command=shown(words)))
    try:
        code = Child(
            words, env=environment(builder, order, world.environ), cwd=world.cwd, stdout=world.stderr
        ).wait()
    except OSError as error:
        raise RunError(Text("{program} is not installed", program=builder)) from error
    if code != 0:
        raise RunError(Text("{builder} could not build {file}", builder=builder, file=value.path), got=code)
    world.result({"engine": builder, "references": list(order.tags)}, list(order.tags[:1]))


def _told(name: str, secret: Secret) -> str:
    return f"id={name},env={secret.variable}" if secret.variable else f"id={name},src={secret.file or name}"
