"""Layers are made by several threads: what an interrupt leaves of them."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import BinaryIO, cast

import pytest

from trainload.builder.makers import Code, Sandbox, Supplies
from trainload.builder.workshop import Known, Shared, Workshop
from trainload.digest import Digest
from trainload.errors import FetchError, LayerError, PlanError, Text
from trainload.events import SILENT, How
from trainload.layers.model import ByteSink, Written
from trainload.layers.writer import LayerWriter
from trainload.limits import DEFAULT
from trainload.lock.model import File
from trainload.plan.key import recipe_key
from trainload.plan.model import (
    BaseRecipe,
    CodeRecipe,
    ConfiguredRecipe,
    EnvironmentRecipe,
    Kind,
    Plan,
    PlannedLayer,
    RuntimeConfig,
    WheelsRecipe,
)
from trainload.platform import Platform
from trainload.project.model import CodeFile, CodeListing
from trainload.store.store import Store
from trainload.testing.sources import MemorySources, locked
from trainload.testing.zips import Made

NOISE = os.urandom(1 << 20)


class Endless(io.RawIOBase):
    """A file that takes minutes to read; the alarm is set once somebody begins."""

    begun = False

    def read(self, size: int = -1) -> bytes:
        if not self.begun:
            self.begun = True
            signal.setitimer(signal.ITIMER_REAL, 0.2)
        time.sleep(0.01)
        return NOISE[:size]


class _Interrupt(BaseException):
    pass


@pytest.fixture
def alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise _Interrupt

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_fault_12_an_interrupt_ends_the_layers_under_way_and_begins_no_other(tmp_path: Path, alarm: None) -> None:
    store = Store.open(tmp_path / "home")
    size = 50 << 30
    why = Text("a test")
    code = PlannedLayer(Kind.CODE, "code", CodeRecipe("/app", 1000, "0" * 64), size, why)
    waiting = tuple(
        PlannedLayer(Kind.ENVIRONMENT, f"venv {n}", EnvironmentRecipe(f"3.{n}", "/usr/bin/python3"), 1, why)
        for n in range(11, 14)
    )
    config = RuntimeConfig("1000", "/app", (), (), {}, {})
    listing = CodeListing((CodeFile("big", size),), (), ())
    shop = Workshop(store, cast("Supplies", None), lambda files: None, SILENT, workers=1)
    started = time.monotonic()
    with pytest.raises(_Interrupt), store.writing():
        shop.make(
            Plan("x", Platform(), (*waiting, code), config), Code(listing, lambda p: cast("BinaryIO", Endless()))
        )
    assert time.monotonic() - started < 60
    assert [store.recipes.find(recipe_key(layer.recipe)) for layer in (*waiting, code)] == [None] * 4
    assert [path.name for path in (store.home / "blobs" / "sha256").glob("*")] == []
    assert [path for path in store.home.rglob("*") if "tmp" in path.parent.name] == []
    store.close()


def test_W21_what_only_allow_unrecorded_accepts_is_not_found_without_it(tmp_path: Path) -> None:
    record = next(part.data for part in Made().parts() if part.raw.endswith(b"RECORD"))
    made = Made(record=record.split(b"\n", 1)[1])
    wheel = locked(made.file, made.bytes())
    layer = PlannedLayer(Kind.SMALL, "a wheel", WheelsRecipe((wheel,), "3.11"), wheel.size, Text("a test"))
    plan = Plan("x", Platform(), (layer,), RuntimeConfig("1000", "/app", (), (), {}, {}))
    code = Code(CodeListing((), (), ()), lambda path: cast("BinaryIO", None))
    store = Store.open(tmp_path / "home")
    strict = Workshop(store, MemorySources({made.file: made.bytes()}), lambda files: None, SILENT, workers=1)
    with store.writing():
        assert replace(strict, limits=replace(DEFAULT, unrecorded=True)).make(plan, code)
        with pytest.raises(LayerError, match="does not list it"):
            strict.make(plan, code)
    store.close()


def test_W28_portable_refuses_what_another_system_takes_for_one_file(tmp_path: Path) -> None:
    upper, lower = Made("upper", files={"shared/A.py": b""}), Made("lower", files={"shared/a.py": b""})
    files = {made.file: made.bytes() for made in (upper, lower)}
    layers = tuple(
        PlannedLayer(Kind.PACKAGE, name, WheelsRecipe((locked(name, data),), "3.11"), len(data), Text("a test"))
        for name, data in files.items()
    )
    plan = Plan("x", Platform(), layers, RuntimeConfig("1000", "/app", (), (), {}, {}))
    code = Code(CodeListing((), (), ()), lambda path: cast("BinaryIO", None))
    store = Store.open(tmp_path / "home")
    usual = Workshop(store, MemorySources(files), lambda files: None, SILENT, workers=1)
    portable = replace(usual, limits=replace(DEFAULT, portable=True))
    with store.writing():
        with pytest.raises(LayerError, match=r"1 pairs of files differ only in case .*/A\.py and .*/a\.py"):
            portable.make(plan, code)
        assert list(store.home.glob("blobs/sha256/*")) == []
        assert len(usual.make(plan, code)) == 2
        with pytest.raises(LayerError, match="build without --portable"):  # also when every layer is there
            portable.make(plan, code)
        assert len(portable.make(replace(plan, layers=layers[:1]), code)) == 1
        both = CodeListing((CodeFile("data/é", 0), CodeFile("data/e\u0301", 0)))
        with pytest.raises(LayerError, match="/data/e"):
            portable.make(replace(plan, layers=layers[:1]), Code(both, code.open))
    store.close()


def test_D5_W27_what_packages_claim_is_remembered_so_that_one_more_is_all_that_is_read(tmp_path: Path) -> None:
    first, second = Made("first", files={"shared/a.py": b"1"}), Made("second", files={"own/a.py": b"2"})
    third, clashing = Made("third", files={"own/b.py": b"3"}), Made("clashing", files={"shared/a.py": b"4"})

    def plan(*wheels: Made) -> Plan:
        files = [locked(made.file, made.bytes()) for made in wheels]
        layers = [
            PlannedLayer(Kind.PACKAGE, file.name, WheelsRecipe((file,), "3.11"), file.size, Text("a test"))
            for file in files
        ]
        return Plan("x", Platform(), tuple(layers), RuntimeConfig("1000", "/app", (), (), {}, {}))

    code = Code(CodeListing((), (), ()), lambda path: cast("BinaryIO", None))
    store = Store.open(tmp_path / "home")
    asked: list[str] = []

    def shop(*wheels: Made) -> Workshop:
        here = MemorySources({made.file: made.bytes() for made in wheels})
        return Workshop(store, here, lambda files: asked.extend(file.name for file in files), SILENT, workers=1)

    with store.writing():
        shop(first, second).make(plan(first, second), code)
        assert sorted(asked) == sorted([first.file, second.file])
        asked.clear()
        assert len(shop(third).make(plan(first, second, third), code)) == 3
        assert asked == [third.file]
        with pytest.raises(LayerError, match="shared/a.py"):
            shop(clashing).make(plan(first, second, clashing), code)
        asked.clear()
        anew = replace(shop(first, second, third), anew=True)
        anew.make(plan(first, second, third), code)
        assert sorted(asked) == sorted([first.file, second.file, third.file])
    store.close()


def test_layers_are_made_while_the_files_of_others_are_on_their_way(tmp_path: Path) -> None:
    early, late = Made("early", files={"early.py": b"1"}), Made("late", files={"late.py": b"2"})
    first, second = (
        PlannedLayer(
            Kind.PACKAGE, made.file, WheelsRecipe((locked(made.file, made.bytes()),), "3.11"), 1, Text("a test")
        )
        for made in (early, late)
    )
    store = Store.open(tmp_path / "home")
    begun, arrived = threading.Event(), threading.Event()
    sources = MemorySources({made.file: made.bytes() for made in (early, late)})

    def prefetch(files: Sequence[File]) -> None:
        assert [file.name for file in files] == [early.file, late.file]
        assert begun.wait(60)  # a layer was begun, though not every file is here
        arrived.set()

    shop = Workshop(store, sources, prefetch, SILENT, workers=2)
    makers = shop.makers(
        Plan("x", Platform(), (), RuntimeConfig("1000", "/app", (), (), {}, {})),
        Code(CodeListing((), (), ()), lambda path: cast("BinaryIO", None)),
    )

    def at_once(sink: ByteSink) -> Written:
        begun.set()
        return makers.write(first.recipe, (), sink)

    def then(sink: ByteSink) -> Written:
        assert arrived.wait(60)
        return makers.write(second.recipe, (), sink)

    with store.writing():
        made = shop.add_all({first: at_once, second: then})
        assert {one.how for one in made.values()} == {How.MADE}
        assert set(made) == {first, second}
    store.close()


def test_what_cannot_be_fetched_ends_the_layers_that_wait_for_it(tmp_path: Path) -> None:
    late = Made("late", files={"late.py": b"2"})
    recipe = WheelsRecipe((locked(late.file, late.bytes()),), "3.11")
    layer = PlannedLayer(Kind.PACKAGE, late.file, recipe, 1, Text("a test"))
    store = Store.open(tmp_path / "home")
    failed = threading.Event()

    def prefetch(files: Sequence[File]) -> None:
        failed.set()
        raise FetchError("the index is gone")

    def write(sink: ByteSink) -> Written:
        assert failed.wait(60)
        raise FetchError("and so is this file")

    with store.writing():
        with pytest.raises(FetchError, match="the index is gone"):
            Workshop(store, MemorySources({}), prefetch, SILENT, workers=1).add_all({layer: write})
        assert list(store.home.glob("blobs/sha256/*")) == []
    store.close()


def test_D5_a_wheel_is_opened_once_for_its_layer_and_for_what_it_claims(tmp_path: Path) -> None:
    made = [Made(name, files={f"{name}.py": b"1"}) for name in ("first", "second")]
    clashing = Made("third", files={"first.py": b"other"})
    sources = MemorySources({one.file: one.bytes() for one in (*made, clashing)})

    def plan(*wheels: Made) -> Plan:
        files = [locked(one.file, one.bytes()) for one in wheels]
        layers = [
            PlannedLayer(Kind.PACKAGE, file.name, WheelsRecipe((file,), "3.11"), file.size, Text("a test"))
            for file in files
        ]
        return Plan("x", Platform(), tuple(layers), RuntimeConfig("1000", "/app", (), (), {}, {}))

    code = Code(CodeListing((), (), ()), lambda path: cast("BinaryIO", None))
    store = Store.open(tmp_path / "home")
    shop = Workshop(store, sources, lambda files: None, SILENT, workers=2)
    with store.writing():
        shop.make(plan(*made), code)
        assert sources.opened == 2
        for _ in range(2):  # also when every layer is there
            with pytest.raises(LayerError, match=r"/first\.py"):
                shop.make(plan(*made, clashing), code)
        assert sources.opened == 3
    store.close()


def test_scripts_for_another_platform_are_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    other = Platform("linux", "arm64" if Platform.host().architecture == "amd64" else "amd64")
    recipe = ConfiguredRecipe(BaseRecipe("debian", "bookworm", "slim", other.architecture, (), ()))
    layer = PlannedLayer(Kind.CONFIGURED, "scripts", recipe, None, Text("a test"))
    fetched: list[object] = []
    shop = Workshop(
        store, cast("Supplies", None), fetched.append, SILENT, workers=1, sandbox=cast("Sandbox", lambda *_: None)
    )
    plan = Plan("x", other, (layer,), RuntimeConfig("1000", "/app", (), (), {}, {}))
    with pytest.raises(PlanError, match="scripts of packages need a sandbox") as caught, store.writing():
        shop.make(plan, Code(CodeListing((), (), ()), lambda p: cast("BinaryIO", None)))
    assert 'set configure = "never"' in [str(hint) for hint in caught.value.hints]
    assert fetched == []
    store.close()


def test_what_is_quickly_made_is_asked_for_only_where_layers_below_are_elsewhere(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    asked: list[int] = []

    class Knowing:
        def find(self, keys: Sequence[Digest], /) -> Mapping[Digest, Known]:
            asked.append(len(keys))
            return {}

    def shared() -> Shared:
        return cast("Shared", Knowing())

    shop = Workshop(store, MemorySources({}), lambda files: None, SILENT, workers=1, shared=shared)
    layers = [
        PlannedLayer(Kind.COPIED, f"COPY {n}", EnvironmentRecipe(f"3.{n}", "/usr/bin/python3"), 1, Text("a test"))
        for n in range(3)
    ]

    def write(sink: ByteSink) -> Written:
        with LayerWriter(sink) as out:
            return out.close()

    with store.writing():
        first = shop.add(layers[0], (), write, quick=True)
        assert first is not None and first.how is How.MADE and asked == []
        second = shop.add(layers[1], (first,), write)
        assert second is not None and asked == [1]
        remote = replace(first, here=False)
        assert shop.add(layers[2], (remote, second), write, quick=True) is None and asked == [1, 1]
    store.close()
