"""What becomes of each line of a Dockerfile, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from trainload.builder.dockerfile.foundation import Foundation
from trainload.dockerfile.model import Arg, Onbuild, Shell, Workdir
from trainload.dockerfile.stages import Stage
from trainload.errors import Text
from trainload.values import dataclass

_CONFIG = Text("a line of the image's config")
_SAYS: Mapping[type, Text] = {
    Arg: Text("a variable of the build"),
    Workdir: Text("its folder goes into the next layer"),
    Shell: Text("what runs the lines after it, and a line of the image's config"),
    Onbuild: Text("for images that are built on this one"),
}


class How(StrEnum):
    """What becomes of a line."""

    BASE = "base"
    PLACED = "placed"
    RUN = "run"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file, for people."""

    line: int
    text: str
    how: How
    why: Text
    present: bool | None = None
    """Its layer is known; None: it makes none."""
    later: bool = False
    """What it takes from outside is not asked yet."""


def all_rows(stage: Stage, rows: Sequence[Row], ground: Foundation) -> Iterator[Row]:
    """Every instruction: those that make layers, and those that say something of the config."""
    why = Text("{count} layers", count=len(ground.layers))
    yield Row(stage.line, stage.text, How.BASE, why, all(one.here for one in ground.layers))
    told = {row.line for row in rows}
    config = [
        Row(item.line, item.text, How.CONFIG, _SAYS.get(type(item.what), _CONFIG))
        for item in stage.instructions
        if item.line not in told
    ]
    yield from sorted((*rows, *config), key=lambda row: row.line)
