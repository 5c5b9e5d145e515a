"""The archives an image travels in, read as Docker reads them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.image.model import Descriptor, Image
from trainload.run.engines.docker.deliver import keeps_chains
from trainload.run.engines.docker.legs import Leg, Wagon, legs, parts
from trainload.store.store import Store
from trainload.testing.images import make

MiB = 2**20


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


@pytest.fixture
def image(store: Store) -> Image:
    return make(store, "tiny", *({f"file{number}": bytes(number)} for number in range(5)))


def planned(image: Image, sizes: list[int], present: int = 0) -> tuple[Leg, ...]:
    unpacked = {layer.digest: size for layer, size in zip(image.manifest.layers, sizes, strict=True)}
    return legs(image, present, lambda blob, _: unpacked[blob.digest])


def depths(found: tuple[Leg, ...]) -> list[list[int]]:
    return [list(range(leg.depth - len(leg.wagons), leg.depth)) for leg in found]


def test_a_large_layer_travels_alone_and_small_ones_together(image: Image) -> None:
    assert depths(planned(image, [30 * MiB, 1, 700 * MiB, 1, 2])) == [[0, 1], [2], [3, 4]]
    assert depths(planned(image, [65 * MiB] * 5)) == [[0], [1], [2], [3], [4]]
    assert depths(planned(image, [1] * 5)) == [[0, 1, 2, 3, 4]]


def test_layers_that_are_there_do_not_travel_but_the_image_does(image: Image) -> None:
    assert depths(planned(image, [65 * MiB] * 5, present=3)) == [[3], [4]]
    (only,) = planned(image, [1] * 5, present=5)
    assert (only.wagons, only.config) == ((), image.config_bytes)


def test_the_last_leg_makes_the_image_and_each_before_it_its_lower_layers(image: Image) -> None:
    *before, last = planned(image, [65 * MiB] * 5)
    assert last.id == str(image.manifest.config.digest)
    diff_ids = [str(one) for one in image.config.diff_ids]
    assert [json.loads(leg.config)["rootfs"]["diff_ids"] for leg in before] == [diff_ids[:n] for n in range(1, 5)]
    assert {leg.id for leg in before} == parts(image)


def test_legs_below_the_same_layers_are_the_same_whatever_lies_above(store: Store, image: Image) -> None:
    other = make(store, "other", *({f"file{number}": bytes(number)} for number in range(4)), {"train.py": b"2"})
    assert parts(other) == parts(image)


def test_an_archive_is_dockers_names_its_size_and_ends_when_those_below_arrived(image: Image) -> None:
    (leg,) = planned(image, [3, 600, 512, 0, 7], present=2)
    written = io.BytesIO()
    at_the_end: list[int] = []

    def stream(wagon: Wagon) -> Iterator[bytes]:
        yield b"x" * wagon.unpacked

    for piece in leg.pieces(stream, lambda: at_the_end.append(written.tell())):
        written.write(piece)
    assert leg.size == written.tell() == at_the_end[0] + 1024
    written.seek(0)
    with tarfile.open(fileobj=written) as tar:
        sizes = {member.name: member.size for member in tar}
        (entry,) = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        config = (tar.extractfile(entry["Config"]) or io.BytesIO()).read()
    assert config == image.config_bytes
    assert len(entry["Layers"]) == 5
    assert [sizes.get(name) for name in entry["Layers"]] == [None, None, 512, 0, 7]


def test_layers_beyond_eight_gigabytes_have_their_size(image: Image) -> None:
    large = 9 * 2**30
    found = legs(image, 4, lambda blob, _: large)
    assert large < found[0].size < large + 20_000


@pytest.mark.parametrize(
    ("info", "keeps"),
    [
        ({"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}, True),
        ({"Driver": "vfs", "DriverStatus": None}, True),
        ({"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, False),
        ({"Driver": "overlay", "BuildahVersion": "1.28.0"}, False),
    ],
)
def test_only_dockers_graph_drivers_are_given_inflated_layers(info: dict[str, object], *, keeps: bool) -> None:
    assert keeps_chains(info) is keeps


def test_ids_are_of_configs() -> None:
    wagon = Wagon(Descriptor("", Digest.sha256(b"blob"), 4), 1)
    assert Leg(b"{}", 1, (wagon,)).id == str(Digest.sha256(b"{}"))
