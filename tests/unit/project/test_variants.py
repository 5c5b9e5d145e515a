"""Variants: what adds, what replaces, what is refused with its key path; and combinations of a matrix."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from trainload.cli.main import run
from trainload.errors import ManyErrors, TrainloadError
from trainload.project.detect import read_project
from trainload.project.inputs import inputs_digest
from trainload.project.listing import list_code
from trainload.project.matrix import Cell, cells
from trainload.project.model import Project
from trainload.project.schema import schema
from trainload.system.tree import DiskTree
from trainload.testing.tree import MemoryTree

TEAM = b"""
name = "vision"
system = ["git"]
env = { A = "1", B = "2" }
command = ["python", "train.py"]
user = 1000
[run]
memory = "1g"
[variants.base]
system = ["curl"]
requirements = ["base.txt"]
[variants.cv]
inherits = "base"
system = ["libgl1", "git"]
requirements = ["cv.txt"]
env = { B = "3" }
command = ["python", "cv.py"]
[variants.cv.run]
memory = "2g"
shm = "1g"
[variants.cv-small]
inherits = "cv"
user = 1001
"""
FILES = {"train.py": b"print()", "cv.py": b"", "base.txt": b"a\n", "cv.txt": b"b\n"}


def project(variant: str | None = None, toml: bytes = TEAM, **environ: str) -> Project:
    tree = MemoryTree({**FILES, "trainload.toml": toml})
    return read_project(tree, flags={"variant": variant}, environ=environ)


def test_arrays_add_tables_add_by_name_and_the_rest_replaces() -> None:
    settings = project("cv").settings
    assert settings.system.value == ("git", "curl", "libgl1")
    assert getattr(settings.dependencies.value, "files", None) == ("base.txt", "cv.txt")
    assert settings.env.value == {"A": "1", "B": "3"}
    assert settings.command.value == ("python", "cv.py"), "a command line is one whole"
    assert (settings.run.value.memory, settings.run.value.shm) == (2 << 30, 1 << 30)


def test_a_variant_stands_on_what_it_inherits_from() -> None:
    small = project("cv-small")
    assert small.settings.user.value == 1001 and small.settings.env.value["B"] == "3"
    assert small.locks == (
        "pylock.trainload-cv-small.toml", "pylock.trainload-cv.toml", "pylock.trainload-base.toml",
        "pylock.trainload.toml",
    )  # fmt: skip
    assert project().settings.system.value == ("git",) and project().locks == ("pylock.trainload.toml",)


def test_the_reason_names_the_variant_and_what_is_set_elsewhere_is_stronger() -> None:
    assert "variants.cv.command in trainload.toml" in str(project("cv").settings.command.reason)
    tree = MemoryTree({**FILES, "trainload.toml": TEAM})
    assert read_project(tree, flags={"variant": "cv-small", "user": 5}).settings.user.value == 5
    assert project(TRAINLOAD_VARIANT="cv").variant == "cv"
    assert project(toml=b'variant = "cv"\n' + TEAM).variant == "cv"


def test_locks_of_variants_do_not_mix() -> None:
    tree = MemoryTree({**FILES, "trainload.toml": TEAM})
    names = [None, "base", "cv", "cv-small"]
    digests = [inputs_digest(tree, read_project(tree, flags={"variant": name})) for name in names]
    assert len(set(digests[:3])) == 3 and digests[2] == digests[3], "a user decides nothing that is locked"


def test_a_lock_of_a_variant_is_no_code() -> None:
    tree = MemoryTree({"train.py": b"print()", "pylock.trainload-cv.toml": b"", "pylock.other.toml": b""})
    assert [file.path for file in list_code(tree, read_project(tree)).files] == ["pylock.other.toml", "train.py"]


def test_a_variant_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(TrainloadError, match="there is no variant nlp") as caught:
        project("nlp")
    assert "base, cv, cv-small" in str(caught.value) and "--variant" in str(caught.value)
    with pytest.raises(TrainloadError, match="there is no variant cv"):
        project("cv", toml=b"")


def test_every_mistake_of_every_variant_is_told_with_its_place() -> None:
    wrong = b"""
    [variants.a]
    inherits = "none"
    sytem = ["x"]
    [variants.b]
    inherits = "c"
    user = "me"
    [variants.c]
    inherits = "b"
    matrix = { python = ["3.11"] }
    [variants."No Name"]
    """
    with pytest.raises(ManyErrors) as caught:
        project(toml=wrong)
    told = str(caught.value)
    for part in (
        "variants.a.inherits: there is no variant none", "variants.a.sytem: there is no such key",
        "variants.b.user",
        "variants.b.inherits: variants inherit from each other in a circle", "b → c → b",
        "variants.c.matrix.python",
        "a variant cannot be called so",
    ):  # fmt: skip
        assert part in told, part


def test_in_pyproject_the_paths_are_whole() -> None:
    tree = MemoryTree({"train.py": b"", "pyproject.toml": b"[tool.trainload.variants.cv]\nusr = 1\n"})
    with pytest.raises(TrainloadError, match=r"pyproject.toml: tool.trainload.variants.cv.usr"):
        read_project(tree)


def test_the_schema_has_the_same_keys_for_variants() -> None:
    properties = schema()["properties"]
    assert isinstance(properties, dict)
    inside = properties["variants"]["additionalProperties"]["properties"]
    assert {"inherits", "system", "run", "weights"} <= set(inside)
    assert not {"matrix", "variant", "variants", "hosts"} & set(inside)


def test_a_matrix_is_every_combination_that_is_not_excluded() -> None:
    made = cells(["cv"], ["3.11", "3.12"], ["cpu", "cu128"], [(("accelerator", "cu128"), ("python", "3.11"))])
    assert [cell.tag for cell in made] == ["cv-py3.11-cpu", "cv-py3.12-cpu", "cv-py3.12-cu128"]
    assert made[0].key == "cv-py311-cpu" and made[0].flags() == {
        "variant": "cv", "python": "3.11", "accelerator": "cpu",
    }  # fmt: skip
    assert cells([], [], [], []) == (Cell(),) and Cell().tag == ""
    assert [cell.tag for cell in cells([], ["3.12"], [], [])] == ["py3.12"]


def test_a_matrix_that_makes_no_sense_is_told() -> None:
    with pytest.raises(ManyErrors) as caught:
        project(toml=b'[matrix]\npython = ["3"]\nexclude = [{ pyton = "3.11" }]\naccelerator = ["gpu"]\n')
    told = str(caught.value)
    assert "matrix.python[0]" in told and "matrix.exclude[0].pyton" in told and "matrix.accelerator[0]" in told


@pytest.mark.parametrize("file", ["trainload.toml", "pyproject.toml"])
def test_a_configuration_that_is_written_anew_keeps_its_variants_and_weights(tmp_path: Path, file: str) -> None:
    prefix = "tool.trainload." if file == "pyproject.toml" else ""
    head = "[tool.trainload]\n" if prefix else ""
    (tmp_path / "train.py").write_text("print()")
    (tmp_path / file).write_text(
        f'{head}variant = "cv"\nsystem = ["git"]\n'
        'weights = ["hf://a/b", { source = "hf://c/d", target = "/m" }]\n'
        f'[{prefix}variants.cv]\nsystem = ["curl"]\n[{prefix}variants.cv.run]\nshm = "1g"\n'
    )
    before = read_project(DiskTree(tmp_path)).settings
    environ = {"TRAINLOAD_HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}
    assert run(["init", "--force"], environ=environ, cwd=tmp_path, stdout=io.StringIO(), stderr=io.StringIO()) == 0
    after = read_project(DiskTree(tmp_path)).settings
    assert before.system.value == after.system.value == ("git", "curl")
    assert before.weights.value == after.weights.value and after.run.value.shm == 1 << 30


TRAPS = b"""
[variants.base]
include = []
[variants.cv]
inherits = "base"
requirements = ["cv.txt"]
"""


def _warned(own: bytes = b"", **files: bytes) -> str:
    nodes = {
        "train.py": b"print()",
        "cv.txt": b"b\n",
        **{name.replace("_", "."): data for name, data in files.items()},
    }
    tree = MemoryTree({**nodes, "trainload.toml": own + TRAPS})
    return "\n".join(map(str, read_project(tree, flags={"variant": "cv"}).warnings))


def test_a_variant_that_leaves_out_what_would_be_found_is_told() -> None:
    assert "requirements.txt does not count here: the variant cv" in _warned(requirements_txt=b"a\n")
    metadata = b'[project]\nname = "x"\nversion = "1"\ndependencies = ["a"]\n'
    assert "the dependencies of pyproject.toml do not count here" in _warned(pyproject_toml=metadata)
    named = _warned(b'requirements = ["requirements.txt"]\n', requirements_txt=b"a\n")
    assert "does not count" not in named and "does not count" not in _warned()


def test_a_variant_without_code_by_inheritance_is_told() -> None:
    assert "no code goes in: include = [] comes from the variant base" in _warned()
    tree = MemoryTree({"train.py": b"print()", "cv.txt": b"b\n", "trainload.toml": TRAPS})
    base = read_project(tree, flags={"variant": "base"})
    assert not any("no code goes in" in str(warning) for warning in base.warnings), "a base has none on purpose"
