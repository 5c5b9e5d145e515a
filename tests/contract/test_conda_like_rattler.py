"""The tree of a conda layer is the one that rattler's own installer makes of the same packages.

Apart from what the guide names: ``conda-meta/*.json`` says nothing of the machine that installed it, times are 0
and modes the usual ones, ``CACHEDIR.TAG`` is not written, compiled files name the time of their source.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from trainload.layers.conda.write import write_conda
from trainload.lock.model import ChannelPath, File
from trainload.plan.model import CondaFiles, CondaRecipe
from trainload.testing.conda import PLACEHOLDER, Content, Spec, write_channel
from trainload.testing.sources import MemorySources

P = PLACEHOLDER.encode()
PREFIX = "/opt/conda"
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_OF_THE_MACHINE = {"extracted_package_dir", "link", "url", "channel", "md5", "package_tarball_full_path"}


def library(name: str, *, form: str = ".conda") -> Spec:
    binary = (
        b"\x7fELF" + b"\0" * 40 + P + b"/share/" + name.encode() + b"\0tail\0a=" + P + b"/lib:" + P + b"/lib64\0end"
    )
    files = {
        f"lib/lib{name}.so.1": Content(binary, 0o755, placeholder=PLACEHOLDER, binary=True),
        f"lib/lib{name}.so": Content(link=f"lib{name}.so.1"),
        f"bin/{name}-config": Content(
            b"#!" + P + b"/bin/sh\necho -I" + P + b"/include\n", 0o775, placeholder=PLACEHOLDER
        ),
        f"bin/{name}-crlf": Content(b"#!" + P + b"/bin/sh\r\n:\r\n", 0o755, placeholder=PLACEHOLDER),
        f"share/{name}/crlf.txt": Content(b"a=" + P + b"/x\r\n\r\nb=" + P, placeholder=PLACEHOLDER),
        f"share/{name}/latin.txt": Content(b"\xff\xfe" + P + P + b"\x80\0" + P, placeholder=PLACEHOLDER),
        f"lib/{name}.bin": Content(
            P + b"\0" + P + P + b"/a\0\0\0b" + P + b":\0" + b"x" + P, placeholder=PLACEHOLDER, binary=True
        ),
        f"lib/{name}-big.so": Content(
            bytes(range(256)) * 5000 + P + b"/lib\0" + b"A=" + P + b"/x:" + P + b"/y\0" + bytes(9) + P,
            0o755,
            placeholder=PLACEHOLDER,
            binary=True,
        ),
        f"lib/{name}-hard.so": Content(hard=f"lib/{name}.bin", placeholder=PLACEHOLDER, binary=True),
        f"lib/{name}-wide.so": Content(
            b"".join(f"a\0{PLACEHOLDER}/b:{PLACEHOLDER}\0c\0".encode(each) for each in WIDE),
            placeholder=PLACEHOLDER,
            binary=True,
        ),
        f"share/{name}/wide.txt": Content(f"a={PLACEHOLDER}".encode("utf-16-le"), placeholder=PLACEHOLDER),
        f"bin/{name}-long": Content(
            b"#!" + P + b"/bin/python -E " + b"x" * 120 + b"\n" + P, 0o755, placeholder=PLACEHOLDER
        ),
        f"bin/{name}-perl": Content(
            b"#!" + P + b"/bin/perl -x " + b"y" * 120 + b"\n", 0o755, placeholder=PLACEHOLDER
        ),
        f"Menu/{name}.json": Content(b'{"menu_name": "' + P + b'"}', placeholder=PLACEHOLDER),
        f"bin/.{name}-post-link.sh": Content(b"#!/bin/sh\nexit 1\n", 0o755),
        f"share/{name}/up": Content(link="../../lib"),
        f"share/{name}/data.bin": Content(bytes(range(256)) * 4000),
        f"share/{name}/data2.bin": Content(hard=f"share/{name}/data.bin"),
        f"share/{name}/näme with blank": Content(b""),
    }
    index = {"track_features": f"feature-{name}"}
    return Spec(name, "1.2", "h0_0", files, form=form, depends=["__glibc >=2.17"], index=index)


def channel() -> list[Spec]:
    return [
        library("zlib"),
        library("oldlib", form=".tar.bz2"),
        Spec("python", "3.11.9", "h0_0", {
            "bin/python3.11": Content(b"\x7fELF program", 0o755),
            "bin/python": Content(link="python3.11"),
            "lib/python3.11/os.py": Content(b"import sys\n"),
        }),
        Spec("app", "2.0", "pyh0_0", {
            "site-packages/app/__init__.py": Content(b"def main(): print('hi')\n"),
            "site-packages/app-2.0.dist-info/METADATA": Content(b"Name: app\nVersion: 2.0\n"),
            "python-scripts/app-old": Content(b"#!" + P + b"/bin/python\n", 0o755, placeholder=PLACEHOLDER),
            "share/app/x": Content(b"x"),
        }, subdir="noarch", noarch="python", depends=["python >=3.8", "zlib", "oldlib", "data"],
           entry_points=["app = app:main", "app-sub = app.sub:Main.run"], form=".tar.bz2"),
        Spec("data", "0.1", "0", {"share/data.txt": Content(b"text\n")}, subdir="noarch", noarch="generic"),
    ]  # fmt: skip


def installed(folder: Path, specs: Sequence[Spec], wanted: str) -> Path:
    """What rattler makes of the packages."""
    import rattler

    async def work() -> None:
        gateway = rattler.Gateway(cache_dir=folder / "cache")
        records = await rattler.solve(
            sources=[rattler.Channel(f"file://{folder}/conda-forge/")], specs=[wanted], gateway=gateway,
            platforms=[rattler.Subdir("linux-64"), rattler.Subdir("noarch")],
            virtual_packages=[
                rattler.GenericVirtualPackage(
                    rattler.PackageName("__glibc"), rattler.Version("2.36"), rattler.BuildString("0")
                )
            ],
        )  # fmt: skip
        assert {record.name.normalized for record in records} == {spec.name for spec in specs}
        await rattler.install(
            records, folder / "prefix", cache_dir=folder / "pkgs", platform=rattler.Subdir("linux-64"),
            alternative_target_prefix=PREFIX, execute_link_scripts=False, show_progress=False,
        )  # fmt: skip

    asyncio.run(work())
    return folder / "prefix"


def recipe(specs: Sequence[Spec], archives: Mapping[str, bytes]) -> CondaRecipe:
    return CondaRecipe(
        tuple(
            CondaFiles(
                spec.name, spec.version, spec.build,
                File(spec.file, hashlib.sha256(archives[spec.file]).hexdigest(), len(archives[spec.file]),
                     ChannelPath("conda-forge", f"{spec.subdir}/{spec.file}", "https://conda.example/conda-forge")),
                "conda-forge", f"https://conda.example/conda-forge/{spec.subdir}/{spec.file}",
                tuple(spec.depends), tuple(spec.constrains), spec.noarch or "",
            )
            for spec in sorted(specs, key=lambda spec: spec.name)
        ),
        "lib/python3.11/site-packages", "3.11",
    )  # fmt: skip


Tree = dict[str, tuple[str, object]]


def layer(specs: Sequence[Spec], archives: Mapping[str, bytes]) -> Tree:
    sink = io.BytesIO()
    write_conda(recipe(specs, archives), MemorySources(archives), sink)
    found: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        for info in tar:
            path = info.name.removeprefix("opt/conda").lstrip("/")
            if info.isdir():
                found[path] = ("folder", None)
            elif info.issym():
                found[path] = ("link", info.linkname)
            else:
                file = tar.extractfile(info)
                assert file is not None
                found[path] = ("program" if info.mode & 0o111 else "file", file.read())
            assert (info.uid, info.gid, info.mtime, info.uname) == (0, 0, 0, "")
            assert info.mode in (0o755, 0o644, 0o777)
    return {path: what for path, what in found.items() if path not in ("", "opt")}


def on_disk(root: Path) -> Tree:
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        name, state = str(path.relative_to(root)), path.lstat()
        if stat.S_ISLNK(state.st_mode):
            found[name] = ("link", str(path.readlink()))
        elif stat.S_ISDIR(state.st_mode):
            found[name] = ("folder", None)
        else:
            found[name] = ("program" if state.st_mode & 0o111 else "file", path.read_bytes())
    return found


def test_the_tree_is_the_one_that_rattler_installs(tmp_path: Path) -> None:
    specs = channel()
    archives = write_channel(tmp_path / "conda-forge", specs)
    theirs, ours = on_disk(installed(tmp_path, specs, "app")), layer(specs, archives)
    for path in ("CACHEDIR.TAG", "conda-meta/history"):
        theirs.pop(path, None)
    assert sorted(ours) == sorted(theirs)
    for path, what in ours.items():
        if path.startswith("conda-meta/") and what[0] == "file":
            assert _plain(what[1]) == _plain(theirs[path][1])
        else:
            assert what == theirs[path], path
    assert any(what[0] == "link" for what in ours.values())


def _plain(data: object) -> dict[str, object]:
    assert isinstance(data, bytes)
    values: dict[str, object] = json.loads(data)
    return {key: value for key, value in values.items() if key not in _OF_THE_MACHINE and value not in ([], None)}


def test_a_python_may_name_another_folder_for_packages(tmp_path: Path) -> None:
    folder = "lib/python3.13t/site-packages"
    specs = [
        Spec("python", "3.13.1", "h0_cp313t", {"bin/python3.13": Content(b"\x7fELF program", 0o755)},
             index={"python_site_packages_path": folder}),
        Spec("app", "2.0", "pyh0_0", {"site-packages/app.py": Content(b"")}, subdir="noarch", noarch="python",
             depends=["python"], entry_points=["app = app:main"]),
    ]  # fmt: skip
    archives = write_channel(tmp_path / "conda-forge", specs)
    theirs = on_disk(installed(tmp_path, specs, "app"))
    made = replace(recipe(specs, archives), site_packages=folder, python="3.13")
    sink = io.BytesIO()
    write_conda(made, MemorySources(archives), sink)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        ours = {info.name.removeprefix("opt/conda/"): tar.extractfile(info) for info in tar if info.isfile()}
        for path in ("bin/app", f"{folder}/app.py"):
            file = ours[path]
            assert file is not None and file.read() == theirs[path][1]


def test_a_solver_and_conda_can_read_the_records_back(tmp_path: Path) -> None:
    import rattler

    specs = channel()
    archives = write_channel(tmp_path / "conda-forge", specs)
    for path, (kind, data) in layer(specs, archives).items():
        if path.startswith("conda-meta/") and kind == "file":
            assert isinstance(data, bytes)
            target = tmp_path / path.rpartition("/")[2]
            target.write_bytes(data)
            record = rattler.PrefixRecord.from_path(target)
            assert record.sha256 is not None and record.url.startswith("https://conda.example/conda-forge/")
            assert record.files and record.channel == "conda-forge"


@pytest.mark.parametrize("order", [1, -1])
def test_the_layer_is_the_same_bytes_in_any_order_of_making(tmp_path: Path, order: int) -> None:
    specs = channel()
    archives = write_channel(tmp_path / "conda-forge", specs)
    sinks = [io.BytesIO(), io.BytesIO()]
    for sink, given in zip(sinks, (specs, specs[::order]), strict=True):
        write_conda(recipe(given, archives), MemorySources(archives), sink)
    assert sinks[0].getvalue() == sinks[1].getvalue()
