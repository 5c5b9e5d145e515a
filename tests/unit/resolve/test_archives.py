"""Where archives are: wishes first, then this machine's apt, then what its tools know, then public mirrors."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.errors import ConfigError, LockError
from trainload.lock.distribution.mirrors import PUBLIC
from trainload.lock.model import ArchivePath
from trainload.resolve import apt
from trainload.resolve.apt import Source
from trainload.resolve.archives import Root, find_archives
from trainload.resolve.cache import KEPT, FolderCache


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


SOURCES = """\
# a comment
Types: deb deb-src
URIs: https://mirror.example/debian/
Suites: bookworm bookworm-updates
# another
Components: main contrib
Signed-By: /usr/share/keyrings/x.gpg

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main
Check-Valid-Until: no

Enabled: no
Types: deb
URIs: https://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://drivers.example/debian
Suites: nodistro
Components: main
"""


def test_deb822_sources_are_read(tmp_path: Path) -> None:
    write(tmp_path, "etc/apt/sources.list.d/debian.sources", SOURCES)
    assert apt.configured(tmp_path) == (
        Source("debian", "https://mirror.example/debian", True),
        Source("debian-security", "https://mirror.example/debian-security", False),
    )


def test_one_line_sources_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "etc/apt/sources.list",
        "deb http://a.example/ubuntu noble main universe # x\n"
        "deb [arch=arm64 check-valid-until=no] http://a.example/ubuntu-ports noble-updates main\n"
        "deb-src http://src.example/ubuntu noble main\n"
        "#deb http://off.example/ubuntu noble main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb https://download.example/linux/ubuntu noble stable\n"
        "deb http://s.example/debian-security bullseye/updates main\n",
    )
    assert apt.configured(tmp_path) == (
        Source("ubuntu", "http://a.example/ubuntu", True),
        Source("ubuntu-ports", "http://a.example/ubuntu-ports", False),
        Source("debian-security", "http://s.example/debian-security", True),
    )


def test_a_list_of_mirrors_is_read_as_debians_cloud_images_have_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        "etc/apt/sources.list.d/debian.sources",
        "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\nComponents: main\n",
    )
    write(
        tmp_path,
        "etc/apt/mirrors/debian.list",
        "# ours\nhttps://a.example/debian\n\nhttp://b.example/debian priority:2\n",
    )
    assert [source.url for source in apt.configured(tmp_path)] == [
        "https://a.example/debian",
        "http://b.example/debian",
    ]


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ('Acquire::Check-Valid-Until "false";', False),
        ('Acquire { Check-Valid-Until "0"; };', False),
        ('Acquire { http { Proxy "x"; }; Check-Valid-Until "no"; };', False),
        ('acquire::check-valid-until "FALSE";', False),
        ('// Acquire::Check-Valid-Until "false";', True),
        ('/* Acquire::Check-Valid-Until "false"; */', True),
        ('Other { Check-Valid-Until "false"; };', True),
        ('Acquire::Check-Valid-Until "false";\nAcquire::Check-Valid-Until "true";', True),
    ],
)
def test_D12_apts_own_word_on_valid_until_counts_for_its_archives(tmp_path: Path, text: str, check: bool) -> None:
    write(tmp_path, "etc/apt/apt.conf.d/99x", text + "\n")
    write(tmp_path, "etc/apt/sources.list", "deb http://a.example/debian trixie main\n")
    assert apt.configured(tmp_path) == (Source("debian", "http://a.example/debian", check),)
    found = find_archives(["https://wish.example/debian"], system=tmp_path, public={})
    assert found.of("debian") == (Root("https://wish.example/debian"), Root("http://a.example/debian", check))


def test_wishes_come_first_and_public_mirrors_last(tmp_path: Path) -> None:
    write(tmp_path, "etc/apt/sources.list", "deb http://apt.example/debian trixie main\n")
    write(tmp_path, "usr/sbin/debootstrap", 'DEF_MIRROR="http://tool.example/debian"\n')
    found = find_archives(
        ["https://wish.example/{distribution}/"],
        system=tmp_path,
        public={"debian": ("https://public.example/debian",)},
    )
    assert [root.url for root in found.of("debian")] == [
        "https://wish.example/debian",
        "http://apt.example/debian",
        "http://tool.example/debian",
        "https://public.example/debian",
    ]
    assert [root.url for root in found.of("debian-security")] == [
        "https://wish.example/debian-security",
        "http://apt.example/debian-security",
        "http://tool.example/debian-security",
    ]


def test_what_debootstrap_knows_of_ubuntu_is_used_on_a_debian_machine(tmp_path: Path) -> None:
    script = (
        "  default_mirror http://old-tools.example/ubuntu\n  default_mirror http://a.example/ubuntu\n"
        "  default_mirror http://p.example/ubuntu-ports\n"
    )
    write(tmp_path, "usr/share/debootstrap/scripts/gutsy", script)
    found = find_archives(system=tmp_path, public={})
    assert found.of("ubuntu")[0].url == "http://a.example/ubuntu"
    assert found.of("ubuntu-ports")[0].url == "http://p.example/ubuntu-ports"


@pytest.mark.parametrize(
    ("mirror", "archive", "url"),
    [
        ("https://m.example/{distribution}", "ubuntu-ports", "https://m.example/ubuntu-ports"),
        ("https://m.example/", "debian-security", "https://m.example/debian-security"),
        ("https://m.example/pub/debian/", "debian", "https://m.example/pub/debian"),
        ("https://m.example/pub/debian", "debian-security", "https://m.example/pub/debian-security"),
        ("https://user:word@m.example/x", "ubuntu", "https://user:word@m.example/x/ubuntu"),
    ],
)
def test_a_mirror_may_be_written_in_several_ways(mirror: str, archive: str, url: str) -> None:
    found = find_archives([mirror], system=Path("/nonexistent"), public={})
    assert [root.url for root in found.of(archive)] == [url]


def test_a_mirror_of_one_distribution_is_not_asked_for_the_other() -> None:
    found = find_archives(["https://m.example/debian"], system=Path("/nonexistent"), public={})
    with pytest.raises(LockError, match="no mirror of the ubuntu archive is known"):
        found.of("ubuntu")


@pytest.mark.parametrize("mirror", ["m.example/debian", "file:///srv/debian", "ftp://m.example/debian", ""])
def test_a_mirror_that_is_no_http_address_is_refused(mirror: str) -> None:
    with pytest.raises(ConfigError, match=r"is not the address of an archive; want https://"):
        find_archives([mirror], system=Path("/nonexistent"), public={})


def test_every_archive_has_public_mirrors_over_https() -> None:
    for archive, urls in PUBLIC.items():
        assert len(urls) >= 4
        assert all(url.startswith("https://") and url.endswith(f"/{archive}") for url in urls)


def test_urls_of_a_file_are_quoted_and_in_order() -> None:
    found = find_archives(["https://a.example", "https://b.example"], system=Path("/nonexistent"), public={})
    location = ArchivePath("debian", "pool/main/g/g++/g++_4%3a12_amd64.deb")
    assert found.urls(location) == (
        "https://a.example/debian/pool/main/g/g%2B%2B/g%2B%2B_4%253a12_amd64.deb",
        "https://b.example/debian/pool/main/g/g%2B%2B/g%2B%2B_4%253a12_amd64.deb",
    )


def test_a_folder_cache_keeps_the_newest_and_never_complains(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path / "new" / "folder")
    assert cache.get("a") is None
    cache.put("a", b"1")
    cache.put("a", b"2")
    assert cache.get("a") == b"2"
    for number in range(KEPT + 5):
        cache.put(f"k{number}", b"x")
    assert len(list((tmp_path / "new" / "folder").iterdir())) == KEPT
    write(tmp_path, "file", "in the way")
    FolderCache(tmp_path / "file").put("a", b"1")
    assert FolderCache(tmp_path / "file").get("a") is None
