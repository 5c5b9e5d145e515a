"""A wheel that was built is written in one form: the same files, the same bytes."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence

import pytest

from trainload.errors import LayerError
from trainload.layers.rewheel import rewrite_wheel
from trainload.testing.index import wheel
from trainload.testing.sources import unpacked

NAME = "a-1.0-py3-none-any.whl"
FILES = {"a/__init__.py": b"x = 1\n" * 100, "a/empty.py": b"", "a-1.0.data/scripts/run": b"#!python\n"}


def members() -> dict[str, bytes]:
    _, data = wheel("a", "1.0", files=FILES)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(
    files: Mapping[str, bytes], *, year: int = 2020, mode: int = 0o100664, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (year, 1, 2, 3, 4, 6))
            entry.external_attr = mode << 16
            entry.compress_type = method
            archive.writestr(entry, data)
    return buffer.getvalue()


def rewritten(data: bytes, name: str = NAME) -> bytes:
    sink = io.BytesIO()
    rewrite_wheel(io.BytesIO(data), name, "3.11", sink)
    return sink.getvalue()


def reordered(files: Mapping[str, bytes], rows: Sequence[str]) -> dict[str, bytes]:
    record = "a-1.0.dist-info/RECORD"
    return {
        **dict(reversed([item for item in files.items() if item[0] != record])),
        record: "\n".join(rows).encode(),
    }


def test_order_times_modes_and_compression_do_not_show() -> None:
    files = members()
    rows = files["a-1.0.dist-info/RECORD"].decode().splitlines()
    one = rewritten(zipped(files))
    other = rewritten(zipped(reordered(files, rows[::-1]), year=1999, mode=0o100600, method=zipfile.ZIP_STORED))
    assert one == other
    assert rewritten(one) == one, "it is in its one form already"


def test_what_it_holds_is_what_was_built() -> None:
    built, made = zipped(members()), rewritten(zipped(members()))
    assert unpacked({NAME: made}) == unpacked({NAME: built})
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[-1] == "a-1.0.dist-info/RECORD"
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}


def test_what_can_be_executed_stays_so() -> None:
    made = rewritten(zipped(members(), mode=0o100777))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.getinfo("a/__init__.py").external_attr >> 16 == 0o100755


def test_W21_a_record_that_lies_is_refused() -> None:
    files = members()
    wrong = base64.urlsafe_b64encode(hashlib.sha256(b"other").digest()).rstrip(b"=")
    right = base64.urlsafe_b64encode(hashlib.sha256(FILES["a/__init__.py"]).digest()).rstrip(b"=")
    record = files["a-1.0.dist-info/RECORD"]
    assert right in record
    with pytest.raises(LayerError, match="a/__init__.py: its sha256 is not the one in RECORD"):
        rewritten(zipped({**files, "a-1.0.dist-info/RECORD": record.replace(right, wrong)}))


def test_W22_a_wheel_that_is_not_what_its_name_says_is_refused() -> None:
    with pytest.raises(LayerError, match="the file name says"):
        rewritten(zipped(members()), "b-1.0-py3-none-any.whl")


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a-1.0.data/data/../../../etc/x"])
def test_W01_members_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(LayerError):
        rewritten(zipped({**members(), name: b"x"}))
