"""Layers of weights: stored, readable by everybody, the same bytes whoever brings the files."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import LayerError
from trainload.layers import deflate
from trainload.layers.weights import write_weights
from trainload.lock.model import File, Found
from trainload.plan.model import PlacedFile, WeightsRecipe
from trainload.testing.sources import MemorySources, locked

BIG = random.Random(1).randbytes(3_000_001)
RECIPE = WeightsRecipe(
    (
        PlacedFile("opt/weights/hub/m/blobs/1", locked("big", BIG)),
        PlacedFile("opt/weights/hub/m/blobs/2", locked("c", b"x")),
    ),
    (("opt/weights/hub/m/snapshots/9/model", "../../blobs/1"),),
    (("opt/weights/hub/m/refs/main", "9"),),
    ("opt/weights/hub",),
)  # fmt: skip
FILES = {"big": BIG, "c": b"x"}


def test_everything_lies_where_it_belongs_and_is_nobodys_to_change() -> None:
    sink = io.BytesIO()
    written = write_weights(RECIPE, MemorySources(FILES), sink)
    plain = gzip.decompress(sink.getvalue())
    assert written.diff_id == Digest.sha256(plain) and written.unpacked == len(plain)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        members = {member.name: member for member in archive}
        found = archive.extractfile("opt/weights/hub/m/blobs/1")
        assert found is not None and found.read() == BIG
        main = archive.extractfile("opt/weights/hub/m/refs/main")
        assert main is not None and main.read() == b"9"
    assert list(members) == sorted(members)
    assert members["opt/weights/hub"].mode == 0o1777 and members["opt/weights/hub/m/blobs"].mode == 0o755
    assert members["opt/weights/hub/m/blobs/1"].mode == 0o644
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}
    assert members["opt/weights/hub/m/snapshots/9/model"].linkname == "../../blobs/1"


def test_nothing_is_compressed_and_little_is_added() -> None:
    sink = io.BytesIO()
    written = write_weights(RECIPE, MemorySources(FILES), sink)
    assert 0 <= len(sink.getvalue()) - written.unpacked < 1_000


class Pieces:
    """Gives files in pieces of one size."""

    def __init__(self, size: int) -> None:
        self._size = size

    def pour(self, file: File, write: Callable[[bytes], object], earlier: Iterable[bytes] = (), /) -> None:
        data = FILES[file.name]
        for start in range(0, len(data), self._size):
            write(data[start : start + self._size])


@pytest.mark.parametrize("size", [1_013, 1 << 16, 1 << 20, 1 << 22])
def test_the_bytes_do_not_depend_on_how_they_come(size: int) -> None:
    one, other = io.BytesIO(), io.BytesIO()
    write_weights(RECIPE, MemorySources(FILES), one)
    write_weights(RECIPE, Pieces(size), other)
    assert one.getvalue() == other.getvalue()
    assert hashlib.sha256(one.getvalue()).hexdigest() == GOLDEN


GOLDEN = "1ff2f2f8989efa2cc88e3f14a8b6b937206ef73727cdfab0e20075f9678feef1"
"""What is in every image with these weights; a change moves gigabytes on every machine."""


@pytest.mark.parametrize("size", [0, 1, 0xFFFF, 0x10000, 0x1FFFE, 1 << 20])
def test_stored_members_are_gzip(size: int) -> None:
    assert gzip.decompress(deflate.stored(BIG[:size])) == BIG[:size]


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_is_not_as_long_as_locked_is_refused(change: int) -> None:
    file = File("c", "0" * 64, 1 + change, Found("c"))
    with pytest.raises(LayerError, match="listed with"):
        write_weights(WeightsRecipe((PlacedFile("opt/c", file),)), MemorySources(FILES), io.BytesIO())


class _Endless:
    """So many bytes of zeros."""

    def pour(self, file: File, write: Callable[[bytes], object], earlier: Iterable[bytes] = (), /) -> None:
        assert file.size is not None
        for _ in range(file.size >> 20):
            write(bytes(1 << 20))


class _Counting:
    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self.size += len(data)
        return len(data)


def test_a_large_file_takes_no_memory(tmp_path: Path) -> None:
    size = 256 << 20
    recipe = WeightsRecipe((PlacedFile("opt/m", File("m", "0" * 64, size, Found("m"))),))
    tracemalloc.start()
    sink = _Counting()
    write_weights(recipe, _Endless(), sink)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sink.size > size and peak < 16 << 20
