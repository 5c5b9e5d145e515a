"""Laws of the strict tar reader; archives come from the standard library and from GNU tar, or are made by hand."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainload.errors import LayerError
from trainload.layers.tarread import Member, MemberKind, TarReader, member_path
from trainload.limits import DEFAULT


def header(
    name: bytes = b"a",
    *,
    kind: bytes = b"0",
    size: int = 0,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    size_field: bytes | None = None,
) -> bytes:
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:124] = b"0000644\x000000000\x000000000\x00"
    block[124:136] = size_field if size_field is not None else b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length += 1
    return b"%d" % length + body


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    data = b"".join(records)
    return header(b"pax", kind=kind, size=len(data)) + padded(data)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    data = name + b"\0"
    return header(b"././@LongLink", kind=kind, size=len(data), magic=b"ustar  \0") + padded(data)


END = bytes(1024)


def read(archive: bytes, *, end_mark: bool = True) -> list[tuple[Member, bytes]]:
    reader = TarReader(io.BytesIO(archive), "x.tar", end_mark=end_mark)
    return [(member, b"".join(reader.chunks(7))) for member in reader]


def refused(archive: bytes) -> str:
    with pytest.raises(LayerError) as caught:
        read(archive)
    assert str(caught.value).startswith("x.tar")
    return str(caught.value)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_kinds_of_members_come_out_as_the_standard_library_put_them_in(form: int) -> None:
    out = io.BytesIO()
    long = "d/" * 40 + "n" * (90 if form == tarfile.USTAR_FORMAT else 180)
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, kind, link, mode in [
            ("./", tarfile.DIRTYPE, "", 0o755),
            ("./usr/", tarfile.DIRTYPE, "", 0o2775),
            (long, tarfile.REGTYPE, "", 0o4755),
            ("link", tarfile.SYMTYPE, "usr/bin/käse", 0o777),
            ("hard", tarfile.LNKTYPE, "link" * 20, 0o644),
            ("pipe", tarfile.FIFOTYPE, "", 0o600),
            ("null", tarfile.CHRTYPE, "", 0o666),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode, info.uid, info.gid = kind, link, mode, 65534, 42
            info.devmajor, info.devminor, info.mtime = 1, 3, 1234567890
            info.size = 1000 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    found = read(out.getvalue())
    assert [(m.name, m.kind.name, m.mode) for m, _ in found] == [
        (b".", "DIRECTORY", 0o755),
        (b"./usr", "DIRECTORY", 0o2775),
        (long.encode(), "FILE", 0o4755),
        (b"link", "SYMLINK", 0o777),
        (b"hard", "HARDLINK", 0o644),
        (b"pipe", "FIFO", 0o600),
        (b"null", "CHARACTER", 0o666),
    ]
    assert found[2][1] == b"x" * 1000
    assert found[3][0].linkname == "usr/bin/käse".encode()
    assert found[6][0].device == (1, 3)
    assert {(m.uid, m.gid, m.mtime) for m, _ in found} == {(65534, 42, 1234567890)}


@pytest.mark.parametrize("form", ["gnu", "posix", "ustar", "v7", "oldgnu"])
def test_what_gnu_tar_writes_is_read(form: str, tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("tar is not installed")
    name = "n" * (90 if form in ("v7", "ustar") else 200)
    (tmp_path / name).write_bytes(b"data" * 500)
    (tmp_path / "l").symlink_to("nowhere")
    out = subprocess.run(
        ["tar", f"--format={form}", "--sort=name", "-C", tmp_path, "-c", "."], capture_output=True, check=True
    )
    found = {member.name: (member.kind, data) for member, data in read(out.stdout)}
    assert found[b"./" + name.encode()] == (MemberKind.FILE, b"data" * 500)
    assert found[b"./l"][0] is MemberKind.SYMLINK


def test_extended_attributes_of_pax_are_kept() -> None:
    value = b"\x01\0\0\x02\n="
    ((member, _),) = read(pax(record(b"SCHILY.xattr.security.capability", value)) + header() + END)
    assert member.xattrs == {"security.capability": value}


def test_sizes_beyond_eight_gigabytes_are_understood_in_both_ways() -> None:
    big = 9 * 2**30
    reader = iter(TarReader(io.BytesIO(header(size_field=b"\x80" + big.to_bytes(11, "big"))), "x.tar"))
    assert next(reader).size == big
    reader = iter(TarReader(io.BytesIO(pax(record(b"size", b"%d" % big)) + header()), "x.tar"))
    assert next(reader).size == big


def test_data_that_is_not_read_is_skipped_and_a_limit_bounds_what_is_read_at_once() -> None:
    archive = header(b"a", size=600) + padded(b"a" * 600) + header(b"b", size=3) + padded(b"bcd") + END
    reader = TarReader(io.BytesIO(archive), "x.tar")
    assert [member.name for member in reader] == [b"a", b"b"]
    reader = TarReader(io.BytesIO(archive), "x.tar")
    iterator = iter(reader)
    next(iterator)
    with pytest.raises(LayerError, match="too large"):
        reader.content(599)
    assert reader.content(600) == b"a" * 600


def test_D07_headers_that_disagree_about_the_size_are_refused() -> None:
    archive = pax(record(b"size", b"512")) + header(size=0) + bytes(512) + END
    assert "disagree about the size" in refused(archive)
    assert "disagree" in refused(pax(record(b"size", b"0")) + header(size=512) + bytes(512) + END)


@pytest.mark.parametrize("key", [b"path", b"size", b"linkpath", b"uid", b"SCHILY.xattr.user.x"])
def test_D07_a_global_header_may_not_override_anything(key: bytes) -> None:
    assert "overrides" in refused(pax(record(key, b"1"), kind=b"g") + header() + END)


def test_D07_a_global_comment_is_accepted() -> None:
    assert len(read(pax(record(b"comment", b"git id"), kind=b"g") + header() + END)) == 1


def test_D07_gnu_long_names_are_accepted_once() -> None:
    name = b"x/" * 100 + b"y"
    ((member, _),) = read(long_name(name) + long_name(b"to", b"K") + header(kind=b"2") + END)
    assert (member.name, member.linkname) == (name, b"to")
    assert "twice" in refused(long_name(b"a") + long_name(b"b") + header() + END)
    assert "twice" in refused(long_name(b"a") + pax(record(b"path", b"b")) + header() + END)


@pytest.mark.parametrize(
    "data",
    [b"5 a=b\n", b"7 a=b\n", b"06 a=b\n", b"6 a=b ", b"6 a:b\n", b"99999999 a=b\n", b"-1 a=b\n", b"\0\0\0\0\0\0"],
)
def test_malformed_pax_records_are_refused(data: bytes) -> None:
    archive = header(b"pax", kind=b"x", size=len(data)) + padded(data) + header() + END
    assert "pax record is malformed" in refused(archive)


def test_L15_sparse_files_are_refused() -> None:
    assert "type is not accepted" in refused(header(kind=b"S") + END)
    assert "sparse" in refused(pax(record(b"GNU.sparse.major", b"1")) + header() + END)


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_only_files_have_data(kind: bytes) -> None:
    assert "has data" in refused(header(kind=kind, size=512, link=b"x") + bytes(512) + END)


@pytest.mark.parametrize("size", [b"-0000000001\0", b"0000000009\0\0", b"\xff" + b"\xff" * 11, b"0x10\0       "])
def test_sizes_that_are_not_numbers_are_refused(size: bytes) -> None:
    assert "size is not a number" in refused(header(size_field=size) + END)


def test_an_archive_cut_anywhere_is_refused() -> None:
    archive = pax(record(b"path", b"long")) + header(size=600) + padded(b"a" * 600) + bytes(512)
    for cut in [*range(0, len(archive), 100), len(archive) - 512]:
        refused(archive[:cut])


def test_an_end_mark_may_be_missing_only_where_that_is_said() -> None:
    assert "no end mark" in refused(header())
    assert len(read(header(), end_mark=False)) == 1


def test_bytes_after_the_end_mark_are_refused() -> None:
    assert "after its end mark" in refused(header() + END + header(b"hidden") + END)
    assert "after its end mark" in refused(header() + bytes(512) + header(b"hidden") + END)


def test_a_wrong_checksum_and_an_unknown_format_are_refused() -> None:
    block = bytearray(header())
    block[0:1] = b"b"
    assert "checksum" in refused(bytes(block) + END)
    assert "no known tar format" in refused(header(magic=b"\x01\x02ustar\0") + END)


def test_limits_hold_at_the_limit_and_refuse_one_more() -> None:
    three = b"".join(header(b"%d" % i) for i in range(3)) + END
    exact = replace(DEFAULT, archive_members=3, unpacked=5, tar_header=10, name_length=5)
    assert len(list(TarReader(io.BytesIO(three), "x.tar", limits=exact))) == 3
    with pytest.raises(LayerError, match="too many members"):
        list(TarReader(io.BytesIO(three), "x.tar", limits=replace(exact, archive_members=2)))
    for size, right in [(5, True), (6, False)]:
        reader = TarReader(io.BytesIO(header(size=size) + padded(b"x" * size) + END), "x.tar", limits=exact)
        name = TarReader(io.BytesIO(header(b"x" * size) + END), "x.tar", limits=exact)
        for each in (reader, name):
            if right:
                assert len(list(each)) == 1
            else:
                with pytest.raises(LayerError, match="too"):
                    list(each)
    with pytest.raises(LayerError, match="extended header is too large"):
        list(TarReader(io.BytesIO(long_name(b"x" * 10) + header() + END), "x.tar", limits=exact))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"../x", "outside"),
        (b"a/../../x", "outside"),
        (b"a/..", "outside"),
        (b"/etc/passwd", "absolute"),
        (b"a\nb", "control"),
        (b"\x1b[2J", "control"),
        (b"x" * 256, "too long"),
    ],
)
def test_D05_names_that_could_leave_the_root_are_refused(name: bytes, reason: str) -> None:
    with pytest.raises(LayerError, match=reason) as caught:
        member_path(name, "x.deb")
    assert str(caught.value).isprintable()


def test_names_lose_their_dots_and_keep_the_rest() -> None:
    assert member_path(b"./usr//bin/./env", "x") == b"usr/bin/env"
    assert member_path(b"./", "x") == b""
    assert member_path(b"..x/y..", "x") == b"..x/y.."
    assert member_path(b"x" * 255, "x") == b"x" * 255


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=1500), st.integers(0, 2000))
def test_any_bytes_are_read_or_refused_never_a_crash(noise: bytes, at: int) -> None:
    archive = pax(record(b"path", b"long")) + header(size=30) + padded(b"a" * 30) + END
    with contextlib.suppress(LayerError):
        read(archive[:at] + noise + archive[at + len(noise) :])
