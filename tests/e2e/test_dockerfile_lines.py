"""Lines of a Dockerfile one by one: what a RUN sees and may do, what is refused, and with which line."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainload.testing.people import as_ordinary_user, cannot_be_ordinary
from trainload.testing.rootfs import tiny_store

TRAINLOAD = Path(sys.executable).with_name("trainload")
SECRET = "s3cr3t-of-ours"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tiny_store(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    at = tmp_path / "project"
    at.mkdir()
    (at / "a.txt").write_text("a\n")
    return at


def trainload(folder: Path, home: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TRAINLOAD_HOME": str(home), "FROM_HERE": SECRET}
    done = subprocess.run([TRAINLOAD, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def build(folder: Path, home: Path, text: str, *words: str) -> dict[str, Any]:
    (folder / "Dockerfile").write_text(f"FROM tiny\nUSER 0\n{text}\n")
    found: dict[str, Any] = json.loads(trainload(folder, home, "build", "--json", *words).stdout)
    return found


def refused(folder: Path, home: Path, text: str, *words: str) -> str:
    (folder / "Dockerfile").write_text(f"FROM tiny\nUSER 0\n{text}\n")
    return trainload(folder, home, "build", *words, code=1).stderr


def names(home: Path, layer: dict[str, Any]) -> list[str]:
    with tarfile.open(home / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")) as archive:
        return archive.getnames()


def content(home: Path, layer: dict[str, Any], name: str) -> bytes:
    with tarfile.open(home / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def test_a_run_sees_secrets_caches_and_files_and_keeps_none_of_them(folder: Path, home: Path) -> None:
    (folder / "token").write_text(SECRET)
    lines = (
        "RUN --mount=type=secret,id=t --mount=type=secret,id=e,env=IT --mount=type=secret,id=no "
        "--mount=type=cache,target=/root/.cache/pip --mount=type=bind,target=/ctx,source=. "
        "--mount=type=tmpfs,target=/scratch "
        'sh -c \'test "$IT" = "$(cat /run/secrets/t)" && touch /scratch/x /root/.cache/pip/kept && '
        "cat /ctx/a.txt > /seen && ls /ctx > /listing'"
    )
    (folder / ".dockerignore").write_text("token\n")
    words = ("--secret", "id=t,src=token", "--secret", "id=e,env=FROM_HERE")
    made = build(folder, home, lines, *words)
    (layer,) = [layer for layer in made["layers"] if layer["title"].startswith("RUN")]
    assert sorted(names(home, layer)) == ["listing", "seen"]
    assert content(home, layer, "listing") == b"Dockerfile\na.txt\n"
    again = build(folder, home, "RUN --mount=type=cache,target=/root/.cache/pip ls /root/.cache/pip > /there")
    assert content(home, again["layers"][-1], "there") == b"kept\n"
    everything = b"".join(
        path.read_bytes()
        for path in (*home.rglob("*.json"), *(home / "blobs" / "sha256").iterdir())
        if path.is_file()
    )
    assert SECRET.encode() not in everything
    assert SECRET not in json.dumps(made)
    assert not (folder / "Dockerfile.lock").exists()


def test_a_changed_secret_is_no_reason_to_run_again_and_a_changed_file_is(folder: Path, home: Path) -> None:
    line = "RUN --mount=type=secret,id=t --mount=type=bind,target=/c,source=a.txt cat /c > /out"
    (folder / "token").write_text("one")
    words = ("--secret", "id=t,src=token")
    first = build(folder, home, line, *words)
    (folder / "token").write_text("two")
    assert build(folder, home, line, *words)["layers"][-1]["how"] == "already there"
    (folder / "a.txt").write_text("changed\n")
    assert build(folder, home, line, *words)["digest"] != first["digest"]


def test_an_argument_that_changes_runs_its_line_again(folder: Path, home: Path) -> None:
    line = "ARG V=1\nRUN echo $V > /v"
    first = build(folder, home, line)
    assert content(home, build(folder, home, line, "--build-arg", "V=2")["layers"][-1], "v") == b"2\n"
    assert build(folder, home, line)["digest"] == first["digest"]


def test_a_run_has_no_network_unless_it_is_asked_for(folder: Path, home: Path) -> None:
    made = build(folder, home, "RUN ls /sys/class/net > /net || true; cat /proc/net/dev > /dev-list")
    lines = content(home, made["layers"][-1], "dev-list").decode().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]
    told = refused(folder, home, "RUN --network=host cat /proc/net/dev")
    assert "Dockerfile:3" in told
    assert "--network default" in told
    told = refused(folder, home, "RUN echo 'Temporary failure in name resolution'; false")
    assert "hint: RUN has no network unless it is asked for: --network default" in told
    with_it = build(folder, home, "RUN cat /proc/net/dev > /dev-list", "--network", "host")
    ours = Path("/proc/net/dev").read_text().splitlines()[2:]
    assert len(content(home, with_it["layers"][-1], "dev-list").decode().splitlines()[2:]) == len(ours)
    without = build(folder, home, "RUN --network=none cat /proc/net/dev > /dev-list", "--network", "host")
    assert len(content(home, without["layers"][-1], "dev-list").decode().splitlines()[2:]) == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("COPY b.txt /x", "did you mean a.txt?"),
        ("COPY ../secret /x", "the source leads out of the build context"),
        ("COPY --chown=nobody:who a.txt /x", "the image has no user nobody"),
        ("COPY . /etc/passwd", "is a folder on one side and none on the other"),
        ("ADD http://files.example/x /x", "an address without TLS needs --checksum"),
        ("RUN --mount=type=bind,source=/,target=/host ls /host", "not of this machine"),
        ("RUN --mount=type=secret,id=t,required=true cat /run/secrets/t", "the secret t is not given"),
        ("RUN --mount=type=ssh,required=true true", "the ssh agent default is not given"),
        ("RUN --mount=type=ssh false", "--ssh default, and --network default"),
        ("COPY --chmod=rwx a.txt /x", "--chmod is a mode"),
        ("ADD https://git.example/x.git /x", "ADD from a git repository is not done here"),
        ("RUN true; curl -s https://tool.example/i.sh | sh", "RUN curl needs a network, and none is given"),
        ("USER ghost\nRUN id", "an earlier RUN useradd"),
        ('RUN ["ghost"]', "the image has no program ghost"),
        ("COPY a.txt /s/\nRUN /s/a.txt", "/s/a.txt is not executable: COPY --chmod=755"),
        ("COPY --chmod=755 dos.sh /s/\nRUN cd /s && ./dos.sh || /s/dos.sh", "line ends of Windows"),
        ("RUN /gone/for/good", "the image has no /gone/for/good at this line"),
        ("RUN source /x", 'SHELL ["/bin/bash", "-c"]'),
        ("RUN echo '/bin/sh: 1: could not resolve' | cat", "went on without"),
        ("RUN echo 'sudo: /bin/sudo must be owned by uid 0 and have the setuid bit set'; false", "USER root above"),
    ],
)
def test_F11_what_is_refused_says_its_line(folder: Path, home: Path, line: str, told: str) -> None:
    (folder / "dos.sh").write_text("#!/bin/sh\r\necho hello\r\n")
    said = refused(folder, home, line)
    assert told in said
    assert f"Dockerfile:{3 + line.count(chr(10))}" in said
    assert "Traceback" not in said


def test_a_line_that_goes_on_without_a_network_is_right_only_by_your_word(folder: Path, home: Path) -> None:
    line = "RUN echo 'curl: (6) Could not resolve host: files.example' >&2 | cat > /x"
    said = refused(folder, home, line)
    assert "files.example" in said
    assert "--network default" in said and "--network none" in said
    assert build(folder, home, line, "--network", "none")["layers"]
    assert build(folder, home, line)["layers"][-1]["present"]  # it was said once


def test_the_folder_may_be_an_argument_as_with_docker(folder: Path, home: Path) -> None:
    (folder / "docker").mkdir()
    (folder / "docker" / "Dockerfile").write_text("FROM tiny\nCOPY a.txt /b.txt\n")
    words = ("-t", "same:1", "-f", "project/docker/Dockerfile")
    one = json.loads(trainload(folder.parent, home, "build", "--json", *words, "project").stdout)
    absolute = str(folder / "docker" / "Dockerfile")
    other = json.loads(trainload(folder, home, "build", "--json", "-f", absolute, ".").stdout)
    assert other["digest"] == one["digest"]
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "docker" / "Dockerfile").write_text("FROM tiny\nCOPY . /all/\n")
    assert "warning: .git/ goes into the image" in trainload(folder.parent, home, "build", *words, "project").stderr
    told = trainload(folder / "docker", home, "build", "-f", "../Dockerfile", code=2).stderr
    assert "trainload -C .. build -f Dockerfile" in told
    told = trainload(folder, home, "build", "-f", "Dockerfile", code=1).stderr
    assert "Dockerfile: the file does not exist" in told
    (folder / "Dockerfile.gpu").write_text("FROM tiny\n")
    assert "-f Dockerfile.gpu" in trainload(folder, home, "build", "-f", "Dockerfile", code=1).stderr


def test_a_heredoc_that_names_its_interpreter_is_executed(folder: Path, home: Path) -> None:
    made = build(
        folder, home, "RUN <<EOF\n#!/bin/cat\na text of its own\nEOF\nRUN <<END\n#!/bin/sh\necho $0 > /me\nEND"
    )
    assert content(home, made["layers"][-1], "me") == b"/run/pipes/END\n"
    assert names(home, made["layers"][-2]) == []


def test_what_is_copied_with_its_parents_keeps_its_folders(folder: Path, home: Path) -> None:
    (folder / "one/two").mkdir(parents=True)
    (folder / "one/two/b.sh").write_text("echo\n")
    lines = (
        "COPY --parents --chmod=+x **/b.sh a.txt /kept/\nCOPY --parents one/./two /from-pivot\n"
        "FROM tiny AS last\nUSER 0\nCOPY --parents --from=0 /kept/one/./**/*.sh /other/"
    )
    found = build(folder, home, lines)
    with tarfile.open(home / "blobs" / "sha256" / found["layers"][-1]["digest"].removeprefix("sha256:")) as last:
        assert [(one.name, oct(one.mode)) for one in last][1:] == [
            ("other/two", "0o755"),
            ("other/two/b.sh", "0o755"),
        ]
    first = build(folder, home, lines.partition("FROM")[0])["layers"]
    assert names(home, first[-2]) == ["kept", "kept/a.txt", "kept/one", "kept/one/two", "kept/one/two/b.sh"]
    assert names(home, first[-1]) == ["from-pivot", "from-pivot/two", "from-pivot/two/b.sh"]


def test_a_line_may_ask_the_agent_that_is_given_and_keeps_nothing_of_it(folder: Path, home: Path) -> None:
    socket_place = folder / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(socket_place))
        agent.listen()
        line = "RUN --mount=type=ssh,mode=0666 test -S $SSH_AUTH_SOCK && ls -l $SSH_AUTH_SOCK > /seen"
        made = build(folder, home, f"{line}; echo $SSH_AUTH_SOCK >> /seen", "--ssh", f"default={socket_place}")
    seen = content(home, made["layers"][-1], "seen")
    assert seen.startswith(b"srw-rw-rw-") and seen.endswith(b"/run/buildkit/ssh_agent.0\n")
    assert names(home, made["layers"][-1]) == ["seen"]
    assert "nothing answers" in refused(folder, home, "RUN --mount=type=ssh id", "--ssh", f"default={socket_place}")
    told = trainload(folder, home, "build", "--ssh", "default=a.txt", code=2).stderr
    assert "a key goes into an agent" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are given to other users")
def test_what_a_mount_gives_to_a_user_is_that_users_in_the_line(folder: Path, home: Path) -> None:
    (folder / "token").write_text("x")
    line = (
        "USER 1000:1000\nRUN --mount=type=cache,target=/c,uid=1000,gid=1000 --mount=type=secret,id=t,uid=1000 "
        "--mount=type=secret,id=t,target=/other touch /c/x; ls -ldn /c /c/x /run/secrets/t /other > /tmp/seen"
    )
    seen = content(home, build(folder, home, line, "--secret", "id=t,src=token")["layers"][-1], "tmp/seen").decode()
    assert {row.split()[-1]: row.split()[2:4] for row in seen.splitlines()} == {
        "/c": ["1000", "1000"], "/c/x": ["1000", "1000"], "/run/secrets/t": ["1000", "0"], "/other": ["0", "0"],
    }  # fmt: skip


def test_a_table_of_cron_has_the_group_that_its_set_id_program_gives(folder: Path, home: Path) -> None:
    (folder / "cron/crontabs").mkdir(parents=True)
    (folder / "crontab").write_text("#!/bin/sh\numask 077\ncat > /var/spool/cron/crontabs/root\n")
    lines = (
        "COPY --chown=0:102 cron /var/spool/cron\nCOPY --chmod=755 crontab /bin/\n"
        "RUN echo '@daily x' | crontab - && echo other > /var/spool/cron/crontabs/other"
    )
    made = build(folder, home, lines)["layers"][-1]
    with tarfile.open(home / "blobs" / "sha256" / made["digest"].removeprefix("sha256:")) as layer:
        groups = {one.name: one.gid for one in layer if one.name.startswith("var/spool/cron/crontabs/")}
    assert groups == {"var/spool/cron/crontabs/root": 102, "var/spool/cron/crontabs/other": 0}


def test_what_only_says_when_and_how_a_program_ran_is_not_kept(folder: Path, home: Path) -> None:
    """apt's and fontconfig's caches hold random numbers and times: the same lock would give another digest."""
    gone = (
        "var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin", "usr/share/fonts/truetype/.uuid",
        "var/cache/fontconfig/3830d5c3ddfd5cd38a049b759396e72e-le64.cache-8", "var/log/dpkg.log", "etc/passwd-",
        "var/cache/fontconfig/d3379abd-f1ad-43e4-4b5e-a6f0e5b5f6d9-le64.cache-7", "var/lib/dpkg/status-old",
    )  # fmt: skip
    kept = (
        "var/cache/apt/archives/a.deb",
        "var/cache/fontconfig/CACHEDIR.TAG",
        "usr/share/fonts/a.ttf",
        "var/log/mine",
    )
    folders = sorted({str(Path(path).parent) for path in (*gone, *kept)})
    script = " && ".join([f"mkdir -p {' '.join(folders)}", *(f"echo > {path}" for path in (*gone, *kept))])
    made = build(folder, home, f"WORKDIR /\nRUN {script} && test -e {gone[0]}")["layers"][-1]
    found = set(names(home, made))
    assert found.isdisjoint(gone)
    assert found.issuperset(kept)


def test_what_a_failing_line_said_last_is_told_and_nothing_is_kept(folder: Path, home: Path) -> None:
    before = sorted((home / "blobs" / "sha256").iterdir())
    said = refused(folder, home, "RUN echo first; echo 'the reason' >&2; exit 3")
    assert "Dockerfile:3: RUN echo first; echo 'the reason' >&2; exit 3 failed: exit code 3" in said
    assert "the reason" in said
    assert sorted((home / "blobs" / "sha256").iterdir()) == before


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    files = tmp_path / "files"
    files.mkdir()

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}", files
        serving.shutdown()
        thread.join()


def test_a_file_from_an_address_is_what_its_checksum_says(
    folder: Path, home: Path, server: tuple[str, Path]
) -> None:
    url, files = server
    (files / "w.bin").write_bytes(b"weights")
    right = "9a8c7b0f" * 8
    said = refused(folder, home, f"ADD --checksum=sha256:{right} {url}/w.bin /w/")
    assert "w.bin" in said
    import hashlib

    digest = hashlib.sha256(b"weights").hexdigest()
    made = build(folder, home, f"ADD --checksum=sha256:{digest} {url}/w.bin /w/")
    assert content(home, made["layers"][-1], "w/w.bin") == b"weights"
    (files / "w.bin").unlink()
    assert build(folder, home, f"ADD --checksum=sha256:{digest} {url}/w.bin /w/")["digest"] == made["digest"]


def test_hostile_names_of_an_archive_are_refused(folder: Path, home: Path) -> None:
    for name in ("../x", "a/.wh.etc"):
        with tarfile.open(folder / "bad.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        said = refused(folder, home, "ADD bad.tar /x/")
        assert "bad.tar" in said
        assert "Traceback" not in said


def test_the_plan_says_line_by_line_what_is_placed_and_what_is_run(folder: Path, home: Path) -> None:
    build(folder, home, 'COPY a.txt /x\nRUN cat /x > /y\nCMD ["cat", "/y"]')
    (stage,) = json.loads(trainload(folder, home, "plan", "--json").stdout)
    assert [(line["line"], line["how"], line["present"]) for line in stage["lines"]] == [
        (1, "base", True), (2, "config", None), (3, "placed", True), (4, "run", True), (5, "config", None),
    ]  # fmt: skip
    (folder / "a.txt").write_text("new\n")
    (stage,) = json.loads(trainload(folder, home, "plan", "--json").stdout)
    assert [line["present"] for line in stage["lines"]] == [True, None, False, False, None]
    assert "1 lines placed, 1 run; 2 layers to make" in trainload(folder, home, "plan").stdout


AS_OURSELVES = """
import os, sys
from pathlib import Path
from trainload.testing.rootfs import tiny_store
os.environ["TRAINLOAD_HOME"] = str(tiny_store(Path(os.environ["HOME"], "store")))
os.chdir(sys.argv[1])
sys.argv = ["trainload", "build", "--json", "-q"]
from trainload.cli.main import main
main()
"""


def test_an_ordinary_user_is_root_inside_and_gets_the_same_image(folder: Path, home: Path) -> None:
    theirs = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    reason = cannot_be_ordinary(theirs)
    if reason is not None:
        pytest.skip(reason)
    project = theirs / "project"
    shutil.copytree(folder, project)
    text = (
        "WORKDIR /w\nCOPY --chown=ada a.txt .\nRUN id -u > id && mkdir d && touch d/x && rm /etc/not-a-program\n"
        "USER ada\nWORKDIR /home/ada/in\nRUN id -u > id && touch ../mine && mkdir -p a/b"
    )
    ours = build(folder, home, text)
    (project / "Dockerfile").write_text(f"FROM tiny\nUSER 0\n{text}\n")
    try:
        done = as_ordinary_user(AS_OURSELVES, str(project), home=theirs)
        assert done.exit_code == 0, done.complaint
        made = json.loads(done.stdout)
    finally:
        shutil.rmtree(theirs)
    assert [layer["digest"] for layer in made["layers"]] == [layer["digest"] for layer in ours["layers"]]


def test_what_a_dockerfile_decides_is_no_option(folder: Path, home: Path) -> None:
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY a.txt /\n")
    for words in (("--base", "apt:trixie"), ("--system", "git"), ("--python", "3.12")):
        told = trainload(folder, home, "build", *words, code=2).stderr
        assert f"{words[0]} is for projects without a Dockerfile: here Dockerfile says it" in told
    assert "here a Dockerfile says all" in trainload(folder, home, "verify", "--rebuild", "tiny", code=2).stderr
