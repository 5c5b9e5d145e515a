"""What requirements files and ``pip.conf`` files of an image say of a ``pip install``."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.configured import configure
from trainload.builder.dockerfile.placing.interpreter import _check_path
from trainload.builder.dockerfile.placing.origins import check_origins
from trainload.builder.dockerfile.placing.projects import _requires, _tools
from trainload.builder.dockerfile.placing.required import name_of, read_files
from trainload.digest import Digest
from trainload.dockerfile.installs import InstallPython, Project
from trainload.dockerfile.understand.parts import Beyond
from trainload.lock.select import Target
from trainload.platform import Platform
from trainload.store.store import Store
from trainload.testing.images import put_layer
from trainload.testing.tars import TarEntry, tar

FIRST, SECOND = "1" * 64, "2" * 64
WHEEL = "https://files.example/c_d-1.0-py3-none-any.whl"


def ground(at: Path, **files: str) -> Ground:
    store = Store.open(at / "home")
    stream = tar(*(TarEntry(path.replace("__", "/"), text.encode()) for path, text in files.items()))
    with store.writing():
        layer = put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream))
    return Ground(store, (layer,))


def placed(at: Path, data: bytes) -> Ground:
    store = Store.open(at / "home")
    stream = tar(TarEntry("r.txt", data))
    with store.writing():
        layer = put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream))
    return Ground(store, (layer,))


def test_hashes_are_told_by_project_and_left_out_of_what_is_asked(tmp_path: Path) -> None:
    text = (
        "--trusted-host a.example\n-c bounds.txt\n"
        f"A_b==1 --hash=sha256:{FIRST} \\\n  --hash=sha512:00 --hash sha256:{SECOND}\n"
        f"{WHEEL} --hash=sha256:{FIRST}\n"
    )
    found = read_files(["/r.txt"], ground(tmp_path, **{"r.txt": text}))
    assert found.texts == (f"A_b==1\n{WHEEL}",)
    assert found.hashes == {"a-b": {FIRST, SECOND}, "c-d": {FIRST}}
    assert found.needs_hashes and found.included == ["/bounds.txt"]


@pytest.mark.parametrize(
    "text",
    [
        f"a==1 --hash=sha256:{FIRST}\nb==1\n",
        f"a>=1 --hash=sha256:{FIRST}\n",
        "--require-hashes\na==1\n",
        "a==1 --hash=sha384:00\n",
        "a==1 --config-settings x=y\n",
        "a @ file:///a-1-py3-none-any.whl\n",
        "https://files.example/a-1.tar.gz\n",
        "${A}\n",
    ],
)
def test_what_pip_would_refuse_or_build_is_left_to_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(Beyond):
        read_files(["/r.txt"], ground(tmp_path, **{"r.txt": text}))


def test_the_project_of_a_requirement() -> None:
    lines = ["A.b[x]>=1", "a_b @ https://files.example/q-1-py3-none-any.whl", f"{WHEEL}#sha256={FIRST}"]
    assert [name_of(line) for line in lines] == ["a-b", "a-b", "c-d"]


def test_files_of_pip_go_before_one_another_and_the_line_before_all(tmp_path: Path) -> None:
    below = ground(
        tmp_path,
        **{
            "etc/pip.conf": "[global]\nindex-url = https://a.example/simple\n"
            "extra_index_url = https://x.example/simple\n",
            "root/.config/pip/pip.conf": "[install]\nindex-url = https://b.example/simple\n[list]\nformat = json\n",
            "opt/py/pip.conf": "[global]\nno-index = false\nbreak-system-packages = true\ntimeout = 5\n",
        },
    )
    step = InstallPython(("pip",), ("foo",), extra_indexes=("https://y.example/simple",))
    found = configure(step, below, "root", "opt/py")
    assert found.index == "https://b.example/simple"
    assert found.extra_indexes == ("https://x.example/simple", "https://y.example/simple")
    assert found.system and not found.no_index
    asked = InstallPython(("pip",), ("foo",), index="https://c.example/simple")
    assert configure(asked, below, "root", "opt/py").index == "https://c.example/simple"
    assert configure(InstallPython(("uv", "pip"), ("foo",)), below, "root", "opt/py").index is None


@pytest.mark.parametrize(
    "text", ["[global]\nuser = true\n", "[install]\nindex-url = https://a:b@c.example\n", "no section\n"]
)
def test_an_option_of_a_file_that_is_not_known_is_left_to_pip(tmp_path: Path, text: str) -> None:
    with pytest.raises(Beyond):
        configure(InstallPython(("pip",), ("foo",)), ground(tmp_path, **{"etc/pip.conf": text}), "root", "usr")


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("app/main.py", True),
        ("app/lib/x.py", True),
        ("app/demo.egg-info", False),
        ("app/queue.py", False),
    ],
)
def test_folders_of_pythonpath_have_modules_and_no_packages(tmp_path: Path, name: str, *, harmless: bool) -> None:
    below = ground(tmp_path, **{name: ""})
    if harmless:
        _check_path("/app::/none", below)
        return
    with pytest.raises(Beyond):
        _check_path("/app", below)


def test_projects_of_a_requirements_file_lie_where_the_line_runs(tmp_path: Path) -> None:
    text = "-e .[dev]\n./lib\nrich\n--editable=/opt/x\n"
    found = read_files(["/r/r.txt"], ground(tmp_path, **{"r/r.txt": text}), "/app")
    assert found.texts == ("rich",)
    assert found.projects == [
        Project("/app", ("dev",), editable=True), Project("/app/lib"), Project("/opt/x", editable=True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "tools"),
    [
        (
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
            ["editables~=0.3", "hatchling"],
        ),
        ('[build-system]\nrequires = ["setuptools>=61"]\n', ["setuptools>=61", "wheel"]),
        ("[tool.black]\n", ["setuptools>=40.8.0", "wheel", "wheel"]),
    ],
)
def test_what_builds_a_project_is_what_it_names_and_what_its_backend_asks_for(
    tmp_path: Path, text: str, tools: list[str]
) -> None:
    below = ground(tmp_path, **{"app/pyproject.toml": text})
    assert sorted(_tools(Project("/app"), below)) == tools


@pytest.mark.parametrize(
    "text",
    ["[build-system]\nrequires = 5\n", "no toml", '[build-system]\nrequires = ["x @ git+https://git.example/x"]\n',
     '[build-system]\nrequires = []\nbackend-path = ["."]\n'],
)  # fmt: skip
def test_a_project_that_cannot_be_built_offline_is_left_to_pip(tmp_path: Path, text: str) -> None:
    with pytest.raises(Beyond):
        list(_tools(Project("/app"), ground(tmp_path, **{"app/pyproject.toml": text})))


def test_what_a_project_needs_with_extras_that_name_others_of_its_own() -> None:
    metadata = {
        "name": ["My_pkg"],
        "requires-dist": [
            "click<9", "old; python_version < '3'", "six; extra == 'dev'", "my-pkg[dev,more]; extra == 'all'",
            "idna; extra == 'more' and sys_platform == 'linux'", "none; extra == 'other'",
        ],
    }  # fmt: skip
    fitting = Target(Platform("linux", "amd64"), "3.11.7", (2, 36))
    assert list(_requires(metadata, (), fitting)) == ["click<9"]
    assert set(_requires(metadata, ("all",), fitting)) == {"click<9", "six", "idna"}


PLAIN = "http://mirror.example:8080/simple"


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        (PLAIN, ("mirror.example",)), (PLAIN, ("a.example", "Mirror.Example:8080")),
        ("https://mirror.example/simple", ()), ("http://127.3.0.1:1/simple", ()), ("http://localhost/simple", ()),
        ("http://[::1]:1/simple", ()), (None, ()),
        ("/wheels", ()), ("http://[fd00::1]:1/simple", ("[fd00::1]",)),
    ],
)  # fmt: skip
def test_what_pip_asks_without_encryption(address: str | None, trusted: tuple[str, ...]) -> None:
    check_origins([address], trusted)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [(PLAIN, ()), (PLAIN, ("mirror.example:80",)), (PLAIN, ("example",)), ("HTTP://10.0.0.7/simple", ()),
     ("http://me:secret@mirror.example/simple", ())],
)  # fmt: skip
def test_an_index_that_pip_overlooks_is_left_to_pip(address: str, trusted: tuple[str, ...]) -> None:
    with pytest.raises(Beyond) as caught:
        check_origins([address], trusted)
    assert "--trusted-host" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_requirements_file_names_hosts_that_are_trusted(tmp_path: Path) -> None:
    below = ground(tmp_path, **{"r.txt": f"-i {PLAIN}\n--trusted-host mirror.example\nrich\n"})
    found = read_files(("/r.txt",), below)
    assert (found.index, found.trusted) == (PLAIN, ["mirror.example"])


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_requirements_with_a_byte_order_mark_are_read_as_pip_reads_them(tmp_path: Path, coding: str) -> None:
    found = read_files(("/r.txt",), placed(tmp_path, "# 依赖\r\nrich\r\nclick>=8\r\n".encode(coding)))
    assert found.texts == ("rich\nclick>=8",)


def test_requirements_that_say_their_coding_are_read_by_it(tmp_path: Path) -> None:
    text = "# -*- coding: gbk -*-\n# 中文\nrich\n"
    assert read_files(("/r.txt",), placed(tmp_path, text.encode("gbk"))).texts == ("rich",)


def test_requirements_that_pip_cannot_decode_are_left_to_it(tmp_path: Path) -> None:
    with pytest.raises(Beyond, match="not UTF-8"):
        read_files(("/r.txt",), placed(tmp_path, "# 中文注释\nrich\n".encode("gbk")))
