"""save, load, export and import, as users call them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainload.cli.main import run
from trainload.image.model import Image
from trainload.store.ingest import SEALED
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.verifier import snapshot


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal, or not."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


class Shell:
    """Calls verbs on one store, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.raw = b""
        self.out = self.err = ""

    def __call__(self, *argv: str, home: str = "home", terminal: bool = False) -> int:
        stdout, stderr = Terminal(io.BytesIO(), encoding="utf-8"), io.StringIO()
        stdout.terminal = terminal
        environ = {"TRAINLOAD_HOME": str(self.folder / home), "LANG": "C.UTF-8"}
        code = run(argv, environ=environ, cwd=self.folder, stdout=stdout, stderr=stderr)
        stdout.flush()
        assert isinstance(stdout.buffer, io.BytesIO)
        self.raw, self.err = stdout.buffer.getvalue(), stderr.getvalue()
        self.out = self.raw.decode("utf-8", "replace")
        return code

    def json(self, *argv: str, home: str = "home") -> Any:  # noqa: ANN401 - a document
        assert self(*argv, "--json", home=home) == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def image(shell: Shell) -> Image:
    store = Store.open(shell.home)
    with store.writing():
        return make(store, "digits", {"a": b"1"}, {"b": b"2" * 2000}, names=("digits", "digits:v1"))


def test_save_writes_a_file_and_load_reads_it(shell: Shell, image: Image) -> None:
    assert shell("save", "digits:v1", "-o", "x.tar") == 0, shell.err
    assert shell.out == "x.tar  digits:v1\n"
    assert shell("load", "-i", "x.tar", home="other") == 0, shell.err
    assert shell.out == f"digits:v1  {image.digest}\n"
    assert "checked" in shell.err
    assert shell("load", "x.tar", home="other") == 0, shell.err
    assert shell("load", "x.tar", "-i", "y.tar", home="other") == 2
    assert shell.json("load", "-i", "x.tar", "--name", "mine", home="other") == [
        {"digest": str(image.digest), "names": ["mine"]}
    ]


def test_save_writes_to_a_pipe_but_not_to_a_terminal(shell: Shell, image: Image) -> None:
    assert shell("save", "digits:v1") == 0
    piped = shell.raw
    assert shell("save", "digits:v1", "-o", "-") == 0
    assert shell.raw == piped
    assert shell("save", "digits:v1", "-o", "x.tar") == 0
    assert (shell.folder / "x.tar").read_bytes() == piped
    assert shell("save", "digits:v1", terminal=True) == 2
    assert "an archive is not for a terminal" in shell.err
    assert "trainload save -o FILE digits:v1" in shell.err
    assert shell.raw == b""


@pytest.mark.parametrize(
    ("name", "magic"), [("x.tar.gz", b"\x1f\x8b"), ("x.tgz", b"\x1f\x8b"), ("x.tar.zst", b"\x28\xb5\x2f\xfd")]
)
def test_the_name_of_the_file_says_what_compresses_it(shell: Shell, image: Image, name: str, magic: bytes) -> None:
    assert shell("save", "digits:v1", "-o", name) == 0
    assert (shell.folder / name).read_bytes().startswith(magic)
    assert shell("load", "-i", name, home="other") == 0, shell.err
    assert shell("save", "digits:v1", "-o", name, "--compress", "none") == 0
    assert (shell.folder / name).read_bytes().startswith(b"oci-layout")


def test_a_name_without_a_tag_is_told_as_docker_reads_it(shell: Shell, image: Image) -> None:
    assert shell("save", "digits", "-o", "x.tar") == 0
    assert "digits has no tag: Docker and Podman will call it digits:latest" in shell.err


def test_a_save_that_fails_leaves_the_old_file(shell: Shell, image: Image) -> None:
    (shell.folder / "x.tar").write_bytes(b"the backup of last week")
    path = Store.open(shell.home).path(image.manifest.layers[1].digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    os.utime(path, ns=(SEALED, SEALED))
    assert shell("save", "digits:v1", "-o", "x.tar") == 1
    assert "is damaged" in shell.err
    assert (shell.folder / "x.tar").read_bytes() == b"the backup of last week"
    assert sorted(os.listdir(shell.folder)) == ["home", "x.tar"]


def test_mistakes_are_told_with_what_to_do(shell: Shell, image: Image) -> None:
    assert shell("save", "digts", "-o", "x.tar") == 1
    assert "did you mean digits" in shell.err
    assert not (shell.folder / "x.tar").exists()
    assert shell("save", "digits", "-o", "nowhere/x.tar") == 1
    assert "could not be written" in shell.err
    assert shell("load", "-i", "nowhere.tar") == 1
    assert "nowhere.tar: the archive cannot be read" in shell.err
    assert shell("load", "-i", "home") == 1
    assert "trainload import layout home" in shell.err
    (shell.folder / "x.tar").write_bytes(b"no archive")
    before = snapshot(shell.home)
    assert shell("load", "-i", "x.tar") == 1
    assert "Traceback" not in shell.err
    assert shell("load", "-i", "x.tar", "--name", "NOT A NAME") == 1
    assert snapshot(shell.home) == before
    assert shell("export", "layouts", "digits", "out") == 2
    assert "layout" in shell.err


def test_an_archive_comes_through_a_pipe(shell: Shell, image: Image) -> None:
    assert shell("save", "digits:v1") == 0
    argv = [sys.executable, "-m", "trainload", "--home", "other", "load"]
    done = subprocess.run(argv, input=shell.raw, cwd=shell.folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == f"digits:v1  {image.digest}\n"


def test_a_layout_is_exported_and_imported(shell: Shell, image: Image) -> None:
    assert shell("export", "layout", "digits", "digits:v1", "out") == 0, shell.err
    assert "written, 0 B already there" in shell.err
    found = shell.json("export", "layout", "digits:v1", "out")
    assert found["written"] == 0
    assert found["images"] == [{"name": "digits:v1", "digest": str(image.digest)}]
    assert shell("import", "layout", "out", home="other") == 0, shell.err
    assert shell.out == f"digits  {image.digest}\ndigits:v1  {image.digest}\n"
    assert shell.json("import", "layout", "out", "mine:2", home="third")[0]["names"] == ["mine:2"]


def test_export_layout_needs_an_image_and_a_folder(shell: Shell, image: Image) -> None:
    assert shell("export", "layout", "digits") == 2
    assert shell("export") == 2
    assert "layout" in shell.err


def test_an_image_without_a_name_is_told(shell: Shell, image: Image) -> None:
    assert shell("save", image.digest.short, "-o", "x.tar") == 0
    assert shell("load", "-i", "x.tar", home="other") == 0
    assert f"<none>  {image.digest}" in shell.out
    assert f"trainload tag {image.digest.short} NAME" in shell.err
