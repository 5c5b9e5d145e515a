"""uv's configuration joined with ours: as uv itself joins the files it finds."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from trainload.errors import LockError
from trainload.resolve.uvconfig import write_config

ADDED = [{"name": "a", "version": "1.0", "requires-dist": ['b ; extra == "x"'], "requires-python": None}]


def joined(root: Path, **environ: str) -> dict[str, object]:
    file = write_config(root / "made.toml", root, {"HOME": str(root / "home"), **environ}, ADDED)
    return tomllib.loads(file.read_text("utf-8"))


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_without_any_file_there_is_what_is_added(tmp_path: Path) -> None:
    one = {"name": "a", "version": "1.0", "requires-dist": ['b ; extra == "x"']}
    assert joined(tmp_path, XDG_CONFIG_DIRS=str(tmp_path)) == {"dependency-metadata": [one]}


def test_the_projects_goes_before_the_users_and_lists_are_joined(tmp_path: Path) -> None:
    root = tmp_path / "project" / "inner"
    write(
        root.parent / "pyproject.toml",
        '[tool.uv]\nprerelease = "allow"\nfind-links = ["wheels"]\ndev-dependencies = []\n',
    )
    write(
        root / "home" / ".config" / "uv" / "uv.toml",
        'prerelease = "disallow"\nfind-links = ["https://h.example/l"]\noffline = false\n'
        '[pip]\nindex-url = "https://p.example/simple"\n[[index]]\nurl = "mirror"\ndefault = true\n'
        '[[dependency-metadata]]\nname = "c"\nrequires-dist = []\n',
    )
    root.mkdir(exist_ok=True)
    found = joined(root)
    assert found["prerelease"] == "allow"
    assert found["find-links"] == [str(root.parent / "wheels"), "https://h.example/l"]
    assert found["offline"] is False
    assert found["pip"] == {"index-url": "https://p.example/simple"}
    user = root / "home" / ".config" / "uv"
    assert found["index"] == [{"url": str(user / "mirror"), "default": True}]
    assert [one["name"] for one in found["dependency-metadata"]] == ["a", "c"]  # type: ignore[attr-defined]
    assert "dev-dependencies" not in found, "not a key of uv.toml"


def test_a_uv_toml_hides_the_pyproject_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[tool.uv]\nprerelease = "allow"\n')
    write(tmp_path / "uv.toml", 'resolution = "lowest"\n')
    assert joined(tmp_path)["resolution"] == "lowest" and "prerelease" not in joined(tmp_path)


def test_the_environment_decides_which_files_count(tmp_path: Path) -> None:
    write(tmp_path / "uv.toml", 'prerelease = "allow"\n')
    write(tmp_path / "other.toml", 'resolution = "lowest"\n')
    assert "prerelease" not in joined(tmp_path, UV_NO_CONFIG="1")
    found = joined(tmp_path, UV_CONFIG_FILE="other.toml")
    assert "prerelease" not in found and found["resolution"] == "lowest"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "uv.toml", "= broken")
    with pytest.raises(LockError, match=r"uv\.toml: uv's configuration cannot be read"):
        joined(tmp_path)
