"""What a folder says, what it means, and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trainload.errors import ConfigError, ManyErrors, TrainloadError
from trainload.project.detect import read_project
from trainload.project.model import (
    Dependencies,
    DockerfileInput,
    NoDependencies,
    Origin,
    Project,
    PylockFile,
    PyprojectDependencies,
    RequirementFiles,
    Settings,
    UvLock,
)
from trainload.testing.tree import MemoryTree, Node


def project(nodes: dict[str, Node], **flags: object) -> Project:
    return read_project(MemoryTree(nodes, name="My Digits"), flags=flags)


def settings(nodes: dict[str, Node], environ: dict[str, str] | None = None, **flags: object) -> Settings:
    return read_project(MemoryTree(nodes, name="My Digits"), flags=flags, environ=environ or {}).settings


def dependencies(nodes: dict[str, Node]) -> tuple[Dependencies, str]:
    chosen = settings(nodes).dependencies
    return chosen.value, str(chosen.reason)


BARE: dict[str, Node] = {"train.py": "print(1)"}
NEEDS = '[project]\nname = "Dig.its"\ndependencies = ["numpy"]\n'


def test_an_ordinary_folder_needs_no_configuration() -> None:
    found = project({"train.py": "import numpy", "requirements.txt": "numpy\n"})
    assert found.warnings == ()
    assert found.settings.name.value == "my-digits"
    assert found.settings.command.value == ("python", "train.py")
    assert found.settings.dependencies.value == RequirementFiles(("requirements.txt",))
    assert found.settings.base.value == "apt:bookworm"
    assert found.settings.user.value == 1000


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default() -> None:
    file: dict[str, Node] = {**BARE, "trainload.toml": 'base = "apt:trixie"'}
    environ = {"TRAINLOAD_BASE": "apt:noble"}
    assert settings(file, environ, base="apt:jammy").base.value == "apt:jammy"
    chosen = settings(file, environ).base
    assert (chosen.value, chosen.origin, str(chosen.reason)) == (
        "apt:noble", Origin.ENVIRONMENT, "TRAINLOAD_BASE in the environment",
    )  # fmt: skip
    assert str(settings(file).base.reason) == "base in trainload.toml"
    assert settings(BARE).base.origin is Origin.DEFAULT


def test_the_environment_sets_lists_as_it_is_used_to() -> None:
    found = settings(
        BARE,
        {
            "TRAINLOAD_FIND_LINKS": "/wheels:/more wheels",
            "TRAINLOAD_INDEX_URL": "https://index.example/simple",
            "TRAINLOAD_EXTRA_INDEX_URL": "https://a.example/simple https://b.example/simple",
            "TRAINLOAD_MIRRORS_APT": "https://mirror.example/debian",
            "TRAINLOAD_MIRRORS_PYPI": "https://mirror.example/simple,https://other.example/simple",
            "TRAINLOAD_COMMAND": "python 'my train.py'",
            "TRAINLOAD_RUN_MEMORY": "2g",
            "TRAINLOAD_USER": "0",
            "TRAINLOAD_BYTECODE": "yes",
        },
    )
    assert found.find_links.value == ("/wheels", "/more wheels")
    assert found.indexes.value == (
        "https://a.example/simple", "https://b.example/simple", "https://index.example/simple",
    )  # fmt: skip
    assert found.mirrors.value.apt == ("https://mirror.example/debian",)
    assert found.mirrors.value.pypi == ("https://mirror.example/simple", "https://other.example/simple")
    assert found.command.value == ("python", "my train.py")
    assert found.run.value.memory == 2 * 1024**3
    assert str(found.run.reason) == "TRAINLOAD_RUN_MEMORY in the environment"
    assert found.user.value == 0
    assert found.bytecode.value is True


def test_an_extra_index_alone_leaves_uvs_default_last() -> None:
    found = settings({**BARE, "trainload.toml": 'extra-index = ["https://a.example/simple"]'})
    assert found.indexes.value == ("https://a.example/simple", "")


@pytest.mark.parametrize(
    ("nodes", "kind", "reason"),
    [
        ({"uv.lock": "", "pyproject.toml": NEEDS, "requirements.txt": "x"}, UvLock,
         "uv.lock is here and goes before requirements.txt"),
        ({"pylock.toml": "", "requirements.txt": "x"}, PylockFile,
         "pylock.toml is here and goes before requirements.txt"),
        ({"pyproject.toml": NEEDS, "requirements.txt": "x"}, RequirementFiles,
         "requirements.txt is here and goes before the dependencies of pyproject.toml; "
         "requirements = [] turns that round"),
        ({"pyproject.toml": NEEDS}, PyprojectDependencies, "the dependencies of pyproject.toml"),
        ({"pyproject.toml": "[project]\ndependencies = []"}, PyprojectDependencies,
         "the dependencies of pyproject.toml"),
        ({"pyproject.toml": NEEDS + "[tool.trainload]\nrequirements = []", "requirements.txt": "x"},
         PyprojectDependencies, "the dependencies of pyproject.toml"),
        ({"requirements-gpu.txt": "x", "requirements-dev.txt": "y"}, RequirementFiles,
         "requirements-gpu.txt is the only requirements file of the program itself"),
        ({"train.py": "import json, helper", "helper.py": ""}, NoDependencies,
         "no file says what the project needs, and its 2 scripts import only the standard library"),
    ],
)  # fmt: skip
def test_the_first_dependency_file_wins_and_says_over_what(nodes: dict[str, Node], kind: type, reason: str) -> None:
    value, said = dependencies({"train.py": "", **nodes})
    assert isinstance(value, kind)
    assert said == reason


def test_extras_and_groups_are_of_the_project_and_exist() -> None:
    table = NEEDS + "[project.optional-dependencies]\ngpu = []\n[dependency-groups]\ntrain = []\n[tool.trainload]\n"
    value, _ = dependencies(
        {"pyproject.toml": table + 'extras = ["GPU"]\ngroups = ["train"]', "requirements.txt": "x"}
    )
    assert value == PyprojectDependencies("pyproject.toml", ("GPU",), ("train",))
    with pytest.raises(ConfigError, match="the project has no extra called gpx; want gpu"):
        dependencies({"pyproject.toml": table + 'extras = ["gpx"]'})


def test_no_dependency_file_names_the_imports_and_what_to_write() -> None:
    with pytest.raises(ConfigError) as caught:
        dependencies({
            "train.py": "import os\nimport cv2, numpy.linalg\nfrom sklearn import svm\n"
                        "from . import x\nimport model",
            "model/__init__.py": "import yaml",
            ".venv/x.py": "import nothing",
        })  # fmt: skip
    assert str(caught.value) == (
        "no file says what the project needs, but its scripts import "
        "cv2 (train.py:2), numpy (train.py:2), sklearn (train.py:3), yaml (model/__init__.py:1)"
        "; want requirements.txt, or dependencies in pyproject.toml\n"
        "hint: if these are the right names: "
        "printf '%s\\n' numpy opencv-python-headless PyYAML scikit-learn > requirements.txt"
    )


def test_only_a_module_that_can_be_reached_is_the_projects_own() -> None:
    with pytest.raises(ConfigError, match=r"import torch \(lib/net\.py:1\); want"):
        dependencies({"train.py": "import lib, core", "lib/net.py": "import torch, near, core", "lib/near.py": "",
                      "src/core.py": "", "old/torch/x.py": ""})  # fmt: skip


def test_what_comes_later_is_said_clearly() -> None:
    found = project({**BARE, "requirements.txt": "x", "Dockerfile": "FROM x", "environment.yml": ""})
    assert [str(w) for w in found.warnings] == [
        "Dockerfile is not used: name it with -f, or set dockerfile",
    ]
    with pytest.raises(ConfigError, match="environment.yml: the file describes no environment"):
        project({"train.py": "import torch", "environment.yml": ""})
    with pytest.raises(ConfigError, match="poetry export -o requirements.txt"):
        project(
            {
                "train.py": "import torch",
                "pyproject.toml": "[tool.poetry.dependencies]\ntorch='*'",
                "poetry.lock": "",
            }
        )


@pytest.mark.parametrize(
    ("nodes", "python", "base"),
    [
        ({}, None, "apt:bookworm"),
        ({".python-version": "3.11.7\n"}, "3.11", "apt:bookworm"),
        ({".python-version": "# pinned\r\ncpython-3.12\r\n"}, "3.12", "apt:noble"),
        ({".python-version": "3.14"}, "3.14", "apt:bookworm"),
        ({".python-version": "3.12", "trainload.toml": 'base = "apt:trixie"'}, "3.12", "apt:trixie"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.9"'}, "3.11", "apt:bookworm"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.12"'}, "3.13", "apt:trixie"),
        ({"pyproject.toml": '[project]\nrequires-python = "==3.12.*"'}, "3.12", "apt:noble"),
        ({"pyproject.toml": '[project]\nrequires-python = "<3.11"'}, "3.10", "apt:jammy"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.14"'}, "3.14", "apt:bookworm"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.12"\n[tool.trainload]\nbase="apt:bookworm"'},
         "3.12", "apt:bookworm"),
        ({"trainload.toml": 'base = "python:3.12-slim"'}, None, "python:3.12-slim"),
    ],
)  # fmt: skip
def test_python_and_base_are_chosen_together(nodes: dict[str, Node], python: str | None, base: str) -> None:
    found = settings({**BARE, **nodes})
    assert (found.python.value, found.base.value) == (python, base)


def test_a_python_that_contradicts_requires_python_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Python 3.10 \(3.10 in .python-version\) is not allowed .* got >=3.11"):
        project({**BARE, ".python-version": "3.10", "pyproject.toml": '[project]\nrequires-python = ">=3.11"'})


def test_a_version_file_of_something_else_is_told_and_not_used() -> None:
    found = project({**BARE, ".python-version": "miniconda3-latest"})
    assert found.settings.python.value is None
    assert "miniconda3-latest, which is not a CPython version" in str(found.warnings[0])


@pytest.mark.parametrize(
    ("nodes", "command"),
    [
        ({"train.py": "", "main.py": ""}, ("python", "train.py")),
        ({"main.py": "", "app.py": ""}, ("python", "main.py")),
        ({"__main__.py": "", "lib.py": ""}, ("python", "__main__.py")),
        ({"digits/__main__.py": "", "digits/__init__.py": ""}, ("python", "-m", "digits")),
        ({"fit.py": "if __name__ == '__main__':\n    pass", "lib.py": ""}, ("python", "fit.py")),
        ({"fit.py": "print()"}, ("python", "fit.py")),
        ({"pyproject.toml": '[project]\n[project.scripts]\nfit = "digits.cli:main"'},
         ("python", "-c", "import sys; from digits.cli import main; sys.exit(main())")),
    ],
)  # fmt: skip
def test_the_entry_script_is_found(nodes: dict[str, Node], command: tuple[str, ...]) -> None:
    assert settings(nodes).command.value == command


def test_several_scripts_are_never_guessed_between() -> None:
    guard = "if __name__ == '__main__': pass"
    found = project({"a.py": guard, "b.py": guard})
    assert found.settings.command.value == ("python",)
    assert str(found.warnings[0]) == 'several scripts could be meant: a.py, b.py; set command = ["python", "…"]'


def test_a_src_layout_is_importable() -> None:
    found = settings({"pyproject.toml": NEEDS, "src/digits/__init__.py": "", "train.py": ""})
    assert found.env.value == {"PYTHONPATH": "/app/src"}


def test_every_mistake_of_all_sources_is_told_at_once(golden: Callable[[str, str], None]) -> None:
    with pytest.raises(ManyErrors) as caught:
        settings(
            {"pyproject.toml": '[tool.trainload]\nuser = "me"\npyhton = "3.11"\nsystem = ["ok", "Bad Name", 3]\n'
                               'memory = "8g"\n[tool.trainload.run]\nmemory = "lots"\nvolumes = ["x"]'},
            {"TRAINLOAD_BASE": "apt:woody"},
            platforms=["linux/riscv64"],
        )  # fmt: skip
    golden("every-mistake.txt", str(caught.value))


def test_a_latest_base_is_warned_about() -> None:
    found = project({**BARE, "trainload.toml": 'base = "nvidia/cuda"'})
    assert "no fixed version" in str(found.warnings[0])


def test_errors_are_the_projects_own() -> None:
    assert issubclass(ConfigError, TrainloadError)


def test_a_dockerfile_that_was_exported_from_the_project_is_no_source_of_it() -> None:
    from trainload.project.dependencies import EXPORTED

    exported = f"# digits: {EXPORTED}, from pylock.trainload.toml.\nFROM x\n"
    own = project({**BARE, "Dockerfile": "FROM x\n"})
    assert isinstance(own.settings.dependencies.value, DockerfileInput)
    assert not isinstance(project({**BARE, "Dockerfile": exported}).settings.dependencies.value, DockerfileInput)
    beside = project({**BARE, "requirements.txt": "x", "Dockerfile": exported})
    assert beside.warnings == ()
