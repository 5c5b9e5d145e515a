"""Which saved files are a reason to run again."""

from __future__ import annotations

from trainload.project.edits import Basis, Edits, look, worth_a_look
from trainload.testing.tree import MemoryTree, Node
from trainload.tree import Above

BARE: dict[str, Node] = {"train.py": "print()", "requirements.txt": "six\n", "notes.json": "{}"}


def basis(nodes: dict[str, Node] | None = None) -> Basis:
    return look(MemoryTree({**BARE, **(nodes or {})}), {}, {}, Above())


def test_only_files_that_go_in_count_also_gone_ones() -> None:
    before, now = basis({"old.py": ""}), basis({".gitignore": "*.log\n", "a.log": ""})
    paths = frozenset({"train.py", "old.py", "a.log", "sedXYZ", "pylock.trainload.toml"})
    assert Edits().counting(paths, before, now) == ("old.py", "train.py")


def test_code_leaves_the_image_as_it_is_and_requirements_and_configuration_do_not() -> None:
    before = basis()
    assert basis({"train.py": "print(2)"}).same_image(before)
    assert not basis({"requirements.txt": "six\nrich\n"}).same_image(before)
    assert not basis({"trainload.toml": 'command = ["python", "train.py", "--fast"]'}).same_image(before)
    assert not basis({"pylock.trainload.toml": "x"}).same_image(before)


def test_another_lock_is_a_reason_and_the_one_that_was_just_written_is_none() -> None:
    paths = frozenset({"pylock.trainload.toml"})
    now = basis({"pylock.trainload.toml": "x"})
    assert Edits().counting(paths, basis(), now) == ("pylock.trainload.toml",)
    assert Edits().counting(paths, now, now) == ()


def test_after_a_failed_build_any_file_of_the_project_is_a_reason() -> None:
    assert Edits().counting(frozenset({"requirements.txt"}), None, basis()) == ("requirements.txt",)


def test_what_each_run_writes_is_put_aside_the_second_time_and_source_never_is() -> None:
    edits, now = Edits(), basis()
    assert edits.counting(frozenset({"notes.json"}), now, now) == ("notes.json",)
    assert edits.counting(frozenset({"notes.json"}), now, now) == ()
    assert edits.put_aside == ("notes.json",)
    assert edits.counting(frozenset({"notes.json"}), now, now) == ()
    assert list(edits.put_aside) == [], "it is told once"
    for _ in range(3):
        assert edits.counting(frozenset({"train.py"}), now, now) == ("train.py",)


def test_a_data_file_that_is_edited_between_edits_of_code_goes_on_to_count() -> None:
    edits, now = Edits(), basis()
    for path in ("notes.json", "train.py", "notes.json", "train.py", "notes.json"):
        assert edits.counting(frozenset({path}), now, now) == (path,)


def test_what_runs_write_all_the_time_is_not_even_looked_at() -> None:
    noise = {"outputs/log.txt", "a/__pycache__/b.pyc", ".git/index", ".venv/bin/python"}
    assert worth_a_look(frozenset({*noise, "src/outputs/keep.py"})) == {"src/outputs/keep.py"}
