"""The store's folder on the far side: what makes it a store, whose it is, its locks and our lease.

The same names, modes and locks as ``trainload.store`` (layout.py, session.py, locks.py), so that a Trainload there
and runners of several users of one account work on one store at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainload.runner.trouble import Trouble

VERSION = 1
"""Of the store's own folders (trainload.store.layout)."""
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
MARKER = b'{"version":1}'
_FOLDERS = (
    "blobs", "blobs/sha256", "blobs/sha512", "files", "files/sha256", "recipes", "tmp", "leases", "locks", "rootfs",
    "repositories", "incoming",
)  # fmt: skip
_SMALL = 64 * 1024


def folder_for(given: str | None, environ: Mapping[str, str]) -> Path:
    """The folder the near side asks for, or the one a Trainload here would use."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111  # else: the password file
    if given is None:
        own = environ.get("TRAINLOAD_HOME")
        if own and os.path.isabs(own):  # noqa: PTH117
            return Path(own)
        data = environ.get("XDG_DATA_HOME")
        return Path(data if data and os.path.isabs(data) else home / ".local" / "share") / "trainload"  # noqa: PTH117
    if given == "~" or given.startswith("~/"):
        return home / given[2:]
    return home / given  # an absolute one stays what it is


class Home:
    """A store; :meth:`read` looks only, :meth:`write` makes it and takes a lease."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs = path / "blobs" / "sha256"
        self.incoming = path / "incoming"
        self._lease = -1
        self._name = ""
        self._numbers = 0

    def read(self) -> bool:
        """Whether there is a store. Raises :class:`Trouble` for a folder that holds something else."""
        if not self.path.is_dir():
            if self.path.exists():
                raise Trouble("not a store", path=str(self.path), said="a file")
            return False
        marker = _document(self.path / "trainload.json")
        if marker is not None:
            version = marker.get("version")
            if type(version) is not int or not 1 <= version <= VERSION:
                raise Trouble("newer", path=str(self.path), said=str(version)[:50])
            return True
        names = sorted(os.listdir(self.path))
        if names and (_document(self.path / "oci-layout") or {}).get("imageLayoutVersion") != "1.0.0":
            if set(names) <= {folder.split("/", maxsplit=1)[0] for folder in _FOLDERS}:
                return False  # left while it was made
            raise Trouble("not a store", path=str(self.path), said=", ".join(names[:5]))
        return bool(names)

    def write(self) -> None:
        """Make what is missing and take a lease. Raises :class:`Trouble`, :class:`OSError`."""
        self.read()
        _make(self.path, 0o700)
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise Trouble("owner", path=str(self.path), said=f"uid {owner}")
        for name in _FOLDERS:
            _make(self.path / name, 0o755)
            if (self.path / name).is_symlink():
                raise Trouble("not a store", path=str(self.path / name), said="a symbolic link")
        self._check_locks()
        self._clear_dead()
        self._name = os.urandom(8).hex()
        with self.lock("gc", shared=True):
            self._lease = open_lock(self.path / "leases" / self._name)
            fcntl.flock(self._lease, fcntl.LOCK_EX)
        if not (self.path / "trainload.json").exists():
            with self.lock("index"):
                empty = b'{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}'
                for name, data in (("oci-layout", OCI_LAYOUT), ("index.json", empty), ("trainload.json", MARKER)):
                    if not (self.path / name).exists():
                        self.replace(name, data)

    def end(self) -> None:
        """Give the lease back, with everything unfinished that is not kept to be gone on with."""
        if self._lease >= 0:
            _remove_unfinished(self.path, self._name)
            (self.path / "leases" / self._name).unlink()
            os.close(self._lease)
            self._lease = -1

    def hold(self, digest: str) -> None:
        """Let gc leave the blob alone; call it inside the shared gc lock."""
        os.write(self._lease, (digest + "\n").encode())

    def is_alone(self) -> bool:
        """Whether no lease lives; call it inside the gc lock."""
        for name in os.listdir(self.path / "leases"):
            fd = os.open(str(self.path / "leases" / name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if not try_lock(fd):
                    return False
            finally:
                os.close(fd)
        return True

    def temporary(self) -> Path:
        """A new name that is removed with our lease."""
        self._numbers += 1
        return self.path / "tmp" / f"{self._name}-{self._numbers}"

    def replace(self, name: str, data: bytes) -> None:
        """Put ``data`` in the place of a file of the store in one step, durably."""
        temporary = self.temporary()
        fd = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(fd, 0o644)
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(self.path / name)
        sync(self.path)

    @contextlib.contextmanager
    def lock(self, name: str, *, shared: bool = False) -> Iterator[None]:
        """One of the store's locks: ``gc`` (shared by all but gc) or ``index``."""
        fd = open_lock(self.path / "locks" / name)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _check_locks(self) -> None:
        """Some network file systems give every lock to everybody."""
        first, second = (open_lock(self.path / "locks" / "index") for _ in range(2))
        try:
            works = not (try_lock(first) and try_lock(second))
        except OSError:
            works = False
        finally:
            os.close(first)
            os.close(second)
        if not works:
            raise Trouble("locks", path=str(self.path))

    def _clear_dead(self) -> None:
        """Remove what processes left that were killed."""
        gate = open_lock(self.path / "locks" / "gc")
        try:
            if not try_lock(gate):
                return
            for name in os.listdir(self.path / "leases"):
                lease = self.path / "leases" / name
                fd = os.open(str(lease), os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    if try_lock(fd):
                        _remove_unfinished(self.path, name)
                        lease.unlink()
                finally:
                    os.close(fd)
        finally:
            os.close(gate)


def open_lock(path: Path) -> int:
    """A descriptor of a lock file, made when it is missing."""
    return os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(fd: int) -> bool:
    """Whether the lock was free and is ours now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_unfinished(path: Path, lease: str) -> None:
    for name in os.listdir(path / "tmp"):
        if name.startswith(lease + "-") and stat.S_ISREG((path / "tmp" / name).lstat().st_mode):
            (path / "tmp" / name).unlink()


def _document(path: Path) -> dict[str, object] | None:
    """A small JSON object; None when it is not there, empty when it is no object."""
    try:
        fd = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        try:
            found = json.loads(file.read(_SMALL).decode())
        except ValueError:
            return {}
    return found if isinstance(found, dict) else {}


def _make(folder: Path, mode: int) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for number, path in enumerate(reversed(missing), 1):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            path.chmod(mode if number == len(missing) else 0o755)
