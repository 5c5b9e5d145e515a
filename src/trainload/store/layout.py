"""The names inside the store's folder, what makes a folder a store, and who may write it.

An OCI image layout (image-layout.md) that skopeo, podman and umoci read, with folders of our own beside it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from trainload.digest import canonical_json
from trainload.errors import ImageError, Place, StoreError, Text
from trainload.image.strict_json import parse_object
from trainload.store.trouble import told
from trainload.values import dataclass

VERSION = 1
"""Of our own folders; a store written by a newer Trainload is refused (fault 17)."""

OCI_LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})
MARKER = canonical_json({"version": VERSION})
_SMALL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are under ``home``."""

    home: Path

    @property
    def oci_layout(self) -> Path:
        return self.home / "oci-layout"

    @property
    def index(self) -> Path:
        return self.home / "index.json"

    @property
    def marker(self) -> Path:
        """Written last when a store is made; its version is that of our own folders."""
        return self.home / "trainload.json"

    @property
    def blobs(self) -> Path:
        return self.home / "blobs" / "sha256"

    @property
    def blobs512(self) -> Path:
        """Blobs that others name by their sha512; ours never are."""
        return self.home / "blobs" / "sha512"

    @property
    def files(self) -> Path:
        """Fetched input files: wheels, distribution packages, archives."""
        return self.home / "files" / "sha256"

    @property
    def recipes(self) -> Path:
        return self.home / "recipes"

    @property
    def temporary(self) -> Path:
        """All unfinished things, on the same file system as what they become."""
        return self.home / "tmp"

    @property
    def leases(self) -> Path:
        return self.home / "leases"

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def rootfs(self) -> Path:
        """Unpacked layers and root file systems (the embedded engine's)."""
        return self.home / "rootfs"

    @property
    def repositories(self) -> Path:
        """What clients pushed to the registry server: one folder of links for each repository."""
        return self.home / "repositories"

    @property
    def incoming(self) -> Path:
        """Blobs that ``trainload ship`` brought here in part; whoever writes one holds its lock."""
        return self.home / "incoming"

    @property
    def containers(self) -> Path:
        """What detached runs left (the embedded engine's): ``ID/state.json`` names the image."""
        return self.home / "containers"

    @property
    def damaged(self) -> Path:
        """Blobs that were found to be damaged; gc removes them."""
        return self.home / "damaged"

    @property
    def folders(self) -> tuple[Path, ...]:
        return (
            self.home / "blobs", self.blobs, self.blobs512, self.home / "files", self.files, self.recipes,
            self.temporary, self.leases, self.locks, self.rootfs, self.repositories, self.incoming,
        )  # fmt: skip


def check_readable(layout: Layout) -> bool:
    """Whether there is a store under ``layout.home``; nothing is written.

    False for a folder that is absent, empty or was left while it was being made. Raises
    :class:`StoreError` for something that is not a store or was written by a newer Trainload (L05, fault 17).
    """
    home = layout.home
    with told(home):
        if not _is_folder(home):
            return False
        marker = _small(layout.marker)
        used = marker is not None or _exists(layout.index) or _has_entries(layout.blobs)
        oci = _small(layout.oci_layout)  # looked at last, for it is written first: somebody may be making the store
    if oci is None:
        if used:
            raise _not_a_layout(layout, "no oci-layout file")
        return False
    if not used:
        return False
    version = _field(layout, layout.oci_layout, oci, "imageLayoutVersion")
    if version != "1.0.0":
        raise _not_a_layout(layout, f"imageLayoutVersion {version!r}")
    if marker is not None:
        check_version(layout, _field(layout, layout.marker, marker, "version"))
    check_folders(layout)
    return True


def check_version(layout: Layout, version: object) -> None:
    """Raises :class:`StoreError` for a store we do not know how to read."""
    if type(version) is not int or not 1 <= version <= VERSION:
        raise StoreError(
            Text("the store {home} was written by a newer Trainload", home=layout.home),
            place=Place(str(layout.marker), "version"),
            got=version,
            want=VERSION,
            hints=[Text("upgrade trainload, or set TRAINLOAD_HOME to another folder")],
        )


def check_folders(layout: Layout) -> None:
    """Raises :class:`StoreError` when a folder of the store is a link: its bytes could be anyone's (L01)."""
    for folder in layout.folders:
        try:
            mode = folder.lstat().st_mode
        except FileNotFoundError:
            continue
        except OSError:
            return  # told by whoever needs the folder
        if not stat.S_ISDIR(mode):
            raise StoreError(
                Text("a folder of the store is not a real folder"),
                place=Place(str(folder)),
                got=kind_of(mode),
                want="a folder",
                hints=[Text("to keep the store elsewhere, set TRAINLOAD_HOME or make the whole folder a link")],
            )


def check_owner(layout: Layout) -> None:
    """Raises :class:`StoreError` for another user's store (F14): files of ours would lock its owner out."""
    with told(layout.home):
        owner = layout.home.stat().st_uid
    if owner != os.geteuid():
        raise StoreError(
            Text("the store {home} belongs to another user", home=layout.home),
            got=f"uid {owner}",
            want=f"uid {os.geteuid()}",
            hints=[Text("set TRAINLOAD_HOME to a folder of your own, or run as the owner")],
        )


def make_folders(layout: Layout) -> None:
    """Make what is missing of the store's folders, with the same modes whatever the umask."""
    with told(layout.home):
        _make(layout.home, 0o700)
    check_owner(layout)
    check_folders(layout)
    with told(layout.home):
        for folder in layout.folders:
            _make(folder, 0o755)


def kind_of(mode: int) -> str:
    """A word for what is not a regular file or folder."""
    for test, word in (
        (stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"), (stat.S_ISREG, "a file"),
    ):  # fmt: skip
        if test(mode):
            return word
    return "a device"


def _make(folder: Path, mode: int) -> None:
    if folder.is_dir():
        return
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for path in reversed(missing):
        try:
            path.mkdir()
        except FileExistsError:
            continue
        path.chmod(mode if path == folder else 0o755)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _small(path: Path) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(_SMALL)


def _field(layout: Layout, path: Path, data: bytes, key: str) -> object:
    try:
        return parse_object(data, str(path)).get(key)
    except ImageError as error:
        raise _not_a_layout(layout, str(error)) from error


def _not_a_layout(layout: Layout, got: str) -> StoreError:
    return StoreError(
        Text("{home} is not an OCI image layout we can read", home=layout.home),
        place=Place(str(layout.oci_layout)),
        got=got,
        want='imageLayoutVersion "1.0.0"',
        hints=[
            Text("set TRAINLOAD_HOME to another folder"),
            Text(
                "if it is Trainload's own store, write {content} to {file}",
                content=OCI_LAYOUT,
                file=layout.oci_layout,
            ),
        ],
    )
