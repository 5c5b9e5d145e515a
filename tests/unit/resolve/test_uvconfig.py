"""uv's configuration joined with ours: as uv itself joins the files it finds."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from trainload.errors import LockError
from trainload.lock.source import Metadata
from trainload.resolve.sources import Leave
from trainload.resolve.uvconfig import config_flags

LEAVE = Leave(frozenset({"a"}), {("a", "1.0"): Metadata(('b ; extra == "x"',))})


def flags(root: Path, leave: Leave = LEAVE, **environ: str) -> list[str]:
    environ = {"HOME": str(root / "home"), "XDG_CONFIG_DIRS": str(root / "none"), **environ}
    return config_flags(root / "made.toml", root, environ, leave)


def joined(root: Path, leave: Leave = LEAVE, **environ: str) -> dict[str, object]:
    file, *_ = flags(root, leave, **environ)
    assert file == f"--config-file={root / 'made.toml'}"
    return tomllib.loads((root / "made.toml").read_text("utf-8"))


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_leave_comes_with_metadata_for_every_version(tmp_path: Path) -> None:
    one = {"name": "a", "version": "1.0", "requires-dist": ['b ; extra == "x"'], "provides-extra": []}
    assert joined(tmp_path) == {"dependency-metadata": [one, {"name": "a", "requires-dist": []}]}
    assert flags(tmp_path)[1:] == ["--no-binary=a"]


def test_without_leave_uv_finds_its_configuration_itself(tmp_path: Path) -> None:
    write(tmp_path / "uv.toml", 'prerelease = "allow"\n')
    assert flags(tmp_path, Leave()) == []


@pytest.mark.parametrize(
    "text",
    [
        'no-binary-package = ["x"]', "no-binary = true", "no-build-isolation = true", "no-build = false",
        '[pip]\nno-binary = ["x"]', '[pip]\nonly-binary = [":none:"]',
    ],
)  # fmt: skip
def test_D7_no_configuration_gives_leave_to_build(tmp_path: Path, text: str) -> None:
    write(tmp_path / "home" / ".config" / "uv" / "uv.toml", f'prerelease = "allow"\n{text}\n')
    found = joined(tmp_path, Leave())
    assert found["prerelease"] == "allow" and found.get("pip", {}) == {}
    assert not [key for key in found if key.startswith("no-")]


@pytest.mark.parametrize(
    "text",
    [
        '[tool.uv.sources]\nA = { git = "https://h.example/a" }\n',
        '[tool.uv.sources]\na = [{ path = "../a", marker = "x" }, { index = "i" }]\n',
        '[tool.uv]\nconstraint-dependencies = ["a @ https://h.example/a.tar.gz"]\n',
        '[tool.uv]\noverride-dependencies = ["A[x]@https://h.example/a.tar.gz"]\n',
    ],
)
def test_D7_what_comes_from_an_address_has_no_leave(tmp_path: Path, text: str) -> None:
    write(tmp_path / "pyproject.toml", text)
    with pytest.raises(LockError, match="a: only what an index or a find-links folder has is built"):
        flags(tmp_path)
    write(tmp_path / "pyproject.toml", '[tool.uv.sources]\na = { index = "i" }\nb = { path = "b" }\n')
    assert flags(tmp_path)


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
    assert [one["name"] for one in found["dependency-metadata"]] == ["a", "a", "c"]  # type: ignore[attr-defined]
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
