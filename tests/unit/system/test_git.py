"""What git says of a folder from outside it, held against git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainload.project.detect import read_project
from trainload.project.listing import list_code
from trainload.system.git import above, commit_of
from trainload.system.tree import DiskTree
from trainload.tree import Above

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository with a home of its own, and a project somewhere in it."""

    root: Path
    home: Path
    project: Path

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "XDG_"))}
        return {**kept, "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(self, *words: str, folder: Path | None = None) -> bytes:
        return subprocess.run(
            ["git", "-C", folder or self.root, *words], check=True, capture_output=True, env=self.environ
        ).stdout

    def write(self, path: str, text: str = "") -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def ours(self) -> set[str]:
        tree = DiskTree(self.project)
        return {file.path for file in list_code(tree, read_project(tree), above(self.project, self.environ)).files}

    def gits(self) -> set[str]:
        told = self.git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=self.project)
        return set(told.decode().split("\0")) - {""}


def checkout(folder: Path, inside: str = "") -> Checkout:
    made = Checkout(folder / "repo", folder / "home", folder / "repo" / inside)
    made.home.mkdir(parents=True)
    made.project.mkdir(parents=True)
    made.git("init", "-q")
    made.write(f"{inside}/train.py".lstrip("/"), "print()")
    return made


PIECES = st.sampled_from(["a", "b", "p", "q", "*", "*.x", "a*", "**", "[ab]", "b.x", "train.py"])
PATTERN = st.builds(
    lambda bang, lead, names, tail: bang + lead + "/".join(names) + tail,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)
PATTERNS = st.lists(PATTERN, max_size=3).map("\n".join)
INSIDE = st.sampled_from(["", "p", "p/q"])
FILES = st.lists(
    st.lists(st.sampled_from(["a", "b", "b.x", "c.x", "p", "q"]), min_size=1, max_size=4).map("/".join), max_size=8
)


def test_law_what_goes_in_is_what_git_keeps(tmp_path: Path) -> None:
    folders = (tmp_path / str(number) for number in range(10**6))

    @settings(max_examples=60, deadline=None)
    @given(INSIDE, FILES, st.dictionaries(INSIDE, PATTERNS, max_size=3), PATTERNS, PATTERNS, st.data())
    def law(
        inside: str, files: list[str], ignores: dict[str, str], exclude: str, users: str, data: st.DataObject
    ) -> None:
        made = checkout(next(folders), inside)
        for folder, text in ignores.items():
            made.write(f"{folder}/.gitignore".lstrip("/"), text)
        made.write(".git/info/exclude", exclude)
        (made.home / ".config/git").mkdir(parents=True)
        (made.home / ".config/git/ignore").write_text(users)
        there: list[str] = []
        for path in dict.fromkeys(files):
            clash = any(o == path or o.startswith(path + "/") or path.startswith(o + "/") for o in there)
            if not clash and not (made.root / path).exists():
                made.write(path)
                there.append(path)
        tracked = [path for path in there if data.draw(st.booleans())]
        if tracked:
            made.git("add", "-f", "--", *tracked)
        if subprocess.run(
            ["git", "-C", made.root, "check-ignore", "-q", "--no-index", "--", inside or "./x-none"],
            env=made.environ, check=False,
        ).returncode == 0 and inside:  # fmt: skip
            return  # git has no word on a project it ignores: see below
        assert made.ours() == made.gits()

    law()


def test_a_project_that_git_ignores_as_a_whole_has_its_own_rules_only(tmp_path: Path) -> None:
    made = checkout(tmp_path, "scratch/try")
    made.write(".gitignore", "scratch/\n*.txt\n")
    made.write("scratch/try/notes.txt")
    made.write("scratch/try/.gitignore", "*.log\n")
    made.write("scratch/try/x.log")
    assert made.ours() == {"train.py", "notes.txt", ".gitignore"}


def test_the_user_may_name_another_file_of_ignores(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    (made.home / "mine").write_text("*.swp\n")
    (made.home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/mine\n")
    made.write("a.swp")
    made.write("b.py")
    assert made.ours() == made.gits() == {"train.py", "b.py"}


def test_a_repository_inside_has_rules_of_its_own(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    made.write(".gitignore", "*.bin\n")
    made.git("init", "-q", "vendor/lib")
    made.write("vendor/lib/weights.bin")
    made.write("vendor/lib/notes.tmp")
    made.write("vendor/lib/.git/info/exclude", "*.tmp\n")
    made.write("x.bin")
    assert made.ours() == {"train.py", ".gitignore", "vendor/lib/weights.bin"}


def test_a_worktree_has_its_repositorys_excludes(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    made.git("-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "--allow-empty", "-m", "x")
    made.git("worktree", "add", "-q", str(tmp_path / "tree"))
    made.write(".git/info/exclude", "*.tmp\n")
    tree = Checkout(tmp_path / "tree", made.home, tmp_path / "tree")
    tree.write("train.py", "print()")
    tree.write("a.tmp")
    assert tree.ours() == tree.gits() == {"train.py"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder away")
def test_a_repository_of_somebody_else_above_has_no_say(tmp_path: Path) -> None:
    made = checkout(tmp_path, "mine")
    made.write(".gitignore", "*.py\n")
    os.chown(made.root / ".git", 4711, 4711)
    assert above(made.project, made.environ) == Above()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder away")
def test_where_git_refuses_it_is_told(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    made.write(".gitignore", "*.bin\n")
    made.write("w.bin")
    made.git("add", "-f", "w.bin")
    for path in (made.root, made.root / ".git"):
        os.chown(path, 4711, 4711)
    (told,) = above(made.project, made.environ).warnings
    assert "git does not tell which ignored files are tracked" in str(told) and "dubious ownership" in str(told)


def test_a_repositorys_configuration_runs_no_program(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    made.write("a")
    made.git("add", "a")
    mark = tmp_path / "harmed"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    script.chmod(0o755)
    made.git("config", "core.fsmonitor", str(script))
    made.git("config", "core.sshCommand", str(script))
    made.git("config", "core.pager", str(script))
    above(made.project, made.environ)
    commit_of(made.project)
    assert not mark.exists()


def test_variables_of_a_hook_mean_no_other_repository(tmp_path: Path) -> None:
    made = checkout(tmp_path / "one")
    made.write(".gitignore", "*.bin\n")
    made.write("w.bin")
    made.git("add", "-f", "w.bin")
    other = checkout(tmp_path / "two")
    environ = {**made.environ, "GIT_DIR": str(other.root / ".git"), "GIT_INDEX_FILE": "/nowhere"}
    assert above(made.project, environ).tracked == {"w.bin"}


def test_no_repository_no_word(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()  # an empty folder is none
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / "x").mkdir()
    assert above(tmp_path / "x", {"HOME": str(tmp_path)}) == Above()
