"""The debugging loop with a real project: shells, live code and tools on top."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

TRAINLOAD = Path(sys.executable).with_name("trainload")
TRAIN = """\
import signal, sys, time, six
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(0)))
print("one", sys.argv[1:], flush=True)
time.sleep(1000)
"""


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
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command in the background, its two streams in files of the folder above."""
        with (self.folder.parent / "out").open("w") as out, (self.folder.parent / "err").open("w") as err:
            process = subprocess.Popen(
                [TRAINLOAD, *words], cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=out,
                stderr=err, text=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)

    def said(self) -> str:
        return (self.folder.parent / "out").read_text() + (self.folder.parent / "err").read_text()

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
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
    (folder / "requirements.txt").write_text("six==1.17.0\n")
    project = Project(folder, {**os.environ, "TRAINLOAD_HOME": str(top / "home"), "LANG": "C.UTF-8"})
    done = project("build")
    assert done.returncode == 0, done.stderr
    return project


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
        assert process.wait(20) == 0
    train.write_text(TRAIN)
    (project.folder / "requirements.txt").write_text("six==1.17.0\n")


def test_dev_takes_its_run_along(project: Project) -> None:
    out = project.folder.parent / "out"
    with project.started("dev") as process:
        project.until(lambda: "one" in out.read_text())
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    assert out.read_text().endswith("saved\n")
