"""Laws of the Debian package readers (THREATS D01–D04, D09)."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from trainload.errors import LayerError, Place
from trainload.layers.debian.ar import members
from trainload.layers.debian.control import parse_control
from trainload.layers.debian.deb import Deb, open_deb
from trainload.layers.decompress import Decompressed
from trainload.limits import DEFAULT
from trainload.testing.debs import Item, MadeDeb, ar, tar

GOOD = MadeDeb("good", [Item("./"), Item("./etc/"), Item("./etc/conf", b"yes\n")], scripts={"postinst": "exit 0"})


def opened(data: bytes) -> Deb:
    file = io.BytesIO(data)
    deb = open_deb(file, "x.deb")
    for _ in deb.files(file):
        pass
    return deb


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(LayerError, match=reason) as caught:
        opened(data)
    assert str(caught.value).startswith("x.deb")


def parts(**change: bytes) -> list[tuple[str, bytes]]:
    """The good package's members with one exchanged."""
    return [(name, change.get(name.partition(".")[0].partition("-")[0], data)) for name, data in GOOD.parts()]


@pytest.mark.parametrize("compression", ["gz", "xz", ""])
def test_a_package_gives_its_control_members_and_its_files(compression: str) -> None:
    file = io.BytesIO(replace(GOOD, compression=compression).bytes())
    deb = open_deb(file, "x.deb")
    assert (deb.control.package, deb.control.version, list(deb.members)) == (
        "good",
        "1.0-1",
        ["control", "postinst"],
    )
    assert deb.members["postinst"].mode == 0o755
    reader = deb.files(file)
    assert {m.name: reader.content(100) for m in reader}[b"./etc/conf"] == b"yes\n"


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "none"])
def test_what_dpkg_deb_builds_is_read(compression: str, tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    (tmp_path / "tree" / "DEBIAN").mkdir(parents=True)
    control = "Package: ab\nVersion: 1:2.0~rc1\nArchitecture: all\nMaintainer: N <n@host.example>\n"
    control += "Description: d\n x\n .\n"
    (tmp_path / "tree" / "DEBIAN" / "control").write_text(control, encoding="utf-8")
    (tmp_path / "tree" / ("n" * 120)).write_bytes(bytes(100_000))
    subprocess.run(
        ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "-b", "tree", "a.deb"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with (tmp_path / "a.deb").open("rb") as file:
        deb = open_deb(file, "a.deb")
        assert deb.control.get("description") == "d\n x\n ."
        assert [(m.name, m.size) for m in deb.files(file)][1] == (b"./" + b"n" * 120, 100_000)


def test_D01_files_that_are_no_ar_archives_are_refused() -> None:
    for data in (b"", b"!<arch>", b"!<arsh>\n", b"PK\3\4", GOOD.bytes()[1:]):
        refused(data, "not an ar archive")
    refused(b"!<arch>\n", "does not begin with debian-binary")


def test_D01_a_package_cut_anywhere_is_refused() -> None:
    whole = GOOD.bytes()
    for cut in [*range(200), *range(200, len(whole), 37), len(whole) - 1]:
        with pytest.raises(LayerError):
            opened(whole[:cut])


def test_D02_members_missing_swapped_doubled_or_unknown_are_refused() -> None:
    binary, control, data = GOOD.parts()
    for wrong in (
        [control, data],
        [control, binary, data],
        [binary, data, control],
        [binary, control],
        [binary, data],
        [binary, control, control, data],
        [binary, control, data, data],
        [binary, binary, control, data],
        [binary, ("extra", b"x"), control, data],
        [binary, control, ("extra", b"x"), data],
    ):
        refused(ar(wrong), "debian-binary|not those of a package")
    assert opened(ar([binary, control, ("_gpgorigin", b"x"), data])).control.package == "good"


@pytest.mark.parametrize("content", [b"3.0\n", b"2\n", b"2.0", b"", b"0.939000\n"])
def test_D02_another_format_version_is_refused(content: bytes) -> None:
    refused(ar(parts(debian=content)), "format is not known")


@pytest.mark.parametrize("size", [b"-1", b"1 2", b" 4", b"99999999999"[:10], b"0x4", b"", b"+4"])
def test_D03_sizes_that_are_not_plain_numbers_are_refused(size: bytes) -> None:
    header = b"%-16s%-12d%-6d%-6d%-8o%-10s`\n" % (b"debian-binary", 0, 0, 0, 0o100644, size)
    refused(b"!<arch>\n" + header + b"2.0\n", "size is not a number|cut off")


@pytest.mark.parametrize("name", [b"//", b"/0", b"#1/20", b"a b", b"../x", b"\x1b[2J", b""])
def test_D03_long_name_tables_and_odd_names_are_refused(name: bytes) -> None:
    header = b"%-16s%-12d%-6d%-6d%-8o%-10d`\n" % (name, 0, 0, 0, 0o100644, 4)
    with pytest.raises(LayerError, match="name is not accepted") as caught:
        list(members(io.BytesIO(b"!<arch>\n" + header + b"2.0\n"), "x.deb"))
    assert str(caught.value).isprintable()


def test_D03_a_header_without_its_end_and_a_missing_padding_are_refused() -> None:
    refused(GOOD.bytes().replace(b"`\n", b"``"), "header is malformed")
    odd = ar([("debian-binary", b"2.0"), ("control.tar", b"")])
    refused(odd.replace(b"2.0\n", b"2.0x"), "padding is missing")


def test_D04_unknown_compressions_are_refused() -> None:
    binary, control, data = GOOD.parts()
    refused(ar([binary, control, ("data.tar.bad", data[1])]), "compression is not known")
    refused(ar([binary, ("control.tar.bz2", control[1]), data]), "compression is not known")


@pytest.mark.parametrize("compression", ["gz", "xz", "zst"])
def test_D04_streams_cut_off_broken_or_with_something_behind_are_refused(compression: str) -> None:
    plain = bytes(range(256)) * 2000
    if compression == "zst":
        zstd = pytest.importorskip("backports.zstd")
        packed = zstd.compress(plain, options={zstd.CompressionParameter.checksum_flag: 1})
    else:
        packed = gzip.compress(plain) if compression == "gz" else lzma.compress(plain)

    def read(data: bytes, *, members: bool = False) -> bytes:
        stream = Decompressed(io.BytesIO(data), compression, Place("x.deb", "data.tar"), members=members)
        return b"".join(iter(lambda: stream.read(70_001), b""))

    assert read(packed) == plain
    assert read(packed + packed, members=True) == plain + plain
    for wrong in (packed[:-1], packed[: len(packed) // 2], b"", packed[:-5] + bytes(5), b"x" + packed):
        with pytest.raises(LayerError, match="cut off|broken"):
            read(wrong)
    for behind in (b"x", b"\0\0\0\0", packed):
        with pytest.raises(LayerError, match="bytes follow"):
            read(packed + behind)


def test_D04_data_that_expands_too_far_is_refused() -> None:
    limits = replace(DEFAULT, expansion_size=1 << 20)
    stream = Decompressed(io.BytesIO(lzma.compress(bytes(8 << 20))), "xz", Place("x.deb"), limits=limits)
    with pytest.raises(LayerError, match="expands too far"):
        while stream.read(1 << 16):
            pass


def test_D04_an_xz_dictionary_beyond_the_limit_is_refused() -> None:
    packed = bytearray(lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]))
    at = packed.index(b"\x21\x01") + 2  # the LZMA2 filter's property byte: its dictionary size
    packed[at] = 36  # 1 GiB
    header_size = (packed[12] + 1) * 4
    header = slice(12, 12 + header_size - 4)
    packed[header.stop : header.stop + 4] = zlib.crc32(packed[header]).to_bytes(4, "little")
    with pytest.raises(LayerError, match="broken"):
        Decompressed(io.BytesIO(bytes(packed)), "xz", Place("x.deb")).read(1)


@pytest.mark.parametrize(
    "control",
    [
        b"Package: ../../x\nVersion: 1\nArchitecture: all\n",
        b"Package: a\nVersion: 1/2\nArchitecture: all\n",
        b"Package: a\nVersion: 1\nArchitecture: ../x\n",
        b"Package: ab\nVersion: 1\n",
        b"Package: ab\nVersion: 1\nArchitecture: all\npackage: other\n",
        b"Package: ab\r\nVersion: 1\r\nArchitecture: all\r\n",
        b"Package: ab\nVersion: 1\nArchitecture: all\nX: \xff\n",
        b"Package: ab\nVersion: 1\nArchitecture: all\n\nPackage: other\n",
        b" Package: ab\nVersion: 1\nArchitecture: all\n",
        b"Package: ab\nVersion: 1\nArchitecture: all\nno field\n",
        b"Package: ab\nVersion: 1\nArchitecture: all\nX: \x1b[2J\n",
        b"",
    ],
)  # fmt: skip
def test_D09_control_files_that_are_hostile_or_ambiguous_are_refused(control: bytes) -> None:
    refused(replace(GOOD, control=control).bytes(), "x.deb: control")


def test_blanks_at_the_end_of_a_line_stay_as_dpkg_keeps_them() -> None:
    head = b"Package: ab\nVersion: 1\nArchitecture: all\n"
    control = parse_control(head + b"Homepage: x \nDescription: one \n two \t\n three \n", "x")
    assert control.get("Description") == "one \n two \t\n three", "only the end of the whole value is cut"
    assert control.get("Homepage") == "x"


def test_D09_a_control_file_above_a_megabyte_is_refused() -> None:
    head = b"Package: ab\nVersion: 1\nArchitecture: all\nX: "
    assert parse_control(head + b"x" * 100, "x").package == "ab"
    exact = head + b"x" * ((1 << 20) - len(head))
    assert opened(replace(GOOD, control=exact).bytes()).control.package == "ab"
    refused(replace(GOOD, control=exact + b"x").bytes(), "too large")


@pytest.mark.parametrize(
    "item", [Item("./../x"), Item("./sub/"), Item("./sub/x"), Item("./x", link="/etc/passwd"), Item("./.x")]
)
def test_D09_control_members_that_are_no_plain_files_are_refused(item: Item) -> None:
    control = tar([Item("./control", b"Package: ab\nVersion: 1\nArchitecture: all\n"), item])
    binary, _, data = GOOD.parts()
    refused(ar([binary, ("control.tar", control), data]), "not accepted|outside")


def test_any_flipped_byte_is_read_or_refused_never_a_crash() -> None:
    whole = replace(GOOD, compression="").bytes()
    for at in range(0, len(whole), 11):
        with contextlib.suppress(LayerError):
            opened(whole[:at] + bytes([whole[at] ^ 0x81]) + whole[at + 1 :])
