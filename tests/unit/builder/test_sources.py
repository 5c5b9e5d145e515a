"""Building a wheel: what is remembered, and answers of backends that are believed only as far as they are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from trainload.builder.sources import Builder, with_built
from trainload.builder.workshop import Workshop
from trainload.errors import BackendError, LayerError, PlanError, RunError, Text, TrainloadError
from trainload.events import Event, Said
from trainload.image.model import Layer
from trainload.lock.model import Made
from trainload.lock.source import Metadata
from trainload.plan.key import recipe_key
from trainload.plan.model import (
    BaseRecipe,
    BuildRecipe,
    EnvironmentRecipe,
    Kind,
    Plan,
    PlannedLayer,
    RuntimeConfig,
    SourceRecipe,
    UnbuiltRecipe,
    WheelsRecipe,
)
from trainload.plan.sources import Job
from trainload.platform import Platform
from trainload.resolve.cache import FolderCache
from trainload.store.store import Store
from trainload.system.tree import DiskTree
from trainload.testing.images import layer_bytes, put_layer
from trainload.testing.index import sdist, wheel
from trainload.testing.sources import MemorySources, locked
from trainload.tree import Tree

T = TypeVar("T")
HOST = Platform.host()
SDIST_NAME, SDIST = sdist("a", "1.0")
NAME, WHEEL = wheel("a", "1.0")
BASE = BaseRecipe("debian", "bookworm", "slim", HOST.architecture, (), ())
BUILD = BuildRecipe(
    "a", "1.0", SourceRecipe(locked(SDIST_NAME, SDIST)), BASE, None,
    EnvironmentRecipe("3.11", "/usr/bin/python3.11"), WheelsRecipe((), "3.11"),
)  # fmt: skip
CONFIG = RuntimeConfig("0", "/", (), (), {}, {})


@dataclass
class Sandbox:
    """Answers as a backend in the sandbox would: path → content, a link's target after ``->``."""

    folder: Path
    answers: dict[str, bytes] = field(default_factory=lambda: {f"wheel/{NAME}": WHEEL})
    error: TrainloadError | None = None
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, job: Job, below: Sequence[Layer], take: Callable[[Tree], T], /) -> T:
        self.asked.append(job.hooks)
        if self.error is not None:
            raise self.error
        out = self.folder / str(len(self.asked))
        out.mkdir(parents=True)
        for path, content in self.answers.items():
            (out / path).parent.mkdir(exist_ok=True)
            if content.startswith(b"->"):
                (out / path).symlink_to(content[2:].decode())
            else:
                (out / path).write_bytes(content)
        return take(DiskTree(out))


@dataclass
class Heard:
    events: list[Event] = field(default_factory=list)

    def report(self, event: Event, /) -> None:
        self.events.append(event)

    def said(self) -> list[str]:
        return [str(event.text) for event in self.events if isinstance(event, Said)]


@dataclass
class Place:
    store: Store
    sandbox: Sandbox
    heard: Heard
    builder: Builder


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store that has what lies below the source, so that only the build itself is left."""
    store, sandbox, heard = Store.open(tmp_path / "home"), Sandbox(tmp_path / "answers"), Heard()
    for recipe in (BASE, BUILD.environment):
        store.recipes.record(recipe_key(recipe), put_layer(store, *layer_bytes({"x": b"x"})))
    shop = Workshop(store, MemorySources({SDIST_NAME: SDIST}), lambda files: None, heard, workers=1)
    return Place(store, sandbox, heard, Builder(shop, sandbox, FolderCache(tmp_path / "memory"), 60))


def plan(build: BuildRecipe = BUILD, platform: Platform = HOST) -> Plan:
    layer = PlannedLayer(Kind.SMALL, "1 package", UnbuiltRecipe((), (build,), "3.11"), None, Text("a test"))
    return Plan("p", platform, (layer,), CONFIG)


def test_a_wheel_is_built_once_told_and_found_again(place: Place) -> None:
    with place.store.writing():
        ready = place.builder.settle(plan())
        again = place.builder.settle(plan())
    assert ready == again == with_built(plan(), place.store)
    assert place.sandbox.asked == [("wheel",)]
    (layer,) = ready.layers
    assert isinstance(layer.recipe, WheelsRecipe)
    (file,) = layer.recipe.wheels
    assert (file.name, file.location) == (NAME, Made(NAME))
    assert place.store.files.find(file.sha256, file.size) is not None
    assert place.heard.said() == [
        "building a 1.0 from source in the sandbox", f"{NAME} was built: sha256 {file.sha256}",
    ]  # fmt: skip


def test_with_other_inputs_it_is_built_anew(place: Place) -> None:
    with place.store.writing():
        place.builder.settle(plan())
        place.builder.settle(plan(replace(BUILD, version=2)))
    assert len(place.sandbox.asked) == 2


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({}, "made no wheel"),
        ({"wheel/a.txt": b""}, "made no wheel"),
        ({f"wheel/{NAME}": WHEEL, "wheel/b-1.0-py3-none-any.whl": WHEEL}, "made no wheel"),
        ({f"wheel/{NAME}": b"->/etc/passwd"}, "made no wheel"),
        ({"wheel": b"->/etc"}, "made no wheel"),
        ({"wheel/a-2.0-py3-none-any.whl": WHEEL}, "of another package"),
        ({"wheel/a-1.0-cp37-cp37m-win32.whl": WHEEL}, "does not fit what it was built for"),
        ({f"wheel/{NAME}": b"no zip"}, NAME),
    ],
)
def test_D7_an_answer_that_is_no_wheel_of_the_package_is_refused_and_nothing_is_kept(
    place: Place, answers: dict[str, bytes], reason: str
) -> None:
    place.sandbox.answers = answers
    with place.store.writing(), pytest.raises((BackendError, LayerError), match=reason):
        place.builder.settle(plan())
    assert place.store.built.find(recipe_key(BUILD)) is None
    assert list(place.store.layout.files.iterdir()) == []


def test_what_a_backend_says_it_needs_is_asked_once(place: Place) -> None:
    place.sandbox.answers = {
        "requires.json": b'["wheel", "cython>=3"]',
        "dist-info/METADATA": b"Metadata-Version: 2.1\nName: a\nVersion: 1.0\nRequires-Dist: b\n",
    }
    for _ in range(2):
        assert place.builder.requires(BUILD) == ("wheel", "cython>=3")
        assert place.builder.metadata(BUILD) == Metadata(("b",))
    assert place.sandbox.asked == [("requires",), ("metadata",)]
    place.builder.memory.put(f"requires-{recipe_key(BUILD).hex}", b"torn")
    assert place.builder.requires(BUILD) == ("wheel", "cython>=3"), "asked anew"


def test_a_backend_that_can_only_build_tells_its_requirements_by_its_wheel(place: Place) -> None:
    name, data = wheel("a", "1.0", requires=["b>=2"])
    place.sandbox.answers = {f"wheel/{name}": data}
    assert place.builder.metadata(BUILD) == Metadata(("b>=2",))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"a": 1}', b"[1]", b"[" * 100_000, b'["' + b"x" * 2000 + b'"]', b"->/etc/passwd"]
)
def test_D7_requirements_that_are_none_are_refused(place: Place, data: bytes) -> None:
    place.sandbox.answers = {"requires.json": data}
    with pytest.raises(BackendError, match="gave no"):
        place.builder.requires(BUILD)


def test_D7_metadata_that_is_a_link_is_not_followed(place: Place) -> None:
    place.sandbox.answers = {"dist-info/METADATA": b"->/etc/passwd"}
    with pytest.raises(BackendError, match="gave no dist-info/METADATA"):
        place.builder.metadata(BUILD)


def test_where_the_sandbox_cannot_be_used_the_package_is_named_with_what_to_do(place: Place) -> None:
    place.sandbox.error = RunError("this machine does not let us make namespaces", hints=("sudo sysctl …",))
    with place.store.writing(), pytest.raises(RunError) as caught:
        place.builder.settle(plan())
    assert "a 1.0 has only its source, and cannot be built in the sandbox: this machine does" in str(caught.value)
    assert "sudo sysctl" in str(caught.value) and "find-links" in str(caught.value)


def test_another_platforms_package_is_refused_before_anything_is_asked(place: Place) -> None:
    other = next(one for one in (Platform("linux", "amd64"), Platform("linux", "arm64")) if one != HOST)
    with place.store.writing(), pytest.raises(PlanError, match=f"only a machine that is {other} can build it"):
        place.builder.settle(plan(platform=other))
    with place.store.writing(), pytest.raises(PlanError, match="there is no sandbox to build it in"):
        replace(place.builder, ask=None).settle(plan())
    assert place.sandbox.asked == []
