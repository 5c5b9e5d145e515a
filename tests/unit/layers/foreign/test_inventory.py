"""A layer's inventory: every entry with its size, share of the blob and owner; nothing hostile gets through."""

from __future__ import annotations

import gzip
import io
import json
import os
from dataclasses import replace

import pytest
from backports import zstd

from trainload.digest import Digest
from trainload.errors import LayerError
from trainload.layers.foreign.installed import Package
from trainload.layers.foreign.inventory import Inventory, take_inventory
from trainload.layers.tarread import MemberKind
from trainload.limits import DEFAULT, Limits
from trainload.testing.tars import TarEntry, folder, hardlink, symlink, tar

SITE = "opt/venv/lib/python3.11/site-packages"


def taken(*entries: TarEntry, limits: Limits = DEFAULT) -> Inventory:
    stream = tar(*entries)
    return take_inventory(io.BytesIO(gzip.compress(stream)), Digest.sha256(stream), "layer", limits=limits)


def owner(inventory: Inventory, path: str) -> Package | None:
    [entry] = [entry for entry in inventory.entries if entry.path == path]
    return None if entry.owner is None else inventory.packages[entry.owner]


def dist(name: str, version: str, *files: str, below: str = SITE) -> list[TarEntry]:
    """An installed distribution with these files, each holding its own name."""
    info = f"{name}-{version}.dist-info"
    listed = [*files, f"{info}/METADATA", f"{info}/RECORD"]
    contents = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not-this\n".encode(),
        f"{info}/RECORD": "".join(f"{path},,\n" for path in listed).encode(),
    }
    return [TarEntry(os.path.normpath(f"{below}/{path}"), contents.get(path, path.encode())) for path in listed]


def test_every_entry_is_there_with_what_it_is() -> None:
    inventory = taken(
        folder("a"),
        TarEntry("a/file", b"12345", mode=0o755),
        symlink("a/link", "file"),
        hardlink("a/hard", "a/file"),
    )
    found = {entry.path: (entry.kind, entry.size, entry.mode, entry.target) for entry in inventory.entries}
    assert found == {
        "a": (MemberKind.DIRECTORY, 0, 0o755, ""),
        "a/file": (MemberKind.FILE, 5, 0o755, ""),
        "a/link": (MemberKind.SYMLINK, 0, 0o777, "file"),
        "a/hard": (MemberKind.HARDLINK, 0, 0o644, "a/file"),
    }
    assert inventory.entries[1].sha256 == Digest.sha256(b"12345").hex


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress, bytes])
def test_the_shares_of_a_blob_are_the_whole_blob(pack: type[bytes]) -> None:
    noise = os.urandom(700_000)
    stream = tar(
        *(TarEntry(f"small{n}", b"x" * n) for n in range(50)),
        TarEntry("big", noise),
        TarEntry("zeros", bytes(10**6)),
    )
    blob = pack(stream)
    inventory = take_inventory(io.BytesIO(blob), Digest.sha256(stream), "layer")
    assert sum(entry.packed for entry in inventory.entries) == len(blob)
    big = next(entry for entry in inventory.entries if entry.path == "big")
    assert abs(big.packed - 700_000) < 140_000  # one piece of the blob, one block of zstd


def test_what_is_written_down_reads_back_the_same() -> None:
    inventory = taken(
        *dist("torch", "2.0", "torch/x.py"), TarEntry("a/.wh.b"), TarEntry("c/.wh..wh..opq"), TarEntry("\udce9")
    )
    assert Inventory.from_bytes(inventory.to_bytes()) == inventory
    assert (inventory.hides, inventory.empties) == (("a/b",), ("c",))


def test_L08_of_two_entries_with_one_name_the_last_counts() -> None:
    inventory = taken(TarEntry("x", b"first"), *dist("p", "1", "p.py"), TarEntry("x", b"2nd"))
    assert [(e.size, e.sha256) for e in inventory.entries if e.path == "x"] == [(3, Digest.sha256(b"2nd").hex)]


def test_L14_a_layer_that_is_not_its_diff_ids_has_no_inventory() -> None:
    stream = tar(TarEntry("x", b"1"))
    for blob, diff_id in (
        (gzip.compress(stream), Digest.sha256(b"another")),
        (gzip.compress(stream)[:-4], Digest.sha256(stream)),
        (gzip.compress(stream) + b"junk", Digest.sha256(stream)),
    ):
        with pytest.raises(LayerError):
            take_inventory(io.BytesIO(blob), diff_id, "layer")


def test_L15_a_layer_that_holds_too_much_is_refused() -> None:
    assert taken(TarEntry("x", bytes(5000)), limits=replace(DEFAULT, unpacked=5000)).entries
    with pytest.raises(LayerError, match="unpacks to too much"):
        taken(TarEntry("x", bytes(5001)), limits=replace(DEFAULT, unpacked=5000))


def test_python_packages_own_what_their_record_lists() -> None:
    inventory = taken(
        *dist("Py_Torch", "2.0+cpu", "torch/lib.so", "../../../bin/torchrun"), TarEntry(f"{SITE}/stray.py")
    )
    torch = Package("python", "py-torch", "2.0+cpu")
    assert inventory.packages == (torch,)
    assert owner(inventory, f"{SITE}/torch/lib.so") == torch
    assert owner(inventory, "opt/venv/bin/torchrun") == torch
    assert owner(inventory, f"{SITE}/stray.py") is None


def test_a_distribution_inside_another_is_part_of_it() -> None:
    inner = dist("wheel", "0.4", "wheel/x.py", below=f"{SITE}/setuptools/_vendor")
    outer = dist("setuptools", "80", *(entry.name.removeprefix(f"{SITE}/") for entry in inner))
    own = [entry for entry in outer if not any(entry.name == other.name for other in inner)]
    inventory = taken(*own, *inner)
    assert inventory.packages == (Package("python", "setuptools", "80"),)
    assert owner(inventory, f"{SITE}/setuptools/_vendor/wheel/x.py") == inventory.packages[0]


STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u14
Description: x
 Package: not-this

Package: gone
Status: deinstall ok config-files
Version: 1

Package: bash
Status: install ok installed
Version: 5.2
"""


def test_dpkg_packages_own_what_their_lists_name_also_below_a_merged_usr() -> None:
    inventory = taken(
        TarEntry("var/lib/dpkg/status", STATUS),
        TarEntry("var/lib/dpkg/info/libc6:amd64.list", b"/.\n/lib\n/lib/x86_64-linux-gnu/libc.so.6\n"),
        TarEntry("var/lib/dpkg/info/bash.list", b"/bin/bash\n"),
        TarEntry("usr/lib/x86_64-linux-gnu/libc.so.6", b"c"),
        TarEntry("bin/bash", b"b"),
    )
    libc, bash = Package("dpkg", "libc6", "2.36-9+deb12u14"), Package("dpkg", "bash", "5.2")
    assert inventory.packages == (libc, bash)
    assert owner(inventory, "usr/lib/x86_64-linux-gnu/libc.so.6") == libc
    assert owner(inventory, "bin/bash") == bash


def test_distroless_apk_and_conda_are_read_too() -> None:
    conda = {"name": "numpy", "version": "2.0", "files": ["lib/numpy.so"]}
    inventory = taken(
        TarEntry("var/lib/dpkg/status.d/tzdata", b"Package: tzdata\nVersion: 2024a\n"),
        TarEntry("lib/apk/db/installed", b"P:musl\nV:1.2.5-r0\nF:lib\nR:ld-musl.so.1\n\n"),
        TarEntry("lib/ld-musl.so.1", b"m"),
        TarEntry("opt/conda/conda-meta/numpy-2.0.json", json.dumps(conda).encode()),
        TarEntry("opt/conda/lib/numpy.so", b"n"),
    )
    assert set(inventory.packages) == {
        Package("dpkg", "tzdata", "2024a"), Package("apk", "musl", "1.2.5-r0"), Package("conda", "numpy", "2.0"),
    }  # fmt: skip
    assert owner(inventory, "lib/ld-musl.so.1") == Package("apk", "musl", "1.2.5-r0")
    assert owner(inventory, "opt/conda/lib/numpy.so") == Package("conda", "numpy", "2.0")


@pytest.mark.parametrize(
    "entry",
    [
        TarEntry(f"{SITE}/x-1.dist-info/METADATA", b"\xff\x00" * 100),
        TarEntry(f"{SITE}/x-1.dist-info/METADATA", b"Name: \x1b[31mred\nVersion: 1\n\n"),
        TarEntry(f"{SITE}/x-1.dist-info/METADATA", b"Name: x\nVersion: 1\n2\n".replace(b"1", b"9" * 5000)),
        TarEntry("var/lib/dpkg/status", b"Package: ../../x\nVersion: 1\n"),
        TarEntry("opt/conda/conda-meta/x.json", b"[" * 100_000),
        TarEntry("opt/conda/conda-meta/x.json", b'{"name": 1, "files": {}}'),
    ],
)
def test_what_cannot_be_read_tells_of_no_package(entry: TarEntry) -> None:
    assert taken(entry).packages == ()


def test_records_that_lead_out_own_nothing() -> None:
    record = TarEntry(f"{SITE}/x-1.dist-info/RECORD", b"../../../../../../etc/shadow,,\n/etc/shadow,,\n")
    [metadata, _] = dist("x", "1")
    inventory = taken(metadata, record, TarEntry("etc/shadow", b"s"))
    assert inventory.packages == (Package("python", "x", "1"),)
    assert owner(inventory, "etc/shadow") is None
