"""Weights beside a Dockerfile: locked in its lock, their layers on top of what the file makes (docs/adr/0031).

The Dockerfile knows nothing of them: neither its lines nor the keys of its layers change for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.build import Finished
from trainload.builder.makers import Code
from trainload.builder.mounts import MountedLayers, make_mount
from trainload.builder.workshop import Workshop
from trainload.digest import Digest, canonical_json
from trainload.errors import ConfigError, Place, PlanError, Text
from trainload.lock.answers import of_weights, weights_of
from trainload.lock.model import ImageBase, Lock, Weights
from trainload.plan.model import Plan, RuntimeConfig
from trainload.plan.order import MOST_LAYERS
from trainload.plan.weights import weight_environment, weight_layers, weight_mounts
from trainload.project.model import CodeListing, Project
from trainload.project.weights import LocalSource, Wanted
from trainload.tree import Tree
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.resolve.local import LocalFiles
    from trainload.resolve.weights import Shelf

_ONCE = ("HF_HOME", "TORCH_HOME")
"""Variables that say where weights are: two answers would hide one of them."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A finished Dockerfile with weights."""

    finished: Finished
    mounted: tuple[MountedLayers, ...] = ()


def lock_of(project: Project, bench: Bench, shelf: Shelf) -> Lock:
    """What is locked for the project's weights, asked for where the Dockerfile's lock has no answer yet."""
    found = tuple(_locked(one, bench, shelf) for one in project.settings.weights.value)
    shelf.local.keep()
    return Lock("", "", (), ImageBase("", "", {}), (bench.platform,), weights=found)


def _locked(wanted: Wanted, bench: Bench, shelf: Shelf) -> Weights:
    from trainload.resolve.weights import lock_weights

    question = _question(wanted, shelf.local)
    answer = bench.answers.ask(question, lambda: of_weights(lock_weights([wanted], None, lambda _: True, shelf)[0]))
    return weights_of(answer, bench.answers.file, question)


def _question(wanted: Wanted, local: LocalFiles) -> str:
    """What is asked for; files of the project by what they hold now, so that others make another question."""
    from trainload.resolve.local import entries

    asked: dict[str, object] = {"include": list(wanted.include), "exclude": list(wanted.exclude)}
    if isinstance(wanted.source, LocalSource):
        asked["files"] = {entry.path: local.sha256(entry) for entry in entries(local.tree, wanted)}
    if not any(asked.values()):
        return f"weights {wanted.source}"
    return f"weights {wanted.source} {Digest.sha256(canonical_json(asked)).hex[:16]}"


def planned(project: Project, lock: Lock, plan: Plan) -> Plan:
    """The layers and mounts of weights alone, for an image as ``plan`` has it. Raises :class:`ConfigError`."""
    there = _there(project, plan.config)
    return replace(plan, layers=weight_layers(there, lock), mounts=weight_mounts(there, lock), base=None)


def _there(project: Project, config: RuntimeConfig) -> Project:
    """A path of the project lies below the folder that the Dockerfile works in."""
    settings = project.settings
    workdir = replace(settings.workdir, value=config.workdir or "/")
    return replace(project, settings=replace(settings, workdir=workdir))


def load(shop: Workshop, project: Project, lock: Lock, finished: Finished, tree: Tree) -> Loaded:
    """``finished`` with the weights on top, or beside it. Raises :class:`PlanError`, :class:`ConfigError`."""
    only = planned(project, lock, finished.plan)
    env = environment(project, finished.plan.config.env)
    code = Code(CodeListing(()), tree.open)
    layers = (*finished.layers, *shop.make(replace(only, mounts=()), code))
    if len(layers) > MOST_LAYERS:
        raise PlanError(
            Text("the image would have {count} layers", count=len(layers)), want=f"at most {MOST_LAYERS}",
            hints=[Text("put the weights beside the image: mount = true")],
        )  # fmt: skip
    mounted = tuple(make_mount(shop, mount, only, code) for mount in only.mounts)
    config = replace(finished.plan.config, env=env)
    plan = replace(finished.plan, layers=tuple(made.planned for made in layers), config=config, mounts=only.mounts)
    return Loaded(replace(finished, plan=plan, layers=layers), mounted)


def environment(project: Project, said: Mapping[str, str]) -> dict[str, str]:
    """The Dockerfile's variables and those that tell libraries where the weights are.

    Raises :class:`ConfigError` where the Dockerfile, or its base, tells them another place.
    """
    ours = weight_environment(project)
    for name in _ONCE:
        if name in ours and said.get(name, ours[name]) != ours[name]:
            raise ConfigError(
                Text("the Dockerfile sets {name} to another place than weights are put in", name=name),
                place=Place("tool.trainload.weights"),
                got=said[name],
                want=ours[name],
                hints=[
                    Text("set it there: ENV {name}={value}", name=name, value=ours[name]),
                    Text("or give the weights a target, and load them from there"),
                ],
            )
    return {**ours, **said}


def twice(project: Project, tree: Tree, taken: Collection[str]) -> tuple[Text, ...]:
    """What is told of the project's own weights that COPY takes, too."""
    from trainload.resolve.local import entries

    return tuple(
        Text("{path} goes in twice, as weights and by COPY: name it in .dockerignore", path=one.source.path)
        for one in project.settings.weights.value
        if isinstance(one.source, LocalSource) and any(entry.path in taken for entry in entries(tree, one))
    )
