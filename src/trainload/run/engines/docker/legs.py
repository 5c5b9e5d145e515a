"""How an image travels to a Docker of this machine (docs/adr/0023): archives of inflated layers, one after another.

Docker inflates slowly, copies an archive to its disk before it looks at it, and then unpacks layer by layer. So
layers travel inflated, and one archive, a leg, holds one large layer or a few small ones: while Docker unpacks a
leg it takes in the next. Each leg but the last is an image, too, of the layers so far: what has come stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from trainload.digest import Digest, canonical_json
from trainload.image.model import Descriptor, Image
from trainload.layers.tar import BLOCK, Header, Type, encode, padding

PART = "dev.trainload.part"
"""Label of an image that is only the lower layers of another."""
_LEG = 64 << 20
"""Bytes of a leg of several layers: taking it in lasts about as long as beginning another."""
_END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Wagon:
    """A layer that travels."""

    blob: Descriptor
    unpacked: int
    """Bytes of its tar stream."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One archive in Docker's form (``docker save``)."""

    config: bytes
    """Of the image it makes."""
    depth: int
    """Layers of that image."""
    wagons: tuple[Wagon, ...]
    """The uppermost of them, from below: what the archive holds; the others are there."""

    @property
    def id(self) -> str:
        """Docker's, of the image it makes."""
        return str(Digest.sha256(self.config))

    @property
    def size(self) -> int:
        """Bytes of the whole tar."""
        head = sum(len(piece) for piece in self._documents())
        return head + sum(len(self._head(at)) + _whole(one.unpacked) for at, one in self._placed()) + len(_END)

    def pieces(
        self, tar_stream: Callable[[Wagon], Iterable[bytes]], arrived: Callable[[], object]
    ) -> Iterator[bytes]:
        """The tar. ``arrived`` is called before its end: it returns when the layers below are there, or raises."""
        yield from self._documents()
        for at, wagon in self._placed():
            yield self._head(at)
            yield from tar_stream(wagon)
            yield bytes(padding(wagon.unpacked))
        arrived()
        yield _END

    def _placed(self) -> Iterator[tuple[int, Wagon]]:
        return enumerate(self.wagons, self.depth - len(self.wagons))

    def _head(self, at: int) -> bytes:
        return encode(Header(_file(at), Type.FILE, 0o644, self.wagons[at - self.depth].unpacked))

    def _documents(self) -> Iterator[bytes]:
        layers = [_file(at) for at in range(self.depth)]
        entry = {"Config": "config.json", "RepoTags": None, "Layers": layers}
        for name, data in (("config.json", self.config), ("manifest.json", canonical_json([entry]))):
            yield encode(Header(name, Type.FILE, 0o644, len(data))) + data + bytes(padding(len(data)))


def legs(image: Image, present: int, unpacked: Callable[[Descriptor, Digest], int]) -> tuple[Leg, ...]:
    """For a Docker that has the ``present`` lowest layers; always one at least: the image itself is new.

    ``unpacked`` says how many bytes a layer has inflated.
    """
    layers = list(zip(image.manifest.layers, image.config.diff_ids, strict=True))[present:]
    groups: list[list[Wagon]] = [[]]
    for blob, diff_id in layers:
        wagon = Wagon(blob, unpacked(blob, diff_id))
        if groups[-1] and sum(one.unpacked for one in groups[-1]) + wagon.unpacked > _LEG:
            groups.append([])
        groups[-1].append(wagon)
    found, depth = [], present
    for number, group in enumerate(groups, 1):
        depth += len(group)
        config = image.config_bytes if number == len(groups) else part(image, depth)
        found.append(Leg(config, depth, tuple(group)))
    return tuple(found)


def part(image: Image, depth: int) -> bytes:
    """The config of its ``depth`` lowest layers alone: the same for every image that has them."""
    platform = image.config.platform
    diff_ids = [str(one) for one in image.config.diff_ids[:depth]]
    return canonical_json({
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {"Labels": {PART: "1"}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "trainload"} for _ in diff_ids],
    })  # fmt: skip


def parts(image: Image) -> frozenset[str]:
    """Docker's ids of whatever legs of this image may have left."""
    depths: Sequence[int] = range(1, len(image.config.diff_ids))
    return frozenset(str(Digest.sha256(part(image, depth))) for depth in depths)


def _file(at: int) -> str:
    return f"{at:03}.tar"


def _whole(size: int) -> int:
    return size + padding(size)
