"""Laws of the project stage: whatever lies in the folder, it is understood or explained."""

from __future__ import annotations

import contextlib

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from trainload.errors import TrainloadError
from trainload.project.detect import read_project
from trainload.project.inputs import inputs_digest
from trainload.project.keys import KEYS
from trainload.project.listing import list_code
from trainload.project.model import Left
from trainload.testing.tree import Fifo, Link, MemoryTree, Node

LEAF = st.one_of(
    st.text(max_size=8), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(), st.datetimes(),
    st.sampled_from(["apt:noble", "8g", "3.12", "a/b:c", "https://x.example", "../x", "**", "!a"]),
)  # fmt: skip
VALUE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
NAME = st.sampled_from([*(key.path.partition(".")[0] for key in KEYS), "memory", "x"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAME, VALUE, max_size=4))
def test_law_any_toml_is_read_or_explained(values: dict[str, object]) -> None:
    try:
        text = tomlkit.dumps(values)
    except (TypeError, ValueError):
        return
    tree = MemoryTree({"train.py": "", "trainload.toml": text.encode("utf-8", "replace")})
    with contextlib.suppress(TrainloadError):
        project = read_project(tree)
        list_code(tree, project)
        inputs_digest(tree, project)


LINE = st.one_of(
    st.text(alphabet=" -=<>!~[]();,@#\\ab1./:$", max_size=20),
    st.sampled_from(
        ["-r a.txt", "--hash=sha256:x", "numpy\\", "-f x", "-e .", "a @ https://x.example/a.whl", "\ufeff"]
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, max_size=6).map("\n".join))
def test_law_any_requirements_file_is_read_or_explained(text: str) -> None:
    tree = MemoryTree({"train.py": "", "requirements.txt": text, "a.txt": "b"})
    with contextlib.suppress(TrainloadError):
        inputs_digest(tree, read_project(tree))


PART = st.sampled_from(["a", "b", ".env", "data", "x.py", ".gitignore", ".aws", "id_rsa", "m.pt", ".wh.x", "é"])
NODE: st.SearchStrategy[Node] = st.one_of(
    st.just("!*\n*.py\n!.env\n"),
    st.just(b"\xff\0"),
    st.builds(Link, st.sampled_from(["a", "../b", "/c"])),
    st.just(Fifo()),
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.lists(PART, min_size=1, max_size=3).map("/".join), NODE, max_size=6))
def test_law_every_file_goes_in_or_is_told_or_is_refused(nodes: dict[str, Node]) -> None:
    nodes = {path: node for path, node in nodes.items() if not any(other.startswith(path + "/") for other in nodes)}
    tree = MemoryTree({**nodes, "train.py": ""})
    try:
        found = list_code(tree, read_project(tree))
    except TrainloadError:
        return
    inside = {file.path for file in found.files}
    out = [path for path, _, _ in found.left_out]
    for path in nodes:
        told = path in out or any(folder.endswith("/") and path.startswith(folder) for folder in out)
        assert (path in inside) != told
    assert not any(part in (".env", "id_rsa", ".aws") for path in inside for part in path.split("/"))
    assert [file.path for file in found.files] == sorted(inside)
    assert all(isinstance(why, Left) for _, why, _ in found.left_out)
