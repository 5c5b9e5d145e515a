"""What an sdist says of itself: PEP 517 and 518 for its build, PEP 621 and 643 for its requirements."""

from __future__ import annotations

import pytest

from trainload.errors import LockError
from trainload.lock.source import LEGACY, BuildSystem, Metadata, Statements, build_system, static_metadata

FLIT = '[build-system]\nrequires = ["flit_core>=3.2,<4"]\nbuild-backend = "flit_core.buildapi"\n'


def said(pyproject: str | None = None, pkg_info: str | None = None, *, setup: bool = False) -> Statements:
    def data(text: str | None) -> bytes | None:
        return None if text is None else text.encode()

    return Statements("a-1.0.tar.gz", data(pkg_info), data(pyproject), setup)


@pytest.mark.parametrize("pyproject", [None, "", '[project]\nname = "a"\n', "[tool.x]\n"])
def test_without_a_build_system_setuptools_builds(pyproject: str | None) -> None:
    assert build_system(said(pyproject, setup=True)) == BuildSystem(("setuptools>=40.8.0",), LEGACY, ())


def test_a_build_system_without_a_backend_is_built_the_old_way() -> None:
    found = build_system(said('[build-system]\nrequires = ["setuptools", "cython"]\n'))
    assert (found.requires, found.backend, found.complete) == (("setuptools", "cython"), LEGACY, False)


def test_backends_that_ask_for_nothing_more_are_not_asked() -> None:
    assert build_system(said(FLIT)).complete
    assert build_system(said(FLIT.replace("flit_core.buildapi", "poetry.core.masonry.api"))).complete
    hatch = FLIT.replace("flit_core.buildapi", "hatchling.build")
    assert build_system(said(hatch)).complete
    assert not build_system(said(hatch + '[tool.hatch.build.hooks.custom]\npath = "x.py"\n')).complete
    setuptools = FLIT.replace("flit_core.buildapi", "setuptools.build_meta") + '[project]\nname = "a"\n'
    assert build_system(said(setuptools)).complete
    assert not build_system(said(setuptools, setup=True)).complete


def test_a_backend_of_its_own_is_always_asked() -> None:
    assert not build_system(said(FLIT + 'backend-path = ["."]\n')).complete


@pytest.mark.parametrize(
    "text",
    [
        "build-system = 1\n",
        '[build-system]\nrequires = "setuptools"\n',
        "[build-system]\nrequires = [1]\n",
        '[build-system]\nrequires = []\nbuild-backend = "os; import x"\n',
        '[build-system]\nrequires = []\nbuild-backend = "x"\nbackend-path = ["../.."]\n',
        '[build-system]\nrequires = []\nbuild-backend = "x"\nbackend-path = ["/etc"]\n',
    ],
)
def test_a_build_system_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LockError, match=r"a-1\.0\.tar\.gz: pyproject\.toml: "):
        build_system(said(text))


NEW = "Metadata-Version: 2.2\nName: a\nVersion: 1.0\nRequires-Dist: b>=1\nRequires-Python: >=3.8\n"


def test_metadata_of_2_2_that_is_not_dynamic_is_believed() -> None:
    assert static_metadata(said(pkg_info=NEW)) == Metadata(("b>=1",), ">=3.8", ())
    assert static_metadata(said(pkg_info=NEW + "Dynamic: Description\n")) is not None


@pytest.mark.parametrize(
    "text",
    [
        NEW.replace("2.2", "2.1"),
        NEW + "Dynamic: Requires-Dist\n",
        NEW + "Dynamic: requires-python\n",
        NEW + "Dynamic: Provides-Extra\n",
        NEW.replace("2.2", "x"),
        "",
    ],
)
def test_what_may_change_while_it_is_built_is_not_believed(text: str) -> None:
    assert static_metadata(said(pkg_info=text)) is None


PROJECT = """
[project]
name = "a"
version = "1.0"
requires-python = ">=3.9"
dependencies = ["b>=1"]
optional-dependencies = { z = ["c; python_version < '3.12'", "d @ https://h.example/d.whl"] }
"""


def test_a_project_table_without_dynamic_requirements_is_believed() -> None:
    found = static_metadata(said(PROJECT))
    assert found is not None
    assert (found.requires_python, found.extras) == (">=3.9", ("z",))
    assert found.requires == (
        "b>=1",
        "c ; (python_version < '3.12') and extra == 'z'",
        "d @ https://h.example/d.whl ; extra == 'z'",
    )


@pytest.mark.parametrize("name", ["dependencies", "optional-dependencies", "requires-python"])
def test_a_project_table_with_dynamic_requirements_is_not_believed(name: str) -> None:
    assert static_metadata(said(PROJECT.replace('name = "a"', f'name = "a"\ndynamic = ["{name}"]'))) is None
    assert static_metadata(said("[tool.poetry]\nname = 'a'\n")) is None
