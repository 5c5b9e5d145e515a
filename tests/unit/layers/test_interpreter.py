"""Laws of the standalone Python's layer; the archives are stand-ins."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import BinaryIO

import pytest

from trainload.errors import LayerError
from trainload.layers.interpreter import write_interpreter
from trainload.lock.model import File, Url
from trainload.plan.model import InterpreterRecipe
from trainload.testing.debs import Item, tar

GOOD = [
    Item("python/bin/python3.12", b"elf", 0o775, owner=(1001, 1001, "me", "me")),
    Item("python/bin/python3", link="python3.12"),
    Item("python/lib/libpython3.12.so.1.0", b"so" * 1000, 0o555),
    Item("python/lib/libpython3.12.so", link="libpython3.12.so.1.0"),
    Item("python/bin/same", hard="python/bin/python3.12"),
    Item("python/lib/python3.12/os.py", b"x = 1\n", 0o664),
]


class One:
    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, file: File) -> BinaryIO:
        return self.path.open("rb")


def layer(tmp_path: Path, items: list[Item], name: str = "cpython-3.12.8-install_only.tar.gz") -> bytes:
    data = gzip.compress(tar(items))
    (tmp_path / "archive").write_bytes(data)
    file = File(name, hashlib.sha256(data).hexdigest(), len(data), Url("https://host.example/" + name))
    out = io.BytesIO()
    write_interpreter(InterpreterRecipe(file, "3.12"), One(tmp_path / "archive"), out)
    return out.getvalue()


def test_the_archive_goes_to_opt_python_owned_by_root_with_plain_modes(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(layer(tmp_path, GOOD)), mode="r:gz") as archive:
        found = {info.name: info for info in archive}
    assert {name: found[name].mode for name in found if found[name].isfile()} == {
        "opt/python/bin/python3.12": 0o755,
        "opt/python/lib/libpython3.12.so.1.0": 0o755,
        "opt/python/lib/python3.12/os.py": 0o644,
    }
    assert found["opt/python/bin/python3"].linkname == "python3.12"
    assert found["opt/python/bin/same"].linkname == "opt/python/bin/python3.12"
    assert {info.uid for info in found.values()} == {0}
    assert {"opt/python", "opt/python/bin", "opt/python/lib/python3.12"} <= {n for n in found if found[n].isdir()}
    assert found["opt"].mode == 0o755


def test_the_same_archive_makes_the_same_layer(tmp_path: Path) -> None:
    assert layer(tmp_path, GOOD) == layer(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Item("python/../../etc/passwd", b"x"), "outside"),
        (Item("/etc/passwd", b"x"), "absolute"),
        (Item("other/file", b"x"), "outside python/"),
        (Item("python", b"x"), "outside python/"),
        (Item("python/bin/sh", link="/bin/sh"), "leads outside"),
        (Item("python/lib/up", link="../../../etc"), "leads outside"),
        (Item("python/bin/hard", hard="etc/passwd"), "no earlier file"),
        (Item("python/bin/hard", hard="python/bin/python3"), "no earlier file"),
        (Item("python/dev", kind=tarfile.CHRTYPE), "not accepted"),
        (Item("python/bin/python3", b"again"), "comes twice"),
        (Item("python/bin/python3/x", b"below a link"), "directory and something else"),
    ],
)
def test_hostile_archives_are_refused(tmp_path: Path, item: Item, reason: str) -> None:
    with pytest.raises(LayerError, match=reason) as caught:
        layer(tmp_path, [*GOOD, item])
    assert "cpython-3.12.8-install_only.tar.gz" in str(caught.value)


def test_an_archive_of_another_python_and_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match=r"holds no Python 3\.12"):
        layer(tmp_path, GOOD[2:4])
    with pytest.raises(LayerError, match="no known kind"):
        layer(tmp_path, GOOD, "python.zip")
    with pytest.raises(LayerError, match="broken|cut off"):
        layer(tmp_path, GOOD, "python.tar.xz")
