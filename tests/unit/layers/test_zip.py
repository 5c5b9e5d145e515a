"""THREATS W01-W20: a ZIP archive that two readers could see differently is refused, with file, member and fix."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from trainload.errors import LayerError
from trainload.layers.zip import read_bytes, read_members
from trainload.testing.sources import unpacked
from trainload.testing.zips import End, Made, Part, archive, deflated, descriptor

Refuses = Callable[..., LayerError]
SITE = "lib/python3.11/site-packages"
BODY = b"y = 2\n" * 50


def with_part(part: Part, **made: object) -> bytes:
    """A good wheel and one more member."""
    return Made(more=(part,), **made).bytes()  # type: ignore[arg-type]


def members(data: bytes) -> list[str]:
    return [member.name for member in read_members(io.BytesIO(data), "x.zip")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("../../x", "leads out", id="W01"),
        pytest.param("demo/../../x", "leads out", id="W01-inside"),
        pytest.param("..", "leads out", id="W01-alone"),
        pytest.param("/etc/x", "absolute", id="W02"),
        pytest.param("../site-packages-evil/x", "leads out", id="W03"),
        pytest.param("..\\x", "backslash", id="W04"),
        pytest.param("demo\\x", "backslash", id="W04-inside"),
        pytest.param("C:x", "drive letter", id="W04-drive"),
        pytest.param("a\0b", "control characters", id="W05-nul"),
        pytest.param("a\nb", "control characters", id="W05-newline"),
        pytest.param("a\tb", "control characters", id="W05-tab"),
        pytest.param("a\x7fb", "control characters", id="W05-del"),
        pytest.param("a\x1b[31mb", "control characters", id="W05-esc"),
        pytest.param("a\x9bb", "control characters", id="W05-csi"),
        pytest.param("a//b", "empty part", id="W01-empty"),
        pytest.param("./a", "dot for one", id="W01-dot"),
        pytest.param("", "empty part", id="W01-nothing"),
        pytest.param(b"caf\xe9.py", "character set", id="W05-latin1"),
    ],
)
def test_W01_W02_W03_W04_W05_a_name_that_could_lead_elsewhere_is_refused(
    refuses: Refuses, name: str | bytes, reason: str
) -> None:
    refuses(Made().file, with_part(Part(name, BODY)), reason)


def test_W05_names_in_utf8_are_kept(refuses: Refuses) -> None:
    made = Made(files={"demo/名前.py": BODY})
    assert unpacked({made.file: made.bytes()})[f"{SITE}/demo/名前.py"] == (0o644, BODY)
    unflagged = archive([replace(part, flags=0) for part in made.parts()])
    refuses(made.file, unflagged, "character set")


@pytest.mark.parametrize("limit", [{"name_length": 20}, {"component_length": 10}])
def test_W05_lengths_of_names_are_limited(refuses: Refuses, limit: dict[str, int]) -> None:
    refuses(Made().file, Made().bytes(), "limit|longer than", **limit)


def test_W06_a_local_header_with_another_name_is_refused(refuses: Refuses) -> None:
    part = Part("demo/a.py", BODY, local={"name": b"demo/b.py"})
    refuses(Made().file, with_part(part), r"demo/a\.py.*another name")


@pytest.mark.parametrize("field", ["method", "flags"])
def test_W06_a_local_header_with_another_method_or_flag_is_refused(refuses: Refuses, field: str) -> None:
    local: dict[str, int | bytes] = {field: {"method": 0, "flags": 0x800}[field]}
    refuses(Made().file, with_part(Part("demo/a.py", BODY, local=local)), "another compression or other flags")


@pytest.mark.parametrize("field", ["crc", "packed", "size"])
def test_W06_a_local_header_with_another_size_or_crc_is_refused(refuses: Refuses, field: str) -> None:
    refuses(Made().file, with_part(Part("demo/a.py", BODY, local={field: 7})), "other sizes or another CRC-32")


def test_W07_a_member_in_local_headers_only_is_refused(refuses: Refuses) -> None:
    hidden = Part("hidden.py", BODY, listed=False)
    refuses(Made().file, with_part(hidden), "does not end where the next member begins")
    data = archive([hidden, *Made().parts()])
    refuses(Made().file, data, "belong to no member")


def test_W07_a_member_in_the_central_directory_only_is_refused(refuses: Refuses) -> None:
    refuses(Made().file, with_part(Part("ghost.py", BODY, present=False)), "no local header|another name")
    data = archive([Part("ghost.py", BODY, present=False), *Made().parts()])
    refuses(Made().file, data, "belong to no member, or to two|another name")


@pytest.mark.parametrize("difference", [-1, 1])
def test_W07_a_directory_that_counts_wrongly_is_refused(refuses: Refuses, difference: int) -> None:
    count = len(Made().parts()) + difference
    refuses(Made().file, Made(end=End(count=count)).bytes(), "central directory")


def test_W08_a_name_that_comes_twice_is_refused(refuses: Refuses) -> None:
    refuses(Made().file, with_part(Part("demo/__init__.py", BODY)), "there twice")
    refuses(Made().file, with_part(Part("demo/__init__.py/", b"")), "there twice")


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(End(suffix=b"x"), id="trailing"),
        pytest.param(End(suffix=bytes(100)), id="trailing-zeros"),
        pytest.param(End(prefix=b"#!/bin/sh\n"), id="prefix"),
        pytest.param(End(suffix=Made(name="other").bytes()), id="two-archives"),
        pytest.param(End(comment=b"PK\x05\x06" + bytes(18)), id="end-in-comment"),
        pytest.param(End(start=0), id="start"),
        pytest.param(End(size=46), id="size"),
    ],
)
def test_W09_what_does_not_belong_to_the_archive_is_refused(refuses: Refuses, end: End) -> None:
    refuses(Made().file, Made(end=end).bytes(), "ZIP archive|central directory|second end|belong|says")


@pytest.mark.parametrize("size", [0, 1, 21, 22, 100])
def test_W09_a_file_that_is_cut_short_is_refused(refuses: Refuses, size: int) -> None:
    refuses(Made().file, Made().bytes()[:size], "does not end as a ZIP archive does")
    refuses(Made().file, Made().bytes()[:-1], "does not end as a ZIP archive does")


def test_W09_a_comment_is_no_harm() -> None:
    assert members(archive([Part("a", b"1")], End(comment=b"made by hand"))) == ["a"]


def zip64_end(start: int, size: int, count: int, *, record: int | None = None, length: int = 44) -> bytes:
    place = start + size if record is None else record
    end = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", length, 45, 45, 0, 0, count, count, size, start)
    return end + struct.pack("<4sIQI", b"PK\x06\x07", 0, place, 1)


def test_W10_a_zip64_end_that_agrees_is_read() -> None:
    part = Part("a", b"1" * 100)
    plain = archive([part])
    start = plain.index(b"PK\x01\x02")
    size = plain.index(b"PK\x05\x06") - start
    full = 0xFFFFFFFF
    good = archive([part], End(zip64=zip64_end(start, size, 1), start=full, size=full, count=0xFFFF))
    assert members(good) == ["a"]
    assert members(archive([part], End(zip64=zip64_end(start, size, 1)))) == ["a"]
    for lie in (
        End(zip64=zip64_end(start, size, 2), start=full, size=full, count=1),
        End(zip64=zip64_end(start, size, 2)),
        End(zip64=zip64_end(start, size, 1, record=0), start=full),
        End(zip64=zip64_end(start, size, 1, length=52), start=full),
        End(zip64=zip64_end(start + 1, size, 1), start=full),
        End(start=full),
    ):
        with pytest.raises(LayerError, match="ZIP64|two end records|right before"):
            members(archive([part], lie))


def test_W10_zip64_records_of_members_hold_just_what_is_missing() -> None:
    body = b"1" * 100
    packed = len(deflated(body))
    sizes = struct.pack("<QQ", len(body), packed)
    full: dict[str, int | bytes] = {"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF}

    def record(data: bytes) -> bytes:
        return struct.pack("<HH", 1, len(data)) + data

    assert members(archive([Part("a", body, local={**full, "extra": record(sizes)})])) == ["a"]
    assert members(archive([Part("a", body, local={"extra": record(sizes)})])) == ["a"]
    for lie in (
        {**full, "extra": b""},
        {**full, "extra": record(sizes[:8])},
        {**full, "extra": record(sizes + bytes(4))},
        {**full, "extra": record(sizes) + record(sizes)},
        {**full, "extra": record(sizes)[:-1]},
        {"extra": record(struct.pack("<QQ", len(body) + 1, packed))},
        {"extra": record(sizes[:8])},
    ):
        with pytest.raises(LayerError, match=r"ZIP64|extra field|sizes"):
            members(archive([Part("a", body, local=lie)]))


def test_W10_a_large_archive_of_python_is_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made, made.open("big", "w", force_zip64=True) as file:
        file.write(BODY)
    assert members(out.getvalue()) == ["big"]


def test_W11_an_extra_field_that_renames_is_refused(refuses: Refuses) -> None:
    def unicode_path(name: bytes) -> bytes:
        data = b"\x01" + bytes(4) + name
        return struct.pack("<HH", 0x7075, len(data)) + data

    refuses(Made().file, with_part(Part("demo/a.py", BODY, extra=unicode_path(b"evil.py"))), "another name")
    twice = unicode_path(b"demo/a.py") * 2
    refuses(Made().file, with_part(Part("demo/a.py", BODY, extra=twice)), "repeats a record")
    local: dict[str, int | bytes] = {"extra": unicode_path(b"evil.py")}
    refuses(Made().file, with_part(Part("demo/a.py", BODY, local=local)), "another name")
    assert members(archive([Part("a.py", BODY, extra=unicode_path(b"a.py"))])) == ["a.py"]


@pytest.mark.parametrize("size", [0, 1, len(BODY) - 1, len(BODY) + 1])
def test_W12_a_member_of_another_size_than_declared_is_refused(refuses: Refuses, size: int) -> None:
    made = Made(files={"demo/a.py": BODY}, record=None)
    parts = [replace(part, size=size) if part.name == "demo/a.py" else part for part in made.parts()]
    refuses(made.file, archive(parts), r"demo/a\.py.*(bytes|follow)", late=True)


def test_W12_a_stored_member_has_one_size(refuses: Refuses) -> None:
    refuses(Made().file, with_part(Part("demo/a.py", BODY, method=0, size=3)), "two sizes")


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("crc", [0, 1])
def test_W13_a_wrong_crc_is_refused_even_when_it_is_nought(refuses: Refuses, crc: int, method: int) -> None:
    made = Made(files={"demo/a.py": BODY})
    parts = [replace(part, crc=crc, method=method) if part.name == "demo/a.py" else part for part in made.parts()]
    refuses(made.file, archive(parts), r"demo/a\.py.*CRC-32", late=True)


@pytest.mark.parametrize("signed", [True, False])
def test_W14_a_data_descriptor_is_accepted_when_it_is_true(refuses: Refuses, signed: bool) -> None:
    made = Made(files={"demo/a.py": BODY})

    def streamed(part: Part, tail: bytes) -> Part:
        empty: dict[str, int | bytes] = {"crc": 0, "packed": 0, "size": 0}
        return replace(part, flags=8, local=empty, descriptor=tail)

    good = [streamed(part, descriptor(part.data, signed=signed)) for part in made.parts()]
    assert unpacked({made.file: archive(good)})[f"{SITE}/demo/a.py"] == (0o644, BODY)
    for tail in (descriptor(b"other", signed=signed), b"", b"x" * 12, descriptor(BODY) + b"x"):
        bad = [streamed(part, tail if part.name == "demo/a.py" else descriptor(part.data)) for part in made.parts()]
        refuses(made.file, archive(bad), "data descriptor")
    lying = [replace(part, local={"crc": 7}) for part in good]
    refuses(made.file, archive(lying), "other sizes or another CRC-32")


def test_W14_what_python_writes_to_a_pipe_is_read() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            self.data += memoryview(data)  # type: ignore[arg-type]
            return len(memoryview(data))  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", BODY)
        made.writestr("b", b"")
    assert members(bytes(pipe.data)) == ["a", "b"]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(0o120777, "symbolic link"), (0o010644, "a device, a pipe"), (0o020644, "a device, a pipe"),
     (0o060644, "a device, a pipe"), (0o140644, "a device, a pipe"), (0o040755, "by its mode")],
)  # fmt: skip
def test_W15_only_regular_files_and_directories(refuses: Refuses, mode: int, reason: str) -> None:
    refuses(Made().file, with_part(Part("demo/a", b"/etc/passwd", mode=mode)), reason)


def test_W16_a_directory_with_content_is_refused(refuses: Refuses) -> None:
    refuses(Made().file, with_part(Part("demo/d/", BODY)), "is a directory and has content")
    refuses(Made().file, with_part(Part("demo/d/", b"", packed=b"x" * 9)), "is a directory and has content")


def test_W17_overlapping_members_are_refused(refuses: Refuses) -> None:
    data = bytearray(with_part(Part("demo/b.py", BODY)))
    rows = [at for at in range(len(data)) if data.startswith(b"PK\x01\x02", at)]
    data[rows[-1] + 42 : rows[-1] + 46] = data[rows[0] + 42 : rows[0] + 46]
    refuses(Made().file, bytes(data), "does not end where the next member begins")


def test_W17_expansion_is_limited_by_what_is_declared_and_by_what_comes(refuses: Refuses) -> None:
    bomb = Made(files={"demo/zeros": bytes(2_000_000)})
    bounds = {"expansion_size": 1_000_000, "expansion_ratio": 50}
    refuses(bomb.file, bomb.bytes(), "times its size", **bounds)
    refuses(bomb.file, bomb.bytes(), "the limit is", unpacked=1_000_000)
    record = next(part.data for part in bomb.parts() if part.raw.endswith(b"RECORD"))
    liar = replace(bomb, record=record.replace(b",2000000\n", b",10\n")).parts()
    liar = [replace(part, size=10) if part.name == "demo/zeros" else part for part in liar]
    refuses(bomb.file, archive(liar), "more than the 10 bytes", late=True, **bounds)
    total = sum(len(part.data) for part in bomb.parts())
    assert unpacked({bomb.file: bomb.bytes()})
    refuses(bomb.file, bomb.bytes(), "the limit is", unpacked=total - 1)


def test_W17_the_number_of_members_is_limited(refuses: Refuses) -> None:
    count = len(Made().parts())
    refuses(Made().file, Made().bytes(), "members", archive_members=count - 1)
    many = archive([Part(f"{number}", b"") for number in range(3)], End(count=60_000))
    refuses(Made().file, many, "members", archive_members=1000)


def test_W18_an_archive_inside_is_a_file_like_any_other() -> None:
    inner = Made(name="inner").bytes()
    made = Made(files={"demo/inner.whl": inner}, more=())
    stored = archive([replace(part, method=0) for part in made.parts()])
    assert unpacked({made.file: stored})[f"{SITE}/demo/inner.whl"] == (0o644, inner)


@pytest.mark.parametrize(
    ("method", "word"), [(12, "bzip2"), (14, "LZMA"), (98, "PPMd"), (99, "AES"), (93, "Zstandard"), (77, "77")]
)
def test_W19_another_compression_is_refused_by_name(refuses: Refuses, method: int, word: str) -> None:
    refuses(Made().file, with_part(Part("demo/a.py", BODY, method=method)), f"compressed by {word}")


@pytest.mark.parametrize("flags", [1, 1 << 5, 1 << 6, 1 << 13])
def test_W19_encryption_is_refused(refuses: Refuses, flags: int) -> None:
    refuses(Made().file, with_part(Part("demo/a.py", BODY, flags=flags)), "encrypted")


def descriptor_of(stored: bytes) -> bytes:
    return struct.pack("<III", zlib.crc32(stored), len(stored), len(stored))


def test_W20_a_file_that_is_a_tar_archive_as_well_is_refused(refuses: Refuses) -> None:
    name = b"a" * 56 + b".bin"
    field = 148 - 30 - len(name)  # where tar keeps its checksum, inside the first member's data

    def polyglot(checksum: int) -> bytes:
        body = bytearray(600)
        body[field : field + 8] = b"%06o\0 " % checksum
        tail = descriptor_of(bytes(body))
        first = Part(
            name, bytes(body), method=0, flags=8, local={"crc": 0, "packed": 0, "size": 0}, descriptor=tail
        )
        return archive([first, *Made().parts()])

    block = polyglot(0)[:512]
    data = polyglot(sum(block[:148]) + 8 * 32 + sum(block[156:]))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.next() is not None
    refuses(Made().file, data, "tar archive as well")


def test_a_member_larger_than_asked_for_is_refused() -> None:
    data = io.BytesIO(archive([Part("a", BODY)]))
    (member,) = read_members(data, "x.zip")
    assert read_bytes(data, "x.zip", member, len(BODY)) == BODY
    with pytest.raises(LayerError, match="the limit is"):
        read_bytes(data, "x.zip", member, len(BODY) - 1)
