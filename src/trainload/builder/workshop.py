"""Makes a plan's layers: each recipe is looked up here, then in registries, and what is missing is made.

A layer is made once per store, whoever asks: its recipe is locked meanwhile, across processes. A build that finds
everything imports no maker, so it is quick.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from trainload.builder.makers import LATE, Code, Makers, Sandbox, Supplies, check_sandbox, input_files
from trainload.builder.owners import FORGETFUL, Memory, check_owners, owners_of, owning_recipes, statement, unread
from trainload.builder.sinks import Stoppable, written_to
from trainload.digest import Digest
from trainload.errors import LayerError
from trainload.events import Began, Ended, How, Reporter
from trainload.image.model import LAYER_GZIP, UNRECORDED, Descriptor, Layer
from trainload.layers.model import ByteSink, Written
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import File
from trainload.plan.key import recipe_key
from trainload.plan.model import (
    BytecodeRecipe,
    CodeRecipe,
    ConfiguredRecipe,
    ImageLayerRecipe,
    Plan,
    PlannedLayer,
    Recipe,
    WeightsRecipe,
    WheelsRecipe,
)
from trainload.reference import Reference
from trainload.store.store import Store
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from trainload.layers.tar import Header


@dataclass(frozen=True, slots=True)
class Known:
    """A layer that is said to be made of a recipe, and who says so."""

    layer: Layer
    said_by: Reference
    """The repository; the layer lies there too."""
    here: bool
    """Its blob is in the store, and is what it was said to be."""


class Shared(Protocol):
    """Layers that others have made (``elsewhere.py``). It can only help: no method raises."""

    def find(self, keys: Sequence[Digest], /) -> Mapping[Digest, Known]:
        """What is known of these recipes."""

    def get_along(self, claim: Digest, layers: Sequence[Digest], /) -> bool:
        """Whether it is known that no path is claimed twice by the recipes ``layers``, which is ``claim``."""

    def fetch(self, key: Digest, known: Known, title: str, stopped: threading.Event, /) -> Layer | None:
        """Have the layer in the store, held and verified; None when it cannot be had or is not what was said.

        A download ends once ``stopped`` is set.
        """


@dataclass(frozen=True, slots=True)
class BaseLayers:
    """Layers of a base image, which are taken as they are."""

    where: Reference
    fetch: Callable[[ImageLayerRecipe, str, threading.Event], object]
    """Has one in the store, held: which, its name for people, and what ends the download."""


@dataclass(frozen=True, slots=True)
class MadeLayer:
    """A layer of the plan that exists now."""

    planned: PlannedLayer
    layer: Layer
    how: How
    origin: Reference | None = None
    """The repository it comes from: one that says what it is made of, or the base image's. None: made here."""
    here: bool = True
    """Its blob is in the store; otherwise it lies in ``origin``."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where layers are made."""

    store: Store
    sources: Supplies
    prefetch: Callable[[Sequence[File]], object]
    """Fetches files that will be needed, several at once."""
    reporter: Reporter
    workers: int
    sandbox: Sandbox | None = None
    base: BaseLayers | None = None
    """Of a plan whose base is an image."""
    limits: Limits = DEFAULT
    """Of archives that go in, and of layers that are unpacked to go on from."""
    shared: Callable[[], Shared] | None = None
    """Asked for when something is not known here; None: only what is made here counts."""
    lazy: bool = False
    """A layer that lies in a registry stays there, unless something here needs its bytes."""
    anew: bool = False
    """Make every layer, known or not."""
    noting: Callable[[Digest, Sequence[Header]], object] | None = None
    """Told what is in each layer that is made, by its diff_id."""

    def make(self, plan: Plan, code: Code) -> tuple[MadeLayer, ...]:
        """Every layer of ``plan``, in order. Call it inside ``store.writing()``.

        Raises the first maker's error; what was made before it stays in the store.
        """
        found = self._found(plan.layers)
        missing = [layer for layer in plan.layers if layer not in found]
        check_sandbox(self.sandbox, [layer.recipe for layer in missing], plan.platform)
        if self.limits.portable:
            from trainload.layers.ownership import check_portable

            check_portable((file.path for file in code.listing.files), plan.name)
        unchecked = () if self._wheels_get_along(plan) else tuple(owners_of(plan))
        inputs = [file for layer in missing for file in input_files(layer.recipe)]
        files = list(dict.fromkeys([*inputs, *(unread(plan, self.limits, self._memory) if unchecked else ())]))
        if self.limits.portable and unchecked:  # of what is refused nothing is made
            self.prefetch(files)
            self._check_owners(plan, unchecked)
            files = []
        makers = self.makers(plan, code)
        writers = {
            layer: partial(makers.write, layer.recipe, ())
            for layer in plan.layers
            if not isinstance(layer.recipe, LATE) and not self._settled(found.get(layer))
        }
        known = {**found, **self._in_parallel(writers, found, files)}
        if unchecked and not self.limits.portable:  # makers have told what their wheels claim
            self._check_owners(plan, unchecked)
        result: list[MadeLayer] = []
        for planned in plan.layers:
            made = known.get(planned)
            if made is None or not self._settled(made):
                made = self._late(planned, result, makers)
            if made is None:  # something here needs the bytes of those below
                return replace(self, lazy=False).make(plan, code)
            result.append(made)
        return tuple(result)

    def makers(self, plan: Plan, code: Code) -> Makers:
        """What writes the layers of ``plan``."""
        configured = any(isinstance(layer.recipe, ConfiguredRecipe) for layer in plan.layers)
        return Makers(
            self.sources, code, self.sandbox, self.store.blob_file, self.reporter, self.limits, configured,
            self._memory,
        )  # fmt: skip

    @property
    def _memory(self) -> Memory:
        return FORGETFUL if self.anew else self.store.facts

    def _check_owners(self, plan: Plan, owners: Sequence[File]) -> None:
        check_owners(plan, self.sources, self.limits, self.reporter, self._memory)
        self.store.facts.learn(statement(owners, portable=self.limits.portable))

    def of_base(self, layers: Sequence[PlannedLayer]) -> tuple[MadeLayer, ...]:
        """Layers of the base image, of which nothing is fetched yet."""
        return tuple(taken for layer in layers if (taken := self._of_base(layer)) is not None)

    def add(
        self,
        planned: PlannedLayer,
        below: Sequence[MadeLayer],
        write: Callable[[ByteSink], Written],
        *,
        quick: bool = False,
    ) -> MadeLayer | None:
        """One more layer, found or made; None: it must be made, and not all of those below are here.

        ``quick``: where these are here, it is made sooner than a registry is asked for it.
        """
        here = all(made.here for made in below)
        known = self._found([planned], elsewhere=not (quick and here))
        if self._settled(known.get(planned)):
            return known[planned]
        if not here:
            return None
        return self._in_parallel({planned: write}, known)[planned]

    def add_all(
        self, writers: Mapping[PlannedLayer, Callable[[ByteSink], Written]]
    ) -> dict[PlannedLayer, MadeLayer]:
        """Layers that look at none of each other, found or made at the same time, each once its files are here."""
        known = self._found(list(writers))
        rest = {planned: write for planned, write in writers.items() if not self._settled(known.get(planned))}
        files = [file for planned in rest if planned not in known for file in input_files(planned.recipe)]
        return {**known, **self._in_parallel(rest, known, files)}

    def known(self, planned: PlannedLayer) -> MadeLayer | None:
        """The layer, if it is known; nothing is made, fetched or told."""
        layer = self.store.recipes.find(recipe_key(planned.recipe))
        return None if layer is None else MadeLayer(planned, layer, How.PRESENT)

    def bring(self, layers: Sequence[MadeLayer]) -> tuple[MadeLayer, ...]:
        """``layers`` with those that lie elsewhere fetched. Raises :class:`LayerError` for one that is lost."""
        missing = {made.planned: made for made in layers if not made.here}

        def lost(_: ByteSink) -> Written:
            raise LayerError("a layer cannot be fetched from where it was found", retryable=True)

        brought = self._in_parallel(dict.fromkeys(missing, lost), missing)
        return tuple(brought.get(made.planned, made) for made in layers)

    def _found(self, layers: Sequence[PlannedLayer], *, elsewhere: bool = True) -> dict[PlannedLayer, MadeLayer]:
        """What need not be made: made here before, known elsewhere, or the base image's."""
        found = {layer: taken for layer in layers if (taken := self._of_base(layer)) is not None}
        keys = {
            layer: recipe_key(layer.recipe)
            for layer in layers
            if layer not in found and _is_whole(layer.recipe) and not self.anew
        }
        for planned, key in keys.items():
            layer = self.store.recipes.find(key)
            if layer is not None:
                found[planned] = MadeLayer(planned, layer, How.PRESENT)
        if elsewhere:
            found |= self._found_elsewhere({layer: key for layer, key in keys.items() if layer not in found})
        for made in found.values():
            if self._settled(made):
                self.tell(made)
        return found

    def _found_elsewhere(self, keys: Mapping[PlannedLayer, Digest]) -> dict[PlannedLayer, MadeLayer]:
        wanted = {layer: key for layer, key in keys.items() if not isinstance(layer.recipe, CodeRecipe)}
        if self.shared is None or not wanted:
            return {}
        said = self.shared().find(list(wanted.values()))
        return {
            layer: MadeLayer(layer, one.layer, How.PRESENT if one.here else How.REMOTE, one.said_by, one.here)
            for layer, key in wanted.items()
            if (one := said.get(key)) is not None
        }

    def _of_base(self, planned: PlannedLayer) -> MadeLayer | None:
        """A layer of the base image, as it is."""
        recipe = planned.recipe
        if not isinstance(recipe, ImageLayerRecipe):
            return None
        assert self.base is not None, "a plan with a base image is made where its layers can be had"
        digest = Digest.parse(recipe.digest)
        # of its unpacked size nothing is known until somebody looks inside
        layer = Layer(Descriptor(recipe.media_type, digest, recipe.size), Digest.parse(recipe.diff_id), 0)
        here = self.store.hold(digest)
        return MadeLayer(planned, layer, How.PRESENT if here else How.REMOTE, self.base.where, here)

    def _settled(self, made: MadeLayer | None) -> bool:
        """Whether nothing is to be done for it."""
        return made is not None and (made.here or self.lazy)

    def _in_parallel(
        self,
        writers: Mapping[PlannedLayer, Callable[[ByteSink], Written]],
        known: Mapping[PlannedLayer, MadeLayer],
        files: Sequence[File] = (),
    ) -> dict[PlannedLayer, MadeLayer]:
        """The layers, those ``known`` fetched, the others made; what cannot be fetched is made too.

        ``files``: what they are made of and may not be here yet; makers wait for their own.
        """
        if not writers:
            self.prefetch(files)
            return {}
        from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

        stopped = threading.Event()

        def make(planned: PlannedLayer) -> MadeLayer:
            brought = self._brought(known[planned], stopped) if planned in known else None
            return brought or self._one(planned, lambda sink: writers[planned](Stoppable(sink, stopped)))

        layers = sorted(writers, key=lambda layer: -(layer.size or 0))
        with ThreadPoolExecutor(self.workers, "layer") as pool:
            try:
                futures: dict[PlannedLayer, Future[MadeLayer]] = {
                    layer: pool.submit(make, layer) for layer in layers
                }
                self.prefetch(files)
                done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            except BaseException:  # an interrupt: leaving waits for the threads, so they are told to end
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            if any(future.exception() for future in done):
                pool.shutdown(cancel_futures=True)
            return {layer: future.result() for layer, future in futures.items() if not future.cancelled()}

    def _brought(self, known: MadeLayer, stopped: threading.Event) -> MadeLayer | None:
        """A layer that lies elsewhere, fetched; None: it must be made. Raises when it is the base's."""
        recipe, title = known.planned.recipe, known.planned.title
        if isinstance(recipe, ImageLayerRecipe):
            assert self.base is not None
            self.base.fetch(recipe, title, stopped)
            return replace(known, how=How.FETCHED, here=True)
        assert self.shared is not None and known.origin is not None
        said = Known(known.layer, known.origin, here=False)
        layer = self.shared().fetch(recipe_key(recipe), said, title, stopped)
        return replace(known, layer=layer, how=How.FETCHED, here=True) if layer is not None else None

    def _one(self, planned: PlannedLayer, write: Callable[[ByteSink], Written]) -> MadeLayer:
        """Make one layer, unless another process makes it meanwhile."""
        key = recipe_key(planned.recipe)
        with self.store.lock(f"recipe-{key.hex}"):
            layer = None if self.anew else self.store.recipes.find(key)
            if layer is not None:
                made = MadeLayer(planned, layer, How.PRESENT)
                self.tell(made)
                return made
            self.reporter.report(Began(str(key), planned.title, planned.size))
            started = time.monotonic()
            try:
                with self.store.ingest(*_part(planned, key)) as ingest:
                    noted: list[Header] | None = None if self.noting is None else []
                    written = written_to(write, ingest, noted)
                    digest, size = ingest.commit()
                if self.noting is not None and noted is not None:
                    self.noting(written.diff_id, noted)
            except BaseException:
                self.reporter.report(Ended(str(key), planned.title, How.FAILED))
                raise
            # what only --allow-unrecorded accepts must not be found without it
            hidden = self.limits.unrecorded and isinstance(planned.recipe, WheelsRecipe)
            blob = Descriptor(LAYER_GZIP, digest, size, {UNRECORDED: "true"} if hidden else {})
            layer = Layer(blob, written.diff_id, written.unpacked)
            if not hidden:
                self.store.recipes.record(key, layer)
        seconds = time.monotonic() - started
        self.reporter.report(Ended(str(key), planned.title, How.MADE, size, seconds))
        return MadeLayer(planned, layer, How.MADE)

    def tell(self, made: MadeLayer) -> None:
        """That nothing was done for it."""
        key, size = str(recipe_key(made.planned.recipe)), made.layer.descriptor.size
        self.reporter.report(Ended(key, made.planned.title, made.how, size))

    def _late(self, planned: PlannedLayer, below: Sequence[MadeLayer], makers: Makers) -> MadeLayer | None:
        """A layer that is made of those below; None: they are not all here, and it must be made."""
        layers = [made.layer for made in below]
        if isinstance(planned.recipe, BytecodeRecipe):
            recipe = replace(planned.recipe, below=tuple(layer.diff_id for layer in layers))
            planned = replace(planned, recipe=recipe)
        return self.add(planned, below, partial(makers.write, planned.recipe, layers))

    def _wheels_get_along(self, plan: Plan) -> bool:
        """Whether that is known without looking into them."""
        recipes = owning_recipes(plan)
        if not recipes:
            return True
        if self.anew:
            return False
        claim = statement(owners_of(plan), portable=self.limits.portable)
        if self.store.facts.known(claim) or self.shared is None:
            return self.store.facts.known(claim)
        # an image that has all these layers shows that they get along, but not on every file system
        layers = [] if self.limits.portable else [recipe_key(recipe) for recipe in recipes]
        return self.shared().get_along(claim, layers)


def _part(planned: PlannedLayer, key: Digest) -> tuple[int | None, str]:
    """How large it becomes at least, and what is kept of it if it does not come whole: for gigabytes of weights."""
    return (planned.size, f"layer-{key.hex}") if isinstance(planned.recipe, WeightsRecipe) else (None, "")


def _is_whole(recipe: Recipe) -> bool:
    """Whether all inputs are known by now, so that its key means something."""
    return not isinstance(recipe, BytecodeRecipe) or bool(recipe.below)
