"""A newcomer with nothing but a Dockerfile: every verb takes it, and what is wrong is told with its line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from trainload.testing.rootfs import tiny_store

TRAINLOAD = Path(sys.executable).with_name("trainload")
TWO = """\
FROM tiny AS first
USER 0
ARG WHO=nobody
RUN echo "$WHO" > /who
ENTRYPOINT ["/bin/cat"]
CMD ["/who"]
FROM first AS second
RUN echo second > /who
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("newcomer") / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(TWO)
    return tmp_path


def trainload(folder: Path, home: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TRAINLOAD_HOME": str(home)}
    done = subprocess.run([TRAINLOAD, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_run_builds_what_the_dockerfile_says(folder: Path, home: Path) -> None:
    assert trainload(folder, home, "run").stdout == "second\n"
    options = ("-f", "Dockerfile", "--target", "first", "--build-arg", "WHO=ada", "--build-network", "none")
    assert trainload(folder, home, "run", *options).stdout == "ada\n"
    assert trainload(folder, home, "run", *options, "--", "/etc/passwd").stdout.startswith("ada\nroot:")


def test_a_dockerfile_beside_requirements_is_named_on_every_verb(folder: Path, home: Path) -> None:
    """Found by itself it would not be: there is another file that says what is needed."""
    (folder / "requirements.txt").write_text("demo\n")
    (folder / "docker").mkdir()
    (folder / "Dockerfile").rename(folder / "docker" / "my.Dockerfile")
    file = ("-f", "docker/my.Dockerfile")
    assert (
        json.loads(trainload(folder, home, "lock", *file, "--json").stdout)["file"] == "docker/my.Dockerfile.lock"
    )
    rows = json.loads(trainload(folder, home, "plan", *file, "--json").stdout)
    assert [row["line"] for row in rows[0]["lines"]] == [1, 2, 3, 4, 5, 6]
    pushed = trainload(folder, home, "push", *file, "--dry-run", "127.0.0.1:1/team/app:1", code=1).stderr
    assert "nothing listens at 127.0.0.1:1" in pushed  # it was ready to be pushed
    assert (
        "no such option" not in trainload(folder, home, "ship", *file, "nobody@127.0.0.1:1", code=1).stderr.lower()
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM tiny\nCOPI a b\n", ["Dockerfile:2: unknown instruction: COPI", "did you mean COPY?"]),
        (
            "FROM far.example/base:1\nCOPY gone.txt /x\nADD also-gone /y\nCOPY --from=far.example/other /a /b\n",
            ["Dockerfile:2: gone.txt is not in the build context", "Dockerfile:3: also-gone is not in the build"],
        ),
        ("FROM far.example/base:1\n", ["Dockerfile:1: ", "far.example/base:1"]),
        (
            "FROM tiny\nUSER 0\nRUN true\nRUN echo the reason && \\\n    false\n",
            ["Dockerfile:4: RUN echo the reason && false failed: exit code 1", "| the reason"],
        ),
        (
            "FROM tiny\nUSER 0\nRUN --mount=type=secret,id=key cat /run/secrets/key\n",
            ["Dockerfile:3: RUN cat /run/secrets/key failed", "--secret id=key,src=FILE"],
        ),
    ],
    ids=["typo", "missing", "base", "failing", "secret"],
)
def test_what_is_wrong_is_told_with_its_line(folder: Path, home: Path, text: str, told: list[str]) -> None:
    (folder / "Dockerfile").write_text(text)
    said = trainload(folder, home, "build", "--offline" if "far" in text else "--no-cache", code=1).stderr
    for words in told:
        assert words in said


def test_a_file_that_is_missing_is_told_before_anything_is_fetched_or_run(folder: Path, home: Path) -> None:
    (folder / "Dockerfile").write_text("FROM tiny\nUSER 0\nRUN echo it ran\nCOPY gone.txt /x\n")
    said = trainload(folder, home, "build", code=1).stderr
    assert "Dockerfile:4: gone.txt is not in the build context" in said
    assert "it ran" not in said.replace("RUN echo it ran", "")


def test_a_list_in_single_quotes_is_told(folder: Path, home: Path) -> None:
    (folder / "Dockerfile").write_text("FROM tiny\nCMD ['cat', '/who']\n")
    assert "Dockerfile:2: CMD ['cat', '/who'] is no JSON list" in trainload(folder, home, "build").stderr


def test_a_whole_system_is_added_without_its_devices(folder: Path, home: Path) -> None:
    """As mmdebstrap packs it."""
    with tarfile.open(folder / "rootfs.tar", "w") as archive:
        for name, kind in (("./dev", tarfile.DIRTYPE), ("./dev/null", tarfile.CHRTYPE), ("./etc", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            archive.addfile(info)
    (folder / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
    made = json.loads(trainload(folder, home, "build", "--json").stdout)
    blob = home / "blobs" / "sha256" / made["layers"][0]["digest"].removeprefix("sha256:")
    with tarfile.open(blob) as layer:
        assert layer.getnames() == ["dev", "etc"]
