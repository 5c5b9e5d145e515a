"""Why a program cannot be started is known before it is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.errors import RunError
from trainload.run.inside import Inside
from trainload.run.model import Mount
from trainload.run.started import find_command

ENV = {"PATH": "/usr/bin:/bin"}


def root(at: Path, **files: bytes) -> Inside:
    for name, data in {"bin/sh": b"\x7fELF", "usr/bin/tini": b"\x7fELF", "bin/env": b"\x7fELF", **files}.items():
        file = at / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755)
    return Inside(at)


def refused(inside: Inside, *command: str, mounts: tuple[Mount, ...] = ()) -> RunError:
    with pytest.raises(RunError) as caught:
        find_command(inside, mounts, command, ENV, "/app")
    return caught.value


def test_a_script_saved_on_windows_is_told_as_that_also_behind_tini(tmp_path: Path) -> None:
    inside = root(tmp_path, **{"app/start.sh": b"#!/bin/sh\r\necho hi\r\n"})
    for command in (("./start.sh",), ("tini", "--", "./start.sh"), ("/app/start.sh", "x")):
        error = refused(inside, *command)
        assert str(error.text) == "/app/start.sh cannot be started"
        assert "line ends of Windows" in str(error.hints[0])
        assert error.exit_code == 127


def test_a_script_whose_program_is_not_in_the_image_names_it(tmp_path: Path) -> None:
    inside = root(tmp_path, **{"usr/bin/train": b"#!/bin/bash -e\ntrue\n"})
    assert "/bin/bash" in str(refused(inside, "train").hints[0])


def test_a_program_that_tini_would_not_find_is_told_by_its_name(tmp_path: Path) -> None:
    error = refused(root(tmp_path), "/usr/bin/tini", "--", "trian.py")
    assert str(error.text) == "the image has no program trian.py"
    assert error.exit_code == 127


def test_a_script_of_a_mounted_folder_is_looked_at_there(tmp_path: Path) -> None:
    inside = root(tmp_path / "root")
    root(tmp_path / "code", **{"run.sh": b"#!/bin/dash\n"})
    mount = Mount(str(tmp_path / "code"), "/app")
    assert "/bin/dash" in str(refused(inside, "./run.sh", mounts=(mount,)).hints[0])


@pytest.mark.parametrize(
    "data", [b"#!/bin/sh\necho\r\n", b"#! /bin/env python\n", b"\x7fELF\r\n", b"echo hi\r\n", b"", b"#!sh\n"]
)
def test_what_linux_would_try_is_tried(tmp_path: Path, data: bytes) -> None:
    inside = root(tmp_path, **{"app/x": data})
    assert find_command(inside, (), ("tini", "--", "./x"), ENV, "/app") == "/usr/bin/tini"
