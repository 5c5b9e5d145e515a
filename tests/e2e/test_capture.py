"""What is typed into a shell becomes a difference of the project, and the image that is built of it has just that.

With the distribution's own archive and the package index of this machine: whoever lacks one skips that part.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.peers import PATH, call, docker_daemon, podman_of_our_own

from trainload.testing.people import NOBODY, as_ordinary_user, cannot_be_ordinary

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
APT = (
    "/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/auth.conf.d",
    "/etc/apt/trusted.gpg.d", "/etc/apt/keyrings", "/usr/share/keyrings",
)  # fmt: skip
LOCK = "pylock.trainload.toml"
CONFIG = 'name = "work"\nsystem = ["apt", "diffutils"]  # for the shell\n'
BY_HAND = """
set -e
pip install -q --root-user-action=ignore python-dateutil
pip uninstall -qy --root-user-action=ignore colorama
echo 'print("by hand")' > train.py
mkdir -p lib; echo 'x = 1' > lib/more.py; chmod 755 lib/more.py
echo 'secret' > .env; echo '[tool]' > /etc/tool.conf
python -c 'import dateutil' # leaves bytecode
"""
WITH_APT = """
apt-get -qq -o APT::Sandbox::User=root update
apt-get -qq -o APT::Sandbox::User=root install -y --no-install-recommends file >/dev/null
"""


FROZEN = """
python train.py
python -c 'import dateutil, importlib.util; print(importlib.util.find_spec("colorama"))'
ls -d /etc/tool.conf .env 2>/dev/null; true
"""


class Work:
    """A project, a store, and ``trainload`` called in it."""

    def __init__(self, folder: Path, home: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder, self.home, self.env = folder, home, env or {}
        self.folder.mkdir()
        (self.folder / "requirements.txt").write_text("pip  # the installer\ncolorama\n")
        (self.folder / "train.py").write_text('print("as it was")\n')
        (self.folder / "trainload.toml").write_text(CONFIG)
        for path in ("other.py", "file.py", "folder/a.py", "gone/a.py", "gone/b/c.py"):
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text("x = 1\n")

    def __call__(self, *words: str, stdin: str = "", good: bool = True) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "TRAINLOAD_HOME": str(self.home), "LANG": "C.UTF-8", **self.env}
        done = subprocess.run(
            [sys.executable, "-m", "trainload", *words], cwd=self.folder, env=environ, input=stdin,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert not good or done.returncode == 0, done.stderr
        return done

    def json(self, *words: str) -> Any:  # noqa: ANN401 - a document
        return json.loads(self("--json", *words).stdout)

    def state(self) -> dict[str, str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_text() for path in files}


def has_apt() -> bool:
    """Whether this machine's own archive fits to the base."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME") == "bookworm" and Path("/etc/apt").is_dir()


def mounts(empty: Path) -> list[str]:
    """What of this machine's configuration pip and apt need in the sandbox."""
    places = [CERTIFICATES, *(APT if has_apt() else ())]
    found = [word for place in places if os.access(place, os.R_OK) for word in ("-v", f"{place}:{place}:ro")]
    # debconf's hook calls a program that a slim base leaves out
    found += ["-v", f"{empty}:/etc/apt/apt.conf.d/70debconf:ro"] if has_apt() else []
    return [*found, *(("-e", f"PIP_CERT={CERTIFICATES}") if Path(CERTIFICATES).exists() else ())]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("capture")
    made = Work(folder / "project", folder / "home")
    made("build")
    shutil.copy(made.folder / LOCK, folder)  # tests lock anew
    return made


@pytest.fixture
def shell(work: Work, tmp_path: Path) -> Iterator[str]:
    """A shell in which somebody worked; its id."""
    (tmp_path / "empty").touch()
    script = BY_HAND + (WITH_APT if has_apt() else "")
    done = work("shell", "--root", "--no-code", *mounts(tmp_path / "empty"), "--entrypoint", "sh", stdin=script)
    (kept,) = work.json("capture", "--list")
    assert f"trainload rm {kept['id']} forgets it" in done.stderr
    yield kept["id"]
    work("rm", kept["id"], good=False)


# forty characters as a key of AWS has them
KEY = "wJalrXUtnFEMIoK7MDENGobPxRfiCY" + "a1b2c3d4e5"
ODD = f"""
set -e
chmod 755 train.py; touch other.py
rm file.py; mkdir file.py; echo 1 > file.py/inside.py
rm -r folder; echo now > folder
rm -r gone
ln -s train.py link.py; ln -s /etc/passwd outside
mkdir new; echo 1 > new/one.py; ln new/one.py new/two.py; echo 3 > new/three.py; echo 4 > new/four.py
head -c 70000000 /dev/zero > big.bin
echo 'AWS_SECRET_ACCESS_KEY={KEY}' > conf.py
echo 1 > "a b's.py"; mkdir empty
touch /opt/venv/.lock
"""


def check_odd(odd: Work, *container: str) -> None:
    """What is proposed is what was done, it can be written, and then nothing is left to do."""
    found = odd.json("capture", "--dry-run", *container)
    assert (found["python"], found["system"], found["elsewhere"], found["conflicts"]) == ([], [], [], [])
    assert sorted(found["edits"]) == [
        "a b's.py", "file.py", "file.py/inside.py", "folder", "folder/a.py", "gone/a.py", "gone/b/c.py",
        "link.py", "new/four.py", "new/one.py", "new/three.py", "new/two.py", "train.py",
    ]  # fmt: skip
    assert [one["path"] for one in found["left_out"]] == ["big.bin", "conf.py", "outside"]
    assert "AWS secret key" in str(found["left_out"])
    assert KEY not in json.dumps(found)
    odd("capture", "--yes", *container)
    assert os.access(odd.folder / "train.py", os.X_OK)
    assert (odd.folder / "file.py/inside.py").read_text() == "1\n"
    assert (odd.folder / "new/one.py").read_text() == (odd.folder / "new/two.py").read_text() == "1\n"
    assert (odd.folder / "folder").read_text() == "now\n"
    assert (odd.folder / "link.py").readlink() == Path("train.py")
    assert not list(odd.folder.glob("gone/**/*.py"))
    assert odd.json("capture", "--dry-run", *container)["diff"] == ""


def test_odd_changes_are_taken_as_what_they_are(work: Work, tmp_path: Path) -> None:
    odd = Work(tmp_path / "odd", work.home)
    odd("shell", "--root", "--no-code", "--entrypoint", "sh", stdin=ODD)
    check_odd(odd)
    odd("rm", *(one["id"] for one in odd.json("capture", "--list")))  # the store is the others', too


def check_found(found: Any) -> None:  # noqa: ANN401 - a document
    """Just what the scripts did."""
    assert {"colorama", "python-dateutil"} < {one["name"] for one in found["python"]}  # and what dateutil needs
    assert [one["name"] for one in found["python"] if one["version"] and one["asked"]] == ["python-dateutil"]
    assert [one["name"] for one in found["system"] if one["asked"]] == (["file"] if has_apt() else [])
    assert {one["path"]: one["how"] for one in found["files"]} == {
        ".env": "added", "lib/more.py": "added", "train.py": "changed",
    }  # fmt: skip
    assert found["elsewhere"] == [{"path": "/etc/tool.conf", "how": "added"}]
    assert [one["path"] for one in found["left_out"]] == [".env"]


def test_pip_apt_and_edited_files_become_a_difference_and_the_rebuilt_image_has_them(
    work: Work, shell: str
) -> None:
    before = work.state()
    found = work.json("capture", "--dry-run")
    check_found(found)
    assert work.state() == before
    assert work("capture", good=False).returncode == 2  # nobody is there to be asked
    assert work.state() == before

    done = work("capture", "--yes", shell, "--lock")
    (version,) = [one["version"] for one in found["python"] if one["name"] == "python-dateutil"]
    after = work.state()
    assert after["requirements.txt"] == f"pip  # the installer\npython-dateutil=={version}\n"
    assert after["trainload.toml"] == (CONFIG.replace('utils"]', 'utils", "file"]') if has_apt() else CONFIG)
    assert after["train.py"] == 'print("by hand")\n'
    assert os.access(work.folder / "lib/more.py", os.X_OK)
    assert after.keys() - before.keys() == {"lib/more.py"}
    assert "-colorama" in done.stdout and "made anew" in done.stderr

    check = (
        'import dateutil, lib.more, importlib.util as u, os; print(u.find_spec("colorama"), os.path.exists(".env"))'
    )
    said = work("-q", "run", "--entrypoint", "", "--", "python", "-c", check).stdout
    assert said.endswith("None False\n")
    assert work("-q", "run", "--").stdout == "by hand\n"
    if has_apt():
        assert "file-" in work("-q", "run", "--entrypoint", "file", "--", "--version", good=False).stdout
    assert work.json("capture", shell, "--dry-run")["diff"] == ""


def taken() -> dict[str, str]:
    """What of our environment says where packages come from."""
    names = ("UV_", "PIP_", "SSL_", "REQUESTS_", "TRAINLOAD_MIRRORS", "http", "HTTP", "no_proxy", "NO_PROXY")
    return {name: value for name, value in os.environ.items() if name.startswith(names)}


@pytest.fixture
def theirs(work: Work) -> Iterator[Theirs]:
    """The same project and store of an ordinary user."""
    if os.geteuid() != 0:
        pytest.skip("the other tests are an ordinary user's then")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to them
        place = Path(name)
        if why := cannot_be_ordinary(place):
            pytest.skip(why)
        shutil.copytree(work.home, place / "home", ignore=shutil.ignore_patterns("rootfs", "runs*"), symlinks=True)
        Work(place / "project", place / "home")
        shutil.copy(work.folder.parent / LOCK, place / "project")
        subprocess.run(["chown", "-R", str(NOBODY), place], check=True)
        yield Theirs(place)


@dataclass(frozen=True)
class Theirs:
    """An ordinary user's folder, and ``trainload`` called by them in their project."""

    place: Path

    def __call__(self, *words: str, stdin: str = "") -> str:
        """What it says on standard output."""
        main = (
            "import os, sys; from trainload.cli.main import main; os.dup2(os.open(sys.argv.pop(1), 0), 0); main()"
        )
        (self.place / "stdin").write_text(stdin)
        env = {"TRAINLOAD_HOME": str(self.place / "home"), "LANG": "C.UTF-8", **taken()}
        call = (str(self.place / "stdin"), "-C", str(self.place / "project"), *words)
        done = as_ordinary_user(main, *call, home=self.place, env=env)
        if "does not let us make namespaces" in done.complaint:
            pytest.skip("this machine does not allow user namespaces")
        assert done.exit_code == 0, done.complaint
        return done.stdout.decode()


def test_an_ordinary_user_captures_the_same(theirs: Theirs) -> None:
    """Root in their own namespace, with one id: apt and dpkg get along with that, too."""
    (theirs.place / "empty").touch()
    script = BY_HAND + (WITH_APT if has_apt() else "")
    theirs("shell", "--root", "--no-code", *mounts(theirs.place / "empty"), "--entrypoint", "sh", stdin=script)
    check_found(json.loads(theirs("-q", "--json", "capture", "--dry-run")))
    theirs("capture", "--yes")  # the image that is rebuilt of it is that of the test above
    project = theirs.place / "project"
    assert (project / "requirements.txt").read_text().startswith("pip  # the installer\npython-dateutil==")
    assert ('"file"' in (project / "trainload.toml").read_text()) is has_apt()
    assert (project / "train.py").read_text() == 'print("by hand")\n'
    assert json.loads(theirs("-q", "--json", "capture", "--dry-run"))["diff"] == ""
    assert [path for path in project.rglob("*") if path.lstat().st_uid != NOBODY] == []


@pytest.fixture(params=["docker", "podman"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Its command line, and what of the environment makes it the one that ``trainload`` calls."""
    if request.param == "docker":
        with docker_daemon(tmp_path) as socket:
            yield ["docker", "-H", socket], {"DOCKER_HOST": socket}
        return
    with podman_of_our_own(tmp_path) as (words, env):
        program = tmp_path / "bin" / "podman"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shutil.which("podman")} {shlex.join(words[1:])} "$@"\n')
        program.chmod(0o755)
        yield [str(program)], {**env, "PATH": f"{program.parent}:{PATH}"}


def test_a_container_of_docker_or_podman_says_the_same(
    work: Work, peer: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    words, env = peer
    mine = Work(tmp_path / "mine", work.home, {**env, "PATH": env.get("PATH", os.environ["PATH"])})
    mine("build")
    mine("save", "work", "-o", str(tmp_path / "work.tar"))
    call(*words, "load", "-i", str(tmp_path / "work.tar"), env=env)
    (tmp_path / "empty").touch()
    script = BY_HAND + (WITH_APT if has_apt() else "")
    own = ["run", "--name", "byhand", "--network", "host", "-u", "0", *mounts(tmp_path / "empty")]
    call(*words, *own, "--entrypoint", "sh", "work", "-c", script, env=env)
    engine = Path(words[0]).name
    check_found(mine.json("capture", "byhand", "--engine", engine, "--yes"))
    assert mine.state()["train.py"] == 'print("by hand")\n'
    if engine == "docker":  # Podman's export is the same, and takes half a minute
        committed = mine("commit", "byhand", "frozen", "--engine", engine)
        assert "cannot be built again" in committed.stderr and "/app/.env looks like a secret" in committed.stderr
        said = mine("-q", "run", "--engine", "embedded", "frozen", "sh", "-c", FROZEN).stdout
        assert said == "by hand\nNone\n/etc/tool.conf\n"
    own = ["run", "--name", "odd", "--network", "host", "-u", "0", "--entrypoint", "sh", "work", "-c", ODD]
    call(*words, *own, env=env)
    check_odd(Work(tmp_path / "odd", work.home, mine.env), "odd", "--engine", engine)
    left = call(*words, "ps", "-aq", env=env).split()
    assert len(left) == 2  # what was made to look at the image is gone
    call(*words, "rm", "byhand", "odd", env=env)
