"""Unpacking: what a layer says is what the folder holds, and nothing of it lands anywhere else."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import LayerError, RunError, TrainloadError
from trainload.limits import DEFAULT, Limits
from trainload.run.unpack import LayerBlob, unpack
from trainload.testing.tars import TarEntry, blob, folder, hardlink, symlink, tar

OWNER = os.geteuid() == 0


def unpacked(tmp_path: Path, *entries: TarEntry) -> Path:
    [layer] = unpack([blob(tmp_path / "blob", tar(*entries))], tmp_path / "home")
    return layer.folder


def refused(tmp_path: Path, layer: LayerBlob, *, limits: Limits = DEFAULT) -> TrainloadError:
    """The error of unpacking ``layer``, after checking that nothing is left of it."""
    outside = {path for path in tmp_path.rglob("*") if "home" not in path.parts}
    with pytest.raises(TrainloadError) as caught:
        unpack([layer], tmp_path / "home", limits=limits)
    left = [path.name for path in (tmp_path / "home/layers").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []
    assert {path for path in tmp_path.rglob("*") if "home" not in path.parts} == outside
    return caught.value


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def test_files_modes_times_and_links_are_as_the_layer_says(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        folder("usr", 0o755),
        TarEntry("usr/tool", b"#!/bin/sh\n", mode=0o755, mtime=1_000_000),
        TarEntry("usr/secret", b"x" * 3_000_000, mode=0o600),
        symlink("bin", "usr"),
        hardlink("usr/same", "usr/tool"),
        folder("tmp", 0o1777),
        folder("closed", 0o555),
        TarEntry("closed/x", b"1"),
    )
    assert listing(root) == ["bin", "closed", "closed/x", "tmp", "usr", "usr/same", "usr/secret", "usr/tool"]
    assert (root / "usr/tool").read_bytes() == b"#!/bin/sh\n"
    assert (root / "usr/tool").stat().st_mtime == 1_000_000
    assert (root / "usr/same").samefile(root / "usr/tool")
    assert (root / "usr/secret").stat().st_size == 3_000_000
    assert (root / "bin").readlink() == Path("usr")
    modes = {name: stat.S_IMODE((root / name).stat().st_mode) for name in ("usr/tool", "usr/secret", "tmp")}
    assert modes == {"usr/tool": 0o755, "usr/secret": 0o600, "tmp": 0o1777}


@pytest.mark.skipif(not OWNER, reason="needs root: only root may give files away")
def test_root_keeps_owners(tmp_path: Path) -> None:
    root = unpacked(tmp_path, TarEntry("a", b"", owner=(1000, 1001)), TarEntry("b"))
    assert ((root / "a").stat().st_uid, (root / "a").stat().st_gid, (root / "b").stat().st_uid) == (1000, 1001, 0)


def test_layers_are_unpacked_once_and_in_the_order_asked(tmp_path: Path) -> None:
    layers = [blob(tmp_path / str(n), tar(TarEntry(f"file{n}"))) for n in range(5)]
    first = unpack(layers, tmp_path / "home")
    stamps = [layer.folder.stat().st_ino for layer in first]
    for layer in layers:
        layer.path.unlink()
    assert [layer.folder.stat().st_ino for layer in unpack(layers, tmp_path / "home")] == stamps
    assert [listing(layer.folder) for layer in first] == [[f"file{n}"] for n in range(5)]


def test_a_folder_no_entry_names_is_remembered_as_implicit(tmp_path: Path) -> None:
    stream = tar(TarEntry("opt/venv/x"), folder("opt/venv"), TarEntry("srv/y"))
    [layer] = unpack([blob(tmp_path / "b", stream)], tmp_path / "home")
    assert layer.implicit == ("opt", "srv")


def test_L06_names_that_lead_outside_are_refused(tmp_path: Path) -> None:
    for name in ("../evil", "a/../../evil", "/etc/evil", "a/\nb"):
        error = refused(tmp_path, blob(tmp_path / "blob", tar(TarEntry(name, b"x"))))
        assert isinstance(error, LayerError)
        assert error.place is not None
        assert "evil" in str(error) or "control characters" in str(error)


@pytest.mark.parametrize("target", ["/outside", "../../../../../../outside", "/../outside"])
def test_L06_links_that_lead_outside_lead_to_the_layers_own_root(tmp_path: Path, target: str) -> None:
    root = unpacked(tmp_path, folder("outside"), symlink("door", target), TarEntry("door/file", b"inside"))
    assert (root / "outside/file").read_bytes() == b"inside"


def test_L06_a_link_to_a_folder_of_the_host_is_never_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    stream = tar(symlink("door", str(victim)), TarEntry("door/evil", b"x"))
    error = refused(tmp_path, blob(tmp_path / "blob", stream))
    assert "link that leads nowhere" in str(error)
    assert list(victim.iterdir()) == []


def test_L06_a_link_loop_is_refused(tmp_path: Path) -> None:
    stream = tar(symlink("a", "b"), symlink("b", "a"), TarEntry("a/x"))
    assert "a member cannot be placed" in str(refused(tmp_path, blob(tmp_path / "blob", stream)))


def test_L06_a_folder_replaced_by_a_link_does_not_redirect_what_follows(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    root = unpacked(
        tmp_path,
        folder("here"),
        folder("d"),
        TarEntry("d/one"),
        symlink("d", "here"),
        TarEntry("d/two"),
    )
    assert listing(root) == ["d", "here", "here/two"]
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("name", [".wh.", "a/.wh..", "a/.wh..."])
def test_L07_a_whiteout_of_no_name_is_refused(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path, blob(tmp_path / "blob", tar(folder("a"), TarEntry(name))))
    assert "a whiteout hides no name" in str(error)


def test_L07_something_inside_a_whiteout_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, blob(tmp_path / "blob", tar(TarEntry("a/.wh.b/c"))))
    assert "a whiteout has something in it" in str(error)


def test_L07_whiteouts_become_what_overlayfs_understands(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path, folder("a"), TarEntry("a/.wh.gone"), TarEntry("deep/down/.wh.x"), TarEntry("a/.wh..wh.plnk")
    )
    assert listing(root) == ["a", "a/gone", "deep", "deep/down", "deep/down/x"]
    assert is_whiteout(root / "a/gone")
    assert is_whiteout(root / "deep/down/x")


def test_L07_an_opaque_mark_hides_lower_layers_wherever_it_stands(tmp_path: Path) -> None:
    root = unpacked(tmp_path, folder("a"), TarEntry("a/before"), TarEntry("a/.wh..wh..opq"), TarEntry("a/after"))
    assert listing(root) == ["a", "a/after", "a/before"]
    assert os.getxattr(root / "a", "user.overlay.opaque") == b"y"


def test_L07_a_whiteout_never_hides_what_its_own_layer_brings(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path, TarEntry("x", b"new"), TarEntry(".wh.x"), TarEntry(".wh.d"), folder("d"), TarEntry("d/in")
    )
    assert (root / "x").read_bytes() == b"new"
    assert (root / "d/in").exists()
    assert os.getxattr(root / "d", "user.overlay.opaque") == b"y"


def test_L07_a_whiteout_through_a_link_stays_inside(tmp_path: Path) -> None:
    root = unpacked(tmp_path, folder("etc"), symlink("l", "/etc"), TarEntry("l/.wh.passwd"))
    assert is_whiteout(root / "etc/passwd")


def test_L08_of_two_entries_with_one_name_the_last_wins(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        TarEntry("a", b"1"),
        TarEntry("a", b"2"),
        folder("b"),
        TarEntry("b/x"),
        TarEntry("b", b"file now"),
        symlink("c", "nowhere"),
        TarEntry("c", b"not through the link"),
    )
    assert listing(root) == ["a", "b", "c"]
    assert [(root / name).read_bytes() for name in "abc"] == [b"2", b"file now", b"not through the link"]


@pytest.mark.parametrize("target", ["missing", "later", "/etc/passwd", "missing/x"])
def test_L09_a_hard_link_to_what_is_not_in_the_layer_is_refused(tmp_path: Path, target: str) -> None:
    stream = tar(hardlink("link", target), TarEntry("later", b"x"))
    error = refused(tmp_path, blob(tmp_path / "blob", stream))
    assert "a hard link leads to a file that is not in its layer" in str(error)
    assert "link ->" in str(error)


def test_L09_a_hard_link_to_a_link_is_the_link_not_its_target(tmp_path: Path) -> None:
    root = unpacked(tmp_path, symlink("s", "/etc/passwd"), hardlink("h", "s"))
    assert (root / "h").is_symlink()
    assert (root / "h").readlink() == Path("/etc/passwd")


def test_L09_a_hard_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, blob(tmp_path / "blob", tar(folder("d"), hardlink("h", "d"))))
    assert "a hard link leads to a folder" in str(error)


def test_L10_set_id_bits_attributes_and_devices_are_dropped_and_said(tmp_path: Path) -> None:
    stream = tar(
        TarEntry("su", mode=0o4755),
        TarEntry("ping", pax={"SCHILY.xattr.security.capability": "x", "SCHILY.xattr.trusted.overlay.opaque": "y"}),
        TarEntry("null", kind=tarfile.CHRTYPE),
        TarEntry("disk", kind=tarfile.BLKTYPE),
        TarEntry("pipe", kind=tarfile.FIFOTYPE),
    )
    [layer] = unpack([blob(tmp_path / "blob", stream)], tmp_path / "home")
    assert layer.dropped == ("attribute", "device", "set-id")
    assert listing(layer.folder) == ["ping", "pipe", "su"]
    assert stat.S_IMODE((layer.folder / "su").stat().st_mode) == 0o755
    assert os.listxattr(layer.folder / "ping") == []


def test_L11_owners_out_of_range_are_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, blob(tmp_path / "blob", tar(TarEntry("x", pax={"uid": "4294967296"}))))
    assert "out of range" in str(error)


STREAM = tar(TarEntry("x", b"hello" * 1000))


def test_L14_one_member_many_members_and_plain_tar_are_the_same_layer(tmp_path: Path) -> None:
    many = b"".join(gzip.compress(STREAM[at : at + 100]) for at in range(0, len(STREAM), 100))
    for number, packed in enumerate((None, many, STREAM)):
        home = tmp_path / f"home{number}"
        [layer] = unpack([blob(tmp_path / "blob", STREAM, packed=packed)], home)
        assert (layer.folder / "x").read_bytes() == b"hello" * 1000


def test_L14_zstd_frames_are_read_and_broken_ones_refused(tmp_path: Path) -> None:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    frames = zstd.compress(STREAM[:1000]) + zstd.compress(STREAM[1000:])
    [layer] = unpack([blob(tmp_path / "blob", STREAM, packed=frames)], tmp_path / "fine")
    assert (layer.folder / "x").exists()
    for packed in (frames[:-3], frames + b"junk", frames[:40] + b"\xff" + frames[41:]):
        assert isinstance(refused(tmp_path, blob(tmp_path / "blob", STREAM, packed=packed)), LayerError)


GZIP = gzip.compress(STREAM)


@pytest.mark.parametrize(
    "packed",
    [GZIP[:-1], GZIP[:50], GZIP + b"junk", GZIP[:-8] + b"\1" + GZIP[-7:], GZIP[:-1] + b"\1", b""],
    ids=["cut", "cut early", "junk", "crc", "size", "empty"],
)
def test_L14_a_broken_gzip_stream_is_refused(tmp_path: Path, packed: bytes) -> None:
    assert isinstance(refused(tmp_path, blob(tmp_path / "blob", STREAM, packed=packed)), LayerError)


def test_L14_another_content_than_the_diff_id_is_refused(tmp_path: Path) -> None:
    good = blob(tmp_path / "blob", STREAM)
    wrong = LayerBlob(good.path, Digest.sha256(b"other"), good.size, "torch 2.13.0")
    error = refused(tmp_path, wrong)
    assert "the layer does not hold what the image says" in str(error)
    assert "torch 2.13.0" in str(error)
    assert error.want == wrong.diff_id


def test_L15_a_layer_that_unpacks_to_too_much_is_refused_before_it_is_written(tmp_path: Path) -> None:
    limits = Limits(unpacked=1 << 20)
    layer = blob(tmp_path / "blob", tar(TarEntry("big", bytes((1 << 20) + 1))))
    assert "unpacks to too much" in str(refused(tmp_path, layer, limits=limits))
    fits = blob(tmp_path / "blob", tar(TarEntry("big", bytes(1 << 20))))
    assert unpack([fits], tmp_path / "fits", limits=limits)


def test_L15_a_sparse_file_is_refused(tmp_path: Path) -> None:
    sparse = TarEntry("sparse", pax={"GNU.sparse.major": "1", "GNU.sparse.realsize": str(2**63)})
    assert "sparse" in str(refused(tmp_path, blob(tmp_path / "blob", tar(sparse))))


def test_a_missing_blob_is_an_error_that_names_the_layer(tmp_path: Path) -> None:
    gone = LayerBlob(tmp_path / "gone", Digest.sha256(b""), 1, "base")
    with pytest.raises((LayerError, RunError), match="base"):
        unpack([gone], tmp_path / "home")


def test_L16_killed_at_any_moment_the_next_look_makes_the_layer_whole(tmp_path: Path) -> None:
    stream = tar(*(TarEntry(f"d{n % 9}/file{n}", bytes([n % 251]) * 5000) for n in range(3000)))
    layer = blob(tmp_path / "blob", stream)
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from trainload.digest import Digest
        from trainload.run.unpack import LayerBlob, unpack
        blob, digest, home = sys.argv[1:]
        print("ready", flush=True)
        unpack([LayerBlob(Path(blob), Digest.parse(digest), 1)], Path(home))
    """)
    home = tmp_path / "home"
    argv = [sys.executable, "-c", program, str(layer.path), str(layer.diff_id), str(home)]
    for delay in (0.0, 0.05, 0.12, 0.2):
        child = subprocess.Popen(argv, stdout=subprocess.PIPE)
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            try:
                child.wait(delay)
            except subprocess.TimeoutExpired:
                child.kill()
    [whole] = unpack([layer], home)
    assert len(listing(whole.folder)) == 3000 + 9
    assert list(home.glob("layers/*.tmp")) == []


def test_two_at_once_unpack_a_layer_once(tmp_path: Path) -> None:
    layers = [blob(tmp_path / "blob", tar(*(TarEntry(f"f{n}") for n in range(500))))] * 2
    first, second = unpack(layers, tmp_path / "home")
    assert first == second
