"""Commits of git repositories as archives that are the same bytes wherever they are made: a hash locks them.

git itself fetches, with the user's own configuration: credentials, proxies and ``url.<base>.insteadOf`` count. What
decides bytes does not depend on it: neither attributes that leave files out nor git's and zlib's versions. Of a
repository only the files of the commit come, without ``.git`` and without submodules.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, BinaryIO, cast

from trainload.digest import Digest
from trainload.errors import FetchError, LockError, Text
from trainload.events import SILENT, Began, Ended, How, Reporter
from trainload.lock.model import Commit, File
from trainload.store.files import FileCache
from trainload.system import scratch
from trainload.system.process import Completed, ProcessError, run
from trainload.values import dataclass, field

_PATIENCE = 1800.0  # seconds: a repository with weights in its history
_COMMIT = re.compile("[0-9a-f]{40}")
_ELSEWHERE = frozenset({
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
})  # fmt: skip
"""Set inside a hook, they mean another repository."""
_SETTINGS = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.autocrlf=false", "core.eol=lf", "gc.auto=0",
    "maintenance.auto=false", "fetch.recurseSubmodules=false", "protocol.ext.allow=never",
)  # fmt: skip
_ATTRIBUTES = "* -export-ignore -export-subst -text -filter -ident\n"
"""The files as they are committed: what a repository says of its exports does not count."""


@dataclass(frozen=True, slots=True)
class Repositories:
    """Fetches commits; safe for threads."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    offline: bool = False

    def commit(self, url: str, revision: str) -> str:
        """What ``revision`` (a commit, tag or branch; empty: the default) means there now.

        Raises :class:`FetchError` where git cannot tell, :class:`LockError` for a revision that is not there.
        """
        if _COMMIT.fullmatch(revision):
            return revision
        with scratch.folder("git") as folder:
            return self._fetched(folder, url, revision)

    def write(self, at: Commit, top: str, sink: Callable[[bytes], object]) -> None:
        """The archive of ``at``; all lies in the folder ``top``. Raises as :meth:`commit`."""
        with scratch.folder("git") as folder:
            self._fetched(folder, at.url, at.commit)
            (folder / "info").mkdir(exist_ok=True)
            (folder / "info" / "attributes").write_text(_ATTRIBUTES, encoding="ascii")
            tree = f"{at.commit}:{at.subdirectory}" if at.subdirectory else at.commit
            words = ["archive", "--format=tar", f"--output={folder / 'tree.tar'}", tree]
            done = self._git(folder, words)
            if done.exit_code != 0:
                raise LockError(
                    Text(
                        "the repository {url} has no folder {path} at that commit", url=at.url, path=at.subdirectory
                    ),
                    got=_last(done),
                )
            with (folder / "tree.tar").open("rb") as stream:
                rewrite(stream, top, sink)

    def _fetched(self, folder: Path, url: str, revision: str) -> str:
        """The commit, with its files in the repository at ``folder``, which is made."""
        if self.offline:
            raise FetchError(
                Text("the repository {url} is not asked offline", url=url),
                hints=[Text("run once with a network: trainload build fetches all that is locked")],
            )
        self._must(folder, url, ["init", "--quiet", "--bare", "--template=", "."])
        wanted = revision or "HEAD"
        done = self._git(folder, ["fetch", "--quiet", "--no-tags", "--depth=1", "--", url, wanted])
        found = "FETCH_HEAD"
        if done.exit_code != 0:  # a server may give only what has a name; and short names of commits are none
            refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
            self._must(folder, url, ["fetch", "--quiet", "--", url, *refs])
            found = wanted
        told = self._git(folder, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{found}^{{commit}}"])
        name = told.stdout.decode("ascii", "replace").split()
        if told.exit_code != 0 or not name:
            raise LockError(
                Text("the repository {url} has no {revision}", url=url, revision=wanted),
                want="a commit, a tag or a branch",
            )
        return name[-1]

    def _must(self, folder: Path, url: str, words: list[str]) -> None:
        done = self._git(folder, words)
        if done.exit_code != 0:
            raise FetchError(
                Text("the repository {url} could not be fetched", url=url), got=_last(done),
                hints=[
                    Text("try it: git ls-remote {url}", url=url),
                    Text("a mirror, or another protocol: git config --global url.MIRROR.insteadOf {url}", url=url),
                ],
                retryable=True,
            )  # fmt: skip

    def _git(self, folder: Path, words: list[str]) -> Completed:
        kept = {name: value for name, value in self.environ.items() if name not in _ELSEWHERE}
        env = {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        try:
            return run(["git", "-C", str(folder), *settings, *words], timeout=_PATIENCE, env=env)
        except ProcessError as error:
            raise FetchError(
                Text("git is needed for what comes of a repository: {reason}", reason=error.text),
                hints=[Text("install git, or put a wheel of it into a find-links folder")],
            ) from error


def keep(repositories: Repositories, at: Commit, cache: FileCache, reporter: Reporter = SILENT) -> File:
    """The archive of ``at``, put into ``cache``, by its bytes. Raises as :meth:`Repositories.commit`."""
    base = re.sub(r"[^A-Za-z0-9_.-]", "-", at.url.rstrip("/").rpartition("/")[2].removesuffix(".git")) or "source"
    top = f"{base}-{at.commit[:12]}"
    digest = hashlib.sha256()
    label = f"{at.url}@{at.commit[:12]}"
    reporter.report(Began(at.commit, label))
    size = 0
    with cache.ingest() as ingest:

        def write(data: bytes) -> None:
            nonlocal size
            size += len(data)
            digest.update(data)
            ingest.write(data)

        try:
            repositories.write(at, top, write)
        except BaseException:
            reporter.report(Ended(at.commit, label, How.FAILED))
            raise
        ingest.commit(Digest("sha256", digest.hexdigest()), size)
    reporter.report(Ended(at.commit, label, How.FETCHED, size))
    return File(f"{top}.tar.gz", digest.hexdigest(), size, at)


def rewrite(stream: BinaryIO, top: str, sink: Callable[[bytes], object]) -> None:
    """git's tar as a gzipped one of the same bytes everywhere: nothing of it is compressed."""
    out = _Stored(sink)
    with (
        tarfile.open(fileobj=stream, mode="r:") as source,
        tarfile.open(
            fileobj=cast("IO[bytes]", out),
            mode="w|",
            format=tarfile.PAX_FORMAT,
        ) as target,
    ):
        folder = tarfile.TarInfo(top)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        target.addfile(folder)
        for member in source:
            plain = tarfile.TarInfo(f"{top}/{member.name.strip('/')}")
            plain.type, plain.linkname = member.type, member.linkname
            plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            if member.isreg():
                plain.size = member.size
                target.addfile(plain, source.extractfile(member))
            elif member.isdir() or member.issym():
                target.addfile(plain)
    out.close()


_LARGEST = 0xFFFF
"""Bytes of a stored block."""


class _Stored:
    """gzip without compression (RFC 1951 § 3.2.4), which no version of a compressor changes."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._sum = 0
        self._size = 0
        self._waiting = bytearray()
        sink(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) >= _LARGEST:
            self._block(bytes(self._waiting[:_LARGEST]), last=False)
            del self._waiting[:_LARGEST]
        self._sum = zlib.crc32(data, self._sum)
        self._size += len(data)
        return len(data)

    def close(self) -> None:
        self._block(bytes(self._waiting), last=True)
        self._sink(struct.pack("<II", self._sum, self._size & 0xFFFFFFFF))

    def _block(self, data: bytes, *, last: bool) -> None:
        self._sink(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data)


def _last(done: Completed) -> str:
    """git's last words, without addresses that may hold a password."""
    words = re.sub(r"//[^/@\s]*@", "//…@", done.complaint)
    return " ".join(line.strip() for line in words.splitlines()[-3:])[:400]
