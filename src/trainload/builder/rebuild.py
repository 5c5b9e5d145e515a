"""Whether an image's layers are what their public inputs give: each is made again, and nothing of it is kept.

This is what a digest alone cannot tell: a cache or a registry may say that any bytes are the layer of some package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from trainload.builder.makers import LATE, Code, Makers, input_files
from trainload.builder.workshop import Workshop
from trainload.digest import Digest
from trainload.errors import Text, TrainloadError
from trainload.events import Began, Ended, How
from trainload.image.history import Step, steps
from trainload.image.model import Image, Layer
from trainload.plan.key import recipe_key
from trainload.plan.model import (
    BytecodeRecipe,
    ConfiguredRecipe,
    ImageLayerRecipe,
    Plan,
    PlannedLayer,
    Recipe,
)
from trainload.platform import Platform


class Verdict(StrEnum):
    EQUAL = "equal"
    DIFFERENT = "different"
    NOT_REBUILT = "not rebuilt"


@dataclass(frozen=True, slots=True)
class Remade:
    """One layer of an image, and what came of making it again."""

    title: str
    digest: Digest
    """Of the image's layer."""
    size: int
    verdict: Verdict
    got: Digest | None = None
    """Of the layer made here, where it is different."""
    reason: Text | None = None
    """Why it was not rebuilt."""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """An image on one side, and on the other what its project's lock and files describe."""

    shop: Workshop
    plan: Plan
    code: Code
    image: Image

    def run(self) -> tuple[Remade, ...]:
        """Every layer, in order. Call it inside ``store.writing()``. Raises :class:`FetchError` for lost inputs."""
        planned = self._planned()
        found = [step for step in steps(self.image) if step.layer is not None]
        wanted = [planned[step.recipe] for step in found if step.recipe in planned]
        self.shop.prefetch(list(dict.fromkeys(file for layer in wanted for file in input_files(layer.recipe))))
        makers = self.shop.makers(self.plan, self.code)
        with ThreadPoolExecutor(self.shop.workers, "layer") as pool:
            return tuple(pool.map(partial(self._one, makers, planned), range(len(found)), found))

    def _planned(self) -> Mapping[str, PlannedLayer]:
        """The plan's layers by their keys; the bytecode's is of the layers that the image has below it."""
        layers: dict[str, PlannedLayer] = {}
        for position, layer in enumerate(self.plan.layers):
            recipe = layer.recipe
            if isinstance(recipe, BytecodeRecipe):
                recipe = replace(recipe, below=self.image.config.diff_ids[:position])
            layers[str(recipe_key(recipe))] = replace(layer, recipe=recipe)
        return layers

    def _one(self, makers: Makers, planned: Mapping[str, PlannedLayer], position: int, step: Step) -> Remade:
        assert step.layer is not None and step.diff_id is not None
        layer = planned.get(step.recipe)
        reason = self._obstacle(position, step, layer)
        if layer is None or reason is not None:
            return Remade(step.title, step.layer.digest, step.layer.size, Verdict.NOT_REBUILT, reason=reason)
        task = f"rebuild {step.layer.digest}"
        self.shop.reporter.report(Began(task, step.title, step.layer.size))
        try:
            digest, diff_id = self._made(makers, layer.recipe, position)
        except TrainloadError:
            self.shop.reporter.report(Ended(task, step.title, How.FAILED))
            raise
        equal = (digest, diff_id) == (step.layer.digest, step.diff_id)
        how, verdict = (How.CHECKED, Verdict.EQUAL) if equal else (How.FAILED, Verdict.DIFFERENT)
        self.shop.reporter.report(Ended(task, step.title, how, step.layer.size))
        return Remade(step.title, step.layer.digest, step.layer.size, verdict, None if equal else digest)

    def _made(self, makers: Makers, recipe: Recipe, position: int) -> tuple[Digest, Digest]:
        """Digest and diff_id of the layer as it should be."""
        if isinstance(recipe, ImageLayerRecipe):  # the base image's, locked by digest
            return Digest.parse(recipe.digest), Digest.parse(recipe.diff_id)
        sink = _Hashing()
        written = makers.write(recipe, self._below(position), sink)
        return sink.digest, written.diff_id

    def _obstacle(self, position: int, step: Step, layer: PlannedLayer | None) -> Text | None:
        if not step.recipe:
            return Text("others made it: it names no inputs")
        if layer is None:
            return Text("the lock and the files here do not describe it")
        if not isinstance(layer.recipe, LATE):
            return None
        needs_sandbox = isinstance(layer.recipe, BytecodeRecipe | ConfiguredRecipe)
        if needs_sandbox and (self.shop.sandbox is None or self.plan.platform != Platform.host()):
            return Text("it needs a sandbox that can run {platform}", platform=self.plan.platform)
        if not all(self.shop.store.hold(below.descriptor.digest) for below in self._below(position)):
            return Text("it is made of the layers below it, and they are not here: pull the image first")
        return None

    def _below(self, position: int) -> Sequence[Layer]:
        pairs = zip(self.image.manifest.layers, self.image.config.diff_ids, strict=True)
        return [Layer(layer, diff_id, 0) for layer, diff_id in pairs][:position]


class _Hashing:
    """A sink that keeps nothing but the digest."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> Digest:
        return Digest("sha256", self._hash.hexdigest())
