"""The far side's part, without a far side."""

from __future__ import annotations

import ast
import io
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainload.destinations.ship.bundle import bundle, program
from trainload.digest import Digest
from trainload.image.model import MANIFEST, Descriptor
from trainload.runner import names, wire
from trainload.runner.blobs import Blobs
from trainload.runner.home import Home, folder_for
from trainload.runner.serve import Server
from trainload.runner.trouble import Trouble
from trainload.store.index import EMPTY, Names
from trainload.store.layout import Layout
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.verifier import violations

SOURCE = Path(wire.__file__).parent


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.name)
def test_it_is_written_in_the_language_of_python_3_8_and_needs_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 8))
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [str(node.module)]
        for module in modules:
            assert module.startswith("trainload.runner") or module.split(".")[0] in sys.stdlib_module_names


def test_it_is_one_file_that_is_the_same_for_the_same_source() -> None:
    first = bundle()
    bundle.cache_clear()
    assert bundle() == first
    assert len(program("m")) < 65_000
    assert len(program("m", runs=False)) < 24_000
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert "__main__.py" in archive.namelist()
        assert {Path(name).parts[:2] for name in archive.namelist() if "/" in name} == {
            ("trainload", "__init__.py"), ("trainload", "runner"),
        }  # fmt: skip


def test_the_file_runs_by_itself(tmp_path: Path) -> None:
    (tmp_path / "runner.pyz").write_bytes(bundle())
    asked = wire.request(do="open", version=wire.VERSION, folder=str(tmp_path / "s"), writing=True)
    argv = [sys.executable, "-IS", str(tmp_path / "runner.pyz"), "mark"]
    done = subprocess.run(argv, input=asked, capture_output=True, check=True)
    said = [wire.read_line("mark", line) for line in done.stdout.splitlines()]
    assert {"done": "open", "folder": str(tmp_path / "s"), "there": False} in said
    assert violations(tmp_path / "s", clean=True) == []


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=20), st.text(max_size=20)))
def test_S07_a_line_is_ours_or_noise(noise: str, value: dict[str, str]) -> None:
    raw = wire.line("mark", value)
    found = [wire.read_line("mark", line) for line in (noise.encode() + raw).split(b"\n")]
    assert value in found
    assert wire.read_line("other", raw.strip()) is None
    assert wire.read_line("mark", raw.strip()[:-1] + b"?") is None


def test_S03_a_thousand_folders_go_there_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never by a command line, only inside a frame: there is nothing to quote."""
    monkeypatch.setenv("HOME", str(tmp_path))
    chance = random.Random(3)
    nasty = "ab \"'`$;&|\\\n\t\x1b%!*?(){}<>~#é中\udcff-="
    found = ["a" + "".join(chance.choices(nasty, k=chance.randrange(40))) for _ in range(1000)]
    asked = b"".join(wire.request(do="open", version=wire.VERSION, folder=name, writing=False) for name in found)
    with (tmp_path / "said").open("wb") as said:
        Server("mark", io.BytesIO(asked), said.fileno()).serve()
    lines = [wire.read_line("mark", line) for line in (tmp_path / "said").read_bytes().split(b"\n")]
    told = [line["folder"] for line in lines if line is not None]
    assert told == [str(tmp_path / name) for name in found]


def test_the_folder_is_the_one_a_trainload_there_would_use() -> None:
    home = {"HOME": "/home/me"}
    assert folder_for(None, home) == Path("/home/me/.local/share/trainload")
    assert folder_for(None, {**home, "XDG_DATA_HOME": "/data"}) == Path("/data/trainload")
    assert folder_for(None, {**home, "TRAINLOAD_HOME": "/big/store"}) == Path("/big/store")
    assert folder_for("~/x", home) == Path("/home/me/x")
    assert folder_for("x y", home) == Path("/home/me/x y")
    assert folder_for("/x", home) == Path("/x")


NAMES = st.lists(st.sampled_from(["a:1", "a:2", "b:1", "é:1"]), max_size=3)
IMAGES = st.integers(0, 3)


@given(st.lists(st.tuples(IMAGES, NAMES), max_size=6))
def test_the_list_of_images_is_the_one_the_store_would_write(changes: list[tuple[int, list[str]]]) -> None:
    ours, theirs = EMPTY, Names.parse(EMPTY, "index.json")
    for number, given_names in changes:
        digest = Digest.sha256(bytes([number]))
        ours = names.added(
            names.parse(ours), {"mediaType": MANIFEST, "digest": str(digest), "size": number}, given_names
        )
        theirs = theirs.add(Descriptor(MANIFEST, digest, number), given_names)
        assert names.names_of(names.parse(ours), str(digest)) == list(theirs.names_of(digest))
        assert ours == theirs.to_bytes()


def test_a_damaged_list_of_images_is_not_written_over() -> None:
    good = names.added(names.parse(EMPTY), {"mediaType": MANIFEST, "digest": "sha256:0", "size": 1}, ["a:1"])
    for bad in (good.replace(b"a:1", b"b:1"), b"{}", b"[]", b"\xff", good[:-1]):
        with pytest.raises(Trouble):
            names.parse(bad)


def test_the_folders_are_those_of_the_store(tmp_path: Path) -> None:
    home = Home(tmp_path / "s")
    home.write()
    home.end()
    layout = Layout(tmp_path / "s")
    assert all(folder.is_dir() for folder in layout.folders)
    store = Store.open(tmp_path / "s")
    with store.writing():
        make(store, "a:1", {"x": b"1"})
    assert violations(tmp_path / "s", clean=True) == []


def test_leftovers_of_a_runner_that_was_killed_are_removed_and_parts_stay(tmp_path: Path) -> None:
    first = Home(tmp_path / "s")
    first.write()
    first.temporary().write_bytes(b"x")
    (first.incoming / ("0" * 64)).write_bytes(b"part")
    live = Home(tmp_path / "s")
    live.write()
    assert len(os.listdir(tmp_path / "s" / "tmp")) == 1
    os.close(first._lease)
    live.end()
    last = Home(tmp_path / "s")
    last.write()
    last.end()
    assert os.listdir(tmp_path / "s" / "tmp") == os.listdir(tmp_path / "s" / "leases") == []
    assert os.listdir(tmp_path / "s" / "incoming") == ["0" * 64]
    store = Store.open(tmp_path / "s")
    store.gc()
    store.close()
    assert violations(tmp_path / "s", clean=True) == []


def test_S06_a_disk_that_fills_up_is_told_and_nothing_of_the_blob_stays(tmp_path: Path) -> None:
    disk = tmp_path / "s"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    home = Home(disk)
    try:
        home.write()
        digest = str(Digest.sha256(b"x"))
        with pytest.raises(Trouble) as caught:
            Blobs(home, writing=True).receive(digest, 4 << 20, 0, lambda: bytes(1 << 18))
        assert caught.value.code == "full"
        assert os.listdir(home.incoming) == []
        home.end()
        assert violations(disk, clean=True) == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_S04_other_bytes_than_promised_are_told_and_not_kept(tmp_path: Path) -> None:
    home = Home(tmp_path / "s")
    home.write()
    with pytest.raises(Trouble) as caught:
        Blobs(home, writing=True).receive(str(Digest.sha256(b"abc")), 3, 0, lambda: b"xyz")
    assert caught.value.code == "bytes"
    home.end()
    assert violations(tmp_path / "s", clean=True) == []
    assert os.listdir(tmp_path / "s" / "incoming") == os.listdir(tmp_path / "s" / "blobs" / "sha256") == []
