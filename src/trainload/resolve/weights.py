"""Weights become a lock: a revision a commit, a file its sha256.

A hub tells the sha256 of large files only. Small ones are known by git's sha1: they are fetched here, checked by
it, and locked by a sha256 of our own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from trainload.digest import Digest
from trainload.errors import FetchError, LockError, Problems, Text, TrainloadError
from trainload.events import SILENT, Began, Ended, How, Reporter
from trainload.lock.model import File, HubPath, InProject, Lock, Url, WeightFile, Weights
from trainload.project.weights import HubSource, LocalSource, UrlSource, Wanted, chosen
from trainload.resolve.hub import Hub, HubFile
from trainload.resolve.local import LocalFiles, entries
from trainload.store.files import FileCache
from trainload.store.ingest import Ingest
from trainload.store.trouble import DamagedError
from trainload.system.http import Http, Retry, StatusError

_AT_ONCE = 8
_SMALL = 64 << 20
"""Bytes a file may have that is kept in git; hubs take no more than 10 MB of such."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where weights are found."""

    hub: Hub
    http: Http
    files: FileCache
    local: LocalFiles
    reporter: Reporter = SILENT


def lock_weights(
    wanted: Sequence[Wanted], previous: Lock | None, anew: Callable[[Wanted], bool], shelf: Shelf
) -> tuple[Weights, ...]:
    """Every entry, exactly; as ``previous`` has it where the same is asked for and it is not wanted ``anew``.

    Raises :class:`LockError`, :class:`ConfigError` and :class:`FetchError`, of several entries all together.
    """
    old = previous.weights if previous is not None else ()
    kept = {(one.source, one.include, one.exclude): one for one in old}
    known = {one.blob: one.file.sha256 for weights in old for one in weights.files if one.blob}
    problems = Problems()
    found: list[Weights] = []
    for one in wanted:
        before = kept.get((str(one.source), one.include, one.exclude))
        task = f"lock:{one}"
        shelf.reporter.report(Began(task, str(one)))
        try:
            weights = _locked(one, before if not anew(one) else None, known, shelf)
        except TrainloadError as error:
            shelf.reporter.report(Ended(task, str(one), How.FAILED))
            problems.add(error)
            continue
        shelf.reporter.report(Ended(task, str(one), How.PRESENT if weights is before else How.MADE, _size(weights)))
        found.append(weights)
    problems.check()
    return tuple(found)


def _size(weights: Weights) -> int | None:
    return sum(one.file.size or 0 for one in weights.files)


def _locked(wanted: Wanted, before: Weights | None, known: Mapping[str, str], shelf: Shelf) -> Weights:
    match wanted.source:
        case HubSource() as source:
            if before is not None:
                return before
            commit = shelf.hub.commit(source)
            files = _of_hub(source, commit, _asked(wanted, shelf.hub.files(source, commit)), known, shelf)
            return Weights(str(source), files, commit, wanted.include, wanted.exclude)
        case UrlSource(url, sha256) as source:
            if before is not None and before.files[0].file.sha256 == sha256:
                return before
            file = _measured(File(source.name, sha256, None, Url(url)), shelf)
            return Weights(str(source), (WeightFile(source.name, file),), "", wanted.include, wanted.exclude)
        case LocalSource() as source:
            found = tuple(
                WeightFile(
                    entry.path,
                    File(
                        entry.path.rpartition("/")[2], shelf.local.sha256(entry), entry.size, InProject(entry.path)
                    ),
                )
                for entry in entries(shelf.local.tree, wanted)
            )
            return Weights(str(source), found, "", wanted.include, wanted.exclude)


def _asked(wanted: Wanted, files: Sequence[HubFile]) -> list[HubFile]:
    found = [file for file in files if chosen(wanted, file.path)]
    if not found:
        raise LockError(
            Text("{source} has no file that is asked for", source=wanted),
            got=", ".join(file.path for file in files[:8]) or "an empty repository",
            want=f"include {', '.join(wanted.include) or '*'}; exclude {', '.join(wanted.exclude) or 'nothing'}",
        )
    return found


def _of_hub(
    source: HubSource, commit: str, files: Sequence[HubFile], known: Mapping[str, str], shelf: Shelf
) -> tuple[WeightFile, ...]:
    def file(one: HubFile) -> WeightFile:
        place = HubPath(source.kind, source.repository, commit, one.path)
        sha256 = one.sha256 or known.get(one.blob) or _small(one, place, shelf)
        name = one.path.rpartition("/")[2]
        return WeightFile(one.path, File(name, sha256, one.size, place), "" if one.sha256 else one.blob)

    with ThreadPoolExecutor(_AT_ONCE, "hub") as pool:
        return tuple(sorted(pool.map(file, files)))


def _small(file: HubFile, place: HubPath, shelf: Shelf) -> str:
    """The sha256 of a file that is kept in git, whose bytes must be those that git names (git hash-object)."""
    if file.size > _SMALL:
        raise LockError(
            Text("the hub tells no sha256 of {file}, which is large", file=file.path), got=f"{file.size} bytes"
        )
    endpoints = shelf.hub.endpoints
    told: FetchError | None = None
    for url in endpoints.files(place):
        try:
            with shelf.files.ingest(file.size) as ingest:
                git = _Git(ingest, file.size)
                headers = endpoints.headers(url)
                shelf.http.download(
                    url, git.write, limit=_SMALL, restart=git.restart, headers=headers, size=file.size
                )
                if git.hash.hexdigest() != file.blob:
                    raise FetchError(
                        Text("{file} is not the file that the hub names", file=file.path),
                        got=f"{git.hash.hexdigest()} from {url}",
                        want=f"{file.blob} (git)",
                    )
                return ingest.commit()[0].hex
        except FetchError as error:
            told = error if told is None or not isinstance(error, StatusError) else told
    assert told is not None
    raise told


class _Git:
    """Passes bytes on and hashes them as git does: with their kind and number before them."""

    def __init__(self, ingest: Ingest, size: int) -> None:
        self._ingest = ingest
        self._size = size
        self.hash = self._fresh()

    def _fresh(self) -> hashlib._Hash:
        return hashlib.sha1(b"blob %d\0" % self._size, usedforsecurity=False)

    def write(self, data: bytes) -> None:
        self.hash.update(data)
        self._ingest.write(data)

    def restart(self) -> None:
        self.hash = self._fresh()
        self._ingest.restart()


def _measured(file: File, shelf: Shelf) -> File:
    """``file`` with its size: what its server says of it, or how much came."""
    assert isinstance(file.location, Url)
    url = file.location.url
    try:
        size = replace(shelf.http, retry=Retry(tries=1)).size(url)
    except StatusError:
        size = None
    if size is not None:
        return replace(file, size=size)
    with shelf.files.ingest() as ingest:
        shelf.http.download(url, ingest.write, limit=1 << 40, restart=ingest.restart)
        try:
            return replace(file, size=ingest.commit(Digest("sha256", file.sha256))[1])
        except DamagedError as error:
            raise FetchError(
                Text("{file} is not the file that is asked for", file=file.name),
                got=str(error.got),
                want=f"sha256:{file.sha256}",
            ) from error
