"""Laws of placing and writing: no name leads out of the environment, and only entries show in the bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator

from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainload.errors import LayerError, Place
from trainload.layers.deflate import fixed
from trainload.layers.place import Placed, Refused, Role, Scheme, place, relative
from trainload.layers.record import Row, read_record, write_record
from trainload.layers.verify import Deflated
from trainload.layers.writer import LayerWriter, Stream

SCHEME = Scheme("3.11", "demo", "demo-1.0.data")
PARTS = st.one_of(
    st.sampled_from(["", ".", "..", "demo-1.0.data", "data", "scripts", "headers", "purelib", "platlib", "bin",
                     "lib64", "python", "python3", "sh", "pyvenv.cfg", ".wh.x", "a", "b.py", "\\", "C:", "opt"]),
    st.text(max_size=5),
)  # fmt: skip
NAMES = st.lists(PARTS, min_size=1, max_size=6).map("/".join)


@given(NAMES, st.booleans())
@example("demo-1.0.data/data/bin/python", False)
@example("demo-1.0.data/data/lib64/x", False)
@example("../site-packages-evil/x", False)
def test_W01_D4_whatever_the_name_its_place_is_inside_the_environment(name: str, is_directory: bool) -> None:
    where = place(name, SCHEME, is_directory=is_directory)
    if isinstance(where, Refused):
        assert str(where.reason)
        return
    if where.role is Role.STRUCTURE:
        assert where.path == ""
        return
    assert os.path.normpath(where.path) == where.path
    assert where.path.startswith("opt/venv/")
    assert where.path not in ("opt/venv/bin/python", "opt/venv/bin/sh", "opt/venv/pyvenv.cfg", "opt/venv/lib64")
    assert is_directory or where.path not in ("opt/venv/bin", "opt/venv/lib", "opt/venv/bin/activate")
    assert not where.path.startswith("opt/venv/lib64/")
    assert "/.wh." not in where.path
    assert place(name, SCHEME, is_directory=is_directory) == where


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), st.lists(st.sampled_from("abc"), max_size=5))
def test_a_relative_path_leads_back(path: list[str], folder: list[str]) -> None:
    base = "/".join(["opt", *folder])
    target = "/".join(["opt", *path])
    assert os.path.normpath(f"{base}/{relative(target, base)}") == target


@given(st.binary(max_size=600), st.integers(0, 2000), st.binary(max_size=50))
def test_what_the_fixed_encoder_writes_is_one_gzip_member(before: bytes, zeros: int, after: bytes) -> None:
    plain = before + bytes(zeros) + after
    member = fixed(plain)
    engine = zlib.decompressobj(31)
    assert engine.decompress(member) == plain
    assert engine.eof
    assert engine.unused_data == b""


FILES = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=300).filter(
        lambda name: name not in (".", "..") and not name.startswith(".wh.")
    ),
    st.tuples(st.binary(max_size=3000), st.booleans(), st.sampled_from([1, 7, 512, 4096])),
    max_size=8,
)


def written(files: dict[str, tuple[bytes, bool, int]], step: int | None) -> bytes:
    """The layer of the files, each spliced or compressed, in chunks of its own or the given size."""
    sink = io.BytesIO()
    with LayerWriter(sink) as out:
        for name in sorted(files):
            data, splice, size = files[name]
            if splice:
                engine = zlib.compressobj(9, zlib.DEFLATED, -15)
                packed = engine.compress(data) + engine.flush()
                promise = Deflated(Place("x.whl", name), len(data), zlib.crc32(data), hashlib.sha256(data).digest())
                out.splice(name, promise, chunks(packed, step or size))
            else:
                out.file(name, Stream(len(data), chunks(data, step or size)))
        done = out.close()
    assert done.diff_id.hex == hashlib.sha256(gzip.decompress(sink.getvalue())).hexdigest()
    assert done.entries == len(files)
    return sink.getvalue()


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@settings(max_examples=60, deadline=None)
@given(FILES)
def test_P07_a_layer_holds_what_was_written_whatever_the_chunks(files: dict[str, tuple[bytes, bool, int]]) -> None:
    blob = written(files, None)
    assert blob == written(files, 1 << 20)
    with tarfile.open(fileobj=io.BytesIO(blob), mode="r:gz") as tar:
        found = {info.name: file.read() for info in tar if (file := tar.extractfile(info))}
    assert found == {name: data for name, (data, _, _) in files.items()}


WRITTEN = st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])
"""What the ZIP reader lets through."""
ROWS = st.lists(
    st.builds(Row, st.text(WRITTEN, min_size=1, max_size=20), st.just(""), st.none() | st.integers(0, 10**12)),
    unique_by=lambda row: row.path.lstrip("/"),
)


@given(ROWS)
def test_a_record_is_read_as_it_was_written(rows: list[Row]) -> None:
    try:
        again = read_record(write_record(rows), "x.whl", "RECORD")
    except LayerError:
        assert any(not row.path.lstrip("/") or ".." in row.path.split("/") for row in rows)
        return
    assert {row.path: row for row in again} == {
        row.path.lstrip("/"): Row(row.path.lstrip("/"), row.hash, row.size) for row in rows
    }


def test_place_is_total_over_what_the_archive_may_say() -> None:
    assert isinstance(place("demo-1.0.data", SCHEME), Refused)
    assert place("demo-1.0.data", SCHEME, is_directory=True) == Placed("", Role.STRUCTURE)
    assert place("demo-1.0.data/data", SCHEME, is_directory=True) == Placed("", Role.STRUCTURE)
