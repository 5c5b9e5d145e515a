"""What a pickle would import is told without loading it: torch's files, old ones, broken ones, ones that hide."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import random
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from trainload.layers.pickles import Found, harmless, scan


class Evil:
    """Runs a command when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("exit 1",)


def archive(data: bytes, name: str = "model/data.pkl") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(name, data)
        made.writestr("model/data/0", bytes(1000))
    return out.getvalue()


def found(data: bytes) -> Found:
    return scan(io.BytesIO(data))


@pytest.mark.parametrize("protocol", range(6))
def test_what_runs_something_is_named_whatever_the_protocol(protocol: int) -> None:
    data = pickle.dumps({"a": Evil()}, protocol)
    name = f"{os.system.__module__}.system"
    assert found(data) == Found(True, (name,))
    assert found(archive(data)) == Found(True, (name,))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_ordered_dicts_are_pickles_without_a_word(protocol: int) -> None:
    data = pickle.dumps(collections.OrderedDict(a=[1.5, "x", b"y", {1, 2}]), protocol)
    told = found(data)
    assert told.pickle and not told.damaged and told.imports in ((), ("_codecs.encode",))


def test_what_is_no_pickle_is_none() -> None:
    for data in (
        b"",
        b"GGUF\x03\x00",
        b"\x08\x00\x00\x00\x00\x00\x00\x00{}",
        b"lots of text",
        b"(see below)",
        bytes(99),
    ):
        assert found(data) == Found(pickle=False), data
    assert found(archive(b"x", "model/config.json")) == Found(pickle=False)


def test_a_stream_that_breaks_off_tells_what_came_before() -> None:
    data = pickle.dumps(Evil(), 4)
    broken = data[:-1] + b"\xff\xff"
    told = found(broken)
    assert told.pickle and told.imports == (f"{os.system.__module__}.system",) and told.damaged


def test_texts_that_are_thrown_away_hide_nothing() -> None:
    hidden = (
        b"\x80\x04\x8c\x02os\x8c\x06system"
        + b"\x8c\x0bcollections\x8c\x0bOrderedDict00"
        + b"\x93\x8c\x04exit\x85R."
    )
    assert [op.name for op, _, _ in pickletools.genops(hidden)].count("POP") == 2
    assert found(hidden).imports == ("os.system",)
    memoized = b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93."
    assert found(memoized).imports == ("os.system",)
    computed = b"\x80\x04\x8c\x02os]\x93."
    assert found(computed).imports == ("os.?",)


def test_several_pickles_one_after_the_other_are_all_read() -> None:
    data = pickle.dumps(1, 2) + pickle.dumps("x", 2) + pickle.dumps(Evil(), 2)
    assert found(data).imports == (f"{os.system.__module__}.system",)


def test_an_archive_that_cannot_be_read_is_not_called_harmless() -> None:
    data = archive(pickle.dumps(Evil(), 2))
    assert found(data[:-30]).damaged


def test_what_weights_need_is_harmless() -> None:
    names = ["torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "torch.bfloat16", "numpy.dtypes.Float32DType"]
    assert all(map(harmless, names))
    assert not any(map(harmless, ["torch.load", "torch.hub.load", "os.system", "builtins.eval", "numpy.load", "x"]))


def test_gigabytes_of_data_in_a_pickle_take_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "x.pkl"
    size = 300 << 20
    with file.open("wb") as out:
        out.write(b"\x80\x05\x8e" + size.to_bytes(8, "little"))
        out.seek(size, os.SEEK_CUR)
        out.write(b"0\x8c\x02os\x8c\x06system\x93.")
    tracemalloc.start()
    with file.open("rb") as opened:
        told = scan(opened)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told == Found(True, ("os.system",)) and peak < 8 << 20


@pytest.mark.parametrize("seed", range(200))
def test_no_bytes_make_it_fail(seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(pickle.dumps({"a": Evil(), "b": [1, 2.5, "text"]}, dice.randrange(6)))
    for _ in range(dice.randrange(1, 6)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    found(bytes(data))
    found(archive(bytes(data))[: dice.randrange(50, 2000)])
