"""Where COPY and the mounts of a RUN take files from: the context, another stage, an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.foundation import diff_ids, lay
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.rows import Row
from trainload.builder.dockerfile.takes import LayersSource, Source
from trainload.builder.workshop import MadeLayer, Workshop
from trainload.dockerfile.stages import Stage
from trainload.errors import Place, Text
from trainload.plan.model import BaseDocument, RuntimeConfig
from trainload.platform import Platform
from trainload.values import dataclass


@dataclass(frozen=True, slots=True)
class Built:
    """A stage that is made."""

    stage: Stage
    layers: tuple[MadeLayer, ...]
    config: RuntimeConfig
    shop: Workshop
    base: BaseDocument | None
    warnings: tuple[Text, ...]
    rows: tuple[Row, ...] = ()
    whole: bool = True
    """Every layer is there; otherwise those up to the first that is not."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Sources by the names that lines have for them."""

    bench: Bench
    before: Mapping[int, Built]
    """The stages that are made already, by number."""
    platform: Platform

    def named(self, name: str | None, place: Place) -> Source:
        """A stage by its number, an image by its name; None: the context."""
        if name is None:
            return self.bench.context
        if name.isdigit():
            other = self.before[int(name)]
            return self._layers(other.stage.label, list(other.layers), other.shop)
        found = lay(self.bench, name, self.platform, place)
        return self._layers(name, list(found.layers), found.shop)

    def of_mount(self, name: str | None, *, place: Place) -> Source:
        """As a mount names it: a stage also by its own name."""
        if name is None:
            return self.bench.context
        number = next(
            (n for n, one in self.before.items() if one.stage.name == name.lower() or str(n) == name), None
        )
        return self.named(name if number is None else str(number), place)

    def _layers(self, label: str, made: list[MadeLayer], shop: Workshop) -> LayersSource:
        def ground() -> Ground:
            layers = tuple(one.layer for one in shop.bring(made))
            return Ground(shop.store, layers, limits=shop.limits, listings=self.bench.listings)

        rooms, limits = self.bench.rooms, shop.limits

        def unpacked(ground: Ground) -> Callable[[str], object]:
            assert rooms is not None
            return rooms.unpacked(ground.layers, limits)

        return LayersSource(label, ground, diff_ids(made), unpacked)  # type: ignore[arg-type]
