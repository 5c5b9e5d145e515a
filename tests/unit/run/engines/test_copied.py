"""What comes out of a container stays where it was asked for."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from trainload.errors import LayerError, RunError
from trainload.run.engines.copied import extract
from trainload.testing.tars import TarEntry, folder, symlink, tar


def put(data: bytes, target: Path, source: str = "/data/top") -> Path:
    return extract(io.BytesIO(data), target, source).place


def test_a_file_goes_into_a_folder_or_gets_the_targets_name(tmp_path: Path) -> None:
    data = tar(TarEntry("top", b"x", mode=0o640))
    assert put(data, tmp_path) == tmp_path / "top"
    assert put(data, tmp_path / "other") == tmp_path / "other"
    assert (tmp_path / "other").read_bytes() == b"x"
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o640
    with pytest.raises(RunError, match="there is no folder"):
        put(data, tmp_path / "none" / "x")


def test_a_folder_is_merged_and_its_content_can_be_asked_for_alone(tmp_path: Path) -> None:
    data = tar(folder("top"), TarEntry("top/a", b"1"), folder("top/closed", 0o500), TarEntry("top/closed/b", b"2"))
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "kept").write_text("kept")
    put(data, tmp_path)
    assert sorted(path.name for path in (tmp_path / "top").iterdir()) == ["a", "closed", "kept"]
    put(data, tmp_path, "/data/top/.")
    assert (tmp_path / "a").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["../evil", "/evil", "top/../../evil"])
def test_L06_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(LayerError):
        put(tar(TarEntry(name, b"x")), inner)
    assert sorted(os.listdir(tmp_path)) == ["inner"]


def test_L16_a_link_is_copied_as_it_is_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    outside, inner = tmp_path / "outside", tmp_path / "inner"
    outside.mkdir()
    inner.mkdir()
    data = tar(folder("top"), symlink("top/link", str(outside)), TarEntry("top/link/x", b"x"))
    with pytest.raises((RunError, LayerError)):
        put(data, inner)
    assert list(outside.iterdir()) == []
    assert (inner / "top" / "link").readlink() == outside
