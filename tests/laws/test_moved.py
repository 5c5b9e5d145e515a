"""What a run left, moved to where its layer is unpacked, is what unpacking that layer makes, whatever the tree."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from trainload.layers.writer import LayerWriter
from trainload.run.below import OPAQUE, Below
from trainload.run.capture import Changes, Rules, find_changes, write_changes
from trainload.run.line import of_layer
from trainload.run.moved import move_unpacked
from trainload.run.unpack import LayerBlob, unpack
from trainload.testing.tars import TarEntry, blob, folder, symlink, tar
from trainload.testing.unpacked import differences, entries

BASE = tar(
    folder("a"),
    folder("a/b", 0o2775),
    TarEntry("a/b/x", b"x", mode=0o4755),
    TarEntry("a/x", b"1", mode=0o640, owner=(0, 42)),
    TarEntry("a/y", b"1"),
    folder("tmp", 0o1777),
    TarEntry("b/x", b"of a folder that nothing says"),
    symlink("x", "a/x"),
)
PATHS = st.lists(st.sampled_from(["a", "b", "x", "y", "log", "é\udcff"]), min_size=1, max_size=3).map("/".join)
MODES = st.sampled_from([0o644, 0o755, 0o400, 0o000, 0o4755, 0o2711, 0o1777, 0o600])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("file"), PATHS, st.sampled_from([b"", b"1", b"x", b"\0" * 70_000]), MODES),
        st.tuples(st.just("normal"), PATHS, MODES),
        st.tuples(st.just("folder"), PATHS, MODES, st.booleans()),
        st.tuples(st.just("symlink"), PATHS, PATHS),
        st.tuples(st.just("link"), PATHS, PATHS),
        st.tuples(st.just("gone"), PATHS),
        st.tuples(st.just("pipe"), PATHS),
        st.tuples(st.just("sparse"), PATHS, st.integers(1, 3 << 20)),
        st.tuples(st.just("owner"), PATHS, st.integers(0, 2)),
        st.tuples(st.just("attribute"), PATHS, st.sampled_from(["user.x", "user.overlay.origin", "capability"])),
        st.tuples(st.just("remove"), PATHS),
    ),
    max_size=12,
)
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service, revision 2


def do(upper: Path, step: Sequence[object]) -> None:
    """One thing that a run may leave; what is not possible there is not done."""
    kind, place = step[0], upper / str(step[1])
    above = place.parent
    while above != upper:
        if above.is_symlink() or (above.exists() and not above.is_dir()):
            return
        above = above.parent
    place.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        if not change(str(kind), place, step[2:]) and not place.is_symlink() and not place.exists():
            make(str(kind), place, upper, step[2:])


def make(kind: str, place: Path, upper: Path, more: Sequence[object]) -> None:
    match kind, *more:
        case "file", bytes(data), int(mode):
            place.write_bytes(data)
            place.chmod(mode)
        case "normal", int(mode):
            (place.parent / f"{place.name}.pyc").write_bytes(b"changed when written")
            (place.parent / f"{place.name}.pyc").chmod(mode)
        case "folder", int(mode), bool(opaque):
            place.mkdir()
            place.chmod(mode | 0o700)
            if opaque:
                os.setxattr(place, OPAQUE, b"y")
        case "symlink", str(target):
            place.symlink_to(target)
        case "link", str(other):
            os.link(upper / other, place, follow_symlinks=False)
        case ("gone",):
            os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))
        case ("pipe",):
            os.mkfifo(place)
        case "sparse", int(size):
            with place.open("wb") as file:
                file.truncate(size)


def change(kind: str, place: Path, more: Sequence[object]) -> bool:
    """Whether the step is one of those that change what is there."""
    match kind, *more:
        case "owner", int(number):
            os.chown(place, number, number, follow_symlinks=False)
        case "attribute", "capability":
            os.setxattr(place, "security.capability", CAPABILITY, follow_symlinks=False)
        case "attribute", str(name):
            os.setxattr(place, name, b"1", follow_symlinks=False)
        case ("remove",):
            place.unlink()
        case _:
            return False
    return True


def left(upper: Path, below: Below) -> Changes:
    rules = Rules(
        lambda path: path.endswith("log"), special=False,
        normal=lambda path: bytes.upper if path.endswith(".pyc") else None,
    )  # fmt: skip
    return of_layer(find_changes(upper, below, rules), below, ("a/b/y",))


def written(at: Path, changes: Changes) -> LayerBlob:
    with at.open("wb") as file, LayerWriter(file) as out:
        write_changes(changes, out)
        for path in changes.deleted:
            out.whiteout(path)
        diff_id = out.close().diff_id
    return LayerBlob(at, diff_id, at.stat().st_size)


@given(STEPS)
@example([("file", "x", b"1", 0o4755), ("link", "a/new", "x"), ("attribute", "x", "capability"), ("gone", "a/b")])
@example([("file", "log", b"1", 0o400), ("link", "y", "log"), ("attribute", "y", "user.overlay.origin")])
@example([("folder", "a/b", 0o2755, True), ("sparse", "a/b/new", 3 << 20), ("pipe", "y"), ("owner", "a/b", 2)])
@example([("gone", "a"), ("remove", "a"), ("folder", "a", 0o700, True), ("symlink", "a/x", "../b")])
@example([("normal", "y", 0o644), ("link", "x", "y.pyc"), ("link", "a/z", "y.pyc"), ("gone", "b/x")])
@example([("file", "y", b"1", 0o755), ("link", "a/b/x", "y"), ("link", "z", "y")])  # a/b/x is set-id below
def test_moved_files_are_what_unpacking_their_layer_makes(steps: Sequence[Sequence[object]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        area = Path(name)
        upper = area / "upper"
        upper.mkdir(mode=0o755)
        base = blob(area / "base", BASE)
        below = Below([base], unpack([base], area / "rootfs"))
        for step in steps:
            do(upper, step)
        changes = left(upper, below)
        layer = written(area / "layer", changes)
        moved = move_unpacked(changes, layer.diff_id, area / "rootfs")
        assert moved
        assert differences(area / "rootfs", layer, area / "fresh") == []
        assert not move_unpacked(changes, layer.diff_id, area / "rootfs")  # there already: nothing is touched
        assert sorted(path.name for path in (area / "rootfs" / "layers").glob("*.tmp")) == []


def test_what_cannot_be_moved_is_left_to_unpacking(tmp_path: Path) -> None:
    """A file that vanished stands for a disk that refuses: nothing half moved is left."""
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "one").write_bytes(b"1")
    (upper / "two").write_bytes(b"2")
    changes = left(upper, Below([], []))
    layer = written(tmp_path / "layer", changes)
    (upper / "two").unlink()
    assert not move_unpacked(changes, layer.diff_id, tmp_path / "rootfs")
    assert [path.suffix for path in (tmp_path / "rootfs" / "layers").iterdir()] == [".lock"]
    [unpacked] = unpack([layer], tmp_path / "rootfs")
    assert sorted(entries(unpacked.folder)) == [".", "one", "two"]
