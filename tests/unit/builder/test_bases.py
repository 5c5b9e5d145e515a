"""Base images between a registry in memory and the store: by digest, once, offline afterwards (THREATS R03–R09)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from trainload.builder.bases import Bases, document
from trainload.digest import Digest
from trainload.errors import ImageError, LayerError, LockError, RegistryError
from trainload.events import SILENT, How
from trainload.limits import DEFAULT
from trainload.lock.model import Blob
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.store.store import Store
from trainload.testing.bases import MadeImage, MemoryRegistry, image, system
from trainload.testing.images import make
from trainload.testing.tars import TarEntry

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
NAME = "localhost:5000/base:v1"
REFERENCE = Reference.parse(NAME)
PYTHON = TarEntry("usr/bin/python3.10", b"\x7fELF\x003.10.12\x00", mode=0o755)
MADE = image(system(), (PYTHON,))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(tmp_path / "home")
    with made.writing():
        yield made


@pytest.fixture
def registry() -> MemoryRegistry:
    made = MemoryRegistry()
    made.add(NAME, MADE)
    return made


def bases(store: Store, registry: MemoryRegistry, *, offline: bool = False) -> Bases:
    return Bases(store, lambda: registry, SILENT, offline)


def config_of(made: MadeImage) -> Blob:
    digest, data = next((digest, data) for digest, data in made.blobs.items() if data.startswith(b"{"))
    return Blob(str(digest), len(data))


def test_pinning_an_image_fetches_manifest_and_config_and_no_layer(store: Store, registry: MemoryRegistry) -> None:
    digest, images = bases(store, registry).pin(REFERENCE, [AMD64])
    assert digest == MADE.digest and images[AMD64].manifest_bytes == MADE.manifest
    assert registry.asked == [f"manifest {NAME}", f"blob {Digest.parse(config_of(MADE).digest).short}"]
    assert list(store.layout.blobs.iterdir()) == []


def test_a_locked_image_is_read_without_a_network(store: Store, registry: MemoryRegistry) -> None:
    locked = Blob(str(MADE.digest), len(MADE.manifest)), config_of(MADE)
    with pytest.raises(LockError, match="nothing is fetched offline"):
        bases(store, registry, offline=True).image(REFERENCE, *locked)
    first = bases(store, registry).image(REFERENCE, *locked)
    registry.asked.clear()
    assert bases(store, registry, offline=True).image(REFERENCE, *locked) == first
    assert registry.asked == []


def test_layers_are_looked_into_once_and_facts_need_them_no_more(store: Store, registry: MemoryRegistry) -> None:
    found = bases(store, registry).facts(REFERENCE, bases(store, registry).pin(REFERENCE, [AMD64])[1][AMD64])
    assert (found.suite, found.pythons[0].version) == ("jammy", "3.10.12")
    image = bases(store, registry).pin(REFERENCE, [AMD64])[1][AMD64]
    store.gc()
    for path in store.layout.blobs.iterdir():
        path.unlink()
    registry.asked.clear()
    assert bases(store, registry, offline=True).facts(REFERENCE, image) == found
    assert registry.asked == []


def test_facts_that_were_changed_on_the_disk_are_found_out_anew(store: Store, registry: MemoryRegistry) -> None:
    image = bases(store, registry).pin(REFERENCE, [AMD64])[1][AMD64]
    found = bases(store, registry).facts(REFERENCE, image)
    for path in store.layout.recipes.iterdir():
        path.write_bytes(path.read_bytes().replace(b"jammy", b"zammy"))
    assert bases(store, registry).facts(REFERENCE, image) == found


def test_an_index_is_followed_for_each_platform(store: Store, registry: MemoryRegistry) -> None:
    arm = image(system(), platform=ARM64)
    digest = registry.add("localhost:5000/many:v1", MADE, arm)
    many = Reference.parse("localhost:5000/many:v1")
    pinned, images = bases(store, registry).pin(many, [AMD64, ARM64])
    assert pinned == digest and {platform: one.digest for platform, one in images.items()} == {
        AMD64: MADE.digest, ARM64: arm.digest,
    }  # fmt: skip


def test_a_platform_the_image_is_not_made_for_is_refused_with_what_there_is(
    store: Store, registry: MemoryRegistry
) -> None:
    with pytest.raises(ImageError, match="not made for linux/arm64") as caught:
        bases(store, registry).pin(REFERENCE, [ARM64])
    assert "linux/amd64" in str(caught.value.got) and caught.value.hints
    other = replace(MADE, platform=Platform("linux", "s390x"))
    registry.add("localhost:5000/many:v1", MADE, other)
    with pytest.raises(ImageError, match="not made for linux/arm64") as caught:
        bases(store, registry).pin(Reference.parse("localhost:5000/many:v1"), [ARM64])
    assert "linux/s390x" in str(caught.value.got)


def test_docker_schema_2_and_a_docker_list_are_taken(store: Store, registry: MemoryRegistry) -> None:
    old, arm = image(system(), docker=True), image(system(), docker=True, platform=ARM64)
    registry.add("localhost:5000/docker:v1", old, arm, docker=True)
    _, images = bases(store, registry).pin(Reference.parse("localhost:5000/docker:v1"), [AMD64, ARM64])
    assert images[AMD64].digest == old.digest
    assert document(images[ARM64], "x").layers[0].media_type.endswith("oci.image.layer.v1.tar+gzip")


def test_the_tag_is_asked_for_and_an_unreachable_registry_says_nothing(
    store: Store, registry: MemoryRegistry
) -> None:
    assert bases(store, registry).current(REFERENCE) == MADE.digest
    assert bases(store, registry).current(Reference.parse("localhost:5000/none:v1")) is None
    assert bases(store, registry, offline=True).current(REFERENCE) is None
    pinned = Reference.parse(f"localhost:5000/base@{MADE.digest}")
    registry.asked.clear()
    assert bases(store, registry).current(pinned) == MADE.digest and registry.asked == []


def test_docker_hub_that_cannot_be_reached_comes_with_the_advice_of_a_mirror(
    store: Store, registry: MemoryRegistry
) -> None:
    with pytest.raises(RegistryError) as caught:
        bases(store, registry).pin(Reference.parse("python:3.11-slim"), [AMD64])
    assert any("mirrors.registry" in str(hint) for hint in caught.value.hints)


def test_a_name_of_this_machine_only_is_no_base_and_that_is_said(store: Store, registry: MemoryRegistry) -> None:
    make(store, "vision", {"a": b"1"}, names=("vision:base",))
    for name, count in (("vision:base", 1), ("vision:other", 0)):
        with pytest.raises(RegistryError) as caught:
            bases(store, registry).pin(Reference.parse(name), [AMD64])
        assert sum("this machine's store only: push it" in str(hint) for hint in caught.value.hints) == count


def test_R01_wrong_bytes_are_not_kept(store: Store, registry: MemoryRegistry) -> None:
    pinned = bases(store, registry).pin(REFERENCE, [AMD64])[1][AMD64]
    layer = pinned.manifest.layers[0]
    good, registry.blobs[layer.digest] = registry.blobs[layer.digest], b"x" * layer.size
    with pytest.raises(RegistryError, match="sends other bytes than the image names"):
        bases(store, registry).facts(REFERENCE, pinned)
    assert not store.has(layer.digest)
    assert registry.asked.count(f"blob {layer.digest.short}") == 2, "once more, on another connection"
    registry.blobs[layer.digest] = good
    assert bases(store, registry).facts(REFERENCE, pinned).suite == "jammy"


def test_a_download_that_is_given_up_ends_and_leaves_nothing(store: Store, registry: MemoryRegistry) -> None:
    pinned = bases(store, registry).pin(REFERENCE, [AMD64])[1][AMD64]
    layer = document(pinned, NAME).layers[0]
    stopped = Event()
    stopped.set()
    with pytest.raises(RegistryError, match="the transfer was stopped"):
        bases(store, registry).layer(REFERENCE, layer, "base", stopped)
    assert not store.has(Digest.parse(layer.digest))


def test_L14_a_layer_whose_diff_id_is_wrong_tells_nothing(store: Store, registry: MemoryRegistry) -> None:
    digest = Digest.parse(config_of(MADE).digest)
    data = registry.blobs[digest]
    diff_ids = data.split(b'"diff_ids": ["')[1][:71]
    lying = data.replace(diff_ids, str(Digest.sha256(b"x")).encode())
    manifest = MADE.manifest.replace(str(digest).encode(), str(Digest.sha256(lying)).encode())
    made = replace(MADE, manifest=manifest, blobs={**MADE.blobs, Digest.sha256(lying): lying})
    registry.add("localhost:5000/lying:v1", made)
    name = Reference.parse("localhost:5000/lying:v1")
    pinned = bases(store, registry).pin(name, [AMD64])[1][AMD64]
    with pytest.raises(LayerError, match="does not hold what the image says"):
        bases(store, registry).facts(name, pinned)


def test_R06_R09_what_is_no_image_is_refused(store: Store, registry: MemoryRegistry) -> None:
    artifact = replace(
        MADE, manifest=MADE.manifest.replace(b"vnd.oci.image.config.v1+json", b"vnd.example.thing.v1+json")
    )
    registry.add("localhost:5000/thing:v1", artifact)
    with pytest.raises(ImageError, match="is no image that can run"):
        bases(store, registry).pin(Reference.parse("localhost:5000/thing:v1"), [AMD64])
    large = Bases(store, lambda: registry, SILENT, limits=replace(DEFAULT, config=10))
    with pytest.raises(ImageError, match="too large"):
        large.pin(REFERENCE, [AMD64])


def test_a_layer_is_fetched_once_and_held(store: Store, registry: MemoryRegistry) -> None:
    pinned = bases(store, registry).pin(REFERENCE, [AMD64])[1][AMD64]
    layer = document(pinned, NAME).layers[0]
    assert bases(store, registry).layer(REFERENCE, layer, "base", Event()) is How.FETCHED
    assert bases(store, registry, offline=True).layer(REFERENCE, layer, "base", Event()) is How.PRESENT
    store.gc()
    assert store.has(Digest.parse(layer.digest), layer.size)
