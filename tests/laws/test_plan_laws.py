"""Laws of the plan: how packages fall into layers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainload.lock.model import PythonFile
from trainload.plan.order import LAYERS, Grouping, group
from trainload.testing import values

SIZES = st.one_of(st.none(), st.integers(1, 90_000), st.integers(1, 9_000_000))
PACKAGES = st.dictionaries(st.from_regex("[a-z]{1,8}", fullmatch=True), SIZES, max_size=150)


def wheels(packages: dict[str, int | None]) -> list[PythonFile]:
    return [values.wheel(name, size=size) for name, size in packages.items()]


def layers(grouping: Grouping[PythonFile]) -> list[tuple[PythonFile, ...]]:
    return [*((file,) for file in grouping.own), *grouping.together]


def weight(files: tuple[PythonFile, ...]) -> int:
    return sum(file.file.size or 0 for file in files)


@given(PACKAGES)
def test_law_every_package_is_in_one_layer_and_layers_are_within_their_number(
    packages: dict[str, int | None],
) -> None:
    files = wheels(packages)
    found = layers(group(files))
    assert sorted(file.name for layer in found for file in layer) == sorted(packages)
    assert len(found) <= LAYERS
    assert found == layers(group(files[::-1]))


@given(PACKAGES, st.from_regex("[A-Z]{1,8}", fullmatch=True), SIZES)
def test_law_one_package_more_moves_itself_and_at_most_a_grain_of_others(
    packages: dict[str, int | None], name: str, size: int | None
) -> None:
    before, after = group(wheels(packages)), group(wheels({**packages, name: size}))
    if before.grain != after.grain:
        return  # one layer too many: cut anew
    known = set(layers(before))
    moved = sum(weight(layer) for layer in layers(after) if layer not in known)
    assert moved <= (size or 0) + after.grain
