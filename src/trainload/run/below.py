"""What lies below a run's changes: the unpacked layers as overlayfs joins them, and what their archives say.

Unpacking drops set-id bits, and an ordinary user owns everything they unpack; so modes and owners are read from the
layers' own entries.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from trainload.layers.tarread import TarReader, member_path
from trainload.layers.writer import Owner
from trainload.run.inflate import TarStream
from trainload.run.unpack import LayerBlob, UnpackedLayer
from trainload.values import dataclass

OPAQUE = "user.overlay.opaque"


@dataclass(frozen=True, slots=True)
class Looks:
    """Permission bits and owner of an entry."""

    mode: int
    owner: Owner


class Below:
    """The joined layers; paths are relative, without links in their folders, in ``os.fsdecode`` form."""

    def __init__(
        self,
        blobs: Sequence[LayerBlob],
        layers: Sequence[UnpackedLayer],
        looks: Callable[[], Mapping[str, Looks]] | None = None,
    ) -> None:
        """``layers`` are ``blobs`` unpacked, both from the base to the top; ``looks``: what they say, if known."""
        self._blobs = blobs
        self._told = looks
        self._tops = tuple(layer.folder for layer in reversed(layers))
        self._folders: dict[str, tuple[Path, ...]] = {"": self._tops}

    def place(self, path: str) -> Path | None:
        """Where what is seen at ``path`` lies; None when there is nothing."""
        above, _, name = path.rpartition("/")
        for folder in self.folders(above):
            try:
                status = (folder / name).lstat()
            except FileNotFoundError:
                continue
            return None if is_whiteout(status) else folder / name
        return None

    def names(self, path: str) -> frozenset[str]:
        """What is seen in the folder ``path``; empty when there is none."""
        seen = {name for folder in self.folders(path) for name in os.listdir(folder)}
        above = f"{path}/" if path else ""
        return frozenset(name for name in seen if self.place(above + name) is not None)

    def folders(self, path: str) -> tuple[Path, ...]:
        """The folders that are joined at ``path``, the topmost first."""
        if path not in self._folders:
            above, _, name = path.rpartition("/")
            self._folders[path] = tuple(_joined([folder / name for folder in self.folders(above)]))
        return self._folders[path]

    @cached_property
    def looks(self) -> Mapping[str, Looks]:
        """What the layers say of each path. Raises :class:`LayerError` for a broken layer."""
        if self._told is not None:
            return self._told()
        found: dict[str, Looks] = {}
        for blob in self._blobs:
            name = blob.title or str(blob.diff_id)
            with TarStream(blob.path, name) as stream:
                for member in TarReader(stream, name, end_mark=False):
                    path = os.fsdecode(member_path(member.name, name))
                    found[path] = Looks(member.mode, Owner(member.uid, member.gid))
        return found

    def text(self, path: str) -> bytes:
        """A file's content, empty when there is none."""
        place = self.place(path)
        return place.read_bytes() if place is not None and place.is_file() and not place.is_symlink() else b""

    def copy_up(self, path: str, content: bytes, upper: Path) -> None:
        """Put a changed file into the folder of changes, with the looks it has below."""
        above = path.rpartition("/")[0]
        if above:
            self.copy_up_folder(above, upper)
        (upper / path).write_bytes(content)
        self._like(path, upper)

    def copy_up_folder(self, path: str, upper: Path) -> None:
        """Make a folder in the folder of changes, and those above it, with the looks they have below."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            here = "/".join(parts[:count])
            if not (upper / here).is_dir():
                (upper / here).mkdir()
                self._like(here, upper)

    def _like(self, path: str, upper: Path) -> None:
        looks = self.looks.get(path)
        if looks is None:
            return
        if os.geteuid() == 0:
            os.chown(upper / path, looks.owner.uid, looks.owner.gid)
        (upper / path).chmod(looks.mode)


def _joined(candidates: Sequence[Path]) -> list[Path]:
    """Those of ``candidates`` that overlayfs joins: down to the first that is no folder or is opaque."""
    joined: list[Path] = []
    for folder in candidates:
        try:
            status = folder.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            break
        joined.append(folder)
        if is_opaque(folder):
            break
    return joined


def is_whiteout(status: os.stat_result) -> bool:
    """Whether an entry only says that what lies below is gone (kernel overlayfs.rst)."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(folder: Path) -> bool:
    """Whether a folder hides the content of the folders below."""
    try:
        return os.getxattr(folder, OPAQUE) == b"y"
    except OSError:
        return False
