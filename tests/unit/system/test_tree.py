"""DiskTree and MemoryTree obey the same contract; DiskTree never follows a link and never hangs."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from trainload.errors import ConfigError
from trainload.system.tree import DiskTree, is_private_group
from trainload.testing.tree import Fifo, Link, MemoryTree
from trainload.tree import EntryKind, Tree

NAMES: dict[str, str | Link] = {
    "a/b.py": "b",
    "a/c/d.py": "dd",
    "a.txt": "x",
    "train.py": "print()",
    "a/link": Link("b.py"),
}


def disk(root: Path) -> DiskTree:
    for name, content in NAMES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        else:
            path.write_text(content)
    return DiskTree(root)


@pytest.fixture(params=["disk", "memory"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return disk(tmp_path) if request.param == "disk" else MemoryTree(dict(NAMES))


def test_a_walk_is_sorted_by_path(tree: Tree) -> None:
    paths = [entry.path for entry in tree.walk(lambda _: True)]
    assert paths == sorted(paths) == ["a", "a.txt", "a/b.py", "a/c", "a/c/d.py", "a/link", "train.py"]


def test_a_folder_that_is_not_entered_is_told_but_not_read(tree: Tree) -> None:
    assert [e.path for e in tree.walk(lambda e: e.path != "a/c")] == [
        "a",
        "a.txt",
        "a/b.py",
        "a/c",
        "a/link",
        "train.py",
    ]


def test_find_tells_a_link_and_does_not_follow_it(tree: Tree) -> None:
    found = tree.find("a/link")
    assert found is not None
    assert (found.kind, found.target) == (EntryKind.LINK, "b.py")
    assert tree.find("a/none") is None
    assert tree.find("a.txt/below") is None


def test_read_is_bounded(tree: Tree) -> None:
    assert tree.read("a/c/d.py", limit=2) == b"dd"
    with pytest.raises(ConfigError, match="too large"):
        tree.read("a/c/d.py", limit=1)


def test_what_is_missing_is_named(tree: Tree) -> None:
    with pytest.raises(ConfigError, match="none.txt: the file does not exist"):
        tree.read("none.txt", limit=9)


def test_a_link_is_never_read(tree: Tree) -> None:
    with pytest.raises(ConfigError, match="links are not followed"):
        tree.read("a/link", limit=99)


def test_P01_a_folder_that_is_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("k")
    (tmp_path / "p").mkdir()
    (tmp_path / "p/out").symlink_to("../secret")
    tree = DiskTree(tmp_path / "p")
    with pytest.raises(ConfigError, match="links are not followed"):
        tree.read("out/key", limit=9)
    assert tree.find("out/key") is None
    assert [e.path for e in tree.walk(lambda _: True)] == ["out"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "."])
def test_P01_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match="does not stay inside"):
        DiskTree(tmp_path).read(path, limit=9)


@pytest.mark.timeout(120)
def test_P03_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    tree = DiskTree(tmp_path)
    with pytest.raises(ConfigError, match="not a regular file"):
        tree.read("pipe", limit=9)
    assert [e.kind for e in tree.walk(lambda _: True)] == [EntryKind.OTHER]
    with pytest.raises(ConfigError, match="not a regular file"):
        MemoryTree({"pipe": Fifo()}).open("pipe")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_P04_a_file_whose_size_is_not_what_was_read_is_refused() -> None:
    # the kernel says 0 bytes and gives more: the same as a file that grows between the two looks
    with pytest.raises(ConfigError, match="status: the file changed while it was read") as caught:
        DiskTree("/proc/self").read("status", limit=10**6)
    assert caught.value.retryable


def test_P05_a_folder_swapped_for_a_link_during_the_walk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p/a").mkdir(parents=True)
    (tmp_path / "p/a/x").write_text("x")
    (tmp_path / "out").mkdir()

    def swap(_: object) -> bool:
        (tmp_path / "p/a").rename(tmp_path / "was")
        (tmp_path / "p/a").symlink_to("../out")
        return True

    with pytest.raises(ConfigError, match="a: a symbolic link is in the way"):
        list(DiskTree(tmp_path / "p").walk(swap))


def test_P06_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    if os.access(tmp_path / "shut", os.R_OK):
        pytest.skip("this user reads everything")
    with pytest.raises(ConfigError, match="shut: this cannot be read: Permission denied"):
        list(DiskTree(tmp_path).walk(lambda _: True))


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"x" * 255, b"-rf"])
def test_P07_a_strange_name_comes_back_exactly(tmp_path: Path, name: bytes) -> None:
    descriptor = os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, b"!")
    os.close(descriptor)
    tree = DiskTree(tmp_path)
    (entry,) = tree.walk(lambda _: True)
    assert os.fsencode(entry.path) == name
    assert tree.read(entry.path, limit=1) == b"!"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    tree = disk(tmp_path)
    gc.collect()  # what other tests left to the collector is not closed in between
    before = len(os.listdir("/proc/self/fd"))
    walk = tree.walk(lambda _: True)
    for _ in range(3):
        next(walk)
    del walk
    list(tree.walk(lambda _: True))
    tree.find("a/c/d.py")
    tree.read("a/c/d.py", limit=9)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="a file can be given to another group by root only")
def test_F14_a_group_is_private_when_nobody_else_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    (tmp_path / "ours").write_text("")
    (tmp_path / "quiet").write_text("")
    os.chown(tmp_path / "mine", 0, 0)
    os.chown(tmp_path / "ours", 0, 100)  # users: everyone's group on many machines
    for name, mode in (("mine", 0o664), ("ours", 0o664), ("quiet", 0o644)):
        (tmp_path / name).chmod(mode)
    found = {entry.path: entry.private_group for entry in DiskTree(tmp_path).walk(lambda folder: True)}
    assert found == {"mine": True, "ours": False, "quiet": False}


def test_F14_a_group_or_user_nobody_knows_is_not_private() -> None:
    assert not is_private_group(2**31 - 5, os.geteuid())
    assert not is_private_group(os.getegid(), 2**31 - 5)
