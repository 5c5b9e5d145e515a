"""``environment.yml``: read as conda reads it; what conda would do differently is refused by name (F06, F13)."""

from __future__ import annotations

import time

import pytest

from trainload.errors import ConfigError, TrainloadError
from trainload.project.conda.environment import read_environment
from trainload.project.detect import read_project
from trainload.project.inputs import inputs_digest
from trainload.project.model import CondaFile, CondaLockFile, CondaLockKind, PyprojectDependencies, RequirementFiles
from trainload.project.model import UvLock as Uv
from trainload.testing.tree import MemoryTree

PLAIN = """\
name: digits
channels: [pytorch, conda-forge, nodefaults]
dependencies:
  - python=3.11
  - conda-forge::numpy >=1.26,<2  # a comment
  - libblas=*=*mkl
  - "scipy[version='>=1.11']"
  - openblas=0.3=h1_0
  - pip
  - pip:
      - torch==2.9
      - -r more.txt
      - "lightning # with a comment"
variables:
  MODE: 1
  NAME: "a b"
prefix: /home/me/miniconda3/envs/digits
"""


def read(text: str, **files: str) -> CondaFile:
    nodes = {"environment.yml": text, **{name.replace("_", "."): data for name, data in files.items()}}
    return read_environment(MemoryTree(nodes), "environment.yml", {})


def test_everything_that_conda_writes_is_read() -> None:
    found = read(PLAIN, more_txt="einops\n-c bounds.txt\n", bounds_txt="numpy<2\n")
    assert found == CondaFile(
        path="environment.yml",
        name="digits",
        channels=("pytorch", "conda-forge"),
        specs=(
            "python=3.11", "conda-forge::numpy >=1.26,<2", "libblas=*=*mkl", "scipy[version='>=1.11']",
            "openblas=0.3=h1_0", "pip",
        ),
        pip=("torch==2.9", "einops", "lightning"),
        constraints=("numpy<2",),
        included=("bounds.txt", "more.txt"),
        variables=(("MODE", "1"), ("NAME", "a b")),
    )  # fmt: skip


def test_F07_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    files = {"train.py": "", "more.txt": "", "environment.yml": PLAIN}
    other = {**files, "environment.yml": "\ufeff" + PLAIN.replace("\n", "\r\n")}
    digests = {inputs_digest(MemoryTree(nodes), read_project(MemoryTree(nodes))) for nodes in (files, other)}
    assert len(digests) == 1


def test_a_version_stays_as_it_is_written() -> None:
    assert read("dependencies: [python=3.10, numpy 1.20]").specs == ("python=3.10", "numpy 1.20")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dependencies: [a]\nplatforms: [x]", "environment.yml:2: there is no such key; got platforms"),
        ("dependencies:\n- a  # [linux]", "environment.yml:2: selectors are not applied"),
        ("dependencies:\n- a # [not win]", "selectors are not applied"),
        ("dependencies:\n- a={{ version }}", "environment.yml:2: templates"),
        ("{% set v = 1 %}\ndependencies: [a]", "environment.yml:1: templates"),
        ("dependencies:\n- a\n- npm: [x]", "environment.yml:3: there is no such section; got npm"),
        ("dependencies:\n- https://x.example/a.conda", "packages by address or path are not taken"),
        ("dependencies:\n- ./a.tar.bz2", "packages by address or path are not taken"),
        ("dependencies:\n- a b c d;e", "this is not a dependency"),
        ("dependencies:\n- [a]", "this is not a dependency"),
        ("dependencies: a", "dependencies is not a list"),
        ("variables: [a]", "variables is not a table"),
        ("variables: {PATH: x}", "PATH is set by Trainload itself"),
        ("variables: {a b: x}", "this is not an environment variable"),
        ("dependencies: [{pip: [-e .]}]", "environment.yml:1: . is no Python project"),
        ("dependencies: [{pip: [-e ../lib]}]", "must lie inside the folder that goes into the image"),
        ("dependencies: [{pip: [-e wheels/x.whl]}]", "an editable install cannot go into an image"),
        ("dependencies: [{pip: [./wheels/x.whl]}]", "a path of this machine means nothing elsewhere"),
        ("dependencies: [{pip: [--index-url https://x.example/simple]}]", "may not choose the package index"),
        ("dependencies: [{pip: [--install-option=x]}]", "this option is not understood"),
        ("dependencies: [{pip: [-r none.txt]}]", "none.txt does not exist"),
        ("name: [x", "not valid YAML"),
        ("- a", "describes no environment"),
        ("name: a\nname: b", "a key stands here twice"),
        ("name: &a x\nchannels: [*a]", "aliases are not accepted"),
        ("name: !!python/object:os.system x", "tags are not accepted"),
        ("name: a\n---\nname: b", "more than one document"),
        ("name: " + "[" * 200 + "]" * 200, "nested too deeply"),
    ],
)
def test_F13_what_is_not_conda_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("channel", ["https://me:hunter2@conda.example/c", "https://conda.example/t/tk-hunter2/c"])
def test_C09_a_token_is_refused_and_never_told(channel: str) -> None:
    with pytest.raises(ConfigError, match="password or token") as caught:
        read(f"channels: ['{channel}']\ndependencies: [a]")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        read(f"dependencies: ['{channel}/linux-64/a.conda']")
    assert "hunter2" not in str(caught.value)


def test_F06_a_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n"
                                   for n in range(20))  # fmt: skip
    started = time.process_time()
    for text in (bomb, "name: " + "x" * 600_000, "[" * 100_000, "{" * 100_000 + "a"):
        with pytest.raises(TrainloadError):
            read(text)
    assert time.process_time() - started < 20


ENV = "dependencies: [python=3.11]"
TABLE = '[project]\nname = "x"\nversion = "1"\ndependencies = ["a"]\n'


@pytest.mark.parametrize(
    ("nodes", "kind", "reason"),
    [
        ({"environment.yml": ENV}, CondaFile, "environment.yml is here"),
        ({"environment.yaml": ENV}, CondaFile, "environment.yaml is here"),
        ({"environment.yml": ENV, "requirements.txt": "a"}, RequirementFiles,
         "requirements.txt is here and goes before environment.yml; "
         'conda.file = "environment.yml" turns that round'),
        ({"environment.yml": "dependencies: [python, {pip: [-r requirements.txt]}]", "requirements.txt": "a"},
         CondaFile, "environment.yml is here"),
        ({"environment.yml": ENV, "pyproject.toml": TABLE}, CondaFile, "environment.yml is here"),
        ({"environment.yml": ENV, "pyproject.toml": TABLE + '[tool.trainload]\nextras = []\ngroups = ["dev"]\n'
          '[dependency-groups]\ndev = ["b"]\n'}, PyprojectDependencies, "the dependencies of pyproject.toml"),
        ({"environment.yml": ENV, "conda-lock.yml": ""}, CondaLockFile, "conda-lock.yml is here"),
        ({"requirements.txt": "# a\n@EXPLICIT\nhttps://x.example/a.conda#0\n"}, CondaLockFile,
         "requirements.txt is what `conda list --explicit` writes"),
        ({"environment.yml": ENV, "requirements.txt": "a", "trainload.toml": '[conda]\nfile = "environment.yml"'},
         CondaFile, "conda.file in trainload.toml"),
        ({"environment.yml": ENV, "requirements.txt": "a", "trainload.toml": 'requirements = ["requirements.txt"]'},
         RequirementFiles, "requirements in trainload.toml"),
        ({"environment.yml": ENV, "pyproject.toml": TABLE, "uv.lock": "version = 1"}, Uv,
         "uv.lock is here"),
    ],
)  # fmt: skip
def test_which_file_counts_and_why(nodes: dict[str, str], kind: type, reason: str) -> None:
    chosen = read_project(MemoryTree({"train.py": "", **nodes})).settings.dependencies
    assert isinstance(chosen.value, kind)
    assert str(chosen.reason) == reason


def test_two_files_that_both_count_are_refused() -> None:
    config = 'requirements = ["requirements.txt"]\n[conda]\nfile = "environment.yml"'
    nodes = {"train.py": "", "environment.yml": ENV, "requirements.txt": "a", "trainload.toml": config}
    with pytest.raises(ConfigError, match="conda.file stands for the whole environment"):
        read_project(MemoryTree(nodes))
    with pytest.raises(ConfigError, match="env.yml does not exist"):
        read_project(MemoryTree({"train.py": "", "trainload.toml": '[conda]\nfile = "env.yml"'}))


def test_what_is_asked_for_is_the_locks_input_and_what_is_only_set_is_not() -> None:
    def digest(text: str, config: str = "") -> str:
        tree = MemoryTree({"train.py": "", "environment.yml": text, "trainload.toml": config})
        return inputs_digest(tree, read_project(tree))

    first = digest(ENV)
    assert digest(ENV + "\n# a comment\nname: other\nvariables: {A: b}") == first
    assert digest(ENV, "[mirrors]\nconda = ['https://mirror.example']") == first
    assert digest("dependencies: [python=3.12]") != first
    assert digest("channels: [x]\n" + ENV) != first
    assert digest(ENV, "[conda]\nchannel-priority = 'strict'") != first
    assert digest("dependencies: [python=3.11, {pip: [a]}]") != first


def test_a_lock_of_the_users_is_named_by_its_kind() -> None:
    config = '[conda]\nfile = "deploy/gpu.conda-lock.yml"'
    tree = MemoryTree({"train.py": "", "deploy/gpu.conda-lock.yml": "", "trainload.toml": config})
    found = read_project(tree).settings.dependencies.value
    assert found == CondaLockFile("deploy/gpu.conda-lock.yml", CondaLockKind.CONDA_LOCK)


def test_F12_a_variable_that_looks_like_a_secret_is_told_by_name() -> None:
    text = ENV + "\nvariables: {API_TOKEN: hunter2, MODE: fast}"
    found = read_project(MemoryTree({"train.py": "", "environment.yml": text}))
    told = [str(warning) for warning in found.warnings]
    assert len(told) == 1 and told[0].startswith("API_TOKEN in environment.yml looks like a secret")
    assert "hunter2" not in told[0]
    assert str(found.settings.python.reason) == "the conda environment's own"


def test_a_list_for_another_platform_is_not_overlooked_where_nothing_else_is_there() -> None:
    text = "# platform: osx-arm64\n@EXPLICIT\n"
    alone = read_project(MemoryTree({"train.py": "", "conda-osx-arm64.lock": text}))
    found = CondaLockFile("conda-osx-arm64.lock", CondaLockKind.EXPLICIT)
    assert alone.settings.dependencies.value == found
    beside = read_project(
        MemoryTree({"train.py": "", "conda-osx-arm64.lock": text, "environment.yml": PLAIN, "more.txt": ""})
    )
    assert isinstance(beside.settings.dependencies.value, CondaFile)
