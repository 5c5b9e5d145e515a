"""Changed paths and a few texts become packages, code, other files and noise."""

from __future__ import annotations

import json

import pytest

from trainload.capture.model import Distribution, Recognised, Source, SystemPackage
from trainload.capture.noise import is_noise
from trainload.capture.recognise import recognise, wanted
from trainload.run.changed import Changed, How

SITE = "opt/venv/lib/python3.11/site-packages"


def dist(
    name: str, version: str, *needs: str, installer: str = "pip", asked: bool = False, **more: bytes
) -> dict[str, bytes]:
    """The metadata an installer writes."""
    folder = f"{SITE}/{name}-{version}.dist-info"
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    found = {
        f"{folder}/METADATA": "\n".join(lines).encode() + b"\n\nName: not this\n",
        f"{folder}/INSTALLER": installer.encode() + b"\n",
        f"{folder}/RECORD": f"{name}/__init__.py,sha256=x,1\n../../../bin/{name},,\n".encode(),
    }
    if asked:
        found[f"{folder}/REQUESTED"] = b""
    return {**found, **{f"{folder}/{file.replace('__', '.')}": data for file, data in more.items()}}


def seen(texts: dict[str, bytes], *others: str, how: How = How.ADDED, gone: tuple[str, ...] = ()) -> Recognised:
    changes = [Changed(path, how) for path in (*texts, *others)] + [Changed(path, How.DELETED) for path in gone]
    asked = set(wanted(changes))
    return recognise(sorted(changes), {path: data for path, data in texts.items() if path in asked}, "app")


def test_pip_says_what_was_asked_for_and_what_came_along() -> None:
    texts = {**dist("rich", "15.0", "pygments>=2", asked=True), **dist("Pygments", "2.21")}
    found = seen(texts, f"{SITE}/rich/__init__.py", "opt/venv/bin/rich")
    assert found.python == (Distribution("pygments", "2.21", asked=False), Distribution("rich", "15.0"))
    assert (found.code, found.elsewhere, found.noise) == ((), (), 0)


def test_uv_marks_everything_so_only_what_nothing_else_needs_was_asked_for() -> None:
    texts = {
        **dist("rich", "15.0", "pygments", "attrs; extra == 'x'", installer="uv", asked=True),
        **dist("pygments", "2.21", installer="uv", asked=True),
        **dist("attrs", "1.0", installer="uv", asked=True),
    }
    assert [(one.name, one.asked) for one in seen(texts).python] == [
        ("attrs", True), ("pygments", False), ("rich", True),
    ]  # fmt: skip


def test_without_marks_what_is_needed_by_nothing_new_must_have_been_asked_for() -> None:
    texts = {**dist("a", "1", "b", installer="other"), **dist("b", "1", installer="other")}
    assert [one.name for one in seen(texts).python if one.asked] == ["a"]


def test_a_new_version_replaces_the_old_one_and_what_it_deleted_is_no_loss() -> None:
    old = f"{SITE}/numpy-1.26.dist-info"
    found = seen(dist("numpy", "2.0", asked=True), gone=(old, f"{SITE}/numpy/old.py"))
    assert found.python == (Distribution("numpy", "2.0", "1.26"),)
    assert found.elsewhere == ()
    assert seen({}, gone=(old,)).python == (Distribution("numpy", None, "1.26"),)


@pytest.mark.parametrize(
    ("document", "source"),
    [
        ({"url": "file:///app", "dir_info": {"editable": True}}, Source.EDITABLE),
        ({"url": "file:///src/x", "dir_info": {}}, Source.FOLDER),
        ({"url": "https://git.example/x", "vcs_info": {"vcs": "git", "commit_id": "a"}}, Source.VCS),
        ({"url": "https://files.example/x-1-py3-none-any.whl", "archive_info": {}}, Source.URL),
        ([], Source.INDEX),
    ],
)
def test_where_it_came_from_is_told_apart(document: object, source: Source) -> None:
    found = seen(dist("x", "1", direct_url__json=json.dumps(document).encode()))
    assert [one.source for one in found.python] == [source]


@pytest.mark.parametrize(
    "metadata", [b"", b"Name: ../x\nVersion: 1\n", b"Name: x\nVersion: 1\x1b[0m\n", b"\xff\xfe"]
)
def test_metadata_that_nobody_would_believe_is_no_distribution(metadata: bytes) -> None:
    texts = {f"{SITE}/x-1.dist-info/METADATA": metadata}
    assert [one.name for one in seen(texts).python if one.name != "x"] == []
    assert all(one.version == "1" for one in seen(texts).python)


STATUS = b"""Package: tree
Status: install ok installed
Version: 1

Package: libtree1
Status: install ok installed
Version: 1

Package: half
Status: deinstall ok config-files
Version: 1
"""


def test_apt_says_what_was_asked_for_and_scripts_leave_noise() -> None:
    info = "var/lib/dpkg/info"
    texts = {
        "var/lib/dpkg/status": STATUS,
        "var/lib/apt/extended_states": b"Package: libtree1\nArchitecture: amd64\nAuto-Installed: 1\n",
        f"{info}/tree.list": b"/.\n/usr\n/usr/bin\n/usr/bin/tree\n/etc/tree.conf\n",
        f"{info}/libtree1:amd64.list": b"/lib/x86_64-linux-gnu/libtree.so.1\n",
        f"{info}/half.list": b"/etc/half\n",
    }
    found = seen(
        texts, "usr/bin/tree", "etc/tree.conf", "usr/lib/x86_64-linux-gnu/libtree.so.1", "etc/passwd",
        "etc/alternatives/tree", "var/log/dpkg.log", "etc/mine.conf",
    )  # fmt: skip
    assert found.system == (SystemPackage("libtree1", How.ADDED, asked=False), SystemPackage("tree", How.ADDED))
    assert found.elsewhere == (("etc/mine.conf", How.ADDED),)


def test_without_packages_an_edited_account_is_nobodys_noise() -> None:
    assert seen({}, "etc/passwd", how=How.CHANGED).elsewhere == (("etc/passwd", How.CHANGED),)


def test_files_of_the_working_directory_are_the_projects_and_folders_on_the_way_are_nothing() -> None:
    found = seen(
        {}, "app", "app/train.py", "app/lib", "app/lib/x.py", "app/__pycache__/x.pyc", "root/.bash_history"
    )
    assert found.code == (("lib/x.py", How.ADDED), ("train.py", How.ADDED))
    assert (found.elsewhere, found.noise) == ((), 2)


@pytest.mark.parametrize(
    "path",
    [
        "tmp/x", "root/.cache/pip/http/x", "home/app/.cache/huggingface/token", "usr/lib/python3/__pycache__/a.pyc",
        "var/lib/apt/lists/x", "home/app/.python_history", "home/app/.viminfo", "etc/ld.so.cache",
    ],
)  # fmt: skip
def test_what_programs_leave_behind_is_noise(path: str) -> None:
    assert is_noise(path)


@pytest.mark.parametrize(
    "path", ["etc/hosts.allow", "usr/local/bin/tool", "root/.bashrc", "srv/tmp.txt", "historyx"]
)
def test_what_people_write_is_no_noise(path: str) -> None:
    assert not is_noise(path)


def test_a_folder_that_was_emptied_may_be_a_file_now() -> None:
    changes = [Changed("app", How.CHANGED), Changed("app/pkg", How.CHANGED), Changed("app/pkg/a.py", How.DELETED)]
    assert recognise(changes, {}, "app").code == (("pkg", How.CHANGED), ("pkg/a.py", How.DELETED))


def test_what_conda_installed_is_named_and_its_files_are_nobody_elses() -> None:
    record = "opt/conda/conda-meta/numpy-2.1.0-py312_0.json"
    texts = {record: json.dumps({"files": ["lib/python3.12/site-packages/numpy/__init__.py"]}).encode()}
    found = seen(
        texts, "opt/conda/lib/python3.12/site-packages/numpy/__init__.py", "opt/conda/conda-meta/history",
        "opt/conda/own.txt",
        gone=("opt/conda/conda-meta/numpy-1.26.4-py312_0.json", "opt/conda/conda-meta/six-1.16-0.json"),
    )  # fmt: skip
    assert found.conda == (("numpy=2.1.0", How.ADDED), ("six=1.16", How.DELETED))
    assert found.elsewhere == (("opt/conda/own.txt", How.ADDED),)


@pytest.mark.parametrize("record", [b"[]", b"{", b'{"files": 3}', b'{"files": [3]}'])
def test_a_record_of_condas_that_is_none_is_no_trouble(record: bytes) -> None:
    found = seen({"opt/c/conda-meta/a-1-0.json": record}, "opt/c/lib/x")
    assert (found.conda, found.elsewhere) == ((("a=1", How.ADDED),), (("opt/c/lib/x", How.ADDED),))
