"""size and diff, as users call them."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from trainload.cli.main import run
from trainload.image.model import Image
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.people import as_ordinary_user, cannot_be_ordinary
from trainload.testing.verifier import snapshot

SITE = "opt/venv/lib/python3.11/site-packages"


def dist(name: str, version: str, **files: bytes) -> dict[str, bytes]:
    """An installed distribution; its files lie below its own folder."""
    contents = {f"{name}/{file}": data for file, data in files.items()}
    info = f"{name}-{version}.dist-info"
    contents[f"{info}/METADATA"] = f"Name: {name}\nVersion: {version}\n\n".encode()
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"]).encode()
    return {f"{SITE}/{path}": data for path, data in contents.items()}


class Shell:
    """Calls verbs on one store."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.out = self.err = ""

    def __call__(self, *argv: str, lang: str = "C.UTF-8") -> int:
        stdout, stderr = io.StringIO(), io.StringIO()
        environ = {"TRAINLOAD_HOME": str(self.home), "LANG": lang}
        code = run(argv, environ=environ, cwd=self.home.parent, stdout=stdout, stderr=stderr)
        self.out, self.err = stdout.getvalue(), stderr.getvalue()
        return code

    def json(self, *argv: str) -> Any:  # noqa: ANN401 - a document
        assert self(*argv, "--json") == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "home")
    store = Store.open(shell.home)
    cuda = b"kernels\n" * 1_500_000
    with store.writing():
        base = {"usr/local/cuda-12.4/lib64/libcublas.so.12.4.5": cuda + b"x"}
        make(store, "old", base, dist("torch", "2.12", lib=b"1" * 1000), {"app/train.py": b"1"})
        wheel = dist("torch", "2.13", lib=b"1" * 3_000_000) | {f"{SITE}/nvidia/cublas/lib/libcublas.so.12": cuda}
        make(store, "new", base, wheel, dist("numpy", "2.0", core=b"n"), {"app/train.py": b"2"})
    store.close()
    return shell


def image(shell: Shell, name: str) -> Image:
    store = Store.open(shell.home)
    return store.image(store.resolve(name))


def test_size_says_what_weighs_and_what_to_do(shell: Shell) -> None:
    assert shell("size", "new") == 0, shell.err
    lines = [line.split() for line in shell.out.splitlines()]
    assert any(
        line[:5] == ["CUDA", "and", "other", "GPU", "libraries"] and line[-3:] == ["24", "MB", "2"]
        for line in lines
    )
    assert any(line[:2] == ["torch", "2.13"] for line in lines)
    assert any(line[:3] == ["libcublas.so.12", "12", "MB"] for line in lines)
    assert "- CUDA is there twice (12 MB)" in shell.out
    assert "checked" in shell.err


def test_the_bytes_of_kinds_and_layers_are_the_images(shell: Shell) -> None:
    found = shell.json("size", "new")
    layers = sum(layer.size for layer in image(shell, "new").manifest.layers)
    assert sum(one["seen"]["stored"] + one["hidden"]["stored"] for one in found["layers"]) == layers
    assert sum(kind["stored"] for kind in found["kinds"].values()) + found["hidden"]["stored"] == layers
    torch = found["packages"][0]
    assert (torch["manager"], torch["name"], torch["version"], torch["files"]) == ("python", "torch", "2.13", 3)
    assert 3_000_000 < torch["unpacked"] < 3_001_000


def test_layers_are_read_once(shell: Shell) -> None:
    first = shell.json("size", "new")
    store = Store.open(shell.home)
    for layer in image(shell, "new").manifest.layers:
        store.path(layer.digest).unlink()
    assert shell.json("size", "new") == first
    assert "checked" not in shell.err


def test_a_store_of_somebody_else_is_read_all_the_same(shell: Shell) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        theirs, mine = Path(folder, "store"), Path(folder, "home")
        shutil.copytree(shell.home, theirs)
        mine.mkdir()
        for path in (Path(folder), theirs):
            path.chmod(0o755)
        why = cannot_be_ordinary(mine)
        if why or os.geteuid() != 0:
            pytest.skip(why or "needs root to have another user")
        before = snapshot(theirs)
        script = "import sys; from trainload.cli.main import main; main(sys.argv[1:])"
        done = as_ordinary_user(script, "--home", str(theirs), "size", "new", home=mine)
        assert done.exit_code == 0, done.complaint
        assert "CUDA and other GPU libraries" in done.stdout.decode()
        assert snapshot(theirs) == before


def test_diff_tells_layers_packages_and_bytes(shell: Shell) -> None:
    assert shell("diff", "old", "new") == 0, shell.err
    lines = [line.split() for line in shell.out.splitlines()]
    assert ["~", "torch", "2.12", "→", "2.13", "+3.0", "MB"] in lines
    assert any(line[:3] == ["+", "numpy", "2.0"] for line in lines)
    assert any(line[:1] == ["layers:"] and line[3] == "shared," for line in lines)
    assert "/app/train.py" not in shell.out
    assert shell("diff", "old", "new", "--files") == 0
    assert any(
        line[0] == "~" and line[-1] == "/app/train.py" for line in map(str.split, shell.out.splitlines()) if line
    )


def test_diff_as_a_document(shell: Shell) -> None:
    found = shell.json("diff", "old", "new", "--files")
    assert {(one["name"], one["old"], one["new"]) for one in found["packages"]} == {
        ("torch", "2.12", "2.13"), ("numpy", None, "2.0"),
    }  # fmt: skip
    assert {"path": "/app/train.py", "old": 1, "new": 1} in found["changed_files"]
    assert sum(one["in_old"] and one["in_new"] for one in found["layers"]) == 1
    assert "changed_files" not in shell.json("diff", "old", "new")


def test_an_image_does_not_differ_from_itself(shell: Shell) -> None:
    assert shell("diff", "old", "old") == 0
    assert "the images are the same" in shell.out
    assert shell.json("diff", "old", "old")["packages"] == []


def test_both_speak_chinese(shell: Shell) -> None:
    assert shell("size", "new", lang="zh_CN.UTF-8") == 0
    assert "Python 包" in shell.out
    assert "CUDA" in shell.out
    assert shell("diff", "old", "new", lang="zh_CN.UTF-8") == 0
    assert "软件包" in shell.out


def test_a_broken_layer_is_told_and_not_remembered(shell: Shell) -> None:
    store = Store.open(shell.home)
    path = store.path(image(shell, "new").manifest.layers[1].digest)
    path.chmod(0o644)
    path.write_bytes(b"junk")
    assert shell("size", "new") == 1
    assert "Traceback" not in shell.err
    assert shell("size", "nothing") == 1
    assert "there is no image nothing" in shell.err
