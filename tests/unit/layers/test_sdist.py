"""Sdists as files: read without running anything, and hostile ones refused before anything starts."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from trainload.errors import LayerError
from trainload.layers.sdist import PLACE, read_statements, write_source
from trainload.lock.source import Statements
from trainload.plan.model import SourceRecipe
from trainload.testing.index import sdist
from trainload.testing.sources import MemorySources, locked
from trainload.testing.tars import TarEntry, folder, hardlink, symlink, tar

PROJECT = (TarEntry("a-1.0/PKG-INFO", b"Metadata-Version: 2.1\n"), TarEntry("a-1.0/setup.py", b"0"))


def packed(*entries: TarEntry) -> bytes:
    return gzip.compress(tar(*PROJECT, *entries), mtime=0)


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"[project]\n")
    return buffer.getvalue()


def layer(data: bytes, name: str = "a-1.0.tar.gz") -> dict[str, tarfile.TarInfo]:
    sink = io.BytesIO()
    write_source(SourceRecipe(locked(name, data)), MemorySources({name: data}), sink)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue()), mode="r:gz") as archive:
        return {member.name: member for member in archive}


def test_it_tells_what_it_is_without_being_run() -> None:
    name, data = sdist("a", "1.0", {"setup.py": "1/0\n", "pyproject.toml": "[project]\n", "a/pyproject.toml": "no"})
    info = b"Metadata-Version: 2.1\nName: a\nVersion: 1.0\n"
    assert read_statements(io.BytesIO(data), name) == Statements(name, info, b"[project]\n", has_setup=True)
    old = zipped("a-1.0/pyproject.toml", "a-1.0/a.py")
    assert read_statements(io.BytesIO(old), "a-1.0.zip") == Statements(
        "a-1.0.zip", None, b"[project]\n", has_setup=False
    )


def test_it_lies_at_one_place_and_belongs_to_the_builder() -> None:
    more = (
        folder("a-1.0/src"),
        TarEntry("a-1.0/src/run.sh", b"#!", mode=0o4777, owner=(501, 20)),
        symlink("a-1.0/link", "src/run.sh"),
        hardlink("a-1.0/src/same", "a-1.0/src/run.sh"),
    )
    found = layer(packed(*more))
    assert f"{PLACE}/setup.py" in found and f"{PLACE}/a-1.0" not in found
    assert {(m.uid, m.gid, m.mtime) for m in found.values()} == {(1000, 1000, 0)}
    assert found[f"{PLACE}/src/run.sh"].mode == 0o755, "set-id bits and others' leave to write are gone"
    assert (found[f"{PLACE}/link"].linkname, found[f"{PLACE}/src/same"].islnk()) == ("src/run.sh", True)
    assert layer(zipped("a-1.0/setup.py", "a-1.0/src/x.py"), "a-1.0.zip").keys() >= {PLACE, f"{PLACE}/src/x.py"}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (TarEntry("a-1.0/../../etc/cron.d/x", b"x"), "leads outside"),
        (TarEntry("/etc/passwd", b"x"), "is absolute"),
        (TarEntry("b-1.0/x", b"x"), r"outside a-1\.0/"),
        (TarEntry("x", b"x"), r"outside a-1\.0/|beside"),
        (symlink("a-1.0/l", "/etc/passwd"), "a link leads outside"),
        (symlink("a-1.0/l", "../../etc"), "a link leads outside"),
        (hardlink("a-1.0/h", "../etc/passwd"), "leads outside"),
        (hardlink("a-1.0/h", "a-1.0/later"), "no earlier file"),
        (TarEntry("a-1.0/setup.py", b"other"), "comes twice"),
        (TarEntry("a-1.0/setup.py/x", b"x"), "a directory and something else"),
        (TarEntry("a-1.0/a\x1b[2J", b"x"), "control characters"),
    ],
)
def test_D05_D06_names_and_links_that_lead_elsewhere_are_refused_by_name(entry: TarEntry, reason: str) -> None:
    with pytest.raises(LayerError, match=rf"a-1\.0\.tar\.gz: .*(?:{reason})"):
        layer(packed(entry))


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_D06_devices_and_pipes_are_refused(kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("a-1.0/x")
        member.type = kind
        archive.addfile(member)
    with pytest.raises(LayerError, match=r"a-1\.0\.tar\.gz: x: a .* is not accepted"):
        layer(buffer.getvalue())


def test_W17_a_bomb_is_refused_while_it_is_read() -> None:
    data = gzip.compress(tar(*PROJECT, TarEntry("a-1.0/zeros", bytes(80 << 20))))
    assert len(data) < 200_000
    with pytest.raises(LayerError):
        layer(data)


@pytest.mark.parametrize("name", ["../evil.py", "/etc/x", "b-1.0/x"])
def test_W01_zips_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(LayerError):
        layer(zipped("a-1.0/setup.py", name), "a-1.0.zip")


def test_what_is_no_source_is_told() -> None:
    with pytest.raises(LayerError, match="holds no Python project"):
        read_statements(io.BytesIO(gzip.compress(tar(TarEntry("a-1.0/README", b"")))), "a-1.0.tar.gz")
    with pytest.raises(LayerError, match="of no known kind"):
        read_statements(io.BytesIO(b""), "a-1.0.tar.bz2")
    with pytest.raises(LayerError):
        read_statements(io.BytesIO(packed()[:60]), "a-1.0.tar.gz")
