"""A misbehaving registry, a store, and an image that is known to both; two stores, one with an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.image.model import Image
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.store.store import Store
from trainload.system.http import Http
from trainload.testing.faults import FaultRegistry
from trainload.testing.images import make
from trainload.testing.registry import MemoryRegistry


class Scene:
    """One registry, the user's store, and a store where the image was made."""

    def __init__(self, registry: FaultRegistry, origin: Store, folder: Path) -> None:
        self.registry = registry
        self.home = folder / "home"
        self.store = Store.open(self.home)
        self.origin = origin
        self.image = origin.image(origin.resolve("app"))
        self.pauses: list[float] = []
        self.name = Reference.parse(f"{registry.host}/team/app:v1")

    def client(self, **settings: object) -> Client:
        http = Http(stall_timeout=3.0, connect_timeout=30, sleep=self.pauses.append, jitter=lambda: 1.0, proxies={})
        return Client(http, **settings)  # type: ignore[arg-type]

    def publish(self, memory: MemoryRegistry, image: Image, name: str = "team/app", tag: str = "v1") -> None:
        """The image at the registry, from behind."""
        for blob in (image.manifest.config, *image.manifest.layers):
            with self.origin.blob_file(blob.digest) as file:
                memory.put_blob(name, file.read())
        memory.put(name, image.manifest_bytes, image.manifest.media_type, tag)


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("origin"))
    make(store, "app", {"big": os.urandom(3_000_000)}, {"small": b"2" * 2000})
    yield store
    store.close()


@pytest.fixture
def scene(tmp_path: Path, origin: Store) -> Iterator[Scene]:
    with FaultRegistry() as registry:
        made = Scene(registry, origin, tmp_path)
        made.publish(registry.memory, made.image)
        yield made
        made.store.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


@pytest.fixture
def far(tmp_path: Path) -> Store:
    """Another store, made and empty."""
    store = Store.open(tmp_path / "far")
    with store.writing():
        return store


@pytest.fixture
def image(store: Store) -> Image:
    with store.writing():
        return make(store, "digits", {"a": b"1"}, {"b": b"2" * 5000}, names=("digits", "team/digits:v1"))
