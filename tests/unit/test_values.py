"""Our data classes are the standard library's, whatever is done with them; only their making takes less time."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from trainload import values

T = TypeVar("T")
Maker = Callable[..., Any]
MAKERS: list[Maker] = [dataclasses.dataclass, values.dataclass]
SOURCE = Path(values.__file__).parent


@values.dataclass(frozen=True, slots=True)
class Point:
    """Two numbers, and what is said of them."""

    x: int
    y: int = 2
    said: dict[str, int] = values.field(default_factory=dict)


def classes(maker: Maker) -> list[type]:
    """Of each kind that the code has."""

    @maker(frozen=True, slots=True)
    class Plain:
        x: int
        y: int = 2
        said: dict[str, int] = values.field(default_factory=dict)
        why: str = values.field(default="none")

    @maker(slots=True)
    class Changing:
        x: int
        y: list[int] = values.field(default_factory=list)

    @maker(frozen=True, slots=True, order=True)
    class Ordered:
        x: int
        y: int = 0

    @maker(frozen=True, slots=True)
    class One(Generic[T]):
        x: T

    @maker(frozen=True, slots=True)
    class Checked:
        x: int

        def __post_init__(self) -> None:
            object.__setattr__(self, "x", self.x + 1)

        @property
        def twice(self) -> int:
            return 2 * self.x

    @maker(frozen=True, slots=True)
    class Said:
        x: int

        def __repr__(self) -> str:
            return "said"

        def __hash__(self) -> int:
            return 7

    @maker(frozen=True, slots=True)
    class Alike:  # noqa: PLW1641 - the maker gives it a hash
        x: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self))

    @maker(slots=True)
    class Kept:
        kind: ClassVar[str] = "kept"
        x: int
        y: int = values.field(default=3, repr=False, compare=False)
        z: int = values.field(init=False, default=4)

    @maker(frozen=True)
    class Open:
        x: int

        @cached_property
        def more(self) -> int:
            return self.x + 1

    @maker(frozen=True, slots=True)
    class Child(Plain):
        z: int = 5

    return [Plain, Changing, Ordered, One, Checked, Said, Alike, Kept, Open, Child]


PAIRS = list(zip(*(classes(maker) for maker in MAKERS), strict=True))


@pytest.fixture(params=PAIRS, ids=[pair[0].__name__ for pair in PAIRS])
def pair(request: pytest.FixtureRequest) -> tuple[type, type]:
    found: tuple[type, type] = request.param
    return found


def outcome(work: Callable[[], object]) -> object:
    """What it returns, or which error it raises with which words."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever it is, both must have it
        return type(error), str(error)


def test_values_of_both_behave_alike(pair: tuple[type, type]) -> None:
    def told(cls: Any) -> list[object]:  # noqa: ANN401
        one, same, other = cls(1), cls(1), cls(2)
        return [
            repr(one).replace(cls.__qualname__, "C"), one == same, one == other, one != other, one == 1,
            outcome(lambda: hash(one) == hash(same)), outcome(lambda: hash(one) == hash((1,))),
            outcome(lambda: one < other), outcome(lambda: one >= same), outcome(lambda: one < 1),
            [(each.name, each.type, getattr(one, each.name)) for each in dataclasses.fields(cls)],
            values.names_of(cls), dataclasses.asdict(one), dataclasses.is_dataclass(cls),
            repr(values.replace(one, x=5)) == repr(dataclasses.replace(one, x=5)), values.replace(one, x=5).x,
            outcome(lambda: values.replace(one, nothing=1))[0],  # type: ignore[index]
            copy.copy(one) == one, copy.deepcopy(one) == one,
            outcome(lambda: setattr(one, "x", 9)), outcome(lambda: delattr(other, "x")),
            cls.__match_args__, hasattr(one, "__dict__"), cls.__name__, cls.__module__,
        ]  # fmt: skip

    assert told(pair[0]) == told(pair[1])


@pytest.mark.parametrize("words", [(), (1, 2, 3, 4, 5, 6), (1, 2, {}, "w", 8, 9, 10)])
def test_wrong_arguments_are_told_alike(pair: tuple[type, type], words: tuple[object, ...]) -> None:
    theirs, ours = (outcome(partial(cls, *words)) for cls in pair)
    assert theirs == ours
    assert outcome(lambda: pair[0](nothing=1)) == outcome(lambda: pair[1](nothing=1))


def test_defaults_are_made_anew_for_each_value() -> None:
    assert Point(1).said == {} and Point(1).said is not Point(1).said
    assert Point(1, said={"a": 1}) == Point(1, 2, {"a": 1}) != Point(1)


def test_values_are_pickled() -> None:
    assert pickle.loads(pickle.dumps(Point(3, said={"a": 1}))) == Point(3, said={"a": 1})


def test_a_pattern_takes_values_apart() -> None:
    match Point(1, 4):
        case Point(1, y):
            assert y == 4
        case _:
            pytest.fail("it is a point")


def test_what_the_standard_library_refuses_is_refused() -> None:
    def mutable(maker: Maker) -> object:
        @maker(frozen=True, slots=True)
        class Wrong:
            x: list[int] = []  # noqa: RUF012

        return Wrong

    def order(maker: Maker) -> object:
        @maker(frozen=True, slots=True)
        class Wrong:
            x: int = 1
            y: int

        return Wrong

    for wrong in (mutable, order):
        refused, ours = (outcome(partial(wrong, maker)) for maker in MAKERS)
        assert ours == refused and isinstance(ours, tuple)


def test_other_classes_have_no_fields() -> None:
    assert values.names_of(Path) is None and values.names_of(Point) == ("x", "y", "said")


def test_a_class_may_be_extended_by_one_of_the_standard_library() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Space(Point):
        z: int = 3

    assert repr(Space(1)).endswith("Space(x=1, y=2, said={}, z=3)")
    assert values.replace(Space(1), x=2) == Space(2)
    assert Space(1) != Point(1)


def test_what_every_build_imports_makes_its_classes_here() -> None:
    code = """
        import sys
        import trainload.cli.build, trainload.cli.pushing, trainload.cli.options, trainload.pipeline
        import trainload.destinations.push, trainload.registry.client, trainload.store.store
        print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("trainload.")))
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    files = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert len(files) > 100
    files.remove(values.__file__)
    slow = [file for file in files if "from dataclasses import dataclass" in Path(file).read_text(encoding="utf-8")]
    assert [str(Path(file).relative_to(SOURCE)) for file in slow] == []
