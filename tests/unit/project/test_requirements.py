"""Requirements files as pip and uv read them, and what is refused (THREATS F08)."""

from __future__ import annotations

import pytest

from trainload.errors import ConfigError, ManyErrors, Place
from trainload.project.requirements import Requirements, check_requirement, logical_lines, read_requirements
from trainload.testing.tree import Link, MemoryTree, Node


def read(nodes: dict[str, Node] | str, *, allow: bool = False, **environ: str) -> Requirements:
    tree = MemoryTree({"requirements.txt": nodes} if isinstance(nodes, str) else nodes)
    return read_requirements(tree, ("requirements.txt",), environ, allow_index_options=allow)


def texts(nodes: dict[str, Node] | str) -> list[str]:
    return [line.text for line in read(nodes).lines]


def test_comments_continuations_and_blank_lines() -> None:
    text = "# head\n\nnumpy # why\nscipy \\\n  >=1 \\\n  --hash=sha256:aa\\\n\r\nurl-name[a]==1#not-a-comment\n"
    assert list(logical_lines("a\\\n# comment\nb")) == [(1, "a"), (3, "b")]
    with pytest.raises(ConfigError, match="requirements.txt:8"):
        texts(text)
    assert texts(text.replace("#not-a-comment", "")) == [
        "numpy",
        "scipy   >=1   --hash=sha256:aa",
        "url-name[a]==1",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "numpy", "Django>=4,<5", "torch==2.1.*", "a~=1.2 ; python_version < '3.12'", "uvicorn[standard]>=0.2",
        "x @ https://files.example/x-1-py3-none-any.whl", "a (>=1)", "n==1+cpu", "pkg>=1!2.0", "a===weird",
        "x ; sys_platform == 'linux' and extra == 'y'", "typing_extensions", "a[b , c] != 1.5, > 1",
    ],
)  # fmt: skip
def test_what_is_a_requirement_is_taken(line: str) -> None:
    check_requirement(line, Place("r"))


@pytest.mark.parametrize(
    "line", ["!!", "numpy scipy", "numpy==", "numpy => 1", "-", "a[b", "numpy; nonsense", "ünï"]
)
def test_what_is_no_requirement_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(ConfigError, match="requirements.txt:2: this "):
        read(f"ok\n{line}\n")


def test_included_files_and_constraints_are_found_beside_the_file() -> None:
    nodes: dict[str, Node] = {
        "requirements.txt": "-r reqs/base.txt\n--constraint=reqs/limits.txt\nnumpy",
        "reqs/base.txt": "-rmore.txt\r\n--requirement ../requirements.txt\nscipy",
        "reqs/more.txt": "pandas",
        "reqs/limits.txt": "numpy<3",
    }
    found = read(nodes)
    assert found.included == ["reqs/base.txt", "reqs/limits.txt", "reqs/more.txt"]
    assert sorted((line.text, line.constraint) for line in found.lines) == [
        ("numpy", False), ("numpy<3", True), ("pandas", False), ("scipy", False),
    ]  # fmt: skip


def test_find_links_are_relative_to_their_file() -> None:
    found = read({"requirements.txt": "-f wheels\n-r a/b.txt", "a/b.txt": "--find-links=../../wheels\n-f '../w x'"})
    assert found.find_links == ["wheels", "../wheels", "w x"]


def test_variables_are_filled_in_where_uv_does_or_named() -> None:
    line = "x @ https://${HOST}/x-1-py3-none-any.whl"
    assert [found.text for found in read(line, HOST="files.example").lines] == [
        line.replace("${HOST}", "files.example")
    ]
    with pytest.raises(ConfigError, match="requirements.txt:1: the environment variable HOST is not set"):
        read(line)
    with pytest.raises(ConfigError, match=r"only in URLs and options, as uv does it; got \$\{TORCH\}"):
        read("torch==${TORCH}", TORCH="2.1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--index-url https://evil.example/simple", "may not choose the package index"),
        ("-i https://evil.example/simple", "may not choose the package index"),
        ("--extra-index-url=https://evil.example/simple", "may not choose the package index"),
        ("--trusted-host evil.example", "may not choose the package index"),
        ("-e .", "remove the line: the project's own files go into the image anyway"),
        ("--editable=../lib", "an editable install cannot go into an image"),
        ("-e git+https://code.example/x", "an editable install"),
        ("-r ../../x", "an included file must lie inside the project"),
        ("-r /etc/passwd", "an included file must lie inside the project"),
        ("-c https://evil.example/c.txt", "an included file must lie inside the project"),
        ("-r", "an included file must lie inside the project"),
        ("x @ file:///tmp/x.whl", "a path of this machine means nothing elsewhere"),
        ("x @ ./x.whl", "a path of this machine means nothing elsewhere"),
        ("./dist/x.whl", "a path of this machine means nothing elsewhere"),
        ("file:///tmp/x.whl", "a path of this machine means nothing elsewhere"),
        ("C:\\x.whl", "a path of this machine means nothing elsewhere"),
        ("x-1-py3-none-any.whl", "a path of this machine means nothing elsewhere"),
        ("x @ git+https://code.example/x", "a version control URL has no hash"),
        ("x @ git+ssh://git@code.example/x --upload-pack=y", "not understood"),
        ("x @ http://files.example/x.whl", "this URL is not fetched"),
        ("x @ https://me:hunter2@files.example/x.whl", "the URL carries credentials"),
        ("x @ https://files.example/x-1.tar.gz", "this URL is not that of a wheel"),
        ("https://files.example/x-1.zip#egg=x", "this URL is not that of a wheel"),
        ("--no-binary x", "what has a wheel is not built"),
        ("--no-binary=:all:", "what has a wheel is not built"),
        ("x==1 --hash=md5:aa", "this hash proves nothing"),
        ("--find-links https://evil.example/", "find-links must be a folder"),
        ("--find-links /mnt/wheels", "TRAINLOAD_FIND_LINKS"),
        ("--config-settings x", "this option is not understood"),
        ("x --global-option=y", "this option of a requirement is not understood"),
    ],
)
def test_F08_what_cannot_be_carried_or_trusted_is_refused_with_its_line(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"# head\n{line}\n")
    assert "requirements.txt:2: " in str(caught.value)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_F08_an_index_is_taken_when_it_is_allowed() -> None:
    assert read("-i https://a.example/simple\n", allow=True).index_options == ["-i https://a.example/simple"]


def test_F08_an_include_that_is_a_link_to_outside_is_not_followed() -> None:
    with pytest.raises(ConfigError, match="links are not followed"):
        read({"requirements.txt": "-r base.txt", "base.txt": Link("/etc/passwd")})


def test_F06_includes_without_end_are_refused() -> None:
    nodes: dict[str, Node] = {f"r{n}.txt": f"-r r{n + 1}.txt" for n in range(200)}
    with pytest.raises(ConfigError, match="include too many others"):
        read({"requirements.txt": "-r r0.txt", **nodes})


def test_all_mistakes_of_all_files_are_told_together() -> None:
    with pytest.raises(ManyErrors) as caught:
        read({"requirements.txt": "-e .\n-r a.txt\n-r none.txt\n!", "a.txt": "--weird"})
    assert [str(error.place) for error in caught.value] == [
        "requirements.txt:1", "requirements.txt:4", "a.txt:1", "requirements.txt:3",
    ]  # fmt: skip


def test_F07_line_ends_and_byte_order_marks_are_no_difference() -> None:
    assert texts("\ufeffnumpy\r\nscipy\r\n") == texts("numpy\nscipy") == ["numpy", "scipy"]
