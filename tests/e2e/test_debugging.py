"""The debugging loop with a real project: shells, live code and tools on top."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.peers import free_port

from trainload.system.ports import is_free
from trainload.testing.people import NOBODY, as_ordinary_user, cannot_be_ordinary

TRAINLOAD = Path(sys.executable).with_name("trainload")
TRAIN = """\
import signal, sys, time, six
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(0)))
print("one", sys.argv[1:], flush=True)
time.sleep(1000)
"""


REQUIREMENTS = "six==1.17.0\n"
MAIN = "import sys\nfrom trainload.cli.main import main\nmain(sys.argv[1:])"


@dataclass(frozen=True)
class Project:
    folder: Path
    environ: dict[str, str]

    def __call__(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TRAINLOAD, *words], cwd=self.folder, env=self.environ, input=stdin, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip

    @property
    def lock(self) -> bytes:
        return (self.folder / "pylock.trainload.toml").read_bytes()

    def digests(self) -> dict[str, str]:
        images = json.loads(self("images", "--json").stdout)
        return {name: image["digest"] for image in images for name in image["names"]}

    @contextmanager
    def started(self, *words: str, program: Sequence[str] = (str(TRAINLOAD),)) -> Iterator[subprocess.Popen[str]]:
        """A command in the background, its two streams in files of the folder above."""
        with (self.folder.parent / "out").open("w") as out, (self.folder.parent / "err").open("w") as err:
            process = subprocess.Popen(
                [*program, *words], cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=out,
                stderr=err, text=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(120)

    def said(self) -> str:
        return (self.folder.parent / "out").read_text() + (self.folder.parent / "err").read_text()

    def until(self, condition: Callable[[], bool], seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    top = tmp_path_factory.mktemp("debugging")
    folder = top / "digits"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "requirements.txt").write_text(REQUIREMENTS)
    project = Project(folder, {**os.environ, "TRAINLOAD_HOME": str(top / "home"), "LANG": "C.UTF-8"})
    done = project("build")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(autouse=True)
def as_it_was(project: Project) -> Iterator[None]:
    """Whatever a test leaves of the project, the next one finds its files as they were."""
    yield
    (project.folder / "train.py").write_text(TRAIN)
    (project.folder / "requirements.txt").write_text(REQUIREMENTS)
    (project.folder / "trainload.toml").unlink(missing_ok=True)


def test_a_shell_has_the_folder_live_and_what_it_changes_elsewhere_is_gone(project: Project) -> None:
    (project.folder / "new.txt").write_text("not built\n")
    script = "cat new.txt; python -c 'import six; print(six.__version__)'; touch /tmp/x; echo y >made; exit 3"
    done = project("shell", stdin=script)
    assert (done.returncode, done.stdout) == (3, "not built\n1.17.0\n"), done.stderr
    assert "this folder, live" in done.stderr
    assert "did not succeed" not in done.stderr
    assert (project.folder / "made").stat().st_uid == os.geteuid()
    done = project("shell", "--no-code", "--root", stdin="id -u; ls; [ -e /tmp/x ] || echo gone")
    assert done.stdout.split() == ["0", "made", "new.txt", "outputs", "requirements.txt", "train.py", "gone"]


def test_the_profile_of_a_shell_leaves_the_projects_lock_and_image(project: Project) -> None:
    before, digests = project.lock, project.digests()
    done = project("shell", "--profile", "dev", "--root", stdin="git --version; apt-get --version; command -v vi")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("git version") and "/usr/bin/vi" in done.stdout
    assert project.lock == before
    after = project.digests()
    added = {name: after.pop(name) for name in set(after) - set(digests)}
    assert (list(added), after) == (["digits:profile-dev"], digests)
    done = project("--json", "shell", "--profile", "dev", "--offline", stdin="id -u")
    assert (done.returncode, done.stdout) == (0, "1000\n"), done.stderr
    assert project.digests()["digits:profile-dev"] == added["digits:profile-dev"]


def test_dev_runs_again_on_save_and_ends_the_old_run_by_the_stop_signal(project: Project) -> None:
    train = project.folder / "train.py"
    out = project.folder.parent / "out"
    with project.started("dev", "-e", "COLOUR=blue", "--", "--epochs", "3") as process:
        project.until(lambda: "one ['--epochs', '3']" in out.read_text())
        (project.folder / "outputs" / "log").write_text("no reason to run again\n")
        train.write_text(TRAIN.replace('"one"', '"two"'))
        project.until(lambda: "saved\ntwo ['--epochs', '3']" in out.read_text())
        train.write_text("import rich, os\nprint('rich', os.environ['COLOUR'])\n")
        project.until(lambda: "No module named 'rich'" in project.said())
        (project.folder / "requirements.txt").write_text("six==1.17.0\nrich =\n")
        project.until(lambda: "error:" in project.said())
        (project.folder / "requirements.txt").write_text("six==1.17.0\nrich==14.*\n")
        project.until(lambda: "rich blue" in out.read_text())
        assert project.said().count("running again") <= 4, "one run for each save"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


def test_dev_takes_its_run_along(project: Project) -> None:
    out = project.folder.parent / "out"
    with project.started("dev") as process:
        project.until(lambda: "one" in out.read_text())
        process.terminate()
        assert process.wait(120) == 128 + signal.SIGTERM
    assert out.read_text().endswith("saved\n")
    (project.folder / "train.py").write_text("import time\nprint('plain', flush=True)\ntime.sleep(1000)\n")
    with project.started("dev") as process:
        project.until(lambda: "plain" in out.read_text())
        process.terminate()
        assert process.wait(120) == 128 + signal.SIGTERM
    assert "did not succeed" not in project.said(), "it was dev itself that ended it"


def test_dev_looks_again_when_a_file_was_written_while_it_looked(project: Project) -> None:
    """The save that made it look is not forgotten, though nothing else is saved any more."""
    marker = project.folder.parent / "now"
    written = f"""
import os, pathlib, sys
from trainload.cli.main import main
from trainload.system.tree import DiskTree

real, marker = DiskTree.open, pathlib.Path({str(marker)!r})

def opened(tree, path):
    stream = real(tree, path)
    read = stream.read
    def while_it_is_written(size):
        data = read(size)
        if path == "pylock.trainload.toml" and marker.exists():
            marker.unlink()
            os.utime(path)
        return data
    stream.read = while_it_is_written
    return stream

DiskTree.open = opened
main(sys.argv[1:])
"""
    train, out = project.folder / "train.py", project.folder.parent / "out"
    train.write_text(TRAIN)
    with project.started("dev", program=(sys.executable, "-c", written)) as process:
        project.until(lambda: "one" in out.read_text())
        marker.touch()
        train.write_text(TRAIN.replace('"one"', '"two"'))
        project.until(lambda: "two" in out.read_text() or "error:" in project.said())
        assert not marker.exists(), "nothing was written while it looked"
        assert "error:" not in project.said()
        process.terminate()
        assert process.wait(120) == 128 + signal.SIGTERM


class Editor:
    """The client side of the Debug Adapter Protocol (microsoft.github.io/debug-adapter-protocol)."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._stream = self._socket.makefile("rwb")
        self._number = 0
        self.seen: list[dict[str, Any]] = []

    def __enter__(self) -> Editor:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, command: str, **arguments: object) -> None:
        self._number += 1
        body = json.dumps({"seq": self._number, "type": "request", "command": command, "arguments": arguments})
        self._stream.write(f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        self._stream.flush()

    def until(self, kind: str, what: str) -> dict[str, Any]:
        """The body of the next event or response of that name, whatever came before it."""
        while True:
            found = next((message for message in self.seen if message.get(kind) == what), None)
            if found is not None:
                self.seen.remove(found)
                assert found.get("success", True), found
                body: dict[str, Any] = found.get("body") or {}
                return body
            length = 0
            while line := self._stream.readline().strip():
                length = int(line.partition(b":")[2])
            message = json.loads(self._stream.read(length))
            if message["type"] != "request":
                self.seen.append(message)

    def attach(self, breakpoint_: tuple[str, int] | None = None, **arguments: object) -> None:
        self.send("initialize", adapterID="test", pathFormat="path")
        self.until("command", "initialize")
        self.send("attach", **arguments)
        self.until("event", "initialized")
        if breakpoint_ is not None:
            path, line = breakpoint_
            self.send("setBreakpoints", source={"path": path}, breakpoints=[{"line": line}])
            self.until("command", "setBreakpoints")
        self.send("configurationDone")
        self.until("command", "attach")


def test_an_editor_attaches_stops_in_the_program_and_follows_its_processes(project: Project) -> None:
    train = project.folder / "train.py"
    before, port = project.lock, free_port()
    train.write_text(
        "import subprocess, sys\nx = 41\nprint(x, flush=True)\nsubprocess.run([sys.executable, 'w.py'])\n"
    )
    (project.folder / "w.py").write_text("print('worker', flush=True)\n")
    mappings = [{"localRoot": str(project.folder), "remoteRoot": "/app"}]
    with project.started("run", "--debug", str(port)) as process:
        project.until(lambda: '  "type": "debugpy",\n' in project.said() and not is_free(port, "127.0.0.1"))
        with Editor(port) as editor:
            editor.attach((str(train), 3), pathMappings=mappings, subProcess=True)
            thread = editor.until("event", "stopped")["threadId"]
            editor.send("stackTrace", threadId=thread)
            frame = editor.until("command", "stackTrace")["stackFrames"][0]
            assert (frame["line"], frame["source"]["path"]) == (3, str(train))
            editor.send("evaluate", expression="x + 1", frameId=frame["id"])
            assert editor.until("command", "evaluate")["result"] == "42"
            editor.send("continue", threadId=thread)
            child = editor.until("event", "debugpyAttach")
            assert child["connect"]["port"] == port, "through the one port that is published"
            with Editor(port) as second:
                second.attach(**{name: child[name] for name in ("connect", "subProcessId", "pathMappings")})
                assert process.wait(60) == 0, project.said()
    assert "41\nworker\n" in project.said()
    assert project.lock == before


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are an ordinary user's then")
def test_an_ordinary_user_debugs_and_is_root_in_a_shell(project: Project) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to them
        theirs = Path(name)
        if why := cannot_be_ordinary(theirs):
            pytest.skip(why)
        shutil.copytree(project.folder, theirs / "digits")
        home = Path(project.environ["TRAINLOAD_HOME"])
        shutil.copytree(home, theirs / "home", ignore=shutil.ignore_patterns("rootfs"), symlinks=True)
        (theirs / "digits" / "train.py").write_text(
            "import sys, os; print('debugpy' in sys.modules, os.getuid())\n"
        )
        subprocess.run(["chown", "-R", str(NOBODY), theirs], check=True)
        env = {"TRAINLOAD_HOME": str(theirs / "home")}
        for words, said in (
            (("shell", "--root", "--entrypoint", "id"), "uid=0(root)"),
            (("run", "--offline", "--debug", "--debug-no-wait"), "True 1000"),
        ):
            done = as_ordinary_user(MAIN, "-C", str(theirs / "digits"), *words, home=theirs, env=env)
            if "does not let us make namespaces" in done.complaint:
                pytest.skip("this machine does not allow user namespaces")
            assert done.exit_code == 0, done.complaint
            assert done.stdout.decode().startswith(said)
        mine = [path for path in (theirs / "digits").rglob("*") if path.lstat().st_uid != NOBODY]
        assert mine == []


def test_debug_is_for_python_and_for_the_project(project: Project) -> None:
    done = project("run", "--debug=1", "some-image", "python")
    assert done.returncode == 2 and "is for the project in this folder" in done.stderr
    done = project("run", "--debug", "--offline", "--entrypoint", "sh")
    assert done.returncode == 2 and "needs a command that starts Python" in done.stderr


def test_a_notebook_server_has_the_projects_packages_and_folder_and_asks_for_its_token(project: Project) -> None:
    startup = Path(project.environ["TRAINLOAD_HOME"]) / "jupyter" / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "probe.py").write_text(
        "import six, sys, pathlib\n"
        "reloads = any('autoreload' in name for name in get_ipython().extension_manager.loaded)\n"
        "told = f'{sys.executable} {six.__version__} {pathlib.Path.cwd()} {reloads}'\n"
        "pathlib.Path('outputs/kernel.txt').write_text(told)\n"
    )
    before = project.lock
    digest = project.digests()["digits"]
    words = ("notebook", "--interface", "none", "--no-browser", "--token", "s3cret")
    with project.started(*words) as process:
        project.until(lambda: "notebook: http://127.0.0.1:" in project.said(), 120)
        place = re.search(r"http://127\.0\.0\.1:(\d+)", project.said())
        assert place is not None
        url = place[0]

        def ask(path: str, method: str = "GET", body: object = None, token: str = "s3cret") -> tuple[int, Any]:
            headers = {"Authorization": f"token {token}", "Host": "127.0.0.1"}
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(url + path, data, headers, method=method)
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(request, timeout=30) as answer:
                    return answer.status, json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, None

        assert ask("/api/contents", token="wrong")[0] == 403
        names = {entry["name"] for entry in ask("/api/contents")[1]["content"]}
        assert {"train.py", "requirements.txt"} <= names
        notebook = {
            "type": "notebook",
            "content": {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5},
        }
        assert ask("/api/contents/first.ipynb", "PUT", notebook)[0] == 201
        saved = project.folder / "first.ipynb"
        assert saved.stat().st_uid == os.geteuid()
        kernel = project.folder / "outputs" / "kernel.txt"
        assert ask("/api/kernels", "POST", {"name": "python3"})[0] == 201
        project.until(kernel.exists)
        project.until(lambda: kernel.read_text() == "/opt/venv/bin/python 1.17.0 /app True")
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0, project.said()
    assert "s3cret" not in (Path(project.environ["TRAINLOAD_HOME"]) / "runs.sqlite").read_bytes().decode("latin-1")
    assert project.lock == before
    assert project.digests()["digits"] == digest, "the project's image stays what it is"
    made = project.digests()["digits:with-jupyter"]
    saved.unlink()
    with project.started(*words, "--offline"):
        project.until(lambda: "notebook: http://127.0.0.1:" in project.said(), 60)
    assert project.digests()["digits:with-jupyter"] == made, "the second time offline, and the same"


def test_an_editors_container_is_the_projects_image_and_a_users_file_is_kept(project: Project) -> None:
    place = project.folder / ".devcontainer" / "devcontainer.json"
    (project.folder / "trainload.toml").write_text('[run]\nvolumes = ["./data:/data:ro"]\nports = ["6006:6006"]\n')
    assert project("export", "devcontainer").returncode == 0
    found = json.loads(place.read_text())
    assert (found["image"], found["remoteUser"]) == ("localhost/trainload/digits:latest", "app")
    assert found["initializeCommand"][:3] == ["trainload", "-q", "shell"]
    assert found["mounts"] == ["source=${localWorkspaceFolder}/data,target=/data,type=bind,readonly"]
    place.write_text("// mine\n")
    done = project("export", "devcontainer")
    assert done.returncode == 2 and "it may be yours" in done.stderr
    assert place.read_text() == "// mine\n"
    done = project(
        "export", "devcontainer", "--force", "--image", "registry.example/team/digits:v1", "--profile", "dev"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(place.read_text())
    assert found["image"] == "registry.example/team/digits:v1" and "initializeCommand" not in found
    (project.folder / "trainload.toml").unlink()
    done = project("shell", "--engine", "embedded", "--entrypoint", "true")
    assert done.returncode == 0, "the command that brings the image, on an engine that is here"


def test_tools_fit_beside_the_projects_versions_or_not_at_all(project: Project) -> None:
    before = project.lock
    done = project("notebook", "--interface", "none", "--no-browser", "--with", "six<1.17")
    assert done.returncode == 1
    assert "must fit beside the versions that the project has locked" in done.stderr
    done = project("notebook", "--with", "-r /etc/passwd")
    assert done.returncode == 2 and "this is no requirement" in done.stderr
    assert project.lock == before
