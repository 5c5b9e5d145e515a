"""FROM an image of a registry: its digest is locked, its layers fetched once, its config and triggers inherited."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainload.testing.rootfs import tiny_store

TRAINLOAD = Path(sys.executable).with_name("trainload")
BASE = """\
FROM tiny
USER 0
ENV KIND={kind}
LABEL from=base
COPY <<EOF /kind
{kind}
EOF
ENTRYPOINT ["/bin/cat"]
CMD ["/kind"]
HEALTHCHECK --interval=9s CMD cat /kind
ONBUILD COPY app.txt /app/
ONBUILD RUN echo $KIND > /triggered
"""


def trainload(folder: Path, home: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TRAINLOAD_HOME": str(home)}
    done = subprocess.run([TRAINLOAD, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Path, Path]:
    """Their store, which has ``team/base:1``, and the folder it is made of."""
    home, folder = tiny_store(tmp_path / "theirs"), tmp_path / "base"
    folder.mkdir()
    publish(folder, home, "one")
    return home, folder


def publish(folder: Path, home: Path, kind: str) -> None:
    (folder / "Dockerfile").write_text(BASE.format(kind=kind))
    trainload(folder, home, "build", "-q", "-t", "team/base:1")


@pytest.fixture
def registry(theirs: tuple[Path, Path]) -> Iterator[str]:
    environ = {**os.environ, "TRAINLOAD_HOME": str(theirs[0])}
    argv = [str(TRAINLOAD), "registry", "serve", "--port", "0"]
    with subprocess.Popen(
        argv, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://(127\.0\.0\.1:\d+)", line)
        assert found is not None, line
        yield found[1]
        process.terminate()
        process.communicate(timeout=120)


def built(folder: Path, home: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(trainload(folder, home, "build", "--json", *words).stdout)
    return found


def config(folder: Path, home: Path, digest: str) -> dict[str, Any]:
    (found,) = json.loads(trainload(folder, home, "inspect", digest).stdout)
    result: dict[str, Any] = found["config"]["config"]
    return result


def test_a_base_is_locked_fetched_once_and_inherited(
    theirs: tuple[Path, Path], registry: str, tmp_path: Path
) -> None:
    folder, home = tmp_path / "project", tmp_path / "ours"
    folder.mkdir()
    (folder / "app.txt").write_text("app\n")
    (folder / "Dockerfile").write_text(f"ARG B={registry}/team/base:1\nFROM $B\nENV MORE=$KIND\n")
    first = built(folder, home)
    made = config(folder, home, first["digest"])
    assert (made["Entrypoint"], made["Cmd"], made["Labels"]) == (["/bin/cat"], ["/kind"], {"from": "base"})
    assert made["Healthcheck"] == {"Test": ["CMD-SHELL", "cat /kind"], "Interval": 9 * 10**9}
    assert "MORE=one" in made["Env"]
    assert "OnBuild" not in made
    titles = [layer["title"] for layer in first["layers"]]
    assert [title.removeprefix("RUN ") for title in titles[-2:]] == [
        "COPY app.txt /app/",
        "echo $KIND > /triggered",
    ]
    assert trainload(folder, home, "run", "--", "/triggered").stdout == "one\none\n"
    lock = (folder / "Dockerfile.lock").read_text()
    assert f'["FROM {registry}/team/base:1"]' in lock

    publish(theirs[1], theirs[0], "two")
    assert built(folder, home)["digest"] == first["digest"]
    assert built(folder, home, "--offline", "--frozen")["digest"] == first["digest"]
    trainload(folder, home, "lock", "--upgrade")
    assert (folder / "Dockerfile.lock").read_text() != lock
    second = built(folder, home, "--frozen")
    assert second["digest"] != first["digest"]
    assert "MORE=two" in config(folder, home, second["digest"])["Env"]

    (folder / "Dockerfile").write_text(f"FROM {registry}/team/base:2\n")
    told = trainload(folder, home, "build", "--frozen", code=1).stderr
    assert "the lock does not hold what the Dockerfile asks for" in told
    told = trainload(folder, home, "build", code=1).stderr
    assert "Traceback" not in told
    assert "team/base:2" in told


def test_files_are_copied_from_an_image_of_a_registry(
    theirs: tuple[Path, Path], registry: str, tmp_path: Path
) -> None:
    folder, home = tmp_path / "project", tmp_path / "ours"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY --from={registry}/team/base:1 /kind /etc/passwd /x/\n")
    made = built(folder, home)
    assert [layer["title"].partition("=")[0] for layer in made["layers"]] == ["COPY --from"]
    assert built(folder, home, "--offline", "--frozen")["digest"] == made["digest"]
