"""``configure = "sandbox"`` over a base of the distribution: its own scripts, run by its own dpkg."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.testing.people import as_ordinary_user, cannot_be_ordinary

TRAINLOAD = Path(sys.executable).with_name("trainload")
CONFIG = """
base = "apt:bookworm"
system = {system}
command = ["true"]
configure = "sandbox"
"""
BUILD = """
import os, sys
os.chdir(sys.argv[1])
sys.argv = ["trainload", "build", "--json", "-q"]
from trainload.cli.main import main
main()
"""


def project(at: Path, *system: str) -> Path:
    at.mkdir()
    (at / "requirements.txt").write_text("")
    (at / "train.py").write_text("print(1)\n")
    (at / "trainload.toml").write_text(CONFIG.format(system=json.dumps(system)))
    return at


def trainload(folder: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TRAINLOAD_HOME": str(home)}
    done = subprocess.run([TRAINLOAD, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def made_anew(home: Path, digest: str) -> None:
    (record,) = [one for one in (home / "recipes").glob("*.json") if digest in one.read_text()]
    record.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: scripts give files to other users")
def test_scripts_of_the_distribution_run_and_leave_the_same_bytes_twice(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", "fontconfig", "shared-mime-info", "openssh-client")
    home = tmp_path / "home"
    done = trainload(folder, home, "build", "--json")
    assert "is not run" not in done.stderr
    assert "scripts run in the sandbox: fontconfig, fontconfig-config," in done.stderr
    built = json.loads(done.stdout)
    (layer,) = [layer for layer in built["layers"] if layer["title"] == "scripts of the distribution"]
    with tarfile.open(home / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")) as archive:
        entries = {member.name: member for member in archive}
    agent = entries["usr/bin/ssh-agent"]
    assert (agent.mode, agent.uid, agent.gid != 0) == (0o2755, 0, True)
    assert "usr/share/mime/mime.cache" in entries
    assert [name for name in entries if name.endswith("-old") or name.startswith(("var/log/", "run/"))] == []
    assert {member.mtime for member in entries.values()} == {0}
    planned = json.loads(trainload(folder, home, "plan", "--json").stdout)["layers"]
    assert [(layer["kind"], layer["present"]) for layer in planned[:2]] == [("base", True), ("configured", True)]
    check = 'test -z "$(dpkg --audit)" && fc-cache --version && ssh -V'
    trainload(folder, home, "-q", "run", "--user", "0", "--entrypoint", "", "--", "sh", "-c", check)

    made_anew(home, layer["digest"])
    again = json.loads(trainload(folder, home, "build", "--json").stdout)
    assert [one["title"] for one in again["layers"] if not one["present"]] == [layer["title"]]
    assert again["digest"] == built["digest"]


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A folder everybody may enter, which pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to compare with")
def test_an_ordinary_user_makes_the_same_layer_when_no_script_gives_files_away(
    tmp_path: Path, theirs: Path
) -> None:
    if why := cannot_be_ordinary(theirs):
        pytest.skip(why)
    folder = project(theirs / "project", "shared-mime-info")
    home = tmp_path / "home"
    ours = json.loads(trainload(folder, home, "build", "--json").stdout)
    settings = {name: value for name, value in os.environ.items() if "proxy" in name or name[:3] in ("PIP", "UV_")}
    done = as_ordinary_user(
        BUILD, str(folder), home=theirs, env={**settings, "TRAINLOAD_HOME": str(theirs / "home")}
    )
    if "does not let us make namespaces" in done.complaint:
        pytest.skip("this machine does not allow user namespaces")
    assert done.exit_code == 0, done.complaint
    assert json.loads(done.stdout)["digest"] == ours["digest"]
