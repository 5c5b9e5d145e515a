"""Packages of repositories: where nothing may be built they are refused, and another package than named is none."""

from __future__ import annotations

import pytest

from trainload.errors import LockError
from trainload.lock.model import Commit, File
from trainload.lock.source import Statements
from trainload.project.model import GitRequirement
from trainload.resolve.own import found_out
from trainload.resolve.sources import Examiner
from trainload.resolve.upgrade import Upgrade

URL = "https://git.example/me/made.git"
COMMIT = "d" * 40


class Static:
    """Reads a source that says all of itself."""

    def statements(self, sdist: File, /) -> Statements:
        text = '[project]\nname = "Made_It"\nversion = "1.0rc1"\ndependencies = ["numpy"]\n'
        return Statements(sdist.name, None, text.encode())

    def requires(self, build: object, sdist: File, /) -> tuple[str, ...]:
        raise AssertionError("nothing need be asked")

    metadata = requires


def fetch(url: str, revision: str, folder: str, known: File | None) -> File:
    assert known is None
    return File("made-dddddddddddd.tar.gz", "a" * 64, 7, Commit(url, COMMIT, folder))


def test_where_nothing_may_be_built_a_repository_is_refused() -> None:
    with pytest.raises(LockError, match=f"{URL} is a source, and nothing is built from source") as caught:
        found_out((GitRequirement(URL),), fetch, None, None, Upgrade())
    assert "find-links" in str(caught.value.hints[0])
    assert found_out((), fetch, None, None, Upgrade()) == ()


def test_what_the_files_say_is_believed_and_uv_is_told_of_that_version_alone() -> None:
    examiner = Examiner(Static(), lambda requires, kept: ())  # type: ignore[arg-type]
    asked = GitRequirement(URL, "main", name="made-it", extras=("x",), marker="python_version > '3'")
    (own,) = found_out((asked,), fetch, examiner, None, Upgrade())
    assert own.line == "made-it[x]==1.0rc1 ; python_version > '3'"
    assert own.sdist.location == Commit(URL, COMMIT, "", "main")
    assert (own.installed.name, own.installed.requires) == ("made-it", ("numpy",))


def test_another_package_than_the_one_that_is_named_is_refused() -> None:
    examiner = Examiner(Static(), lambda requires, kept: ())  # type: ignore[arg-type]
    with pytest.raises(LockError, match="holds another package") as caught:
        found_out((GitRequirement(URL, name="other"),), fetch, examiner, None, Upgrade())
    assert (caught.value.got, caught.value.want) == ("made-it", "other")
