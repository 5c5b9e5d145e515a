"""A Dockerfile built here and by buildah: the same config, the same files, the same behaviour."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from trainload.testing.rootfs import PROGRAMS, tiny_store

TRAINLOAD = Path(sys.executable).with_name("trainload")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are given to other users")
FILE = """\
ARG BASE=tiny
FROM $BASE AS build
USER 0
WORKDIR /work
ARG V=7
ARG GONE
RUN echo "version $V${GONE:-}" > version && mkdir -p out/bin && cat version > out/bin/tool && rm /etc/not-a-program
RUN ["mkdir", "out/$V"]
COPY src out/src

FROM $BASE
LABEL a="b c" org.example.team=vision
USER root
ENV APP=/app GREETING="hello there"
WORKDIR $APP
COPY --from=build /work/out ./out
COPY --chown=ada:44 src/ b.txt ./
COPY --chown=7 *.txt nested/
COPY link-to-b /app/followed
ADD data.tar.gz /data/
RUN mkdir -p gone/deep && touch gone/deep/x /home/ada/mine
RUN rm -rf gone && mkdir gone && touch gone/new && rm bin/none /app/b.txt || true
USER ada:44
WORKDIR sub
RUN id -u > /tmp/id
STOPSIGNAL SIGINT
VOLUME /data /cache
EXPOSE 80 53/udp
HEALTHCHECK --interval=5s --retries=2 CMD cat /tmp/id
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/bin/cat"]
CMD ["/tmp/id", "/app/out/bin/tool"]
"""


TRICKS = """\
ARG BASE=tiny
FROM $BASE AS one
USER root
RUN mkdir -p /data/real /a/b/c /x && ln -s /data/real /linked && ln -s ../data/real /x/rel && touch /a/b/c/f /x/file
RUN echo 1 > /h1 && ln /h1 /h2 && chmod 4755 /bin/head && chmod 600 /h1 && chown 5:6 /x/file
COPY b.txt /linked/
COPY src /linked/src
COPY b.txt /linked/src/pkg
COPY b.txt c.txt /x/rel/
COPY c.txt /a/b/c/f
ADD data.tar.gz /x/rel
FROM one AS two
RUN rm -rf /a/b && echo file > /a/b && rm /x/file && mkdir -p /x/file/deep && touch /x/file/deep/er
RUN rm -rf /data/real/src/pkg && mkdir /data/real/src/pkg && touch /data/real/src/pkg/new
RUN cat /bin/cat > /tmp/cat && touch /etc/passwd && ls / > /dev/null
WORKDIR /new/work/dir
RUN echo made > here && mv here there
USER 77
WORKDIR /for/them
FROM $BASE
COPY --from=two /x /x
COPY --from=two /linked /now-a-folder
COPY --from=two /h1 /h2 /for/ /hard/
COPY --from=one /a/b/c/f /bin/head /single/
COPY --from=one /data/real/*.txt /globbed/
USER 0
RUN id -g > /who; cat /hard/h2 >> /who
CMD cat /who
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    at = tmp_path / "project"
    (at / "src" / "pkg").mkdir(parents=True)
    (at / "src" / "a.py").write_text("print(1)\n")
    (at / "src" / "run.sh").write_text("#!/bin/sh\necho run\n")
    (at / "src" / "run.sh").chmod(0o755)
    (at / "src" / "pkg" / "__init__.py").write_text("")
    (at / "src" / "pkg" / "link").symlink_to("../a.py")
    (at / "src" / "left.log").write_text("no\n")
    (at / "b.txt").write_text("b\n")
    (at / "c.txt").write_text("c\n")
    (at / "link-to-b").symlink_to("b.txt")
    (at / ".dockerignore").write_text("**/*.log\n")
    with tarfile.open(at / "data.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("set/one.csv")
        info.size, info.mode, info.uid, info.gid = 4, 0o640, 5, 6
        archive.addfile(info, io.BytesIO(b"1,2\n"))
    (at / "Dockerfile").write_text(FILE)
    return at


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tiny_store(tmp_path / "home", (*PROGRAMS, "ln", "mv", "chmod", "chown"))


def trainload(folder: Path, home: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TRAINLOAD_HOME": str(home)}
    done = subprocess.run([TRAINLOAD, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def built(folder: Path, home: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(trainload(folder, home, "build", "--json", *words).stdout)
    return found


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


def config_and_files(layout: Path, digest: str) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """The config's part that runs, and every path with kind, mode, owner, and content or target."""
    manifest = json.loads(blob(layout, digest))
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    files: dict[str, tuple[Any, ...]] = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blob(layout, layer["digest"]))) as archive:
            for member in archive:
                path = member.name.strip("/").removeprefix("./")
                above, _, name = path.rpartition("/")
                if name.startswith(".wh."):
                    hidden = above if name == ".wh..wh..opq" else f"{above}/{name[4:]}"
                    itself = name != ".wh..wh..opq"
                    gone = [p for p in files if p.startswith(f"{hidden}/") or (itself and p == hidden)]
                    for one in gone:
                        del files[one]
                    continue
                data = archive.extractfile(member) if member.isreg() else None
                content = data.read() if data else b""
                files[path] = (member.type, member.mode & 0o7777, member.uid, member.gid, member.linkname, content)
    return config["config"], files


def by_buildah(
    folder: Path, home: Path, tmp_path: Path, more: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed")
    base = f"oci:{home}:tiny"
    root = ["buildah", "--root", str(tmp_path / "r"), "--runroot", str(tmp_path / "rr"), "--storage-driver", "vfs"]
    words = [
        "build",
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "-q",
        "--build-arg",
        f"BASE={base}",
        "-t",
        "theirs",
    ]
    done = subprocess.run([*root, *words, *more, "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    layout = tmp_path / "theirs"
    subprocess.run([*root, "push", "-q", "-f", "v2s2", "theirs", f"dir:{layout}"], check=True, capture_output=True)
    (layout / "blobs").mkdir()
    (layout / "blobs" / "sha256").symlink_to(layout)  # a dir: is a flat folder
    return config_and_files(layout, "manifest.json")


@ROOT
@pytest.mark.parametrize(
    ("text", "words"),
    [(FILE, ()), (TRICKS, ()), (TRICKS, ("--target", "two"))],
    ids=["usual", "tricks", "stage"],
)
def test_config_and_files_are_those_of_buildah(
    folder: Path, home: Path, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (folder / "Dockerfile").write_text(text)
    ours, files = config_and_files(home, built(folder, home, *words)["digest"])
    theirs, their_files = by_buildah(folder, home, tmp_path, words)
    theirs["Labels"] = {key: value for key, value in theirs["Labels"].items() if not key.startswith("io.buildah")}
    for config in (ours, theirs):
        config["Env"] = sorted(config["Env"])
    assert ours == {key: value for key, value in theirs.items() if value and key not in ("ArgsEscaped", "Hostname")}
    engines = {"etc/hosts", "etc/resolv.conf", "etc/hostname", "run", "run/.containerenv", "proc", "sys", "dev"}
    differ = {}
    for path in sorted((set(files) | set(their_files)) - engines):
        if path in ("data", "cache"):
            continue  # buildah makes folders of volumes
        differ[path] = files.get(path), their_files.get(path)
    assert {path: both for path, both in differ.items() if both[0] != both[1]} == {}


@ROOT
def test_a_dockerfile_is_found_by_itself_and_runs(folder: Path, home: Path) -> None:
    assert trainload(folder, home, "run").stdout == "1000\nversion 7\n"


@ROOT
def test_the_same_digest_whatever_the_umask_and_the_clock_and_nothing_is_made_twice(
    folder: Path, home: Path
) -> None:
    first = built(folder, home)
    assert {layer["how"] for layer in built(folder, home)["layers"]} == {"already there"}
    for record in (home / "recipes").glob("*.json"):
        record.unlink()
    for path in folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
            path.chmod(path.stat().st_mode & 0o700)
    again = built(folder, home)
    assert again["digest"] == first["digest"]
    assert "made" in {layer["how"] for layer in again["layers"]}


@ROOT
def test_the_file_is_handed_to_another_builder(folder: Path, home: Path, tmp_path: Path) -> None:
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed")
    (folder / "Dockerfile").write_text(
        "FROM scratch AS one\nARG V=1\nLABEL v=$V\nCOPY b.txt /\nFROM scratch\nCOPY c.txt /\n"
    )
    conf = tmp_path / "storage.conf"
    conf.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/g"\nrunroot = "{tmp_path}/rr"\n')
    environ = {**os.environ, "TRAINLOAD_HOME": str(home), "CONTAINERS_STORAGE_CONF": str(conf)}
    words = ["build", "--engine", "buildah", "--target", "one", "--build-arg", "V=7", "-t", "handed:1", "--json"]
    done = subprocess.run([TRAINLOAD, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"engine": "buildah", "references": ["handed:1"]}
    assert (
        "handed to buildah: buildah build --file Dockerfile --target one --tag handed:1 --build-arg V ."
        in done.stderr
    )
    told = subprocess.run(
        ["buildah", "inspect", "--type", "image", "handed:1"], env=environ, capture_output=True, check=True
    )
    assert json.loads(told.stdout)["OCIv1"]["config"]["Labels"]["v"] == "7"
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY nothing /\n")
    done = subprocess.run(
        [TRAINLOAD, *words[:3]], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "error: buildah could not build Dockerfile" in done.stderr
