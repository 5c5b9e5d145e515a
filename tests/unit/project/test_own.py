"""``-e .`` in the ``pip:`` section of an environment: what it requires is read where it is written down."""

from __future__ import annotations

import pytest

from trainload.errors import ConfigError, TrainloadError
from trainload.project.conda.environment import read_environment
from trainload.project.detect import read_project
from trainload.project.inputs import inputs_digest
from trainload.project.model import CondaFile
from trainload.testing.tree import MemoryTree

PYPROJECT = """
[project]
name = "digits"
version = "1"
dependencies = ["numpy>=1.26"]
[project.optional-dependencies]
dev = ["pytest"]
all = ["digits[dev]", "einops"]
"""
SETUP = """
from setuptools import find_packages, setup
setup(name="taming", packages=find_packages(), install_requires=["torch", "tqdm"], extras_require={"x": ["rich"]})
"""


def read(pip: str, files: dict[str, str], at: str = "environment.yml") -> CondaFile:
    text = f"dependencies:\n- python\n- pip:\n  - {pip}\n"
    return read_environment(MemoryTree({at: text, **files}), at, {})


@pytest.mark.parametrize("line", ["-e .", ".", "-e ./", "--editable=.", "./"])
def test_the_project_itself_stands_for_what_it_requires(line: str) -> None:
    found = read(line, {"pyproject.toml": PYPROJECT, "digits/__init__.py": ""})
    assert (found.pip, found.paths) == (("numpy>=1.26",), ("",))


def test_extras_may_name_others() -> None:
    found = read('"-e .[all]"', {"pyproject.toml": PYPROJECT})
    assert found.pip == ("numpy>=1.26", "einops", "pytest")


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        ({"pyproject.toml": PYPROJECT, "src/digits/__init__.py": ""}, ("src",)),
        ({"pyproject.toml": PYPROJECT, "src/digits.py": ""}, ("src",)),
        ({"pyproject.toml": PYPROJECT, "src/__init__.py": "", "src/x.py": ""}, ("",)),
        ({"pyproject.toml": PYPROJECT, "src/native/x.c": ""}, ("src",)),
        ({"pyproject.toml": PYPROJECT + '[tool.setuptools.packages.find]\nwhere = ["python"]\n'}, ("python",)),
        ({"pyproject.toml": PYPROJECT + '[tool.setuptools.package-dir]\n"" = "lib"\n'}, ("lib",)),
        ({"setup.py": 'from setuptools import setup\nsetup(name="x", package_dir={"": "code"})'}, ("code",)),
    ],
)  # fmt: skip
def test_it_is_imported_from_where_its_packages_lie(files: dict[str, str], paths: tuple[str, ...]) -> None:
    assert read("-e .", files).paths == paths


def test_a_setup_py_is_read_and_never_run() -> None:
    found = read('"-e .[x]"', {"setup.py": SETUP})
    assert (found.pip, found.paths) == (("torch", "tqdm", "rich"), ("",))
    cfg = "[options]\ninstall_requires =\n  numpy\n  # not this\n  scipy>=1\n[options.extras_require]\nx = rich\n"
    found = read('"-e .[x]"', {"setup.cfg": cfg, "setup.py": "import setuptools\nsetuptools.setup()"})
    assert found.pip == ("numpy", "scipy>=1", "rich")


@pytest.mark.parametrize(
    "files",
    [
        {"setup.py": "setup(install_requires=open('requirements.txt').read().split())"},
        {"setup.py": "setup(**everything)"},
        {"setup.py": "setup(name='a')\nsetup(name='b')"},
        {"setup.py": "def broken("},
        {"setup.py": "setup(install_requires=" + "[" * 5000 + "]" * 5000 + ")"},
        {"setup.cfg": "[options]\ninstall_requires = file: requirements.txt\n"},
        {"setup.cfg": "no section"},
        {"pyproject.toml": "[project]\nname='x'\ndynamic=['dependencies']\n"},
        {"pyproject.toml": "[build-system]\nrequires=['flit_core']\n"},
        {"pyproject.toml": "[tool.poetry.dependencies]\nnumpy='^1'\n"},
    ],
)
def test_what_only_its_build_tells_is_refused_with_what_to_write(files: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read("-e .", files)
    assert "environment.yml:4: what the project in . requires is known only to its build" in str(caught.value)
    assert "write what it requires into the pip section" in str(caught.value.hints[0])


def test_paths_are_those_of_the_files_own_folder() -> None:
    files = {"pyproject.toml": PYPROJECT, "lib/setup.py": SETUP, "envs/more.txt": "-e ../lib\n"}
    found = read("-r more.txt\n  - -e ..", files, "envs/environment.yml")
    assert (found.pip, found.paths) == (("torch", "tqdm", "numpy>=1.26"), ("lib", ""))


def test_a_requirement_of_the_project_is_judged_as_any_other() -> None:
    wrong = PYPROJECT.replace("numpy>=1.26", "x @ http://x.example/x.whl")
    with pytest.raises(TrainloadError, match="pyproject.toml:5: this URL"):
        read("-e .", {"pyproject.toml": wrong})


def test_another_requirement_of_the_project_asks_for_a_new_lock() -> None:
    text = "dependencies:\n- python\n- pip:\n  - -e .\n"
    digests = set()
    for pyproject in (PYPROJECT, PYPROJECT + "# a comment\n", PYPROJECT.replace("1.26", "1.27")):
        tree = MemoryTree({"environment.yml": text, "pyproject.toml": pyproject, "train.py": ""})
        digests.add(inputs_digest(tree, read_project(tree)))
    assert len(digests) == 2


def test_a_requirements_file_alone_has_no_place_for_it() -> None:
    with pytest.raises(ConfigError, match="an editable install cannot go into an image"):
        read_project(MemoryTree({"requirements.txt": "-e .\n", "train.py": "", "setup.py": SETUP}))
