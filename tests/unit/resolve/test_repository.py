"""Archives of commits: the same bytes from every clone, whatever git is told about exports and line ends."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from trainload.errors import FetchError, LockError
from trainload.lock.model import Commit
from trainload.resolve.repository import Repositories

URL = "https://git.example/made.git"


def git(at: Path, *words: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(at), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=x", "-c", "user.email=x@x.example")
    done = subprocess.run(["git", "-C", str(at), *who, *words], env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    at = tmp_path / "made.git"
    (at / "sub").mkdir(parents=True)
    (at / "setup.py").write_bytes(b"# $Format:%H$\r\n")
    (at / "run").write_text("x")
    (at / "run").chmod(0o755)
    (at / "sub" / "gone").write_text("kept")
    (at / "link").symlink_to("sub/gone")
    (at / ("n" * 150)).write_text("long")
    (at / ".gitattributes").write_text("sub export-ignore\nsetup.py export-subst text eol=lf\n")
    git(at, "init", "-q", "-b", "main")
    git(at, "add", ".")
    git(at, "-c", "core.safecrlf=false", "commit", "-q", "-m", "one")
    git(at, "tag", "v1")
    return at


def reached(repository: Path, **more: str) -> Repositories:
    return Repositories({
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.parent.as_uri()}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://git.example/", **more,
    })  # fmt: skip


def archive(repositories: Repositories, commit: str, folder: str = "") -> bytes:
    out = io.BytesIO()
    repositories.write(Commit(URL, commit, folder), "made-1", out.write)
    return out.getvalue()


def test_all_of_the_commit_comes_and_nothing_is_replaced(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    data = archive(reached(repository), head)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as found:
        members = {member.name: member for member in found}
        setup = found.extractfile("made-1/setup.py")
        assert setup is not None and b"$Format:%H$" in setup.read()
    assert set(members) == {"made-1", *(f"made-1/{name}" for name in (
        ".gitattributes", "setup.py", "run", "sub", "sub/gone", "link", "n" * 150
    ))}  # fmt: skip
    assert members["made-1/link"].linkname == "sub/gone" and members["made-1/run"].mode == 0o755
    assert {(member.uid, member.gid, member.mtime, member.uname) for member in members.values()} == {(0, 0, 0, "")}


def test_every_clone_gives_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    (tmp_path / "other").mkdir()
    git(tmp_path, "clone", "-q", "--bare", str(repository), str(tmp_path / "other" / "made.git"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text("[core]\nautocrlf = true\n[tar]\numask = 0\n")
    others = reached(tmp_path / "other" / "made.git", HOME=str(tmp_path / "home"), GIT_DIR="/nonexistent")
    assert archive(reached(repository), head) == archive(others, head)


def test_the_bytes_are_these_for_ever(repository: Path) -> None:
    """A lock of today holds tomorrow, with another Python, zlib and git."""
    import hashlib

    (repository / "sub" / "gone").write_text("kept")
    data = archive(reached(repository), git(repository, "rev-parse", "HEAD"), "sub")
    assert hashlib.sha256(data).hexdigest() == "3079ee88031180e7cd33a58e775e0512faf9fe044163cc3d25462044ac24bcd0"


def test_names_of_commits_are_found(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    for revision in ("", "main", "v1", head[:8], head):
        assert reached(repository).commit(URL, revision) == head
    with pytest.raises(LockError, match="has no nowhere"):
        reached(repository).commit(URL, "nowhere")
    with pytest.raises(LockError, match="has no folder none"):
        archive(reached(repository), head, "none")


def test_what_cannot_be_reached_is_told(repository: Path) -> None:
    with pytest.raises(FetchError, match="could not be fetched") as caught:
        reached(repository / "none").commit(URL, "main")
    assert caught.value.retryable and "git ls-remote" in str(caught.value.hints[0])
    with pytest.raises(FetchError, match="not asked offline"):
        Repositories({}, offline=True).commit(URL, "main")
    with pytest.raises(FetchError, match="git is needed"):
        Repositories({"PATH": "/nonexistent"}).commit(URL, "main")
