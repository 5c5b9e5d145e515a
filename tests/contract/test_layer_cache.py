"""Layers that others made, against a registry in memory, ours and Debian's docker-registry: found and verified."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event as Stopped
from typing import BinaryIO, cast

import pytest
from tests.peers import DockerRegistry

from trainload.builder.caching import Caching, Reading, Sharing, reading, with_shared, writing
from trainload.builder.makers import Code
from trainload.builder.workshop import BaseLayers, MadeLayer, Workshop
from trainload.destinations.blobs import Blobs
from trainload.destinations.cargo import Part, from_store
from trainload.destinations.pull import Pull
from trainload.destinations.push import Pushed, push
from trainload.destinations.server.serve import Settings, serving
from trainload.destinations.share import Written
from trainload.digest import Digest
from trainload.errors import Text
from trainload.events import Event, How, Level, Said
from trainload.image.assemble import assemble
from trainload.image.model import LAYER_GZIP, Descriptor, Image
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import File
from trainload.plan.key import recipe_key
from trainload.plan.model import (
    CodeRecipe,
    ImageLayerRecipe,
    Kind,
    Plan,
    PlannedLayer,
    RuntimeConfig,
    WheelsRecipe,
)
from trainload.platform import Platform
from trainload.project.model import Cache, CodeListing
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.registry.entries import Entries, Entry
from trainload.store.store import Store
from trainload.system.http import Http, Retry
from trainload.testing.faults import FaultRegistry
from trainload.testing.images import layer_bytes
from trainload.testing.sources import MemorySources, locked
from trainload.testing.zips import Made

CODE = Code(CodeListing(()), lambda path: cast("BinaryIO", io.BytesIO()))
WHY = Text("a test")


@pytest.fixture(scope="module", params=["memory", "ours", "docker-registry"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "memory":
        with FaultRegistry() as memory:
            yield memory.host
        return
    if request.param == "ours":
        with serving(Settings(tmp_path_factory.mktemp("ours"))) as ours:
            yield ours.address
        return
    if DockerRegistry.missing():
        pytest.skip(DockerRegistry.missing())
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as peer:
        yield peer.host


@pytest.fixture
def name(host: str, request: pytest.FixtureRequest) -> str:
    """Repositories of a test's own."""
    return f"{host}/{os.urandom(4).hex()}"


def wheels(*names: str) -> dict[str, bytes]:
    made = [Made(name, files={f"{name}/data.bin": (name * 5000).encode()}) for name in names]
    return {one.file: one.bytes() for one in made}


def plan_of(files: Mapping[str, bytes], owner: int = 1000) -> Plan:
    """One layer for each wheel, and one of code without files, which are the owner's."""
    layers = [
        PlannedLayer(Kind.PACKAGE, name, WheelsRecipe((locked(name, data),), "3.11"), len(data), WHY)
        for name, data in files.items()
    ]
    nothing = CodeRecipe("/app", owner, Digest.sha256(b"").hex)
    layers.append(PlannedLayer(Kind.CODE, "code", nothing, 0, WHY))
    return Plan("app", Platform.host(), tuple(layers), RuntimeConfig("1000", "/app", (), (), {}, {}))


@dataclass
class Machine:
    """A store of its own, and wheels that may be had there; without them nothing can be made."""

    home: Path
    files: Mapping[str, bytes] = field(default_factory=dict)
    limits: Limits = DEFAULT
    base: BaseLayers | None = None

    def __post_init__(self) -> None:
        self.store = Store.open(self.home)
        self.client = Client(Http(retry=Retry(tries=1)))
        self.events: list[Event] = []
        self.fetched: list[File] = []
        self.sources = MemorySources(self.files)

    def report(self, event: Event, /) -> None:
        self.events.append(event)

    @property
    def warnings(self) -> list[str]:
        said = [event for event in self.events if isinstance(event, Said)]
        return [str(event.text) for event in said if event.level is Level.WARNING]

    def shop(
        self, found: Reading, plan: Plan, *, lazy: bool, anew: bool = False, offline: bool = False
    ) -> Workshop:
        shop = Workshop(
            self.store,
            self.sources,
            self.fetched.extend,
            self,
            workers=2,
            limits=self.limits,
            lazy=lazy,
            anew=anew,
            base=self.base,
        )
        return with_shared(shop, found, plan, lambda: self.client, offline=offline)

    @contextmanager
    def built(
        self,
        plan: Plan,
        *,
        images: Sequence[str] = (),
        caches: Sequence[str] = (),
        lazy: bool = False,
        anew: bool = False,
        offline: bool = False,
    ) -> Iterator[tuple[Image, tuple[MadeLayer, ...]]]:
        found = Reading(tuple(map(Reference.parse, caches)), tuple(map(Reference.parse, images)))
        self.events, self.fetched = [], []
        with self.store.writing():
            layers = self.shop(found, plan, lazy=lazy, anew=anew, offline=offline).make(plan, CODE)
            image = assemble(plan, [made.layer for made in layers])
            if all(made.here for made in layers):
                self.store.commit_image(image, ["app"])
            else:
                self.store.put(image.config_bytes)
                self.store.put(image.manifest_bytes)
            yield image, layers

    def pushed(self, image: Image, layers: Sequence[MadeLayer], target: str) -> Pushed:
        elsewhere = {m.layer.descriptor.digest: m.origin for m in layers if m.origin is not None and not m.here}
        cargo = from_store(self.store, image.digest, elsewhere=elsewhere)
        return push(self.store, self.client, cargo, [Reference.parse(target)])

    def share(self, layers: Sequence[MadeLayer], plan: Plan, *caches: str) -> tuple[Written, ...]:
        sharing = Sharing(self.store, self.client, "2026-01-02T03:04:05Z", self)
        return sharing.share(layers, plan, tuple(map(Reference.parse, caches)))

    def deliver(self, plan: Plan, target: str, *caches: str) -> Image:
        """Build whole, push, write the caches."""
        with self.built(plan) as (image, layers):
            self.pushed(image, layers, target)
            self.share(layers, plan, *caches)
        return image


FILES = wheels("torch", "numpy", "click")
ONLY_CODE_AND_DOCUMENTS = 3


def ways(layers: Sequence[MadeLayer]) -> list[How]:
    return [made.how for made in layers]


def test_an_empty_store_pushes_an_image_whose_layers_are_in_the_repository_without_one_wheel(
    name: str, tmp_path: Path
) -> None:
    image = Machine(tmp_path / "a", FILES).deliver(plan_of(FILES), f"{name}/app:v1")
    other = Machine(tmp_path / "b")
    with other.built(plan_of(FILES), images=[f"{name}/app:v1"], lazy=True) as (again, layers):
        assert ways(layers) == [How.REMOTE, How.REMOTE, How.REMOTE, How.MADE]
        assert again.digest == image.digest
        pushed = other.pushed(again, layers, f"{name}/app:v1")
    assert pushed.sent == 0
    assert other.sources.opened == 0
    assert other.fetched == []
    assert len(list(other.home.glob("blobs/sha256/*"))) == ONLY_CODE_AND_DOCUMENTS
    assert other.store.images() == ()  # a name stands for a whole image (I3)
    edited = plan_of(FILES, owner=1001)
    with other.built(edited, images=[f"{name}/app:v2"], lazy=True) as (after, layers):  # a tag that is new
        assert ways(layers)[:3] == [How.REMOTE] * 3
        assert other.pushed(after, layers, f"{name}/app:v2").sent < 10_000
    Pull(Store.open(tmp_path / "c"), other.client, Reference.parse(f"{name}/app:v2")).run()


def test_a_cache_serves_other_repositories_by_mounting(name: str, tmp_path: Path) -> None:
    Machine(tmp_path / "a", FILES).deliver(plan_of(FILES), f"{name}/app:v1", f"{name}/cache")
    other = Machine(tmp_path / "b")
    target = f"{name}/else/where:v1"
    with other.built(plan_of(FILES), images=[target], caches=[f"{name}/cache"], lazy=True) as (image, layers):
        assert ways(layers) == [How.REMOTE] * 3 + [How.MADE]
        pushed = other.pushed(image, layers, target)
    assert (pushed.deliveries[0].mounted > 0, pushed.sent < 10_000) == (True, True)
    assert other.fetched == []
    assert other.sources.opened == 0
    Pull(Store.open(tmp_path / "c"), other.client, Reference.parse(target)).run()


def test_a_layer_is_fetched_and_verified_where_its_bytes_are_needed_and_remembered(
    name: str, tmp_path: Path
) -> None:
    image = Machine(tmp_path / "a", FILES).deliver(plan_of(FILES), f"{name}/app:v1", f"{name}/cache")
    other = Machine(tmp_path / "b")
    with other.built(plan_of(FILES), caches=[f"{name}/cache"]) as (again, layers):
        assert ways(layers) == [How.FETCHED] * 3 + [How.MADE]
    assert again.digest == image.digest
    assert other.sources.opened == 0
    assert other.store.verify(full=True).findings == ()
    with other.built(plan_of(FILES), caches=[f"{name}/cache"], offline=True) as (_, layers):
        assert ways(layers) == [How.PRESENT] * 4
    assert other.warnings == []


def test_what_one_repository_says_counts_only_where_it_is_asked(name: str, tmp_path: Path) -> None:
    """A repository that lies does so only to those who chose it."""
    evil = wheels("torch")
    plan = plan_of({next(iter(evil)): evil[next(iter(evil))]})
    lie = Machine(tmp_path / "evil", wheels("numpy"))
    with lie.built(plan_of(wheels("numpy"))) as (_, layers):
        entry = Entry(recipe_key(plan.layers[0].recipe), layers[0].layer, "torch", "2026-01-02T03:04:05Z")
        blob = entry.layer.descriptor.digest
        Entries(lie.client, Reference.parse(f"{name}/evil")).record(entry, lambda: lie.store.blob_file(blob))
    victim = Machine(tmp_path / "b", evil)
    with victim.built(plan, caches=[f"{name}/evil"]) as (_, layers):
        assert layers[0].layer.descriptor.digest == blob  # who chose it believes it
        assert victim.share(layers, plan, f"{name}/good")[0].new == 0  # and passes nothing on
    with victim.built(plan) as (_, layers):
        assert layers[0].layer.descriptor.digest != blob
        assert layers[0].how is How.MADE
        # now that it was made here, ours is what counts
        assert victim.share(layers, plan, f"{name}/evil")[0].other == ("torch-1.0-py3-none-any.whl",)
    assert any("has another layer of torch" in warning for warning in victim.warnings)


def test_a_layer_that_does_not_unpack_to_what_was_said_is_made_here(name: str, tmp_path: Path) -> None:
    plan = plan_of(FILES)
    first = Machine(tmp_path / "a", FILES)
    with first.built(plan) as (image, layers):
        made = layers[0].layer
        entry = Entry(recipe_key(plan.layers[0].recipe), replace(made, diff_id=Digest.sha256(b"")), "torch", "")
        cache = Entries(first.client, Reference.parse(f"{name}/cache"))
        cache.record(entry, lambda: first.store.blob_file(made.descriptor.digest))
    other = Machine(tmp_path / "b", FILES)
    with other.built(plan, caches=[f"{name}/cache"]) as (again, layers):
        assert ways(layers) == [How.MADE] * 4
    assert again.digest == image.digest
    assert any("says of torch-1.0-py3-none-any.whl what is not so" in warning for warning in other.warnings)


def test_an_entry_whose_layer_is_gone_is_no_entry(name: str, tmp_path: Path) -> None:
    plan = plan_of(FILES)
    first = Machine(tmp_path / "a", FILES)
    with first.built(plan) as (_, layers):
        first.share(layers, plan, f"{name}/cache")
        gone = layers[0].layer.descriptor
    repository = Reference.parse(f"{name}/cache")
    address = f"http://{repository.domain}/v2/{repository.path}/blobs/{gone.digest}"
    if Http().exchange("DELETE", address, {}).status == 405:
        pytest.skip("this registry deletes no blobs")
    other = Machine(tmp_path / "b", FILES)
    with other.built(plan, caches=[f"{name}/cache"], lazy=True) as (_, layers):
        assert ways(layers) == [How.MADE, How.REMOTE, How.REMOTE, How.MADE]


def test_no_cache_makes_everything_anew_and_asks_nobody(name: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "a", FILES)
    image = machine.deliver(plan_of(FILES), f"{name}/app:v1", f"{name}/cache")
    assert reading(
        Cache("registry.example/a/b"), Caching(anew=True), [Reference.parse(f"{name}/app:v1")]
    ) == Reading((), ())
    with machine.built(plan_of(FILES), anew=True) as (again, layers):
        assert ways(layers) == [How.MADE] * 4
    assert again.digest == image.digest


def test_W21_what_only_allow_unrecorded_accepts_is_found_in_no_registry(name: str, tmp_path: Path) -> None:
    record = next(part.data for part in Made().parts() if part.raw.endswith(b"RECORD"))
    made = Made(record=record.split(b"\n", 1)[1])
    files = {made.file: made.bytes()}
    careless = Machine(tmp_path / "a", files, limits=replace(DEFAULT, unrecorded=True))
    careless.deliver(plan_of(files), f"{name}/app:v1", f"{name}/cache")
    other = Machine(tmp_path / "b", files)
    places = Reading((Reference.parse(f"{name}/cache"),), (Reference.parse(f"{name}/app:v1"),))
    with other.store.writing():
        shared = other.shop(places, plan_of(files), lazy=True).shared
        assert shared is not None
        assert shared().find([recipe_key(plan_of(files).layers[0].recipe)]) == {}


def test_W27_whether_wheels_get_along_is_known_without_them(name: str, tmp_path: Path) -> None:
    """By an image that has them all, and by a cache; unknown together they are fetched and looked into."""
    Machine(tmp_path / "a", FILES).deliver(plan_of(FILES), f"{name}/app:v1", f"{name}/cache")
    fewer = dict(list(FILES.items())[:2])
    by_image = Machine(tmp_path / "b")
    with by_image.built(plan_of(fewer), images=[f"{name}/app:v1"], lazy=True):
        assert by_image.fetched == []
    more = {**FILES, **wheels("extra")}
    by_cache = Machine(tmp_path / "c", more)
    with by_cache.built(plan_of(more), caches=[f"{name}/cache"], lazy=True) as (_, layers):
        assert ways(layers) == [How.REMOTE] * 3 + [How.MADE] * 2
        assert len(by_cache.fetched) == 4  # nobody knows this set
    portable = Machine(tmp_path / "d", FILES, limits=replace(DEFAULT, portable=True))
    with portable.built(plan_of(FILES), images=[f"{name}/app:v1"], lazy=True):
        assert len(portable.fetched) == 3  # an image does not tell that


def test_a_cache_that_cannot_be_read_or_written_costs_a_warning(tmp_path: Path) -> None:
    silent = "127.0.0.1:1/team/cache"
    machine = Machine(tmp_path / "a", FILES)
    with machine.built(plan_of(FILES), caches=[silent]) as (_, layers):
        assert ways(layers) == [How.MADE] * 4
        assert len([w for w in machine.warnings if "cannot be read" in w]) == 1
        assert machine.share(layers, plan_of(FILES), silent) == ()
    assert len([w for w in machine.warnings if "cannot be written" in w]) == 1


def test_the_second_time_nothing_is_written_and_a_list_tells_what_is_there(name: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "a", FILES)
    plan = plan_of(FILES)
    with machine.built(plan) as (_, layers):
        first = machine.share(layers, plan, f"{name}/cache")[0]
        again = machine.share(layers, plan, f"{name}/cache")[0]
    assert (first.new, first.there, again.new, again.there, again.sent) == (3, 0, 0, 3, 0)
    cache = Entries(machine.client, Reference.parse(f"{name}/cache"))
    listed = cache.list()
    assert sorted(one.title for one in listed) == ["", *sorted(FILES)]
    assert {one.created for one in listed} == {"2026-01-02T03:04:05Z"}
    cache.delete(listed[-1].digest)
    assert len(cache.list()) == 3


def test_layers_of_a_base_image_stay_where_they_are_until_their_bytes_are_needed(name: str, tmp_path: Path) -> None:
    """One registry: mounted. Another: streamed through, and nothing is kept here."""
    machine = Machine(tmp_path / "a", FILES)
    where = Reference.parse(f"{name}/base")
    data, diff_id = layer_bytes({"etc/os-release": b"ID=debian\n" * 1000})
    blob = Descriptor(LAYER_GZIP, Digest.sha256(data), len(data))
    machine.client.upload(where, blob, lambda: io.BytesIO(data))
    recipe = ImageLayerRecipe(str(blob.digest), blob.size, str(diff_id), LAYER_GZIP)
    layer = PlannedLayer(Kind.BASE, "a base", recipe, blob.size, WHY)
    plan = plan_of(FILES)
    plan = replace(plan, layers=(layer, *plan.layers))

    def fetch(recipe: ImageLayerRecipe, title: str, stopped: Stopped) -> None:
        Blobs(machine.store, machine.client).bring(where, Part(blob, title))

    machine.base = BaseLayers(where, fetch)
    with FaultRegistry() as other:
        for target, mounted in ((f"{name}/app:v1", blob.size), (f"{other.host}/app:v1", 0)):
            with machine.built(plan, images=[target], lazy=True) as (image, layers):
                assert ways(layers)[0] is How.REMOTE
                assert machine.pushed(image, layers, target).deliveries[0].mounted == mounted
                assert not machine.store.has(blob.digest)
            Pull(Store.open(tmp_path / f"with {mounted}"), machine.client, Reference.parse(target)).run()
    with machine.built(plan) as (again, layers):
        assert ways(layers)[0] is How.FETCHED
        assert again.digest == image.digest
    assert machine.store.verify(full=True).findings == ()


def test_policies_say_when_a_cache_is_read_and_written() -> None:
    own, other = Reference.parse("registry.example/team/cache"), Reference.parse("registry.example/other")
    target = Reference.parse("registry.example/app:v1")
    configured = Cache(str(own))
    assert reading(configured, Caching(read=(other,)), [target]) == Reading((other, own), (target,))
    assert reading(replace(configured, read=False), Caching(read=(other,)), [target]) == Reading((other,), ())
    assert reading(Cache(), Caching(), [target]) == Reading((), (target,))
    assert writing(configured, Caching(), pushed=True) == (own,)
    assert writing(configured, Caching(), pushed=False) == ()
    assert writing(replace(configured, write="always"), Caching(), pushed=False) == (own,)
    assert writing(replace(configured, write="never"), Caching(write=(other,)), pushed=True) == (other,)
