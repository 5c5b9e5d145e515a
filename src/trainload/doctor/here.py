"""This machine, asked for real. Every wait has an end, and every failure is an answer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path

from trainload.doctor import tiny
from trainload.doctor.machine import Answer, Daemon, Folder, Reached, Said, Tried
from trainload.errors import Text, TrainloadError
from trainload.run import cgroups
from trainload.run.embedded import EmbeddedEngine, groups_for
from trainload.run.engines.docker.host import address
from trainload.run.gpus.host import facts, folders
from trainload.run.gpus.model import Facts
from trainload.run.model import Limits
from trainload.run.overlay import Way
from trainload.run.preparation import WayFailed
from trainload.run.unpack import remove
from trainload.system import daemon, process, scratch
from trainload.system.http import Cut, Http

_PATIENCE = 2.0
"""Seconds for one program or one server."""
_SAMPLE = 8 << 20
"""Bytes written to see how fast they reach the disk."""
_ROOM = 256 << 20
"""Bytes that must be free for the sample to be written."""
_LARGEST = 1 << 20


@dataclass
class Here:
    """See :class:`trainload.doctor.machine.Machine`."""

    environ: Mapping[str, str]
    now: datetime
    home: Path
    http: Http
    uid: int = field(default_factory=os.geteuid)
    root: Path = Path("/")
    """Where the files about GPUs lie; tests have others."""

    def text(self, path: str) -> str | None:
        try:
            with Path(path).open("rb") as file:
                return file.read(_LARGEST).decode("utf-8", "replace")
        except OSError:
            return None

    def program(self, name: str) -> str | None:
        places = f"{self.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return shutil.which(name, path=places)

    def ask(self, *argv: str) -> Said | None:
        program = self.program(argv[0]) or argv[0]
        try:
            done = process.run([program, *argv[1:]], env=self.environ, timeout=_PATIENCE)
        except (process.ProcessError, OSError):
            return None
        return Said(done.exit_code, done.stdout.decode("utf-8", "replace"), done.complaint)

    def sandbox(self) -> Tried:
        try:
            with self._scratch() as folder:
                return self._ways(folder)
        except OSError as error:
            return Tried(None, Text("{reason}", reason=error.strerror or error))

    def _ways(self, folder: Path) -> Tried:
        layer, log = tiny.layer(folder / "layer"), folder / "log"
        log.touch()
        reason: Text | None = None
        for way in Way:
            engine = EmbeddedEngine(folder / "rootfs", lambda _: [layer], ways=(way,))
            try:
                outcome = engine.run(tiny.spec(str(log)))
            except WayFailed as error:
                reason = error.text
                continue
            except TrainloadError as error:
                return Tried(None, error.text)
            if outcome.exit_code == 0:
                return Tried(way)
            said = log.read_text("utf-8", "replace").strip().splitlines()
            reason = Text("{reason}", reason=said[-1]) if said else outcome.reason
        return Tried(None, reason)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder of its own beside the store: what works depends on the file system.

        Where that is full or cannot be written, which ``folder`` tells, the sandbox is tried elsewhere.
        """
        place = self._nearest(self.home)
        space = os.statvfs(place)
        folder = place / f".trainload-doctor-{os.getpid()}"
        try:
            if space.f_bavail * space.f_frsize < _ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            folder.mkdir(mode=0o755)
        except OSError:
            with scratch.folder("doctor") as other:
                yield other
            return
        try:
            yield folder
        finally:
            remove(folder)

    def limits(self) -> tuple[Text, ...]:
        wanted = Limits(memory=1, cpus=1.0, pids=1)
        return tuple(cgroups.not_in_force(wanted, groups_for(wanted)))

    def docker(self) -> Daemon:
        try:
            where = address(self.environ, _bytes, os.path.exists)
        except TrainloadError:
            return Daemon(self.environ.get("DOCKER_CONTEXT", "docker context"), Answer.ABSENT)
        try:
            reply = daemon.exchange(where, "GET", "/info", timeout=_PATIENCE)
            try:
                info = json.loads(reply.body.read(_LARGEST))
            finally:
                reply.close()
        except daemon.DaemonError as error:
            return Daemon(where.url, _of(error.__cause__))
        except ValueError:
            return Daemon(where.url, Answer.SILENT)
        return Daemon(where.url, Answer.WELL, info if isinstance(info, dict) else {})

    def gpus(self) -> Facts:
        return self._facts

    @cached_property
    def _facts(self) -> Facts:
        return facts(folders(self.environ), self.root)

    def folder(self, path: str) -> Folder:
        place = self._nearest(Path(path))
        space = os.statvfs(place)
        free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
        trial = place / f".trainload-doctor-{os.getpid()}.tmp"
        try:
            descriptor = os.open(trial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            return Folder(str(place), free, total, writable=error.errno in (errno.ENOSPC, errno.EDQUOT))
        try:
            return Folder(
                str(place), free, total, locks=_locks(descriptor), attributes=_attributes(descriptor),
                speed=_speed(descriptor) if free > _ROOM else None,
            )  # fmt: skip
        finally:
            os.close(descriptor)
            trial.unlink(missing_ok=True)

    def memory(self) -> tuple[int, int]:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        try:
            shm = os.statvfs("/dev/shm")  # noqa: S108 - looked at only
        except OSError:
            return whole, 0
        return whole, shm.f_blocks * shm.f_frsize

    def reach(self, url: str) -> Reached:
        began = time.monotonic()
        try:
            response = self.http.exchange("GET", url, {})
        except Cut as cut:
            return Reached(None, _short(cut.reason), time.monotonic() - began)
        except TrainloadError as error:
            return Reached(None, str(error.text), time.monotonic() - began)
        response.close()
        return Reached(
            response.status, response.reason or "", time.monotonic() - began, _date(response.headers.get("Date"))
        )

    def _nearest(self, path: Path) -> Path:
        return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _of(cause: BaseException | None) -> Answer:
    if isinstance(cause, PermissionError):
        return Answer.DENIED
    if isinstance(cause, FileNotFoundError):
        return Answer.ABSENT
    return Answer.REFUSED if isinstance(cause, ConnectionError) else Answer.SILENT


def _bytes(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _attributes(descriptor: int) -> bool:
    try:
        os.setxattr(descriptor, "user.trainload", b"1")
    except OSError:
        return False
    return True


def _speed(descriptor: int) -> int | None:
    began = time.monotonic()
    try:
        for _ in range(_SAMPLE >> 20):
            os.write(descriptor, os.urandom(1 << 20))  # some disks store zeros at no cost
        os.fsync(descriptor)
    except OSError:
        return None
    return int(_SAMPLE / max(time.monotonic() - began, 1e-6))


def _short(reason: str) -> str:
    """urllib3's words without the connection they are about: that is told already."""
    return reason.partition("): ")[2] or reason


def _date(text: str | None) -> datetime | None:
    with contextlib.suppress(ValueError, TypeError):
        date = parsedate_to_datetime(text or "")
        return date if date.tzinfo else None
    return None
