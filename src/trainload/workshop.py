"""Makes a plan's layers: each recipe is looked up, and what is missing is made, several at once.

A layer is made once per store, whoever asks: its recipe is locked meanwhile, across processes. Makers are imported
when something is made, so that a build that finds everything is quick.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from trainload.digest import Digest, canonical_json
from trainload.errors import LayerError, PlanError, Text
from trainload.events import Began, Ended, How, Reporter
from trainload.image.model import LAYER_GZIP, Descriptor, Layer
from trainload.layers.model import ByteSink, Sources, Written
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import File
from trainload.plan.model import (
    BaseRecipe,
    BytecodeRecipe,
    CodeRecipe,
    ConfiguredRecipe,
    EnvironmentRecipe,
    ImageLayerRecipe,
    InterpreterRecipe,
    Plan,
    PlannedLayer,
    Recipe,
    SourceRecipe,
    SystemRecipe,
    UnbuiltRecipe,
    UserRecipe,
    WheelsRecipe,
    recipe_key,
)
from trainload.platform import Platform
from trainload.project.model import CodeListing
from trainload.store.store import Store

_LATE = (BytecodeRecipe, ConfiguredRecipe, SystemRecipe)
"""What is made after the layers below it, because it looks into them."""

BaseLayer = Callable[[ImageLayerRecipe, str, threading.Event], object]
"""Has a layer of a base image in the store, held: which, its name for people, and what ends the download."""

Sandbox = Callable[[BytecodeRecipe | ConfiguredRecipe, Sequence[Layer], ByteSink, Limits], Written]
"""Writes what a program of the layers below makes: needs an engine, so it is given."""


@dataclass(frozen=True, slots=True)
class Code:
    """The project's files: what to place, and how to read it."""

    listing: CodeListing
    open: Callable[[str], BinaryIO]


@dataclass(frozen=True, slots=True)
class MadeLayer:
    """A layer of the plan that exists now."""

    planned: PlannedLayer
    layer: Layer
    how: How


@dataclass(frozen=True, slots=True)
class _Stoppable:
    """A sink that ends the work of whoever writes to it, once that was given up."""

    sink: ByteSink
    stopped: threading.Event

    def write(self, data: bytes, /) -> object:
        if self.stopped.is_set():
            raise LayerError("making layers was stopped")
        return self.sink.write(data)


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where layers are made."""

    store: Store
    sources: Sources
    prefetch: Callable[[Sequence[File]], object]
    """Fetches files that will be needed, several at once."""
    reporter: Reporter
    workers: int
    sandbox: Sandbox | None = None
    base_layer: BaseLayer | None = None
    limits: Limits = DEFAULT
    """Of archives that go in, and of layers that are unpacked to go on from."""

    def make(self, plan: Plan, code: Code) -> tuple[MadeLayer, ...]:
        """Every layer of ``plan``, in order. Call it inside ``store.writing()``.

        Raises the first maker's error; what was made before it stays in the store.
        """
        found = {layer: self._find(layer.recipe) for layer in plan.layers}
        missing = [layer for layer in plan.layers if found[layer] is None]
        self._check_sandbox(missing, plan.platform)
        if self.limits.portable:
            from trainload.layers.ownership import check_portable

            check_portable((file.path for file in code.listing.files), plan.name)
        unchecked = self._unchecked_owners(plan)
        inputs = [file for layer in missing for file in input_files(layer.recipe)]
        self.prefetch(list(dict.fromkeys([*inputs, *unchecked])))
        self._check_owners(unchecked, plan)
        plain = [layer for layer in missing if not isinstance(layer.recipe, _LATE)]
        configured = any(isinstance(layer.recipe, ConfiguredRecipe) for layer in plan.layers)
        writers = {layer: partial(self._write, layer.recipe, code, configured) for layer in plain}
        made = self._in_parallel(writers)
        result: list[MadeLayer] = []
        for planned in plan.layers:
            present = found[planned]
            if present is not None:
                self._present(planned, present)
                result.append(MadeLayer(planned, present, How.PRESENT))
            elif planned in made:
                result.append(made[planned])
            else:
                result.append(self._late(planned, [item.layer for item in result]))
        return tuple(result)

    def _in_parallel(
        self, writers: Mapping[PlannedLayer, Callable[[ByteSink], Written]]
    ) -> dict[PlannedLayer, MadeLayer]:
        if not writers:
            return {}
        stopped = threading.Event()

        def make(planned: PlannedLayer) -> MadeLayer:
            if isinstance(planned.recipe, ImageLayerRecipe):
                return self._taken(planned, planned.recipe, stopped)
            return self._one(planned, lambda sink: writers[planned](_Stoppable(sink, stopped)))

        layers = sorted(writers, key=lambda layer: -(layer.size or 0))
        with ThreadPoolExecutor(self.workers, "layer") as pool:
            try:
                futures: dict[PlannedLayer, Future[MadeLayer]] = {
                    layer: pool.submit(make, layer) for layer in layers
                }
                done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            except BaseException:  # an interrupt: leaving waits for the threads, so they are told to end
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            if any(future.exception() for future in done):
                pool.shutdown(cancel_futures=True)
            return {layer: future.result() for layer, future in futures.items() if not future.cancelled()}

    def _find(self, recipe: Recipe) -> Layer | None:
        if not isinstance(recipe, ImageLayerRecipe):
            return self.store.recipes.find(recipe_key(recipe))
        layer = _as_it_is(recipe)
        return layer if self.store.hold(layer.descriptor.digest) else None

    def _taken(self, planned: PlannedLayer, recipe: ImageLayerRecipe, stopped: threading.Event) -> MadeLayer:
        """A base image's layer, fetched."""
        assert self.base_layer is not None, "a plan with a base image is made where its layers can be had"
        self.base_layer(recipe, planned.title, stopped)
        return MadeLayer(planned, _as_it_is(recipe), How.FETCHED)

    def _late(self, planned: PlannedLayer, below: Sequence[Layer]) -> MadeLayer:
        recipe = planned.recipe
        if not isinstance(recipe, SystemRecipe):
            return self._in_sandbox(planned, below)
        from trainload.layers.debian.on_top import write_system

        layers = [(partial(self.store.blob_file, layer.descriptor.digest), layer.diff_id) for layer in below]
        return self._one(
            planned,
            lambda sink: write_system(recipe, layers, self.sources, sink, self.reporter, self.limits),
        )

    def _one(self, planned: PlannedLayer, write: Callable[[ByteSink], Written]) -> MadeLayer:
        """Make one layer, unless another process makes it meanwhile."""
        key = recipe_key(planned.recipe)
        with self.store.lock(f"recipe-{key.hex}"):
            layer = self.store.recipes.find(key)
            if layer is not None:
                self._present(planned, layer)
                return MadeLayer(planned, layer, How.PRESENT)
            self.reporter.report(Began(str(key), planned.title, planned.size))
            started = time.monotonic()
            try:
                with self.store.ingest() as blob:
                    written = write(blob)
                    digest, size = blob.commit()
            except BaseException:
                self.reporter.report(Ended(str(key), planned.title, How.FAILED))
                raise
            layer = Layer(Descriptor(LAYER_GZIP, digest, size), written.diff_id, written.unpacked)
            if not (self.limits.unrecorded and isinstance(planned.recipe, WheelsRecipe)):
                # what only --allow-unrecorded accepts must not be found without it
                self.store.recipes.record(key, layer)
        seconds = time.monotonic() - started
        self.reporter.report(Ended(str(key), planned.title, How.MADE, size, seconds))
        return MadeLayer(planned, layer, How.MADE)

    def _present(self, planned: PlannedLayer, layer: Layer) -> None:
        key = str(recipe_key(planned.recipe))
        self.reporter.report(Ended(key, planned.title, How.PRESENT, layer.descriptor.size))

    def _check_sandbox(self, missing: Sequence[PlannedLayer], target: Platform) -> None:
        """What needs a sandbox that is not there is refused before anything is fetched."""
        recipes = [layer.recipe for layer in missing]
        if self.sandbox is not None and target == Platform.host():
            return
        if any(isinstance(recipe, ConfiguredRecipe) for recipe in recipes):
            raise PlanError(
                Text("scripts of packages need a sandbox that can run {platform}", platform=target),
                hints=[
                    Text('set configure = "never"'),
                    Text("build on a machine that is {platform}", platform=target),
                ],
            )
        if any(isinstance(recipe, BytecodeRecipe) for recipe in recipes):
            raise PlanError(
                Text("bytecode needs a sandbox that can run {platform}", platform=target),
                hints=[Text("set bytecode = false")],
            )

    def _in_sandbox(self, planned: PlannedLayer, below: Sequence[Layer]) -> MadeLayer:
        recipe, sandbox = planned.recipe, self.sandbox
        assert isinstance(recipe, BytecodeRecipe | ConfiguredRecipe)
        assert sandbox is not None
        if isinstance(recipe, BytecodeRecipe):
            recipe = replace(recipe, below=tuple(layer.diff_id for layer in below))
        return self._one(replace(planned, recipe=recipe), lambda sink: sandbox(recipe, below, sink, self.limits))

    def _write(self, recipe: Recipe, code: Code, configured: bool, sink: ByteSink) -> Written:  # noqa: FBT001
        match recipe:
            case WheelsRecipe():
                from trainload.layers.wheels import write_wheels

                return write_wheels(recipe, self.sources, sink, self.reporter, self.limits)
            case BaseRecipe():
                from trainload.layers.debian.base import Cost, write_base

                return write_base(
                    recipe, self.sources, sink, self.reporter, cost=Cost(limits=self.limits), configured=configured
                )
            case EnvironmentRecipe():
                from trainload.layers.environment import write_environment

                return write_environment(recipe, sink)
            case InterpreterRecipe():
                from trainload.layers.interpreter import write_interpreter

                return write_interpreter(recipe, self.sources, sink, self.limits)
            case UserRecipe():
                from trainload.layers.user import write_user

                return write_user(recipe, self.sources, sink, self.limits)
            case CodeRecipe():
                from trainload.layers.code import write_code

                return write_code(recipe, code.listing, code.open, sink)
            case SourceRecipe():
                from trainload.layers.sdist import write_source

                return write_source(recipe, self.sources, sink, self.limits)
            case UnbuiltRecipe():
                raise AssertionError("its wheels are built before (builds.py)")
            case BytecodeRecipe() | ConfiguredRecipe() | SystemRecipe() | ImageLayerRecipe():
                raise AssertionError("made after what lies below, or not made at all")

    def _unchecked_owners(self, plan: Plan) -> Sequence[File]:
        """The wheels of ``plan``, unless it is known that these get along."""
        wheels = _wheels(plan)
        return () if self.store.facts.known(_getting_along(wheels, portable=self.limits.portable)) else wheels

    def _check_owners(self, wheels: Sequence[File], plan: Plan) -> None:
        """No two wheels of the image may want different files at one path (THREATS D5, W27)."""
        if not wheels:
            return
        from trainload.layers.ownership import check_ownership, check_portable, claims

        python = next(layer.recipe.python for layer in plan.layers if isinstance(layer.recipe, WheelsRecipe))
        owners = {}
        for wheel in wheels:
            with self.sources.open(wheel) as stream:
                owners[wheel.name] = claims(wheel, stream, python, self.limits)
        check_ownership(owners)
        if self.limits.portable:
            check_portable((path for paths in owners.values() for path in paths), plan.name)
        self.store.facts.learn(_getting_along(wheels, portable=self.limits.portable))


def _as_it_is(recipe: ImageLayerRecipe) -> Layer:
    """Of its unpacked size nothing is known until somebody looks inside."""
    descriptor = Descriptor(recipe.media_type, Digest.parse(recipe.digest), recipe.size)
    return Layer(descriptor, Digest.parse(recipe.diff_id), 0)


def _wheels(plan: Plan) -> list[File]:
    recipes = [layer.recipe for layer in plan.layers if isinstance(layer.recipe, WheelsRecipe)]
    return [wheel for recipe in recipes for wheel in recipe.wheels]


def _getting_along(wheels: Sequence[File], *, portable: bool = False) -> Digest:
    """The statement that no path is claimed twice in this set of wheels; ``portable``: on no file system."""
    words = {"portable": True} if portable else {}
    owners = sorted(wheel.sha256 for wheel in wheels)
    return Digest.sha256(canonical_json({"owners": owners, "version": 1, **words}))


def input_files(recipe: Recipe) -> tuple[File, ...]:
    """The outside files a recipe is made of."""
    match recipe:
        case WheelsRecipe():
            return recipe.wheels
        case BaseRecipe() | SystemRecipe():
            return tuple(package.file for package in recipe.packages)
        case InterpreterRecipe():
            return (recipe.archive,)
        case SourceRecipe():
            return (recipe.sdist,)
        case UserRecipe(base=BaseRecipe() as base):
            return input_files(base)
        case _:
            return ()
