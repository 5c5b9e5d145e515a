"""Configuring packages in the sandbox, with this machine's dpkg and packages of our own."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import RunError
from trainload.image.model import LAYER_GZIP, Descriptor, Layer
from trainload.run.configure import write_configured
from trainload.run.unpack import LayerBlob
from trainload.testing.rootfs import PROGRAMS, programs_layer
from trainload.testing.tars import TarEntry, blob, folder, symlink, tar
from trainload.testing.unpacked import differences

pytestmark = pytest.mark.skipif(not shutil.which("dpkg"), reason="needs dpkg")
STATUS = """Package: {name}
Status: install ok installed
Maintainer: Nobody
Architecture: all
Version: 1
Description: {name}

"""


class World:
    """A base with packages that have these scripts."""

    def __init__(self, at: Path, **scripts: str) -> None:
        programs = (*PROGRAMS, "dpkg", "chmod", "date")
        status = "".join(STATUS.format(name=name) for name in sorted(scripts))
        info = "var/lib/dpkg/info"
        database = tar(
            folder("usr"), folder("usr/bin"), folder("usr/sbin"), folder("run"), folder("root"), folder("etc"),
            symlink("usr/bin/dpkg", "/bin/dpkg"), symlink("usr/bin/sh", "/bin/sh"),
            TarEntry("etc/shadow", b"root:*::0:99999:7:::\n", mode=0o640, owner=(0, 42)),
            TarEntry("etc/kept", b"kept"),
            *(folder(name) for name in ("var", "var/lib", "var/lib/dpkg", info)),
            *(folder(f"var/lib/dpkg/{name}") for name in ("updates", "triggers", "alternatives")),
            TarEntry("var/lib/dpkg/status", status.encode()),
            TarEntry("var/lib/dpkg/available"),
            TarEntry("var/lib/dpkg/triggers/Unincorp"),
            TarEntry(f"{info}/format", b"1\n"),
            *(TarEntry(f"{info}/{name}.list", b"/.\n/etc\n/etc/kept\n") for name in sorted(scripts)),
            *(
                TarEntry(f"{info}/{name}.postinst", f"#!/bin/sh\nset -e\n{script}\n".encode(), mode=0o755)
                for name, script in sorted(scripts.items())
            ),
        )  # fmt: skip
        self.rootfs = at / "rootfs"
        self.paths: dict[Digest, Path] = {}
        self.layers = [self._layer(at / "one", programs_layer(programs)), self._layer(at / "two", database)]

    def _layer(self, at: Path, stream: bytes) -> Layer:
        made = blob(at, stream)
        digest = Digest.sha256(at.read_bytes())
        self.paths[digest] = at
        return Layer(Descriptor(LAYER_GZIP, digest, made.size), made.diff_id, len(stream))

    def configured(self) -> bytes:
        out = io.BytesIO()
        write_configured(self.layers, self.rootfs, self.paths.__getitem__, out)
        assert list((self.rootfs / "runs").iterdir() if (self.rootfs / "runs").exists() else ()) == []
        return out.getvalue()


def entries(layer: bytes) -> dict[str, tuple[bytes, int, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        return {
            member.name: (file.read() if (file := archive.extractfile(member)) else b"", member.mode, member.uid,
                          member.gid)
            for member in archive
        }  # fmt: skip


def test_what_a_script_makes_is_a_layer_of_its_own_and_twice_the_same(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one='mkdir -p /var/one; echo "$1 $2." >/var/one/told\n'
        "date >/var/log/one || true; date >/tmp/now; chmod 600 /etc/kept",
        idle="exit 0",
    )
    layer = world.configured()
    found = entries(layer)
    assert found["var/one/told"] == (b"configure .\n", 0o644, 0, 0)
    assert found["etc/kept"] == (b"kept", 0o600, 0, 0)
    assert set(found) == {"var", "var/one", "var/one/told", "etc", "etc/kept"}, "dpkg's status is what it was"
    assert world.configured() == layer


def test_what_a_script_left_lies_unpacked_as_its_layer(tmp_path: Path) -> None:
    world = World(tmp_path, one="mkdir /var/one; echo 1 >/var/one/a; chmod 4755 /var/one/a; mkdir -m 2755 /var/b")
    (tmp_path / "layer").write_bytes(layer := world.configured())
    made = LayerBlob(tmp_path / "layer", Digest.sha256(gzip.decompress(layer)), len(layer))
    assert differences(world.rootfs, made, tmp_path / "fresh") == []


def test_it_runs_as_root_and_asks_nothing_and_leaves_no_date_in_accounts(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one='mkdir /etc/one; echo "ada:!:19999:0:99999:7:::" >>/etc/shadow\n'
        "id -u >/etc/who; echo $DEBIAN_FRONTEND >>/etc/who",
    )
    found = entries(world.configured())
    assert found["etc/shadow"] == (b"root:*::0:99999:7:::\nada:!::0:99999:7:::\n", 0o640, 0, 42)
    assert found["etc/who"][0] == b"0\nnoninteractive\n"


def test_a_base_that_has_nothing_to_configure_is_an_empty_layer(tmp_path: Path) -> None:
    assert entries(World(tmp_path, idle="exit 0").configured()) == {}


def test_a_script_that_fails_is_named_with_what_it_said_last(tmp_path: Path) -> None:
    world = World(tmp_path, one="mkdir /etc/one", two="mkdir /etc/two; echo about to fail; no-such-program --now")
    with pytest.raises(RunError, match="two could not be configured") as caught:
        world.configured()
    assert "about to fail | " in str(caught.value.got)
    assert "no-such-program" in str(caught.value.got)
    assert "one" not in str(caught.value.text)


def test_a_script_that_deletes_a_file_of_the_base_is_refused_with_file_and_package(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"one deletes /etc/kept") as caught:
        World(tmp_path, one="mkdir /etc/one; rm /etc/kept").configured()
    assert str(caught.value.place) == "one: /etc/kept"


def test_a_base_without_dpkg_is_refused_with_what_to_do(tmp_path: Path) -> None:
    world = World(tmp_path, one="mkdir /etc/one")
    world.layers.append(world._layer(tmp_path / "three", tar(TarEntry("usr/bin/.wh.dpkg"))))
    with pytest.raises(RunError, match="scripts of one need a shell and dpkg"):
        world.configured()
