"""An image's layers with what its history says of them: the bill of lading, read back."""

from __future__ import annotations

from trainload.digest import Digest
from trainload.image.model import RECIPE, Descriptor, History, Image
from trainload.values import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an image's history, first to last; ``layer`` is None for a step that only changed the config."""

    history: History
    layer: Descriptor | None
    diff_id: Digest | None

    @property
    def title(self) -> str:
        """What was done, without the size we add to it."""
        title, dot, _ = self.history.created_by.rpartition(" · ")
        return title if dot else self.history.created_by

    @property
    def recipe(self) -> str:
        """Key of the recipe; empty for a layer we did not make."""
        return self.layer.annotations.get(RECIPE, "") if self.layer else ""


def steps(image: Image) -> tuple[Step, ...]:
    """The history joined with the layers; where they do not match in number, the layers alone."""
    layers = list(zip(image.manifest.layers, image.config.diff_ids, strict=True))
    history = image.config.history
    if sum(not entry.empty for entry in history) != len(layers):
        return tuple(Step(History(), layer, diff_id) for layer, diff_id in layers)
    rest = iter(layers)
    return tuple(Step(entry, *((None, None) if entry.empty else next(rest))) for entry in history)
