"""Laws of writing the user's files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainload.system.files import FileError, replace


def test_a_file_is_replaced_in_one_step_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "pylock.trainload.toml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == [path.name]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    replace(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_folder_in_the_way_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(FileError, match="lock could not be written"):
        replace(tmp_path / "lock", b"new")
    assert os.listdir(tmp_path) == ["lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_a_folder_that_may_not_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    script = (
        'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "'
        "import sys, pathlib; from trainload.system.files import FileError, replace\n"
        "try: replace(pathlib.Path(sys.argv[1]) / 'a.lock', b'x')\n"
        'except FileError as error: print(error.got, error.hints[0], sep=chr(10))" "$1"'
    )
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 32 or "permission denied" in done.stderr.lower():
        pytest.skip(f"cannot mount here: {done.stderr}")
    assert done.stdout == "Read-only file system\nmake its folder writable, or work in a copy of it\n", done.stderr
