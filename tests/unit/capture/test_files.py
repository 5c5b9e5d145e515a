"""Files go back into the project as a build would take them, a whole proposal at once or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from trainload.capture.difference import diff
from trainload.capture.files import Sides, Taken, take
from trainload.capture.model import Edit
from trainload.capture.write import write
from trainload.errors import ConfigError
from trainload.layers.tarread import MemberKind
from trainload.project.detect import read_project
from trainload.run.changed import Found, How
from trainload.system.tree import DiskTree
from trainload.tree import Above


def file(text: str, mode: int = 0o644) -> Found:
    return Found(MemberKind.FILE, mode, len(text), text.encode())


def link(target: str) -> Found:
    return Found(MemberKind.SYMLINK, 0o777, target=target)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "train.py").write_text("one\n")
    return tmp_path


def taken(folder: Path, now: Mapping[str, Found], before: Mapping[str, Found] | None = None) -> Taken:
    tree = DiskTree(folder)
    names = {*now, *(before or {})}
    here = {
        path: file((folder / path).read_text(), (folder / path).stat().st_mode & 0o755)
        for path in names
        if (folder / path).is_file()
    }
    code = [(path, How.CHANGED if path in now else How.DELETED) for path in sorted(names)]
    return take(code, Sides(now, before or {}, here), tree, read_project(tree), Above())


def test_an_edited_file_whose_original_is_the_projects_goes_back(folder: Path) -> None:
    found = taken(folder, {"train.py": file("two\n", 0o664)}, {"train.py": file("one\n")})
    assert (found.edits, found.conflicts) == ((Edit("train.py", file("one\n"), file("two\n")),), ())


def test_a_file_that_changed_on_both_sides_is_a_conflict_and_the_same_change_is_none(folder: Path) -> None:
    assert taken(folder, {"train.py": file("two\n")}, {"train.py": file("zero\n")}).conflicts == ("train.py",)
    assert taken(folder, {"train.py": file("one\n")}, {"train.py": file("zero\n")}) == Taken((), (), ())
    assert taken(folder, {"train.py": file("two\n")}).conflicts == ("train.py",)
    assert taken(folder, {}, {"train.py": file("zero\n")}).conflicts == ("train.py",)


def test_a_deleted_file_goes_and_an_executable_one_stays_so(folder: Path) -> None:
    assert taken(folder, {}, {"train.py": file("one\n")}).edits == (Edit("train.py", file("one\n"), None),)
    assert taken(folder, {"run.sh": file("x\n", 0o775)}).edits == (Edit("run.sh", None, file("x\n", 0o755)),)


def test_secrets_and_what_the_project_ignores_never_come_back(folder: Path) -> None:
    token = "hf_" + "abcdefghijklmnopqrstuvwxyz0123456789"
    now = {
        ".env": file("x"), "a/id_rsa": file("x"), "notes.txt": file(token), "train.log": file("x"),
        "a/__pycache__/x.pyc": file("x"), "ok.txt": file("ok\n"),
    }  # fmt: skip
    found = taken(folder, now)
    assert [edit.path for edit in found.edits] == ["ok.txt"]
    assert {path: str(why) for path, why in found.left_out} == {
        ".env": "it is a secret (environment file)", "a/id_rsa": "it is a secret (ssh key)",
        "notes.txt": "it is a secret (Hugging Face token)", "train.log": "the project ignores it (*.log)",
    }  # fmt: skip


def test_links_that_lead_away_and_names_of_whiteouts_are_left_out(folder: Path) -> None:
    now = {
        "good": link("train.py"), "abs": link("/etc/passwd"), "up": link("../../x"), ".wh.train.py": file(""),
    }  # fmt: skip
    found = taken(folder, now)
    assert [edit.path for edit in found.edits] == ["good"]
    assert {path for path, _ in found.left_out} == {"abs", "up", ".wh.train.py"}


def test_a_large_file_is_told_and_not_taken(folder: Path) -> None:
    found = taken(folder, {"model.bin": Found(MemberKind.FILE, 0o644, 1 << 30, None)})
    assert found.edits == () and "larger" in str(found.left_out[0][1])


def state(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (path.read_text(), path.stat().st_mode & 0o777)
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def test_a_proposal_is_written_whole(folder: Path) -> None:
    write(
        folder,
        [
            Edit("train.py", file("one\n"), file("two\n", 0o755)), Edit("new/deep/x", None, file("x")),
            Edit("new/l", None, link("deep/x")),
        ],
    )  # fmt: skip
    assert (folder / "train.py").read_text() == "two\n" and (folder / "train.py").stat().st_mode & 0o100
    assert (folder / "new/l").read_text() == "x"
    write(folder, [Edit("train.py", file("two\n"), None)])
    assert not (folder / "train.py").exists()


@pytest.mark.parametrize(
    "bad",
    [
        Edit("requirements.txt/x", None, file("x")),
        Edit("train.py", file("other\n"), file("x")),
        Edit("train.py", None, file("x")),
        Edit("gone.py", file("x"), file("y")),
    ],
)
def test_what_is_not_as_it_was_shown_writes_nothing(folder: Path, bad: Edit) -> None:
    before = state(folder)
    with pytest.raises(ConfigError):
        write(folder, [Edit("a/first", None, file("x")), bad])
    assert state(folder) == before and not (folder / "a").exists()


def test_no_link_of_the_project_is_followed_when_it_is_written(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (folder / "link").symlink_to(outside)
    with pytest.raises(ConfigError, match="links are not followed"):
        write(folder, [Edit("link/x", None, file("x"))])
    assert list(outside.iterdir()) == []


def test_a_failure_in_the_middle_takes_everything_back(folder: Path) -> None:
    before = state(folder)
    long = "n" * 300
    with pytest.raises(Exception, match="."):
        write(folder, [Edit("train.py", file("one\n"), file("two\n")), Edit("b/x", None, file("x")),
                       Edit(f"c/{long}", None, file("x"))])  # fmt: skip
    assert state(folder) == before and not (folder / "b").exists()


def test_a_difference_is_gits_and_cannot_move_the_cursor() -> None:
    text = diff([Edit("a\x1b[2J", file("x\n"), file("x\n\x1b[2Jy\n")), Edit("new", None, file("")),
                 Edit("b.bin", None, Found(MemberKind.FILE, 0o644, 2, b"\0\1"))])  # fmt: skip
    assert "\x1b" not in text
    assert "--- a/a\\x1b[2J\n+++ b/a\\x1b[2J\n" in text and "+\\x1b[2Jy\n" in text
    assert "--- /dev/null\n+++ b/new\n" in text and "0 -> 2 bytes" in text


def test_a_file_may_become_a_folder_and_a_folder_a_file(folder: Path) -> None:
    (folder / "pkg").mkdir()
    (folder / "pkg/a.py").write_text("a\n")
    write(folder, [
        Edit("train.py", file("one\n"), None), Edit("pkg/a.py", file("a\n"), None),
        Edit("train.py/x.py", None, file("x\n")), Edit("pkg", Found(MemberKind.DIRECTORY, 0o755), file("p\n")),
    ])  # fmt: skip
    assert (folder / "train.py/x.py").read_text() == "x\n"
    assert (folder / "pkg").read_text() == "p\n"


def test_what_cannot_be_put_back_together_was_never_taken_apart(folder: Path) -> None:
    (folder / "pkg").mkdir()
    for name in ("a.py", "other"):
        (folder / "pkg" / name).write_text("a\n")
    with pytest.raises(ConfigError, match="did not have"):
        write(folder, [
            Edit("train.py", file("one\n"), None), Edit("pkg/a.py", file("a\n"), None),
            Edit("train.py/x.py", None, file("x\n")), Edit("pkg", Found(MemberKind.DIRECTORY, 0o755), file("p\n")),
        ])  # fmt: skip
    assert (folder / "train.py").read_text() == "one\n"
    assert sorted(path.name for path in (folder / "pkg").iterdir()) == ["a.py", "other"]
