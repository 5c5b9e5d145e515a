"""What a conda layer holds beside plain files: compiled Python, hard links, several owners, the environment."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.unit.layers.conda.test_conda_threats import files

from trainload.errors import LayerError
from trainload.layers.conda.activation import Untold, activated, brought, first_line
from trainload.layers.conda.claims import clashes, conda_claims, read_index
from trainload.layers.conda.distributions import distributions
from trainload.layers.conda.environment import write_conda_environment
from trainload.layers.conda.write import write_conda
from trainload.plan.model import CondaEnvironmentRecipe, CondaRecipe
from trainload.testing.conda import MTIME, PLACEHOLDER, Content, Spec, package
from trainload.testing.sources import MemorySources

FORMS = pytest.mark.parametrize("form", [".conda", ".tar.bz2"])


def tree(*specs: Spec) -> dict[str, tarfile.TarInfo | bytes]:
    """Files by path below the prefix; links as their tar entries."""
    archives = {spec.file: package(spec) for spec in specs}
    recipe = CondaRecipe(
        tuple(files(spec, archives[spec.file]) for spec in specs), "lib/python3.11/site-packages", "3.11"
    )
    sink = io.BytesIO()
    write_conda(recipe, MemorySources(archives), sink)
    found: dict[str, tarfile.TarInfo | bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        for info in tar:
            if not info.isdir():
                file = tar.extractfile(info) if info.isreg() else None
                found[info.name.removeprefix("opt/conda/")] = file.read() if file else info
    return found


def pyc(time: int, size: int, flags: int = 0) -> bytes:
    return struct.pack("<4sIII", b"\xa7\r\r\n", flags, time, size) + b"code"


@FORMS
def test_bytecode_names_the_time_that_layers_have(form: str) -> None:
    source, folder = b"x = 1\n", "lib/python3.11"
    spec = Spec("a", files={
        f"{folder}/fresh.py": Content(source),
        f"{folder}/__pycache__/fresh.cpython-311.pyc": Content(pyc(MTIME, len(source))),
        f"{folder}/__pycache__/fresh.cpython-311.opt-1.pyc": Content(pyc(MTIME, len(source))),
        f"{folder}/stale.py": Content(source),
        f"{folder}/__pycache__/stale.cpython-311.pyc": Content(pyc(MTIME - 5, len(source))),
        f"{folder}/hashed.py": Content(source),
        f"{folder}/__pycache__/hashed.cpython-311.pyc": Content(pyc(MTIME, len(source), 3)),
        f"{folder}/__pycache__/alone.cpython-311.pyc": Content(pyc(MTIME, 5)),
        f"{folder}/__pycache__/short.cpython-311.pyc": Content(b"x"),
    }, form=form)  # fmt: skip
    found = tree(spec)
    names = (
        "fresh.cpython-311",
        "fresh.cpython-311.opt-1",
        "stale.cpython-311",
        "hashed.cpython-311",
        "alone.cpython-311",
    )
    times = [struct.unpack_from("<I", bytes(found[f"{folder}/__pycache__/{n}.pyc"]), 8)[0] for n in names]  # type: ignore[arg-type]
    assert times == [0, 0, MTIME - 5, MTIME, MTIME]
    record = json.loads(bytes(found["conda-meta/a-1.0-0.json"]))  # type: ignore[arg-type]
    rows = {row["_path"]: row for row in record["paths_data"]["paths"]}
    assert "sha256_in_prefix" in rows[f"{folder}/__pycache__/fresh.cpython-311.pyc"]
    assert "sha256_in_prefix" not in rows[f"{folder}/__pycache__/stale.cpython-311.pyc"]


@FORMS
def test_a_hard_link_is_one(form: str) -> None:
    spec = Spec("a", files={"bin/one": Content(b"1" * 100, 0o755), "bin/two": Content(hard="bin/one")}, form=form)
    link = tree(spec)["bin/two"]
    assert isinstance(link, tarfile.TarInfo) and link.islnk() and link.linkname == "opt/conda/bin/one"
    other = replace(spec, files={**spec.files, "bin/two": Content(hard="bin/one", sha256="0" * 64)})
    with pytest.raises(LayerError, match="listed as another file than it leads to"):
        tree(other)


def test_a_package_from_before_2017_is_placed() -> None:
    text = f"#!{PLACEHOLDER}/bin/sh\n".encode()
    spec = Spec("old", files={"bin/x": Content(text, 0o755), "lib/y": Content(b"y")}, form=".tar.bz2")
    data = package(replace(spec, info={"has_prefix": f"{PLACEHOLDER} text bin/x\n".encode()}))
    plain = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar, tarfile.open(fileobj=plain, mode="w:bz2") as out:
        for info in tar:
            if info.name != "info/paths.json":
                out.addfile(info, tar.extractfile(info))
    sink = io.BytesIO()
    recipe = CondaRecipe((files(spec, plain.getvalue()),))
    write_conda(recipe, MemorySources({spec.file: plain.getvalue()}), sink)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as made:
        script = made.extractfile("opt/conda/bin/x")
        assert script is not None and script.read() == b"#!/opt/conda/bin/sh\n"


def claimed(specs: Sequence[Spec]) -> dict[tuple[str, str], list[str]]:
    found = []
    for spec in specs:
        data = package(spec)
        recipe = CondaRecipe((files(spec, data),), "lib/python3.11/site-packages", "3.11")
        found.append((spec.name, conda_claims(recipe, recipe.packages[0], io.BytesIO(data))))
    return clashes(found)


@FORMS
def test_the_later_package_of_a_layer_has_the_path_and_the_clash_is_known(form: str) -> None:
    both = Content(b"same")
    one = Spec("a", files={"share/x": Content(b"a"), "share/y": both}, form=form)
    two = Spec("b", files={"share/x": Content(b"b"), "share/y": both}, form=form)
    found = tree(one, two)
    assert found["share/x"] == b"b" and found["share/y"] == b"same"
    assert claimed([one, two]) == {("a", "b"): ["opt/conda/share/x"]}
    assert "share/x" in json.loads(bytes(found["conda-meta/a-1.0-0.json"]))["files"]  # type: ignore[arg-type]
    points = [
        Spec(name, files={f"site-packages/{name}.py": Content(b"")}, subdir="noarch", noarch="python",
             entry_points=[f"run = {name}:main"], form=form)
        for name in ("c", "d")
    ]  # fmt: skip
    assert claimed(points) == {("c", "d"): ["opt/conda/bin/run"]}
    assert b"from d import main" in bytes(tree(*points)["bin/run"])  # type: ignore[arg-type]


@FORMS
def test_what_a_package_says_is_read_without_its_content(form: str) -> None:
    metadata = b"Metadata-Version: 2.1\nName: A\nVersion: 1\n"
    variables = json.dumps({"A": f"{PLACEHOLDER}/a"}).encode()
    spec = Spec("a", files={
        "site-packages/a-1.dist-info/METADATA": Content(metadata),
        "site-packages/a/vendored/b-1.dist-info/METADATA": Content(metadata),
        "etc/conda/env_vars.d/a.json": Content(variables, placeholder=PLACEHOLDER),
    }, subdir="noarch", noarch="python", depends=["python"], form=form)  # fmt: skip
    data = package(spec)
    assert read_index(io.BytesIO(data), spec.file)["depends"] == ["python"]
    assert list(distributions(io.BytesIO(data), spec.file)) == [metadata]
    found = brought(io.BytesIO(data), files(spec, data))
    assert (found.variables, found.scripts, found.linking) == ({"A": "/opt/conda/a"}, {}, {})


@pytest.mark.parametrize("variables", [{"PATH": "/evil"}, {"LD_PRELOAD": "x"}, {"a b": "x"}, {"A": 1}, {"A": "\0"}])
def test_D6_a_package_may_not_set_what_decides_who_runs(variables: dict[str, object]) -> None:
    spec = Spec("a", files={"etc/conda/env_vars.d/a.json": Content(json.dumps(variables).encode())})
    data = package(spec)
    with pytest.raises(LayerError, match="may not be set by a package"):
        brought(io.BytesIO(data), files(spec, data))


def test_what_scripts_set_is_told_in_condas_order_without_running_any() -> None:
    own = {"etc/conda/env_vars.d/a.json": Content(json.dumps({"A": "declared"}).encode())}
    scripts = {
        "z-a": "export A=\"$A and script\"", "b": "[ -d $CONDA_PREFIX/share/b ] && export B=$CONDA_PREFIX/share/b",
        "c": "export C=$(pwd)", "d": "export LD_LIBRARY_PATH=/x D=1", "e": "\0",
    }  # fmt: skip
    found = []
    for name, text in scripts.items():
        data_of = {
            f"etc/conda/activate.d/{name}.sh": Content(text.encode()),
            "etc/conda/activate.d/x.fish": Content(),
        }
        spec = Spec(
            f"p{name[0]}", files={**data_of, f"share/{name}/file": Content(), **(own if name == "b" else {})}
        )
        data = package(spec)
        found.append(brought(io.BytesIO(data), files(spec, data)))
    variables, untold = activated(found)
    assert variables == {"A": "declared and script", "B": "/opt/conda/share/b"}
    assert untold == (
        Untold("pc-1.0-0.conda", "etc/conda/activate.d/c.sh", "$(pwd)"),
        Untold("pd-1.0-0.conda", "etc/conda/activate.d/d.sh", "export LD_LIBRARY_PATH"),
        Untold("pe-1.0-0.conda", "etc/conda/activate.d/e.sh", "…"),
    )


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("#!/bin/sh\n# nothing\nset -eu\nexit 0\n", ""),
        ('#!/bin/sh\necho "Thank you" >> "$PREFIX/.messages.txt"\n', ""),
        ("echo x > $PREFIX/etc/x\n", "echo x > $PREFIX/etc/x"),
        ("echo `touch x`\n", "echo `touch x`"),
        ("#!/bin/sh\n  fc-cache -f\n", "fc-cache -f"),
    ],
)
def test_a_linking_script_that_does_nothing_is_no_news(script: str, line: str) -> None:
    assert first_line(script) == line


def test_the_environment_is_one_that_conda_knows() -> None:
    recipe = CondaEnvironmentRecipe(("python=3.11",), ("conda-forge/linux-64::python-3.11.9-h0_0",), (("A", "b"),))
    sink = io.BytesIO()
    write_conda_environment(recipe, sink)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        assert tar.getmember("opt/venv").linkname == "conda"
        history, state = (
            tar.extractfile("opt/conda/conda-meta/history"),
            tar.extractfile("opt/conda/conda-meta/state"),
        )
        assert history is not None and state is not None
        assert history.read().decode().splitlines() == [
            "==> 1970-01-01 00:00:00 <==", "# cmd: trainload build", "+conda-forge/linux-64::python-3.11.9-h0_0",
            '# update specs: ["python=3.11"]',
        ]  # fmt: skip
        assert json.loads(state.read()) == {"env_vars": {"A": "b"}}
