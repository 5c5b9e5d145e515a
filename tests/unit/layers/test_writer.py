"""The writer's laws: what goes in comes out of other people's readers, and only entries show in the bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
import zlib
from collections.abc import Callable

import pytest

from trainload.errors import LayerError, Place
from trainload.layers import writer as writing
from trainload.layers.deflate import fixed
from trainload.layers.model import Written
from trainload.layers.verify import Deflated
from trainload.layers.writer import LayerWriter, Owner, Stream

PLACE = Place("demo.whl", "demo/__init__.py")


def layer(fill: Callable[[LayerWriter], None], mtime: int = 0) -> tuple[bytes, Written]:
    sink = io.BytesIO()
    with LayerWriter(sink, mtime=mtime) as out:
        fill(out)
        written = out.close()
    return sink.getvalue(), written


def deflated(data: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def promise(data: bytes) -> Deflated:
    return Deflated(PLACE, len(data), zlib.crc32(data), hashlib.sha256(data).digest())


def read(blob: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(blob), mode="r:gz") as tar:
        return {
            info.name: (info, file.read() if info.isreg() and (file := tar.extractfile(info)) else b"")
            for info in tar
        }


def test_every_kind_of_entry_is_read_back_by_tarfile() -> None:
    body = b"print('hello')\n" * 50

    def fill(out: LayerWriter) -> None:
        out.directory("/opt/venv")
        out.file("/opt/venv/a.py", body, mode=0o755, owner=Owner(1000, 100))
        out.hardlink("/opt/venv/b.py", "/opt/venv/a.py")
        out.splice("/opt/venv/c.py", promise(body), [deflated(body)])
        out.splice("/opt/venv/empty", promise(b""), [])
        out.symlink("/opt/venv/lib64", "lib")
        out.file("/opt/venv/streamed", Stream(6, iter([b"abc", b"", b"def"])))

    blob, written = layer(fill)
    entries = read(blob)
    assert list(entries) == [
        "opt/venv", "opt/venv/a.py", "opt/venv/b.py", "opt/venv/c.py", "opt/venv/empty", "opt/venv/lib64",
        "opt/venv/streamed",
    ]  # fmt: skip
    assert entries["opt/venv/c.py"][1] == body
    assert entries["opt/venv/streamed"][1] == b"abcdef"
    first = entries["opt/venv/a.py"][0]
    assert (first.mode, first.uid, first.gid, first.uname, first.gname, first.mtime) == (
        0o755,
        1000,
        100,
        "",
        "",
        0,
    )
    assert entries["opt/venv/b.py"][0].linkname == "opt/venv/a.py"
    assert (entries["opt/venv/lib64"][0].linkname, entries["opt/venv/lib64"][0].mode) == ("lib", 0o777)
    plain = gzip.decompress(blob)
    assert written.diff_id.hex == hashlib.sha256(plain).hexdigest()
    assert (written.unpacked, written.entries) == (len(plain), 7)


def test_a_spliced_stream_is_in_the_layer_as_it_was() -> None:
    body = bytes(range(256)) * 4000
    stream = deflated(body)
    blob, _ = layer(lambda out: out.splice("x", promise(body), [stream[:100], stream[100:]]))
    assert stream in blob


@pytest.mark.parametrize("size", [0, 1, 511, 512, writing.CHUNK - 512, writing.CHUNK, 5 * writing.CHUNK + 7])
def test_the_size_of_the_callers_chunks_does_not_show(size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]

    def fill(step: int) -> Callable[[LayerWriter], None]:
        chunks = [body[at : at + step] for at in range(0, size, step)]
        return lambda out: out.file("data", Stream(size, chunks))

    assert layer(fill(1 << 16)) == layer(fill(7919)) == layer(lambda out: out.file("data", body))
    assert read(layer(fill(1 << 16))[0])["data"][1] == body


@pytest.mark.parametrize(
    "name",
    ["a" * 100, "a" * 101, "d/" + "a" * 99, "/".join(["d" * 50] * 5), "d" * 155 + "/" + "f" * 100, "ö", "名前/x",
     "d" * 156 + "/f", "bad\udcff", "new\nline", "-rf", "a" * 255],
)  # fmt: skip
def test_P07_names_of_every_length_and_alphabet_come_back(name: str) -> None:
    def fill(out: LayerWriter) -> None:
        out.directory(name)
        out.file(name + "/x", b"1")
        out.symlink(name + "/y", name)

    entries = read(layer(fill)[0])
    assert list(entries) == [name, name + "/x", name + "/y"]
    assert entries[name + "/y"][0].linkname == name


def test_pax_records_come_only_when_ustar_cannot_say_it() -> None:
    short, _ = layer(lambda out: out.file("d" * 155 + "/" + "f" * 100, b""))
    assert b"PaxHeader" not in gzip.decompress(short)
    long, _ = layer(lambda out: out.file("d" * 156 + "/" + "f", b""))
    assert b"PaxHeader" in gzip.decompress(long)


@pytest.mark.parametrize("name", [".wh.x", "a/.wh..wh..opq", "a/.wh.d/x"])
def test_P07_a_whiteout_is_refused(name: str) -> None:
    with pytest.raises(LayerError, match="means a deletion"):
        layer(lambda out: out.file(name, b""))


@pytest.mark.parametrize("name", ["", "/", "a//b", "../a", "a/./b", "a/..", "a\0b", "//a"])
def test_a_path_that_is_not_plainly_inside_the_image_is_refused(name: str) -> None:
    with pytest.raises(LayerError, match="cannot hold the path"):
        layer(lambda out: out.file(name, b""))


def test_a_path_comes_once_and_not_below_a_file() -> None:
    def twice(out: LayerWriter) -> None:
        out.file("a", b"")
        out.directory("a")

    def below(out: LayerWriter) -> None:
        out.file("a", b"")
        out.file("a/b/c", b"")

    with pytest.raises(LayerError, match="twice"):
        layer(twice)
    with pytest.raises(LayerError, match="no directory"):
        layer(below)
    with pytest.raises(LayerError, match="hard link"):
        layer(lambda out: out.hardlink("b", "a"))


@pytest.mark.parametrize("chunks", [[b"12345"], [b"123", b"4567"]])
def test_P04_a_file_of_another_size_than_said_is_refused(chunks: list[bytes]) -> None:
    with pytest.raises(LayerError, match="changed while it was read"):
        layer(lambda out: out.file("a", Stream(6, chunks)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: Deflated(PLACE, p.size, p.crc32 ^ 1, p.sha256), "CRC-32"),
        (lambda p: Deflated(PLACE, p.size, 0, p.sha256), "CRC-32"),
        (lambda p: Deflated(PLACE, p.size - 1, p.crc32, p.sha256), "more than"),
        (lambda p: Deflated(PLACE, p.size + 1, p.crc32, p.sha256), "declares"),
        (lambda p: Deflated(PLACE, p.size, p.crc32, bytes(32)), "RECORD"),
    ],
)
def test_W12_W13_W21_a_stream_that_breaks_its_promise_is_refused(
    change: Callable[[Deflated], Deflated], message: str
) -> None:
    body = b"x = 1\n" * 100_000
    with pytest.raises(LayerError, match=message) as caught:
        layer(lambda out: out.splice("a", change(promise(body)), [deflated(body)]))
    assert caught.value.place == PLACE
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("trainload")]


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (deflated(b"abc" * 999)[:-2], "does not end"),
        (deflated(b"abc" * 999) + b"x", "bytes follow"),
        (b"\xff" * 50, "damaged"),
        (b"", "does not end"),
    ],
)
def test_W12_a_stream_that_is_not_one_deflate_stream_is_refused(stream: bytes, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        layer(lambda out: out.splice("a", promise(b"abc" * 999), [stream]))


def test_an_error_in_the_callers_chunks_ends_the_threads() -> None:
    def chunks() -> list[bytes]:
        raise KeyboardInterrupt

    def fill(out: LayerWriter) -> None:
        body = bytes(3_000_000)
        for number in range(50):
            out.splice(f"a{number:02}", promise(body), [deflated(body)])
        out.file("big", bytes(20_000_000))
        out.file("z", Stream(9, (c for _ in range(2) for c in chunks())))

    with pytest.raises(KeyboardInterrupt):
        layer(fill)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("trainload")]


@pytest.mark.parametrize("zeros", [*range(20), 258, 259, 260, 261, 262, 263, 516, 517, 1024, 8000])
def test_the_fixed_encoder_is_read_by_zlib(zeros: int) -> None:
    for text in (b"", b"abc", b"\x7f"):
        plain = text + bytes(zeros) + text
        assert gzip.decompress(fixed(plain)) == plain


def test_source_date_epoch_is_every_entrys_time() -> None:
    blob, _ = layer(lambda out: out.file("a/b", b""), mtime=1_700_000_000)
    assert {info.mtime for info, _ in read(blob).values()} == {1_700_000_000}


def test_the_bytes_of_a_layer_are_pinned() -> None:
    """A change here changes every digest there is: raise the ``version`` of the recipes, and say so."""
    body = b"".join(b"%d\n" % number for number in range(300_000))
    spliced = b"\x01\x05\x00\xfa\xffhello"  # one stored block

    def fill(out: LayerWriter) -> None:
        out.directory("/opt/venv")
        out.splice("/opt/venv/a", Deflated(PLACE, 5, zlib.crc32(b"hello")), [spliced])
        out.file("/opt/venv/b", body, mode=0o755)
        out.splice("/opt/venv/" + "c" * 120, Deflated(PLACE, 5, zlib.crc32(b"hello")), [spliced])
        out.symlink("/opt/venv/名", "a", owner=Owner(1000, 1000))

    blob, written = layer(fill)
    assert hashlib.sha256(blob).hexdigest() == "2c6985855c47702cf58a744b8a924a3b9f97c5013dc5fb15daac254121ffe936"
    assert written.diff_id.hex == "2c8ffa913b8fd34f6efd4cbda98366d3b7804439fcce9cf03b72e6b13c655779"
