"""Layers unpacked and joined by what travels along; checked against what the image says."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from trainload.runner.container import _flatten
from trainload.runner.home import Home
from trainload.runner.trouble import Trouble
from trainload.runner.unpack import resolved, unpacked
from trainload.testing.tars import TarEntry, folder, tar


def layer(home: Home, *entries: TarEntry, packed: bytes | None = None) -> dict[str, Any]:
    """A layer whose blob lies in the store."""
    stream = tar(*entries)
    blob = gzip.compress(stream, 1, mtime=0) if packed is None else packed
    digest = hashlib.sha256(blob).hexdigest()
    (home.blobs / digest).write_bytes(blob)
    diff_id = hashlib.sha256(stream).hexdigest()
    return {"digest": f"sha256:{digest}", "diff_id": f"sha256:{diff_id}", "size": len(blob), "title": "a layer"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.write()
    return home


def unpack(home: Home, *layers: dict[str, Any]) -> list[Path]:
    return [place / "fs" for place in unpacked(home.path, list(layers), lambda _: None)]


def names(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def test_files_links_and_modes_are_as_the_layer_says(home: Home) -> None:
    (place,) = unpack(
        home,
        layer(
            home, folder("bin"), TarEntry("bin/a", b"1", mode=0o6755), TarEntry("bin/b", kind=b"2", link="a"),
            TarEntry("bin/c", kind=b"1", link="bin/a"), folder("tmp", 0o1777), TarEntry("deep/er/x", b"2"),
        ),
    )  # fmt: skip
    assert stat.S_IMODE((place / "bin/a").stat().st_mode) == 0o755, "no set-id bits"
    assert (place / "bin/b").readlink() == Path("a")
    assert (place / "bin/c").samefile(place / "bin/a")
    assert stat.S_IMODE((place / "tmp").stat().st_mode) == 0o1777
    assert (place / "deep/er/x").read_bytes() == b"2"


def test_a_layer_is_unpacked_once(home: Home) -> None:
    told: list[dict[str, Any]] = []
    one = layer(home, TarEntry("a", b"1"))
    for _ in range(2):
        unpacked(home.path, [one], told.append)
    assert len(told) == 1


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/.."])
def test_a_name_that_leads_outside_is_refused_and_leaves_nothing(home: Home, name: str) -> None:
    with pytest.raises(Trouble) as caught:
        unpack(home, layer(home, TarEntry(name, b"1")))
    assert caught.value.code == "layer"
    assert [path.suffix for path in (home.path / "hosted/layers").iterdir()] == [".lock"]
    assert not (home.path / "x").exists()


def test_a_link_leads_where_it_would_inside(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "victim"
    target.mkdir()
    (place,) = unpack(home, layer(home, TarEntry("l", kind=b"2", link=str(target)), TarEntry("l/x", b"1")))
    assert list(target.iterdir()) == []
    assert (place / str(target).lstrip("/") / "x").read_bytes() == b"1"


def test_a_hard_link_does_not_reach_outside(home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises((Trouble, OSError)):
        unpack(home, layer(home, TarEntry("l", kind=b"1", link=str(tmp_path / "secret"))))


def test_devices_are_left_out_and_of_two_entries_the_last_wins(home: Home) -> None:
    (place,) = unpack(
        home, layer(home, TarEntry("d", kind=b"3"), folder("a"), TarEntry("a/x", b"1"), TarEntry("a", b"2"))
    )
    assert names(place) == ["a"]
    assert (place / "a").read_bytes() == b"2"


def test_a_layer_that_is_not_what_the_image_says_is_refused(home: Home) -> None:
    wrong = {**layer(home, TarEntry("a", b"1")), "diff_id": "sha256:" + "0" * 64}
    with pytest.raises(Trouble) as caught:
        unpack(home, wrong)
    assert caught.value.code == "layer"


@pytest.mark.parametrize("keep", [20, 200])
def test_a_broken_stream_is_refused(home: Home, keep: int) -> None:
    data = gzip.compress(tar(TarEntry("a", os.urandom(5000))), 1, mtime=0)[:keep]
    with pytest.raises(Trouble) as caught:
        unpack(home, layer(home, TarEntry("a", b"1"), packed=data))
    assert caught.value.code == "layer"


def test_layers_of_many_gzip_members_and_plain_ones_are_read(home: Home) -> None:
    stream = tar(TarEntry("a", os.urandom(3000)))
    members = b"".join(gzip.compress(stream[at : at + 1000], 1, mtime=0) for at in range(0, len(stream), 1000))
    for packed in (members, stream):
        digest = hashlib.sha256(packed).hexdigest()
        (home.blobs / digest).write_bytes(packed)
        diff_id = hashlib.sha256(stream).hexdigest()
        one = {"digest": f"sha256:{digest}", "diff_id": f"sha256:{diff_id}", "size": 1, "title": "x"}
        assert names(unpack(home, one)[0]) == ["a"]


def test_whiteouts_hide_lower_layers_also_where_they_are_joined_with_hard_links(home: Home, tmp_path: Path) -> None:
    layers = [
        layer(home, TarEntry("a/old", b"1"), TarEntry("a/kept", b"2"), TarEntry("b/x", b"3"), TarEntry("c", b"4")),
        layer(home, TarEntry("a/.wh.old"), TarEntry("b/.wh..wh..opq"), TarEntry("b/y", b"5"), TarEntry(".wh.c"),
              folder("c")),
    ]  # fmt: skip
    flat = tmp_path / "flat"
    flat.mkdir()
    import json

    for place in unpacked(home.path, layers, lambda _: None):
        _flatten(place / "fs", flat, json.loads((place / "done.json").read_text()))
    assert names(flat) == ["a", "a/kept", "b", "b/y", "c"]
    assert (flat / "c").is_dir()


def test_a_path_is_resolved_as_it_would_be_inside(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "out").symlink_to("/../../etc")
    (tmp_path / "loop").symlink_to("loop")
    assert resolved(str(tmp_path), "/lib/x") == "usr/lib/x"
    assert resolved(str(tmp_path), "out/passwd") == "etc/passwd"
    assert resolved(str(tmp_path), "../../x") == "x"
    with pytest.raises(Trouble):
        resolved(str(tmp_path), "loop")
