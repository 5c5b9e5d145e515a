"""What COPY's sources mean in a build context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from trainload.builder.dockerfile.copying import changed, check_mode
from trainload.builder.dockerfile.parents import with_parents
from trainload.builder.dockerfile.patterns import matches, within
from trainload.builder.dockerfile.takes import Context
from trainload.errors import ConfigError, Place
from trainload.layers.tarread import MemberKind
from trainload.testing.tree import Fifo, Link, MemoryTree, Node
from trainload.tree import Entry

LINE = Place("Dockerfile", line=7)
FILES: Mapping[str, Node] = {
    "a.py": "1", "b.py": "2", "c.txt": "3", "src/m.py": "4", "src/deep/n.py": "5", "src/x.log": "6", ".hidden": "7",
    "link": Link("a.py"), "out": Link("/etc/passwd"), "up": Link("../../x"), "to-folder": Link("src"),
    "pipe": Fifo(),
    ".dockerignore": "c.txt\n", "Dockerfile.lock": "", "wh/.wh.x": "", "src/inner": Link("deep/n.py"),
}  # fmt: skip


def context(**modes: int) -> Context:
    return Context(MemoryTree(FILES, modes=modes), "Dockerfile", own=("Dockerfile.lock",))


def taken(pattern: str, *exclude: str) -> list[tuple[str, list[str]]]:
    found = [pair for one in context().take(pattern, exclude, LINE) for pair in one.found()]
    return [(name, [item.path for item in items]) for name, items in found]


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("a.py", [("a.py", [""])]),
        ("./a.py", [("a.py", [""])]),
        ("/a.py", [("a.py", [""])]),
        ("src/../a.py", [("a.py", [""])]),
        ("*.py", [("a.py", [""]), ("b.py", [""])]),
        ("[ab].py", [("a.py", [""]), ("b.py", [""])]),
        ("[^a].py", [("b.py", [""])]),
        ("?.py", [("a.py", [""]), ("b.py", [""])]),
        ("s*/m.py", [("src/m.py", [""])]),
        ("src", [("src", ["", "deep", "deep/n.py", "inner", "m.py", "x.log"])]),
        ("src/", [("src", ["", "deep", "deep/n.py", "inner", "m.py", "x.log"])]),
        ("link", [("link", [""])]),
        ("to-folder", [("to-folder", ["", "deep", "deep/n.py", "inner", "m.py", "x.log"])]),
    ],
)  # fmt: skip
def test_patterns_are_gos(pattern: str, want: list[tuple[str, list[str]]]) -> None:
    assert taken(pattern) == want


def test_a_link_that_is_named_is_what_it_points_at_and_one_inside_stays_a_link() -> None:
    (_, (item,)) = context().take("link", (), LINE)[0].found()[0]
    assert (item.kind, item.size) == (MemberKind.FILE, 1)
    inner = {item.path: item for item in context().take("src", (), LINE)[0].found()[0][1]}["inner"]
    assert (inner.kind, inner.target) == (MemberKind.SYMLINK, "deep/n.py")


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("a.py", ["", "a.py"]),
        ("src/deep/n.py", ["", "src", "src/deep", "src/deep/n.py"]),
        ("./src/./deep/n.py", ["", "deep", "deep/n.py"]),
        ("src/deep", ["", "src", "src/deep", "src/deep/n.py"]),
        ("src/./deep", ["", "deep", "deep/n.py"]),
        ("s*/d*/./n.py", ["", "n.py"]),
    ],
)
def test_with_its_parents_a_source_keeps_its_folders_from_the_pivot_on(pattern: str, want: list[str]) -> None:
    (one,) = [with_parents(one, pattern, LINE) for one in context().take(pattern, (), LINE)]
    ((name, items),) = one.found()
    assert (name, [item.path for item in items]) == ("", want)
    plain = context().take(pattern, (), LINE)[0]
    assert (one.name, one.content) != (plain.name, plain.content), "which is part of the layer's key"


@pytest.mark.parametrize(
    ("mode", "old", "is_folder", "new"),
    [
        ("755", 0o644, False, 0o755),
        ("0700", 0o755, True, 0o700),
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, True, 0o755),
        ("a-w", 0o644, False, 0o444),
    ],
)
def test_modes_of_chmod(mode: str, old: int, *, is_folder: bool, new: int) -> None:
    check_mode(mode, LINE)
    assert changed(mode, old, is_folder=is_folder) == new


@pytest.mark.parametrize("mode", ["9", "+w", "=r", "u+s", "rwx", "7777777", "u+"])
def test_modes_that_a_umask_decides_or_that_are_none_are_refused(mode: str) -> None:
    with pytest.raises(ConfigError, match="--chmod is a mode"):
        check_mode(mode, LINE)


@pytest.mark.parametrize(
    ("sources", "want"),
    [
        (["a.py", "poetry.lock*"], ["a.py"]),
        (["a.py", "*.py", "gone"], ["a.py", "*.py", "gone"]),  # what is named has to be there
        (["gone*"], ["gone*"]),
        (["gone*", "[x]gone"], ["gone*", "[x]gone"]),
    ],
)
def test_a_pattern_may_mean_nothing_beside_another_source(sources: list[str], want: list[str]) -> None:
    assert list(context().wanted(sources)) == want


def test_exclude_leaves_out() -> None:
    assert taken("src", "**/*.log", "src/deep") == [("src", ["", "inner", "m.py"])]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("../secret", "the source leads out of the build context"),
        ("src/../../x", "the source leads out of the build context"),
        ("up", "the source leads out of the build context"),
        ("out", "a link leads out of the folder"),
        ("nothing", "nothing is not in the build context"),
        ("*.nothing", r"\*.nothing is not in the build context"),
        ("Dockerfile.lock", "is not in the build context"),
        ("pipe", "a FIFO, socket or device cannot go into an image"),
        ("wh", "a file of this name would delete another one"),
    ],
)
def test_F11_what_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        context().take(pattern, (), LINE)
    assert caught.value.place is not None
    assert caught.value.place.line == 7 or caught.value.place.file in ("pipe", "wh/.wh.x")


def test_what_dockerignore_leaves_out_is_told_to_be_there() -> None:
    with pytest.raises(ConfigError) as caught:
        context().take("c.txt", (), LINE)
    assert "c.txt is there, but .dockerignore leaves it out" in str(caught.value.hints[0])


def test_only_the_owners_right_to_execute_counts() -> None:
    def content(**modes: int) -> str:
        return context(**modes).take("src", (), LINE)[0].content

    same = {content(**{"src/m.py": mode}) for mode in (0o644, 0o600, 0o664, 0o444)}
    other = {content(**{"src/m.py": mode}) for mode in (0o755, 0o700)}
    assert (len(same), len(other), len(same | other)) == (1, 1, 2)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("[a-c]", "abc"), ("[^a-c]", "&-[]^z"), ("[&&a]", "&a"), ("[[a]", "[a"), (r"[a\]]", "]a"), (r"[\^a]", "^a"),
        ("[a-]", "-a"), ("[z-a]", ""), ("[^z-a]", "&-[]^abcz"), ("[]a]", ""), ("[a--b]", "b"), ("[^]", "^"),
    ],
)  # fmt: skip
def test_a_class_of_characters_is_gos_and_a_broken_one_no_crash(pattern: str, wanted: str) -> None:
    assert "".join(matches(pattern, sorted("&-[]^abcz"))) == wanted


def test_a_star_takes_no_slash() -> None:
    assert matches("*", ["a", "a/b", ".h"]) == ["a", ".h"]
    assert matches("a/*", ["a", "a/b", "a/b/c"]) == ["a/b"]
    assert matches(r"a\*", ["a*", "ab"]) == ["a*"]


def test_P08_what_looks_like_a_secret_is_noticed() -> None:
    tree = MemoryTree({".env": "A=1", ".env.example": "A=", "keys/id_rsa": "k", "a.py": "1"})
    found = Context(tree, "Dockerfile")
    found.take("a.py", (), LINE)
    assert found.secrets == {}
    found.take(".", (), LINE)
    assert found.secrets == {".env": "environment file", "keys/id_rsa": "ssh key"}


def test_what_is_not_asked_for_is_not_looked_into() -> None:
    looked: list[str] = []

    class Watched(MemoryTree):
        def walk(self, enter: Callable[[Entry], bool]) -> Iterator[Entry]:
            def seen(entry: Entry) -> bool:
                entered = enter(entry)
                looked.extend([entry.path] if entered else [])
                return entered

            return super().walk(seen)

    tree = Watched({"data/a/1": "", "src/a/m.py": "", "src/b/n.py": "", "requirements.txt": ""})
    found = Context(tree, "Dockerfile")
    found.take("requirements.txt", (), LINE)
    assert looked == []
    assert [one.name for one in found.take("src/*/*.py", (), LINE)] == ["m.py", "n.py"]
    assert set(looked) == {"src", "src/a", "src/b"}


def test_two_stars_stand_for_any_folders_where_folders_are_kept() -> None:
    """BuildKit: COPY --parents; elsewhere they are one star (Go: path/filepath.Match)."""
    paths = sorted(("a", "a/x.py", "a/b", "a/b/y.py", "a/b/c", "a/b/c/z.py", "a/b/c/z.txt", "o.py"))
    tree: dict[str, list[str]] = {path: [] for path in ("", *paths)}
    for path in paths:
        tree[path.rpartition("/")[0]].append(path.rpartition("/")[2])
    for pattern, wanted in (
        ("a/**/*.py", ["a/b/c/z.py", "a/b/y.py", "a/x.py"]),
        ("**/b/*.py", ["a/b/y.py"]),
        ("**/*.py", ["a/b/c/z.py", "a/b/y.py", "a/x.py", "o.py"]),
        ("a/**", ["a/b", "a/x.py"]),
    ):
        assert matches(pattern, paths, deep=True) == wanted
        assert within(pattern, tree.__getitem__, tree.__getitem__) == wanted
    assert matches("a/**/*.py", paths) == ["a/b/y.py"] == within("a/**/*.py", tree.__getitem__)


def test_many_double_stars_are_read_at_once() -> None:
    path = "/".join(["a"] * 60)
    pattern = "/".join(["**", "a"] * 25)
    assert matches(f"{pattern}/b", [f"{path}/c"], deep=True) == []
    assert matches(f"{pattern}/c", [f"{path}/c"], deep=True) == [f"{path}/c"]
    assert matches("a/**", ["a"], deep=True) == []
    assert matches("**/**/a", ["a", "x/a", "x/y/b"], deep=True) == ["a", "x/a"]
