"""What an image's apt takes packages from, as far as it is understood; anything else is run."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import pytest

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.archives import check_added, known
from trainload.digest import Digest
from trainload.dockerfile.understand.parts import Beyond
from trainload.store.store import Store
from trainload.testing.archive import Key
from trainload.testing.images import put_layer
from trainload.testing.tars import TarEntry, tar

OS = b'ID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\nNAME="Ubuntu"\n'
STATUS = b"Package: libc6\nStatus: install ok installed\nVersion: 2.35-0ubuntu3\nArchitecture: amd64\n\n"
MAIN = (
    "deb http://mirror.example/ubuntu jammy main restricted universe\n"
    "deb http://mirror.example/ubuntu jammy-updates main restricted universe\n"
    "deb http://secure.example/ubuntu jammy-security main restricted universe\n"
    "deb http://mirror.example/ubuntu jammy-backports main\n# deb-src http://x.example y z\n"
)
PPA = "deb [signed-by=/usr/share/keyrings/own.gpg] https://ppa.example/owner/name/ubuntu jammy main\n"
FLAT = "deb [signed-by=/usr/share/keyrings/own.gpg] https://cuda.example/repos/ubuntu2204/x86_64/ /\n"


@cache
def certificates() -> bytes:
    return Key().trust().certificates


def image(at: Path, own: str = PPA, *, main: str = MAIN, **more: str) -> Ground:
    files = {
        "etc/os-release": OS, "var/lib/dpkg/status": STATUS, "usr/bin/apt-get": b"\x7fELF",
        "etc/apt/sources.list": main.encode(),
        "usr/bin/add-apt-repository": b"#!/usr/bin/python3\n", "etc/apt/sources.list.d/own.list": own.encode(),
        "usr/share/keyrings/own.gpg": certificates(),
        **{path: text.encode() for path, text in more.items()},
    }  # fmt: skip
    store = Store.open(at / "home")
    stream = tar(*(TarEntry(path, data, mode=0o755) for path, data in files.items()))
    with store.writing():
        layer = put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream))
    return Ground(store, (layer,))


def test_the_distribution_a_ppa_and_a_flat_archive(tmp_path: Path) -> None:
    found = known(image(tmp_path, PPA + FLAT), "amd64")
    assert [(one.address, one.suite, one.components, one.is_first) for one in found.setup.archives] == [
        ("https://ppa.example/owner/name/ubuntu", "jammy", ("main",), False),
        ("https://cuda.example/repos/ubuntu2204/x86_64", "/", (), False),
    ]
    assert all(one.certificates for one in found.setup.archives)
    assert found.setup.components == ("restricted",)
    assert found.setup.hosts["ubuntu", "jammy-security"] == "secure.example"


@pytest.mark.parametrize(
    "own",
    [
        PPA.replace("signed-by", "trusted=yes signed-by"),
        PPA.replace("[", "[allow-insecure=yes "),
        PPA.replace("own.gpg", "absent.gpg"),
        "deb https://unsigned.example/x jammy main\n",
        PPA.replace("https:", "file:"),
        PPA.replace("https://", "https://me:word@"),
        FLAT.replace(" /\n", " / main\n"),
        "deb https://ppa.example/$(ARCH) jammy main\n",
        "nonsense\n",
    ],
)
def test_an_archive_that_is_not_verified_as_usual_makes_a_line_one_that_is_run(tmp_path: Path, own: str) -> None:
    with pytest.raises(Beyond):
        known(image(tmp_path, own), "amd64")


def test_an_archive_of_another_architecture_has_nothing_for_this_one(tmp_path: Path) -> None:
    assert known(image(tmp_path, PPA.replace("[", "[arch=arm64 ")), "amd64").setup.archives == ()


@pytest.mark.parametrize(
    "pins",
    ["Package: *\nPin: release a=x\nPin-Priority: 1001\n", "Package: /x/\nPin: version 1\nPin-Priority: 5\n"],
)
def test_pins_that_turn_back_versions_or_are_unknown_are_apts_own(tmp_path: Path, pins: str) -> None:
    with pytest.raises(Beyond):
        known(image(tmp_path, **{"etc/apt/preferences": pins}), "amd64")
    found = known(image(tmp_path / "2", **{"etc/apt/preferences.d/a.txt": pins}), "amd64")
    assert found.setup.pins == (), "apt does not read a file with such an ending"


@pytest.mark.parametrize("archive", ["ppa:owner/name", "universe", "restricted"])
def test_an_archive_that_is_there_is_not_added(tmp_path: Path, archive: str) -> None:
    check_added(archive, image(tmp_path))


@pytest.mark.parametrize("archive", ["ppa:owner/other", "ppa:other/name", "multiverse"])
def test_one_that_is_not_there_is_added_by_running(tmp_path: Path, archive: str) -> None:
    with pytest.raises(Beyond, match="not configured"):
        check_added(archive, image(tmp_path))


def test_a_ppa_of_another_release_is_not_this_one(tmp_path: Path) -> None:
    with pytest.raises(Beyond, match="not configured"):
        check_added("ppa:owner/name", image(tmp_path, PPA.replace("jammy", "focal")))


def test_a_personal_archive_alone_is_no_distribution(tmp_path: Path) -> None:
    with pytest.raises(Beyond, match="does not know all of jammy"):
        known(image(tmp_path, main=""), "amd64")
