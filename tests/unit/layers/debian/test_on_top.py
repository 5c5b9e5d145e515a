"""Packages over a base image: placed into the folders and links it has, told to its dpkg (THREATS D16, L06)."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import LayerError
from trainload.events import Event, Level, Said
from trainload.layers.debian import ldcache
from trainload.layers.debian.ldcache import Cached
from trainload.layers.debian.on_top import write_system
from trainload.layers.foreign.tree import Opener
from trainload.plan.model import SystemRecipe
from trainload.testing.bases import GROUP, PASSWD, system
from trainload.testing.debs import Item, MadeDeb, MadeSources
from trainload.testing.tars import TarEntry, folder, symlink, tar

STATUS = (
    b"Package: base-files\nStatus: install ok installed\nVersion: 12\nArchitecture: amd64\n\n"
    b"Package: old\nStatus: install ok installed\nVersion: 1.0-0\nArchitecture: amd64\n\n"
)
SHADOW = b"root:$6$secret:19000:0:99999:7:::\n"
BASE = system(
    symlink("bin", "usr/bin"), symlink("lib", "usr/lib"), folder("usr/share"), folder("var/lib/dpkg/info"),
    TarEntry("etc/shadow", SHADOW, mode=0o640),
    TarEntry("var/lib/dpkg/info/old.list", b"/.\n/usr\n/usr/bin/old\n/usr/gone\n"),
    TarEntry("usr/bin/old", b"old", mode=0o755), TarEntry("usr/gone", b"left"), folder("srv", mode=0o2770),
    status=STATUS,
)  # fmt: skip
Opened = tuple[Opener, Digest]


class Heard(list[str]):
    def report(self, event: Event, /) -> None:
        if isinstance(event, Said) and event.level is Level.WARNING:
            self.append(str(event.text))


def layers(*contents: Sequence[TarEntry]) -> list[Opened]:
    streams = [tar(*entries) for entries in contents]
    return [(partial(io.BytesIO, gzip.compress(stream, 1)), Digest.sha256(stream)) for stream in streams]


class Yard:
    def __init__(self, folder_: Path) -> None:
        self.sources = MadeSources(folder_)
        self.heard = Heard()

    def place(
        self, *debs: MadeDeb, over: Sequence[Opened] | None = None, uid: int | None = None
    ) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
        packages = tuple(sorted(self.sources.lock(deb) for deb in debs))
        below = over if over is not None else layers(BASE)
        recipe = SystemRecipe(tuple(str(d) for _, d in below), "jammy", "slim", "amd64", packages, uid)
        out = io.BytesIO()
        written = write_system(recipe, below, self.sources, out, self.heard)
        again = io.BytesIO()
        assert write_system(recipe, below, self.sources, again) == written
        assert again.getvalue() == out.getvalue(), "the same packages over the same base are the same bytes"
        with tarfile.open(fileobj=io.BytesIO(out.getvalue()), mode="r:gz") as archive:
            found = {}
            for info in archive:
                file = archive.extractfile(info) if info.isreg() else None
                found[info.name] = info, file.read() if file is not None else b""
            return found


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


GIT = MadeDeb("git").lists(Item("./bin/git", b"git", 0o755), Item("./usr/share/git/x", b"x"))


def test_files_go_where_the_bases_links_lead_and_only_folders_above_them_are_named(yard: Yard) -> None:
    found = yard.place(GIT)
    assert found["usr/bin/git"][1] == b"git" and "bin/git" not in found and "bin" not in found
    assert {"usr", "usr/bin", "usr/share", "usr/share/git"} <= set(found)
    assert not {"home", "opt", "srv", "usr/bin/old", "usr/lib", "etc/passwd", "etc/shadow"} & set(found)


def test_folders_keep_the_modes_and_owners_the_base_gave_them(yard: Yard) -> None:
    found = yard.place(MadeDeb("web").lists(Item("./srv/", mode=0o755), Item("./srv/www/x", b"x")))
    assert found["srv"][0].mode == 0o2770 and found["srv/www"][0].mode == 0o755


def test_dpkg_knows_the_packages_beside_those_of_the_base(yard: Yard) -> None:
    found = yard.place(GIT)
    status = found["var/lib/dpkg/status"][1]
    assert status.startswith(STATUS) and status.count(b"Package: ") == 3
    assert b"Package: git\nStatus: install ok installed\n" in status
    assert b"/bin/git\n" in found["var/lib/dpkg/info/git.list"][1]
    assert "var/lib/dpkg/info/git.md5sums" in found and "var/lib/dpkg/available" not in found


def test_a_newer_version_takes_the_place_of_the_bases_and_what_stays_behind_is_told(yard: Yard) -> None:
    found = yard.place(MadeDeb("old", version="2.0-1").lists(Item("./usr/bin/old", b"new", 0o755)))
    assert found["usr/bin/old"][1] == b"new"
    status = found["var/lib/dpkg/status"][1].decode()
    assert status.count("Package: old\n") == 1 and "Version: 2.0-1" in status and "1.0-0" not in status
    assert found["var/lib/dpkg/info/old.list"][1] == b"/.\n/usr\n/usr/bin\n/usr/bin/old\n"
    assert yard.heard == ["old: files of the base's version stay behind: /usr/gone"]


def test_accounts_of_packages_come_after_the_bases_and_its_secrets_stay(yard: Yard) -> None:
    script = "#!/bin/sh\nadduser --system --home /var/lib/x --group x\n"
    found = yard.place(MadeDeb("xx", scripts={"postinst": script}).lists(Item("./usr/share/x", b"")))
    assert found["etc/passwd"][1].startswith(PASSWD) and b"\nx:x:999:999:" in found["etc/passwd"][1]
    assert found["etc/group"][1].startswith(GROUP) and b"\nx:x:999:\n" in found["etc/group"][1]
    assert found["etc/shadow"][1].startswith(SHADOW) and found["etc/shadow"][0].mode == 0o640
    assert "etc/gshadow" not in found, "the base has none"


def test_the_user_of_the_image_is_made_known_with_a_home(yard: Yard) -> None:
    found = yard.place(GIT, uid=1000)
    assert found["etc/passwd"][1] == PASSWD + b"app:*:1000:1000:app:/home/app:/bin/sh\n"
    assert found["etc/group"][1] == GROUP + b"app:*:1000:\n"
    home = found["home/app"][0]
    assert (home.uid, home.gid, home.mode) == (1000, 1000, 0o755)


def test_what_the_base_has_stays_where_a_script_would_leave_it(yard: Yard) -> None:
    base = layers((*BASE, symlink("etc/localtime", "/usr/share/zoneinfo/Asia/Shanghai"),
                   TarEntry("etc/timezone", b"Asia/Shanghai\n")))  # fmt: skip
    found = yard.place(MadeDeb("tzdata").lists(Item("./usr/share/zoneinfo/Etc/UTC", b"")), over=base)
    assert "etc/localtime" not in found and "etc/timezone" not in found
    assert "etc/timezone" in yard.place(MadeDeb("tzdata").lists(Item("./usr/share/zoneinfo/Etc/UTC", b"")))


def test_an_alternative_the_base_has_chosen_stays_and_a_new_one_is_chosen(yard: Yard) -> None:
    script = "update-alternatives --install /usr/bin/awk awk /usr/bin/gawk 10\n"
    deb = MadeDeb("gawk", scripts={"postinst": script}).lists(Item("./usr/bin/gawk", b"", 0o755))
    chosen = layers((*BASE, TarEntry("var/lib/dpkg/alternatives/awk", b"auto\n"), symlink("usr/bin/awk", "mawk")))
    assert "usr/bin/awk" not in yard.place(deb, over=chosen)
    assert yard.place(deb)["usr/bin/awk"][0].linkname == "/etc/alternatives/awk"


def test_scripts_that_are_not_run_are_told(yard: Yard) -> None:
    yard.place(
        MadeDeb("busy", scripts={"postinst": "#!/bin/sh\nmake-something\n"}).lists(Item("./usr/share/b", b""))
    )
    assert yard.heard == ["busy: its postinst is not run (make-something)"]


def test_D16_a_path_that_is_something_else_in_the_base_is_refused_by_name(yard: Yard) -> None:
    with pytest.raises(LayerError, match="/usr/bin/old is a file of the base") as caught:
        yard.place(MadeDeb("bad").lists(Item("./usr/bin/old/", mode=0o755), Item("./usr/bin/old/x", b"")))
    assert "bad_1.0-1_amd64.deb" in str(caught.value.place) and caught.value.hints
    with pytest.raises(LayerError, match="/srv is a directory of the base"):
        yard.place(MadeDeb("bad").lists(Item("./srv", b"")))


def test_upper_layers_of_the_base_hide_what_lower_ones_have(yard: Yard) -> None:
    base = layers(BASE, (TarEntry("etc/.wh.shadow"), TarEntry("usr/.wh.gone")), (symlink("srv", "/usr/share"),))
    found = yard.place(MadeDeb("web").lists(Item("./srv/www/x", b"x")), over=base)
    assert found["usr/share/www/x"][1] == b"x" and "srv" not in found


def test_libraries_are_added_to_the_bases_cache(yard: Yard) -> None:
    old = [Cached("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6", 0x0303)]
    base = layers((*BASE, TarEntry("etc/ld.so.cache", ldcache.encode(old))))
    library = Path("/lib/x86_64-linux-gnu/libz.so.1")
    if not library.exists():
        pytest.skip("this machine has no zlib where Debian has it")
    deb = MadeDeb("zlib1g").lists(Item("./usr/lib/x86_64-linux-gnu/libz.so.1", library.read_bytes()))
    cache = ldcache.decode(yard.place(deb, over=base)["etc/ld.so.cache"][1])
    assert cache is not None
    assert [each.soname for each in cache] == ["libz.so.1", "libc.so.6"]
    foreign = layers((*BASE, TarEntry("etc/ld.so.cache", b"ld.so-1.7.0")))
    assert "etc/ld.so.cache" not in yard.place(deb, over=foreign)


def test_L14_a_layer_that_is_not_what_the_image_says_is_refused(yard: Yard) -> None:
    opened, _ = layers(BASE)[0]
    with pytest.raises(LayerError, match="does not hold what the image says"):
        yard.place(GIT, over=[(opened, Digest.sha256(b"other"))])
