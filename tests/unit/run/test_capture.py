"""What a run changed becomes a layer: the overlay's upper folder compared with what lies below."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainload.errors import RunError
from trainload.layers.writer import LayerWriter
from trainload.run.below import OPAQUE, Below
from trainload.run.capture import Changes, Rules, find_changes, write_changes
from trainload.run.unpack import unpack
from trainload.testing.tars import TarEntry, blob, folder, symlink, tar

ROOT = os.geteuid() == 0
BASE = tar(
    folder("bin"),
    TarEntry("bin/su", b"su", mode=0o4755),
    folder("etc"),
    TarEntry("etc/passwd", b"root\n"),
    TarEntry("etc/shadow", b"*\n", mode=0o640, owner=(0, 42)),
    symlink("etc/zone", "UTC"),
    folder("tmp", 0o1777),
    folder("var"),
    folder("var/data"),
    TarEntry("var/data/one", b"1"),
    TarEntry("var/data/two", b"2"),
)
ALL = Rules(lambda path: path.startswith("tmp/"))


@dataclass(frozen=True)
class World:
    upper: Path
    below: Below

    def changes(self, rules: Rules = ALL) -> Changes:
        return find_changes(self.upper, self.below, rules)

    def layer(self, rules: Rules = ALL) -> list[tarfile.TarInfo]:
        return members(written(self.changes(rules)))

    def names(self) -> list[str]:
        return [member.name for member in self.layer()]

    def up(self, path: str, content: bytes) -> Path:
        """A file of the layers below, written anew as overlayfs copies it."""
        self.below.copy_up(path, content, self.upper)
        place = self.below.place(path)
        if place is not None:
            (self.upper / path).chmod(stat.S_IMODE(place.lstat().st_mode))  # set-id bits are lost in unpacking
        return self.upper / path


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(*layers: bytes) -> World:
        blobs = [blob(tmp_path / f"blob{n}", layer) for n, layer in enumerate((BASE, *layers))]
        upper = tmp_path / "upper"
        upper.mkdir(mode=0o755)
        return World(upper, Below(blobs, unpack(blobs, tmp_path / "rootfs")))

    return made


@pytest.fixture
def world(make: Make) -> World:
    return make()


def written(changes: Changes) -> bytes:
    out = io.BytesIO()
    with LayerWriter(out) as writer:
        write_changes(changes, writer)
        writer.close()
    return out.getvalue()


def members(layer: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        return archive.getmembers()


def looks(found: Sequence[tarfile.TarInfo]) -> list[tuple[str, int, int, int]]:
    return [(member.name, member.mode, member.uid, member.gid) for member in found]


def test_a_run_that_changed_nothing_is_an_empty_layer(world: World) -> None:
    world.up("etc/passwd", b"root\n")  # copied up by an open for writing
    world.up("var/data/one", b"1")
    assert world.layer() == []


def test_a_new_file_comes_with_the_folders_that_lead_to_it_and_without_times(world: World) -> None:
    world.up("etc/passwd", b"root\n")
    (world.upper / "etc/new").mkdir(mode=0o750)
    (world.upper / "etc/new/file").write_bytes(b"new")
    (world.upper / "etc/new/file").chmod(0o600)
    found = world.layer()
    assert looks(found) == [("etc", 0o755, 0, 0), ("etc/new", 0o750, 0, 0), ("etc/new/file", 0o600, 0, 0)]
    assert {member.mtime for member in found} == {0}


def test_a_changed_file_keeps_the_owner_and_mode_the_layers_below_say(world: World) -> None:
    world.up("etc/shadow", b"!\n")
    world.up("bin/su", b"other")
    assert looks(world.layer()) == [
        ("bin", 0o755, 0, 0), ("bin/su", 0o4755, 0, 0), ("etc", 0o755, 0, 0), ("etc/shadow", 0o640, 0, 42),
    ]  # fmt: skip


def test_a_changed_mode_alone_is_a_change(world: World) -> None:
    world.up("etc/passwd", b"root\n").chmod(0o600)
    assert looks(world.layer()) == [("etc", 0o755, 0, 0), ("etc/passwd", 0o600, 0, 0)]


def test_a_folders_changed_mode_alone_is_a_change(world: World) -> None:
    world.up("etc/passwd", b"root\n")
    (world.upper / "etc").chmod(0o2775)
    assert looks(world.layer()) == [("etc", 0o2775, 0, 0)]


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_a_changed_owner_alone_is_a_change(world: World) -> None:
    os.chown(world.up("etc/passwd", b"root\n"), 0, 7)
    assert looks(world.layer()) == [("etc", 0o755, 0, 0), ("etc/passwd", 0o644, 0, 7)]


def test_links_are_kept_as_they_stand_and_unchanged_ones_left_out(world: World) -> None:
    world.up("etc/passwd", b"root\n")
    (world.upper / "etc/zone").symlink_to("UTC")
    assert world.names() == []
    (world.upper / "etc/zone").unlink()
    (world.upper / "etc/zone").symlink_to("../usr/zone")
    (member,) = world.layer()[1:]
    assert (member.name, member.linkname, member.issym()) == ("etc/zone", "../usr/zone", True)


def test_names_of_one_file_are_hard_links(world: World) -> None:
    (world.upper / "a").write_bytes(b"same")
    (world.upper / "b").hardlink_to(world.upper / "a")
    first, second = world.layer()
    assert (first.isreg(), second.islnk(), second.linkname) == (True, True, "a")


def test_a_deleted_file_is_told_and_not_in_the_layer(world: World) -> None:
    world.up("etc/zone2", b"")
    try:
        os.mknod(world.upper / "etc/passwd", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    except PermissionError:
        pytest.skip("this machine does not allow whiteouts")
    assert world.changes().deleted == ("etc/passwd",)


def opaque(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.setxattr(folder, OPAQUE, b"y")
    except OSError:
        pytest.skip("this file system has no extended attributes")


def test_what_an_opaque_folder_hides_is_deleted(world: World) -> None:
    opaque(world.upper / "var/data")
    (world.upper / "var/data/one").write_bytes(b"1")
    assert world.changes().deleted == ("var/data/two",)


def test_a_folder_made_anew_with_everything_in_it_deletes_nothing(world: World) -> None:
    opaque(world.upper / "var/data")
    (world.upper / "var/data/one").write_bytes(b"1")
    (world.upper / "var/data/two").write_bytes(b"3")
    assert world.changes().deleted == ()
    assert world.names() == ["var", "var/data", "var/data/two"]


def test_folders_below_an_opaque_one_hide_too(world: World) -> None:
    opaque(world.upper / "var")
    (world.upper / "var/data").mkdir()
    assert world.changes().deleted == ("var/data/one", "var/data/two")


def test_a_file_in_a_folders_place_deletes_what_was_in_it(world: World) -> None:
    (world.upper / "var").write_bytes(b"file now")
    assert world.changes().deleted == ("var/data",)


def test_what_the_engine_mounts_and_what_is_left_out_is_nobodys_business(world: World) -> None:
    for path in ("proc", "dev", "sys", "tmp"):
        (world.upper / path).mkdir()
    (world.upper / "tmp").chmod(0o1777)
    (world.upper / "tmp/left").write_bytes(b"")
    for name in ("hosts", "hostname", "resolv.conf"):
        world.up(f"etc/{name}", b"")
    assert world.layer() == []


def test_content_can_be_normalised_before_it_is_compared(world: World) -> None:
    rules = Rules(lambda _: False, {"etc/passwd": lambda content: content.replace(b"today", b"")})
    world.up("etc/passwd", b"root\ntoday")
    assert world.layer(rules) == []
    world.up("etc/passwd", b"root\nada todaytoday\n")
    assert [change.content for change in world.changes(rules).entries] == [None, b"root\nada \n"]


def test_a_higher_layer_decides_what_lies_below(make: Make) -> None:
    world = make(tar(folder("etc"), TarEntry("etc/passwd", b"ada\n", mode=0o600), TarEntry("etc/.wh.shadow")))
    world.up("etc/passwd", b"ada\n")
    assert world.names() == []
    assert world.below.place("etc/shadow") is None
    assert world.below.names("etc") == {"passwd", "zone"}


def test_a_pipe_is_refused_by_name(world: World) -> None:
    os.mkfifo(world.upper / "pipe")
    with pytest.raises(RunError, match="pipe is a device or pipe"):
        world.changes()


def test_the_same_changes_are_the_same_bytes(world: World) -> None:
    for name in ("z", "a", "m"):
        (world.upper / name).write_bytes(name.encode())
        os.utime(world.upper / name, (len(name), 12345))
    first = written(world.changes())
    for name in ("z", "a", "m"):
        os.utime(world.upper / name, (1, 1))
    assert written(world.changes()) == first
