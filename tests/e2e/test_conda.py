"""A folder with ``environment.yml`` and ``train.py`` just works: locked, made and run, without conda or root.

The channel is a small one made here: a compiled library with an embedded prefix, a program, a noarch Python package
with an entry point, this machine's Python. The base comes from the distribution's archive: whoever has none skips.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conda_python import compiled, minor, python_spec, version
from tests.network import archive_answers
from tests.peers import Podman, docker_daemon

from trainload.layers.conda.claims import read_index
from trainload.testing.conda import PLACEHOLDER, Content, Spec, write_channel
from trainload.testing.index import sdist, wheel

TRAINLOAD = Path(sys.executable).with_name("trainload")
CODENAME = next(
    (line.partition("=")[2].strip() for line in Path("/etc/os-release").read_text().splitlines()
     if line.startswith("VERSION_CODENAME=")), "",
)  # fmt: skip
HELLO = """
import ctypes, sys
def where():
    library = ctypes.CDLL(sys.prefix + "/lib/libhello.so")
    library.where.restype = ctypes.c_char_p
    return library.where().decode()
def main():
    print(open(where()).read().strip(), *sys.argv[1:])
"""
METADATA = b"Metadata-Version: 2.1\nName: Hello\nVersion: 2.0\n"
TRAIN = """
import hello, json, os, sys
hello.main()
names = ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "MODE", "HELLO_DATA", "PATH", "HELLO_SHARE", "ODD")
print(json.dumps({"prefix": sys.prefix, "where": hello.where(), **{n: os.environ.get(n) for n in names}}))
"""


def library(platform: str = "linux-64") -> Spec:
    source = f'const char *where(void) {{ return "{PLACEHOLDER}/share/hello.txt"; }}'
    data = compiled(source, "-shared", "-fPIC") if platform == "linux-64" else b"\x7fELF for another machine"
    files = {
        "lib/libhello.so.1": Content(data, 0o755, placeholder=PLACEHOLDER, binary=platform == "linux-64"),
        "lib/libhello.so": Content(link="libhello.so.1"),
        "share/hello.txt": Content(b"hello from conda\n"),
        "bin/.libhello-post-link.sh": Content(b"#!/bin/sh\nexit 1\n", 0o755),
        "etc/conda/activate.d/hello.sh": Content(
            b'if [ -f "$CONDA_PREFIX/share/hello.txt" ]; then export HELLO_SHARE="$CONDA_PREFIX/share"; fi\n'
        ),
        "etc/conda/activate.d/odd.sh": Content(b"export ODD=$(id)\n"),
        "etc/conda/env_vars.d/hello.json": Content(
            json.dumps({"HELLO_DATA": f"{PLACEHOLDER}/share", "MODE": "slow"}).encode(), placeholder=PLACEHOLDER
        ),
    }
    if platform != "linux-64":
        files["lib/libhello.so.1"] = Content(data, 0o755)
    return Spec("libhello", "1.2", "h1_0", files, platform, run_exports=["libhello >=1.2,<2"])


def program() -> Spec:
    source = f"""
    #include <stdio.h>
    const char *prefix = "{PLACEHOLDER}/share/hello.txt";
    extern const char *where(void);
    int main(void) {{ puts(prefix); puts(where()); return 0; }}
    """
    stub = "const char *where(void) { return 0; }"
    with tempfile.TemporaryDirectory() as folder:
        soname = "-Wl,-soname,libhello.so.1"
        (Path(folder) / "libhello.so.1").write_bytes(compiled(stub, "-shared", "-fPIC", soname))
        data = compiled(source, f"-L{folder}", "-l:libhello.so.1", f"-Wl,-rpath,{PLACEHOLDER}/lib")
    files = {"bin/hello-c": Content(data, 0o755, placeholder=PLACEHOLDER, binary=True)}
    return Spec("hello-c", "0.1", "h0_0", files, depends=["libhello >=1.2,<2"])


def packages() -> list[Spec]:
    python = python_spec()
    other = replace(python, files={"bin/python": Content(b"\x7fELF of arm", 0o755)}, subdir="linux-aarch64")
    hello = Spec(
        "hello", "2.0", "pyh0_0", {
            "site-packages/hello/__init__.py": Content(HELLO.encode()),
            "site-packages/hello-2.0.dist-info/METADATA": Content(METADATA),
        }, "noarch",
        depends=["python >=3.8", "libhello >=1.2,<2"], noarch="python", entry_points=["say-hello = hello:main"],
        form=".tar.bz2",
    )  # fmt: skip
    return [python, other, library(), library("linux-aarch64"), program(), hello]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that channels lie below."""
    version()
    folder = tmp_path_factory.mktemp("mirror")
    write_channel(folder / "conda-forge", packages())
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all: the base is made once."""
    return tmp_path_factory.mktemp("home")


def project(at: Path, environment: str, files: Mapping[str, str] | None = None) -> Path:
    at.mkdir()
    (at / "environment.yml").write_text(environment)
    (at / "train.py").write_text(TRAIN)
    (at / "trainload.toml").write_text(f'name = "demo"\nbase = "apt:{CODENAME}"\n')
    for name, text in (files or {}).items():
        (at / name).write_text(text)
    return at


def trainload(folder: Path, home: Path, mirror: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TRAINLOAD_HOME": str(home), "TRAINLOAD_MIRRORS_CONDA": str(mirror), **more}
    done = subprocess.run(
        [TRAINLOAD, *words], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode != 0 and not archive_answers():
        pytest.skip("needs the distribution's archive")
    return done


def environment() -> str:
    return f"""
name: digits
channels: [conda-forge]
dependencies: [python={minor()}, hello, hello-c]
variables: {{MODE: fast}}
"""


def test_an_environment_is_locked_made_and_run(tmp_path: Path, home: Path, mirror: Path) -> None:
    folder = project(tmp_path / "demo", environment())
    done = trainload(folder, home, mirror, "run", "--engine", "embedded", "--", "a", "b")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()[-2:]
    assert first == "hello from conda a b"
    told = json.loads(second)
    assert told["prefix"] == told["CONDA_PREFIX"] == "/opt/conda"
    assert (told["where"], told["MODE"]) == ("/opt/conda/share/hello.txt", "fast")
    assert (
        told["HELLO_DATA"] == "/opt/conda/share"
    )  # the package says MODE is slow, the environment has it otherwise
    assert told["CONDA_DEFAULT_ENV"] == "digits" and told["PATH"].startswith("/opt/conda/bin:")
    warned = "libhello-1.2-h1_0.conda has bin/.libhello-post-link.sh, which conda runs when it places it (exit 1)"
    assert warned in done.stderr and "activate.d/hello.sh" not in done.stderr
    assert (
        "libhello-1.2-h1_0.conda has etc/conda/activate.d/odd.sh" in done.stderr
        and "its $(id) is not" in done.stderr
    )
    assert (told["HELLO_SHARE"], told["ODD"]) == ("/opt/conda/share", None)
    planned = trainload(folder, home, mirror, "plan")
    assert warned in planned.stderr + planned.stdout  # also where nothing is made
    lock = (folder / "pylock.trainload.toml").read_text()
    assert 'channel = "conda-forge"' in lock and str(mirror) not in lock and str(tmp_path) not in lock


def test_the_same_lock_gives_the_same_image_and_nothing_is_solved_again(
    tmp_path: Path, home: Path, mirror: Path
) -> None:
    first = project(tmp_path / "one", environment())
    digest = json.loads(trainload(first, home, mirror, "build", "--json", "-q").stdout)["digest"]
    lock = {"pylock.trainload.toml": (first / "pylock.trainload.toml").read_text()}
    second = project(tmp_path / "two", environment(), lock)
    nowhere = tmp_path / "nowhere"
    again = trainload(second, home, nowhere, "build", "--json", "-q", "--frozen", "--offline")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["digest"] == digest


def test_programs_find_their_libraries_and_scripts_their_python(tmp_path: Path, home: Path, mirror: Path) -> None:
    script = "import subprocess\nfor c in (['hello-c'], ['say-hello', 'x']): subprocess.run(c, check=True)\n"
    folder = project(tmp_path / "demo", environment(), {"train.py": script})
    done = trainload(folder, home, mirror, "run", "--engine", "embedded")
    assert done.returncode == 0, done.stderr
    where = "/opt/conda/share/hello.txt"
    assert done.stdout.splitlines()[-3:] == [where, where, "hello from conda x"]


def test_another_platform_is_locked_and_made_on_this_machine(tmp_path: Path, home: Path, mirror: Path) -> None:
    folder = project(tmp_path / "demo", f"channels: [conda-forge]\ndependencies: [python={minor()}, hello]\n")
    config = (folder / "trainload.toml").read_text()
    (folder / "trainload.toml").write_text(config + 'platforms = ["linux/amd64", "linux/arm64"]\n')
    done = trainload(folder, home, mirror, "build", "--json", "-q", "--platform", "linux/arm64")
    assert done.returncode == 0, done.stderr
    lock = (folder / "pylock.trainload.toml").read_text()
    assert "linux-aarch64/libhello-1.2-h1_0.conda" in lock and "linux-64/libhello-1.2-h1_0.conda" in lock


def test_what_cannot_be_solved_is_told_in_a_line(tmp_path: Path, home: Path, mirror: Path) -> None:
    folder = project(tmp_path / "demo", "dependencies: [python, hello=9]\n")
    done = trainload(folder, home, mirror, "build", "-q")
    assert done.returncode == 1
    assert "the conda packages contradict each other, or are not in the channels" in done.stderr
    assert "hello" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "pylock.trainload.toml").exists()


def test_an_environment_may_have_tools_only(tmp_path: Path, home: Path, mirror: Path) -> None:
    folder = project(tmp_path / "demo", "dependencies: [hello-c]\n")
    done = trainload(folder, home, mirror, "build", "-q")
    assert done.returncode == 1 and "what was found to run is a Python program" in done.stderr
    (folder / "train.py").unlink()
    done = trainload(folder, home, mirror, "run", "--engine", "embedded", "--entrypoint", "hello-c")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["/opt/conda/share/hello.txt"] * 2
    done = trainload(folder, home, mirror, "build", "--frozen", "--json", "-q")
    assert done.returncode == 0, done.stderr
    lock = tomllib.loads((folder / "pylock.trainload.toml").read_text())
    assert "requires-python" not in lock and "python" not in lock["tool"]["trainload"]
    done = trainload(folder, home, mirror, "freeze")
    assert done.returncode == 0 and "hello-c-0.1-h0_0.conda#" in done.stdout
    refused = trainload(folder, home, mirror, "notebook", "--no-browser")
    assert refused.returncode == 1 and "need a Python, and the conda environment has none" in refused.stderr


def with_pip(at: Path, requires: str) -> Path:
    """A project with a wheel in its pip section that requires something of conda's."""
    pip = f"channels: [conda-forge]\ndependencies: [{{pip: [probe-beside]}}, python={minor()}, hello]\n"
    folder = project(at, pip, {"train.py": "import probe_beside, hello\nprint(probe_beside.__file__)\n"})
    name, data = wheel("probe-beside", "1.0", requires=[requires])
    (folder / "links").mkdir()
    (folder / "links" / name).write_bytes(data)
    config = (folder / "trainload.toml").read_text()
    (folder / "trainload.toml").write_text(config + 'find-links = ["links"]\nexclude = ["links"]\n')
    return folder


def test_pip_goes_beside_conda_and_takes_what_is_there(tmp_path: Path, home: Path, mirror: Path) -> None:
    folder = with_pip(tmp_path / "demo", "hello>=2")
    done = trainload(folder, home, mirror, "run", "--engine", "embedded", UV_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"/opt/conda/lib/python{minor()}/site-packages/probe_beside/__init__.py"
    assert "of conda: hello 2.0" in done.stderr
    lock = tomllib.loads((folder / "pylock.trainload.toml").read_text())
    assert [package["name"] for package in lock["packages"]] == ["probe-beside"]
    assert lock["tool"]["trainload"]["conda"]["installed"] == ["hello==2.0"]


def test_a_project_that_the_section_installs_is_imported_from_its_own_files(
    tmp_path: Path, home: Path, mirror: Path
) -> None:
    text = f"channels: [conda-forge]\ndependencies: [python={minor()}, hello, {{pip: ['-e .[more]']}}]\n"
    script = "import digits, os\nprint(digits.__file__)\n"
    script += "os.system('cd / && python -c \"import digits, probe_beside\"')\n"
    folder = project(tmp_path / "demo", text, {"train.py": script})
    table = '[project]\nname = "digits"\nversion = "1"\n[project.optional-dependencies]\nmore = ["probe-beside"]\n'
    (folder / "pyproject.toml").write_text(table)
    (folder / "src" / "digits").mkdir(parents=True)
    (folder / "src" / "digits" / "__init__.py").write_text("")
    name, data = wheel("probe-beside", "1.0", requires=["hello>=2"])
    (folder / "links").mkdir()
    (folder / "links" / name).write_bytes(data)
    config = (folder / "trainload.toml").read_text()
    (folder / "trainload.toml").write_text(config + 'find-links = ["links"]\nexclude = ["links"]\nenv = {}\n')
    done = trainload(folder, home, mirror, "run", "--engine", "embedded", UV_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "/app/src/digits/__init__.py" and "ModuleNotFound" not in done.stderr
    lock = tomllib.loads((folder / "pylock.trainload.toml").read_text())
    assert [package["name"] for package in lock["packages"]] == ["probe-beside"]


BACKEND = """
import base64, hashlib, os, sys, zipfile
def hashed(text):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
def build_wheel(folder, settings=None, metadata=None):
    seen = os.path.exists('/opt/conda/share/hello.txt')
    lines = {"probe_made.py": f"prefix = {sys.base_prefix!r}; seen = {seen}\\n",
             "probe_made-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: probe-made\\nVersion: 1.0\\n",
             "probe_made-1.0.dist-info/WHEEL":
                 "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
    record = "".join(f"{name},{hashed(text)},{len(text)}\\n" for name, text in lines.items())
    record += "probe_made-1.0.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, "probe_made-1.0-py3-none-any.whl"), "w") as out:
        for name, text in {**lines, "probe_made-1.0.dist-info/RECORD": record}.items():
            out.writestr(name, text)
    return "probe_made-1.0-py3-none-any.whl"
"""


def test_what_pip_has_only_the_source_of_is_built_by_condas_python(
    tmp_path: Path, home: Path, mirror: Path
) -> None:
    pip = f"channels: [conda-forge]\ndependencies: [{{pip: [probe-made]}}, python={minor()}, hello]\n"
    script = "import probe_made\nprint(probe_made.prefix, probe_made.seen, probe_made.__file__)\n"
    folder = project(tmp_path / "demo", pip, {"train.py": script})
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    table = '[project]\nname = "probe-made"\nversion = "1.0"\n'
    name, data = sdist("probe-made", "1.0", {"pyproject.toml": system + table, "backend.py": BACKEND})
    (folder / "links").mkdir()
    (folder / "links" / name).write_bytes(data)
    config = (folder / "trainload.toml").read_text()
    (folder / "trainload.toml").write_text(config + 'find-links = ["links"]\nexclude = ["links"]\n')
    done = trainload(folder, home, mirror, "run", "--engine", "embedded", UV_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert "building probe-made 1.0 from source" in done.stderr
    place = f"/opt/conda/lib/python{minor()}/site-packages/probe_made.py"
    assert done.stdout.splitlines()[-1] == f"/opt/conda True {place}"


def git(at: Path, *words: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(at), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=x", "-c", "user.email=x@x.example")
    return subprocess.run(
        ["git", "-C", str(at), *who, *words], env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


SETUP_BACKEND = """
from backend_core import *
def prepare_metadata_for_build_wheel(folder, settings=None):
    place = os.path.join(folder, "probe_made-1.0.dist-info")
    os.mkdir(place)
    with open(os.path.join(place, "METADATA"), "w") as out:
        out.write("Metadata-Version: 2.1\\nName: probe-made\\nVersion: 1.0\\nRequires-Dist: hello>=2\\n")
    return "probe_made-1.0.dist-info"
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What https://git.example/me/made.git leads to, by git's own configuration."""
    at = tmp_path / "repositories" / "me" / "made.git"
    (at / "sub").mkdir(parents=True)
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    for name, text in {
        "sub/pyproject.toml": system, "sub/backend_core.py": BACKEND, "sub/backend.py": SETUP_BACKEND,
        "README": "x", ".gitattributes": "sub/backend_core.py export-ignore\n",
    }.items():  # fmt: skip
        (at / name).write_text(text)
    git(at, "init", "-q", "-b", "main")
    git(at, "add", ".")
    git(at, "commit", "-q", "-m", "one")
    return at


def test_what_pip_takes_of_a_repository_is_locked_by_its_commit_and_built(
    tmp_path: Path, home: Path, mirror: Path, repository: Path
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    (repository / "README").write_text("y")
    git(repository, "commit", "-q", "-a", "-m", "two")
    line = f"git+https://git.example/me/made.git@{first[:10]}#subdirectory=sub"
    pip = f"channels: [conda-forge]\ndependencies: [python={minor()}, hello, {{pip: ['{line}']}}]\n"
    script = "import probe_made\nprint(probe_made.prefix, probe_made.seen, probe_made.__file__)\n"
    folder = project(tmp_path / "demo", pip, {"train.py": script})
    leading = {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": "https://git.example/", "UV_NO_INDEX": "1",
        "GIT_CONFIG_KEY_0": f"url.{(tmp_path / 'repositories').as_uri()}/.insteadOf",
    }  # fmt: skip
    done = trainload(folder, home, mirror, "run", "--engine", "embedded", **leading)
    assert done.returncode == 0, done.stderr
    place = f"/opt/conda/lib/python{minor()}/site-packages/probe_made.py"
    assert done.stdout.splitlines()[-1] == f"/opt/conda True {place}"
    assert "asking made in the sandbox what it requires" in done.stderr
    lock = tomllib.loads((folder / "pylock.trainload.toml").read_text())
    (package,) = lock["packages"]
    assert package["vcs"] == {
        "type": "git", "url": "https://git.example/me/made.git", "commit-id": first, "subdirectory": "sub",
        "requested-revision": first[:10],
    }  # fmt: skip
    assert package["name"] == "probe-made" and str(tmp_path) not in json.dumps(lock)
    # another machine fetches the commit anew and has the same bytes; without the repository it is told
    fresh = tmp_path / "fresh"
    again = trainload(folder, fresh, mirror, "build", "-q", "--frozen", "--json", **leading)
    assert again.returncode == 0, again.stderr
    same = trainload(folder, home, mirror, "build", "-q", "--frozen", "--json", "--offline")
    assert json.loads(again.stdout)["digest"] == json.loads(same.stdout)["digest"]
    frozen = trainload(folder, home, mirror, "freeze", "--format", "requirements")
    assert f"probe-made @ git+https://git.example/me/made.git@{first}#subdirectory=sub" in frozen.stdout
    rows = json.loads(trainload(folder, home, mirror, "freeze", "--format", "json").stdout)
    purl = next(row["purl"] for row in rows if row["name"] == "probe-made")
    assert purl.startswith("pkg:pypi/probe-made@1.0?vcs_url=git%2Bhttps%3A%2F%2Fgit.example%2Fme%2Fmade.git%40")


def test_a_branch_stays_where_it_was_until_an_upgrade(
    tmp_path: Path, home: Path, mirror: Path, repository: Path
) -> None:
    line = "probe-made @ git+https://git.example/me/made.git@main#subdirectory=sub"
    pip = f"channels: [conda-forge]\ndependencies: [python={minor()}, hello, {{pip: ['{line}']}}]\n"
    folder = project(tmp_path / "demo", pip)
    leading = {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": "https://git.example/", "UV_NO_INDEX": "1",
        "GIT_CONFIG_KEY_0": f"url.{(tmp_path / 'repositories').as_uri()}/.insteadOf",
    }  # fmt: skip

    def commit(*words: str) -> str:
        done = trainload(folder, home, mirror, "lock", *words, **leading)
        assert done.returncode == 0, done.stderr
        return str(tomllib.loads((folder / "pylock.trainload.toml").read_text())["packages"][0]["vcs"]["commit-id"])

    first = git(repository, "rev-parse", "HEAD")
    assert commit() == first
    (repository / "sub" / "more").write_text("y")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "two")
    (folder / "environment.yml").write_text(pip.replace("hello,", "hello, hello-c,"))
    assert commit() == first
    assert commit("--upgrade", "probe-made") == git(repository, "rev-parse", "HEAD") != first
    (folder / "environment.yml").write_text(pip.replace("@main", "@nowhere"))
    done = trainload(folder, home, mirror, "lock", **leading)
    assert done.returncode == 1 and "could not be fetched" not in done.stderr
    assert "the repository https://git.example/me/made.git has no nowhere" in done.stderr
    git_gone = {**leading, "GIT_CONFIG_KEY_0": f"url.{(tmp_path / 'none').as_uri()}/.insteadOf"}
    done = trainload(folder, home, mirror, "lock", **git_gone)
    assert done.returncode == 1 and "made.git could not be fetched" in done.stderr
    assert "git ls-remote https://git.example/me/made.git" in done.stderr and "Traceback" not in done.stderr


def test_pip_never_replaces_what_conda_brings(tmp_path: Path, home: Path, mirror: Path) -> None:
    folder = with_pip(tmp_path / "demo", "hello<2")
    done = trainload(folder, home, mirror, "build", "-q", UV_NO_INDEX="1")
    assert done.returncode == 1
    assert "conda brings hello 2.0, which the pip section does not take" in done.stderr


def test_files_of_two_packages_are_told_and_a_wheel_may_not_take_conda_files(
    tmp_path: Path, home: Path, mirror: Path
) -> None:
    own, both = tmp_path / "mirror", Content(b"x")
    more = [
        Spec("aaa", files={"share/same": Content(b"a"), "share/both": both}, subdir="noarch", noarch="generic"),
        Spec("bbb", files={"share/same": Content(b"b"), "share/both": both}, subdir="noarch", noarch="generic"),
        Spec("ccc", files={"site-packages/probe_beside/__init__.py": both}, subdir="noarch", noarch="python",
             depends=["python"]),
    ]  # fmt: skip
    write_channel(own / "conda-forge", [*packages(), *more])
    script = "print(open('/opt/conda/share/same').read())"
    folder = project(tmp_path / "demo", f"dependencies: [python={minor()}, aaa, bbb]\n", {"train.py": script})
    done = trainload(folder, home, own, "run", "--engine", "embedded")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "b"
    assert "aaa-1.0-0.conda and bbb-1.0-0.conda both have /opt/conda/share/same" in done.stderr
    assert "that of bbb-1.0-0.conda counts" in done.stderr and "share/both" not in done.stderr
    folder = with_pip(tmp_path / "pip", "hello>=2")
    text = (folder / "environment.yml").read_text()
    (folder / "environment.yml").write_text(text.replace("hello]", "hello, ccc]"))
    done = trainload(folder, home, own, "build", "-q", UV_NO_INDEX="1")
    assert done.returncode == 1
    assert "both have /opt/conda/lib/" in done.stderr and "ccc-1.0-0.conda" in done.stderr


def test_what_is_locked_is_written_for_other_tools_and_taken_back(tmp_path: Path, home: Path, mirror: Path) -> None:
    folder = project(tmp_path / "demo", environment())
    digest = json.loads(trainload(folder, home, mirror, "build", "--json", "-q").stdout)["digest"]
    done = trainload(folder, home, mirror, "freeze", "-o", "frozen")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "frozen/conda-linux-64.lock", "frozen/requirements.frozen.txt", "frozen/packages.json"
    ]  # fmt: skip
    text = (folder / "frozen" / "conda-linux-64.lock").read_text()
    assert text.startswith("# platform: linux-64\n@EXPLICIT\nhttps://") and str(mirror) not in text
    prefix = installed_by_rattler(text, mirror, tmp_path)
    said = subprocess.run([prefix / "bin" / "hello-c"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [f"{prefix}/share/hello.txt"] * 2
    rows = json.loads((folder / "frozen" / "packages.json").read_text())
    hello = next(row for row in rows if row["name"] == "hello")
    assert hello["purl"] == "pkg:conda/hello@2.0?build=pyh0_0&channel=conda-forge&subdir=noarch&type=tar.bz2"
    assert {row["kind"] for row in rows} == {"conda", "distribution"} and all(row["sha256"] for row in rows)
    again = project(
        tmp_path / "again", "", {"conda-linux-64.lock": text, ".trainloadignore": "conda-linux-64.lock\n"}
    )
    (again / "environment.yml").unlink()
    (again / "trainload.toml").write_text(f'name = "demo"\nbase = "apt:{CODENAME}"\nenv = {{ MODE = "fast" }}\n')
    done = trainload(again, home, mirror, "run", "--engine", "embedded")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["where"] == "/opt/conda/share/hello.txt"
    layers = [layer_set(each, home, mirror) for each in (folder, again)]
    assert layers[0] == layers[1] and digest


def installed_by_rattler(explicit: str, mirror: Path, area: Path) -> Path:
    """An environment that rattler makes of the addresses and hashes in a list, and of nothing else."""
    import rattler

    async def work() -> None:
        records = []
        for number, line in enumerate(line for line in explicit.splitlines() if line.startswith("https://")):
            url, _, sha256 = line.partition("#")
            file = mirror / "conda-forge" / url.partition("/conda-forge/")[2]
            with file.open("rb") as stream:
                (area / f"{number}.json").write_text(json.dumps(read_index(stream, file.name)))
            record = rattler.PackageRecord.from_index_json(area / f"{number}.json", file.stat().st_size, sha256)
            records.append(
                rattler.RepoDataRecord(record, file.name, file.as_uri(), (mirror / "conda-forge").as_uri())
            )
        await rattler.install(
            records, area / "prefix", cache_dir=area / "pkgs", platform=rattler.Subdir("linux-64"),
            execute_link_scripts=False, show_progress=False,
        )  # fmt: skip

    asyncio.run(work())
    return area / "prefix"


def layer_set(folder: Path, home: Path, mirror: Path) -> list[tuple[str, str]]:
    """The recipes of conda packages in a plan; the last layer of the kind says what was asked for."""
    plan = json.loads(trainload(folder, home, mirror, "plan", "--json", "-q").stdout)
    return [(layer["title"], layer["recipe"]) for layer in plan["layers"] if layer["kind"] == "conda"][:-1]


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_it_runs_in_other_engines(tmp_path: Path, home: Path, mirror: Path, engine: str) -> None:
    folder = project(tmp_path / "demo", environment())
    with ExitStack() as stack:
        if engine == "docker":
            more = {"DOCKER_HOST": stack.enter_context(docker_daemon(tmp_path / "docker"))}
        else:
            if Podman.missing():
                pytest.skip(Podman.missing())
            more = stack.enter_context(Podman(tmp_path / "podman")).environ
        done = trainload(folder, home, mirror, "run", "--engine", engine, **more)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["where"], told["CONDA_PREFIX"]) == ("/opt/conda/share/hello.txt", "/opt/conda")
