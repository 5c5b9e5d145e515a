"""``[tool.trainload.matrix]``: which Pythons, accelerators and variants are built together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from trainload.project.kinds import Fault, Kind, Wrong, shown, wrong
from trainload.values import dataclass

AXES = ("variant", "python", "accelerator")
Exclusion = tuple[tuple[str, str], ...]
_WANT = "an array of tables with variant, python or accelerator"


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination; None: as the project has it."""

    variant: str | None = None
    python: str | None = None
    accelerator: str | None = None

    @property
    def tag(self) -> str:
        """Of its image: ``cv-py3.11-cu128``."""
        python = f"py{self.python}" if self.python else None
        return "-".join(part for part in (self.variant, python, self.accelerator) if part)

    @property
    def key(self) -> str:
        """In the name of its lock, which may have no dots (PEP 751 § File name)."""
        return self.tag.replace(".", "")

    def flags(self) -> dict[str, object]:
        """What it sets of the configuration."""
        return {axis: value for axis in AXES if (value := getattr(self, axis)) is not None}


def cells(
    variants: Sequence[str], pythons: Sequence[str], accelerators: Sequence[str], exclude: Sequence[Exclusion]
) -> tuple[Cell, ...]:
    """Every combination that is not excluded, in the order written; an axis that is empty has one value, None."""
    nothing: tuple[None] = (None,)
    product = itertools.product(variants or nothing, pythons or nothing, accelerators or nothing)
    made = dict.fromkeys(Cell(*values) for values in product)
    return tuple(cell for cell in made if not any(_matches(cell, exclusion) for exclusion in exclude))


def _matches(cell: Cell, exclusion: Exclusion) -> bool:
    return all(getattr(cell, axis) == value for axis, value in exclusion)


def _read(value: object) -> tuple[Exclusion, ...]:
    if not isinstance(value, list | tuple):
        raise wrong(value, _WANT)
    good: list[Exclusion] = []
    faults: list[Fault] = []
    for index, one in enumerate(value):
        if not isinstance(one, Mapping) or not one:
            faults.append(Fault(f"[{index}]", shown(one), _WANT))
            continue
        for name, item in one.items():
            if name not in AXES or not isinstance(item, str):
                faults.append(
                    Fault(f"[{index}].{name}", shown(item), "variant, python or accelerator, each a string")
                )
        good.append(tuple(sorted((str(name), str(item)) for name, item in one.items())))
    if faults:
        raise Wrong(*faults)
    return tuple(good)


_ITEM = {
    "type": "object",
    "minProperties": 1,
    "properties": {axis: {"type": "string"} for axis in AXES},
    "additionalProperties": False,
}
EXCLUDE: Kind[tuple[Exclusion, ...]] = Kind(_WANT, {"type": "array", "items": _ITEM}, _read)
