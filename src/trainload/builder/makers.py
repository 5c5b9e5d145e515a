"""Which maker writes which recipe's layer, and what it needs. Makers are imported when something is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import BinaryIO, Protocol

from trainload.builder.owners import Memory, note_claims
from trainload.digest import Digest
from trainload.errors import PlanError, Text
from trainload.events import Reporter
from trainload.image.model import Layer
from trainload.layers.model import ByteSink, Sources, Written
from trainload.limits import Limits
from trainload.lock.model import File
from trainload.plan.model import (
    BaseRecipe,
    BytecodeRecipe,
    CodeRecipe,
    CondaEnvironmentRecipe,
    CondaRecipe,
    ConfiguredRecipe,
    EnvironmentRecipe,
    ImageLayerRecipe,
    InterpreterRecipe,
    Recipe,
    SourceRecipe,
    SystemRecipe,
    UnbuiltRecipe,
    UserRecipe,
    WeightsRecipe,
    WheelsRecipe,
)
from trainload.plan.placed import FilesRecipe, SiteRecipe
from trainload.plan.weights import PICKLES
from trainload.platform import Platform
from trainload.project.model import CodeListing
from trainload.values import dataclass

LATE = (BytecodeRecipe, ConfiguredRecipe, SystemRecipe)
"""What is made after the layers below it, because it looks into them."""

POURED = 16_000_000
"""Bytes of a file of weights from which it goes straight into its layer: no second copy of gigabytes is kept."""

Sandbox = Callable[[BytecodeRecipe | ConfiguredRecipe, Sequence[Layer], ByteSink, Limits], Written]
"""Writes what a program of the layers below makes: needs an engine, so it is given."""


@dataclass(frozen=True, slots=True)
class Code:
    """The project's files: what to place, and how to read it."""

    listing: CodeListing
    open: Callable[[str], BinaryIO]


class Supplies(Sources, Protocol):
    """Locked files, to be opened or to be taken as they come."""

    def pour(self, file: File, write: Callable[[bytes], object], earlier: Iterable[bytes] = (), /) -> object:
        """As :class:`trainload.layers.weights.Pours` has it."""


@dataclass(frozen=True, slots=True)
class Makers:
    """Writes layers of one plan."""

    sources: Supplies
    code: Code
    sandbox: Sandbox | None
    open_blob: Callable[[Digest], BinaryIO]
    """Opens a layer that lies in the store."""
    reporter: Reporter
    limits: Limits
    configured: bool
    """The plan has a :class:`ConfiguredRecipe`."""
    memory: Memory
    """Told what each wheel claims."""

    def write(self, recipe: Recipe, below: Sequence[Layer], sink: ByteSink) -> Written:
        """The layer of ``recipe`` to ``sink``; ``below``: the layers under it, in the store, for those of ``LATE``.

        Raises :class:`LayerError`, and what sources and sandbox raise.
        """
        match recipe:
            case BytecodeRecipe() | ConfiguredRecipe():
                assert self.sandbox is not None, "checked before"
                return self.sandbox(recipe, below, sink, self.limits)
            case SystemRecipe():
                from trainload.layers.debian.on_top import write_system

                layers = [(partial(self.open_blob, layer.descriptor.digest), layer.diff_id) for layer in below]
                return write_system(recipe, layers, self.sources, sink, self.reporter, self.limits)
            case WheelsRecipe():
                from trainload.layers.wheels import write_wheels

                claimed = partial(note_claims, recipe, self.limits, self.memory)
                return write_wheels(recipe, self.sources, sink, self.reporter, self.limits, claimed=claimed)
            case SiteRecipe():
                from trainload.layers.wheels import write_wheels

                return write_wheels(recipe, self.sources, sink, self.reporter, self.limits)
            case CondaRecipe():
                from trainload.layers.conda.write import write_conda

                return write_conda(recipe, self.sources, sink, self.reporter, self.limits)
            case FilesRecipe():
                from trainload.layers.files import write_files

                blobs = [partial(self.open_blob, layer.descriptor.digest) for layer in below]
                return write_files(recipe, dict(enumerate(blobs)), sink, self.limits)
            case BaseRecipe():
                return self._base(recipe, sink)
            case _:
                return self._small(recipe, sink)

    def _base(self, recipe: BaseRecipe, sink: ByteSink) -> Written:
        from trainload.layers.debian.base import Cost, write_base

        cost = Cost(limits=self.limits)
        return write_base(recipe, self.sources, sink, self.reporter, cost=cost, configured=self.configured)

    def _small(self, recipe: Recipe, sink: ByteSink) -> Written:
        match recipe:
            case EnvironmentRecipe():
                from trainload.layers.environment import write_environment

                return write_environment(recipe, sink)
            case CondaEnvironmentRecipe():
                from trainload.layers.conda.environment import write_conda_environment

                return write_conda_environment(recipe, sink)
            case InterpreterRecipe():
                from trainload.layers.interpreter import write_interpreter

                return write_interpreter(recipe, self.sources, sink, self.limits)
            case UserRecipe():
                from trainload.layers.user import write_user

                return write_user(recipe, self.sources, sink, self.limits)
            case CodeRecipe():
                from trainload.layers.code import write_code

                return write_code(recipe, self.code.listing, self.code.open, sink)
            case WeightsRecipe():
                from trainload.layers.weights import write_weights

                return write_weights(recipe, self.sources, sink)
            case SourceRecipe():
                from trainload.layers.sdist import write_source

                return write_source(recipe, self.sources, sink, self.limits)
            case UnbuiltRecipe():
                raise AssertionError("its wheels are built before (sources.py)")
            case ImageLayerRecipe():
                raise AssertionError("taken as it is")
            case _:
                raise AssertionError("written above")


def input_files(recipe: Recipe) -> tuple[File, ...]:
    """The outside files a recipe is made of."""
    match recipe:
        case WheelsRecipe() | SiteRecipe():
            return recipe.wheels
        case BaseRecipe() | SystemRecipe():
            return tuple(package.file for package in recipe.packages)
        case CondaRecipe():
            return tuple(package.archive for package in recipe.packages)
        case InterpreterRecipe():
            return (recipe.archive,)
        case SourceRecipe():
            return (recipe.sdist,)
        case WeightsRecipe():
            return tuple(one.file for one in recipe.files if not _is_poured(one.file))
        case UserRecipe(base=BaseRecipe() as base):
            return input_files(base)
        case _:
            return ()


def _is_poured(file: File) -> bool:
    """What may be a pickle is fetched whole, to be looked into."""
    return (file.size or 0) >= POURED and not file.name.lower().endswith(PICKLES)


def check_sandbox(sandbox: Sandbox | None, recipes: Sequence[Recipe], target: Platform) -> None:
    """What needs a sandbox that is not there is refused before anything is fetched. Raises :class:`PlanError`."""
    if sandbox is not None and target == Platform.host():
        return
    if any(isinstance(recipe, ConfiguredRecipe) for recipe in recipes):
        raise PlanError(
            Text("scripts of packages need a sandbox that can run {platform}", platform=target),
            hints=[Text('set configure = "never"'), Text("build on a machine that is {platform}", platform=target)],
        )
    if any(isinstance(recipe, BytecodeRecipe) for recipe in recipes):
        raise PlanError(
            Text("bytecode needs a sandbox that can run {platform}", platform=target),
            hints=[Text("set bytecode = false")],
        )
