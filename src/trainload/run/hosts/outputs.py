"""What a run wrote on a server, brought here: what changed, whole files only, nothing that leads elsewhere.

A file's bytes gather in a folder of their own and get their name when all are there and their hash is right; what
was cut is gone on from. Names are the far side's, so they are not trusted (THREATS S05, S13): no way out of the
folder, no links, no devices.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trainload.address import Address
from trainload.errors import HostError, LayerError, Place, RunError, Text, printable
from trainload.events import Began, Ended, How, Moved, Reporter
from trainload.run.rootdir import RootDir

PARTS = ".trainload-part"
"""Folder in an output for what is not whole yet; removed when nothing is left in it."""
_LONGEST, _DEEPEST, _NAME = 4096, 100, 255
_MOST = 10_000_000
"""Entries; a list longer than that is an attack."""
_PART = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = 1 << 20


class Far(Protocol):
    """The connection to a host, as far as outputs need it: see :class:`trainload.run.hosts.line.Line`."""

    address: Address
    where: str

    def stream(self, do: str, **what: object) -> Iterator[dict[str, Any]]: ...

    def bytes(self, size: int) -> bytes: ...

    def lies(self) -> HostError: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder the far side has."""

    number: int
    """Of the output."""
    path: str
    folder: bool
    size: int
    mtime: int
    """Nanoseconds."""
    mode: int


@dataclass(slots=True)
class Brought:
    """What came of it."""

    files: int = 0
    size: int = 0
    """Bytes that moved."""
    unchanged: int = 0
    late: list[str] = field(default_factory=list)
    """Files that were being written."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(path, why): links, devices, what may not be read there."""


def checked(told: Sequence[Any], outputs: int) -> Entry | None:
    """An entry of the far side's list; None for one whose name leads elsewhere, or that is nonsense. Pure."""
    try:
        number, path, kind, size, mtime, mode = told
        entry = Entry(int(number), str(path), kind == "folder", int(size), int(mtime), int(mode) & 0o777)
        raw = entry.path.encode("utf-8", "surrogateescape")
    except (ValueError, TypeError, UnicodeEncodeError):
        return None
    parts = raw.split(b"/")
    if not 0 <= entry.number < outputs or entry.size < 0 or kind not in ("file", "folder"):
        return None
    if b"\0" in raw or len(raw) > _LONGEST or len(parts) > _DEEPEST or parts[0] == PARTS.encode():
        return None
    return None if any(part in (b"", b".", b"..") or len(part) > _NAME for part in parts) else entry


def bring(line: Far, run: str, places: Sequence[Path], reporter: Reporter) -> Brought:
    """Everything that is not here already. Raises :class:`HostError`; what came stays for the next time."""
    brought = Brought()
    entries = list(_listed(line, run, len(places), brought))
    for number, place in enumerate(places):
        wanted = [entry for entry in entries if entry.number == number]
        if wanted:
            try:
                with _Output(line, run, place, reporter, brought) as output:
                    output.take(wanted)
            except OSError as error:
                raise RunError(
                    Text("what the run wrote cannot be put into {folder}: {reason}", folder=place,
                         reason=error.strerror or error)
                ) from error  # fmt: skip
    return brought


def _listed(line: Far, run: str, outputs: int, brought: Brought) -> Iterator[Entry]:
    count = 0
    for value in line.stream("outputs", run=run):
        for told in value.get("entries") or ():
            count += 1
            if count > _MOST:
                raise HostError(Text("{host} lists files without end", host=line.address), place=Place(line.where))
            entry = checked(told, outputs)
            if entry is None:
                raise HostError(
                    Text("{host} names a file that would not lie in the outputs", host=line.address),
                    got=printable(str(told)[:200]), hints=[Text("nothing of it was written")],
                )  # fmt: skip
            yield entry
        brought.skipped += [(str(path), str(why)) for path, why in value.get("skipped") or ()]


class _Output:
    """One folder here that is filled; a context manager. Two at once take turns."""

    def __init__(self, line: Far, run: str, place: Path, reporter: Reporter, brought: Brought) -> None:
        self._line, self._run, self._place = line, run, place
        self._reporter, self._brought = reporter, brought

    def __enter__(self) -> _Output:
        self._place.mkdir(parents=True, exist_ok=True)
        self._root = RootDir(self._place.resolve())
        try:
            with_parts = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            with contextlib.suppress(FileExistsError):
                os.mkdir(PARTS, 0o700, dir_fd=self._root.fd)
            self._parts = os.open(PARTS, with_parts, dir_fd=self._root.fd)
            fcntl.flock(self._parts, fcntl.LOCK_EX)
        except OSError:
            self._root.close()
            raise
        return self

    def __exit__(self, *about: object) -> None:
        try:
            os.rmdir(PARTS, dir_fd=self._root.fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise
        finally:
            os.close(self._parts)
            self._root.close()

    def take(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            try:
                self._take(entry)
            except LayerError as error:
                raise self._blocked(entry) from error
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
                    raise self._blocked(entry) from error
                raise
        for name in os.listdir(self._parts):  # of files that are not wanted any more
            os.unlink(name, dir_fd=self._parts)

    def _blocked(self, entry: Entry) -> RunError:
        return RunError(
            Text("{path} cannot be written: something else lies there", path=entry.path),
            place=Place(str(self._place)),
        )

    def _take(self, entry: Entry) -> None:
        folder, name = self._root.parent(entry.path.encode("utf-8", "surrogateescape"))
        found = _lstat(folder, name)
        if entry.folder:
            if found is None:
                os.mkdir(name, 0o755, dir_fd=folder)
            elif not stat.S_ISDIR(found.st_mode):
                raise self._blocked(entry)
            return
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise self._blocked(entry)
        looks = (found.st_size, found.st_mtime_ns) if found is not None and stat.S_ISREG(found.st_mode) else None
        if looks == (entry.size, entry.mtime):
            self._brought.unchanged += 1
            return
        self._fetch(entry, folder, name)

    def _fetch(self, entry: Entry, folder: int, name: bytes) -> None:
        part = hashlib.sha256(f"{entry.path!r} {entry.size} {entry.mtime}".encode()).hexdigest()[:32]
        fd = os.open(part, _PART, 0o600, dir_fd=self._parts)
        task, began = f"output {entry.number} {entry.path}", time.monotonic()
        label = printable(entry.path)
        self._reporter.report(Began(task, label, entry.size))
        how = How.FAILED
        try:
            problem = self._receive(entry, fd, task)
            if problem is not None:
                os.unlink(part, dir_fd=self._parts)
                self._brought.late.append(entry.path)
                return
            os.fchmod(fd, entry.mode | 0o600)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
            os.rename(part, name, src_dir_fd=self._parts, dst_dir_fd=folder)
            self._brought.files += 1
            how = How.FETCHED
        finally:
            os.close(fd)
            self._reporter.report(Ended(task, label, how, entry.size, time.monotonic() - began))

    def _receive(self, entry: Entry, fd: int, task: str) -> str | None:
        """Fill the part; why it cannot be used, if so. Raises :class:`HostError` for other bytes than promised."""
        hashed, offset = hashlib.sha256(), 0
        if os.fstat(fd).st_size > entry.size:
            os.ftruncate(fd, 0)
        while data := os.read(fd, _STEP):
            hashed.update(data)
            offset += len(data)
        done, told = offset, offset
        answer: dict[str, Any] = {}
        for value in self._line.stream(
            "read", run=self._run, number=entry.number, path=entry.path, offset=offset, size=entry.size,
            mtime=entry.mtime,
        ):  # fmt: skip
            if "bytes" not in value:
                answer = value
                continue
            size = int(value["bytes"])
            if not 0 < size <= min(_STEP, entry.size - done):
                raise self._line.lies()
            data = self._line.bytes(size)
            hashed.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            done += size
            self._brought.size += size
            if done - told >= _STEP:
                told = done
                self._reporter.report(Moved(task, done))
        if answer.get("problem") is not None:
            return str(answer["problem"])
        if done != entry.size or answer.get("sha256") != hashed.hexdigest():
            os.ftruncate(fd, 0)
            raise HostError(
                Text("other bytes of {path} arrived than {host} has", path=entry.path, host=self._line.address),
                hints=[Text("run the same command again")], retryable=True,
            )  # fmt: skip
        return None


def _lstat(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None
