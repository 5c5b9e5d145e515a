"""Requirements from repositories, as pip writes them; an address that tells a password is refused."""

from __future__ import annotations

import pytest

from trainload.errors import ConfigError, Place
from trainload.project.model import GitRequirement
from trainload.project.vcs import git_requirement

URL = "https://git.example/me/made.git"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (f"git+{URL}", GitRequirement(URL)),
        (f"git+{URL}@main", GitRequirement(URL, "main")),
        (f"git+{URL}@feature/x#egg=Made_It[a,b]",
         GitRequirement(URL, "feature/x", name="made-it", extras=("a", "b"))),
        (f"made @ git+{URL}@v1.0#subdirectory=a/b", GitRequirement(URL, "v1.0", "a/b", "made")),
        (f"made[x] @ git+{URL} ; python_version > '3'",
         GitRequirement(URL, name="made", extras=("x",), marker="python_version > '3'")),
    ],
)  # fmt: skip
def test_forms_of_pip_are_read(text: str, want: GitRequirement) -> None:
    assert git_requirement(text, Place("x")) == want


@pytest.mark.parametrize("text", ["numpy", "made @ https://x.example/m.whl", "./lib", "x; python_version>'3'"])
def test_other_requirements_are_none(text: str) -> None:
    assert git_requirement(text, Place("x")) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("git+http://git.example/x", "this address of a repository is not fetched"),
        ("git+ssh://git@git.example/x", "this address of a repository is not fetched"),
        ("git+file:///srv/x", "this address of a repository is not fetched"),
        ("git://git.example/x", "this address of a repository is not fetched"),
        ("git+https://me:hunter2@git.example/x", "carries credentials"),
        ("git+https://git.example/x?token=hunter2", "carries credentials"),
        ("git+https://git.example/x@--upload-pack=evil", "this is no address of a repository"),
        ("git+https://git.example/x#subdirectory=../y", "this is no address of a repository"),
        ("git+https://git.example/", "this is no address of a repository"),
    ],
)
def test_what_cannot_be_locked_or_tells_a_secret_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        git_requirement(text, Place("environment.yml", line=3))
    assert "hunter2" not in str(caught.value) and "environment.yml:3" in str(caught.value)
