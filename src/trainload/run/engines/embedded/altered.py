"""A run of the embedded engine as a :class:`trainload.run.changed.Container`: its upper folder over the layers."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import LayerWriter, Owner
from trainload.run.below import Below, Looks
from trainload.run.capture import Change, Changes, Rules, find_changes, write_changes
from trainload.run.changed import LARGEST, SMALL, Changed, Found, How
from trainload.run.engines.embedded.kept import Kept
from trainload.run.engines.embedded.site import containers, layers_of
from trainload.run.engines.table import Site
from trainload.run.unpack import LayerBlob, UnpackedLayer, unpack


@dataclass(frozen=True)
class Altered:
    """See :class:`trainload.run.changed.Container`."""

    name: str
    image: str
    workdir: str
    mounts: tuple[str, ...]
    upper: Path
    blobs: tuple[LayerBlob, ...]
    layers: tuple[UnpackedLayer, ...]
    """``blobs`` unpacked."""

    def changes(self) -> tuple[Changed, ...]:
        seen = self._seen
        found = find_changes(self.upper, seen, Rules(self._mounted, special=False))
        places = [
            Changed(entry.path, How.ADDED if seen.place(entry.path) is None else How.CHANGED)
            for entry in found.entries
            if entry.kind is not MemberKind.DIRECTORY
        ]
        return tuple(sorted([*places, *(Changed(path, How.DELETED) for path in found.deleted)]))

    def read(self, paths: Collection[str]) -> Mapping[str, Found]:
        return dict(_each(paths, lambda path: self.upper / path))

    def before(self, paths: Collection[str]) -> Mapping[str, Found]:
        return dict(_each(paths, self._seen.place))

    def write_layer(
        self, out: LayerWriter, left_out: Callable[[str], bool], is_secret: Callable[[str, bytes], bool]
    ) -> None:
        below = Below(self.blobs, self.layers)  # with modes and owners as the archives have them
        rules = Rules(lambda path: self._mounted(path) or left_out(path), special=False)
        found = find_changes(self.upper, below, rules)
        secret = {
            entry.path for entry in found.entries if _small(entry.source) and is_secret(entry.path, _read(entry))
        }
        kept = [entry for entry in found.entries if entry.path not in secret and entry.target not in secret]
        there = {entry.path for entry in kept}
        for folder in sorted(_above(found.deleted) - there):
            looks = below.looks.get(folder, Looks(0o755, Owner()))
            kept.append(Change(folder, MemberKind.DIRECTORY, looks))
        write_changes(Changes(tuple(sorted(kept, key=lambda entry: entry.path)), ()), out)
        for path in found.deleted:
            if path not in there:
                out.whiteout(path)

    @cached_property
    def _seen(self) -> Below:
        return _Unpacked(self.blobs, self.layers)

    def _mounted(self, path: str) -> bool:
        return any(f"/{path}" == place or f"/{path}".startswith(f"{place}/") for place in self.mounts)


def _small(source: Path | None) -> bool:
    return source is not None and source.is_file() and source.lstat().st_size <= SMALL


def _read(entry: Change) -> bytes:
    return entry.source.read_bytes() if entry.source is not None else b""


def _above(paths: Collection[str]) -> set[str]:
    """The folders on the way to ``paths``."""
    return {path[:at] for path in paths for at, char in enumerate(path) if char == "/"}


class _Unpacked(Below):
    """Compared with the unpacked files, whose looks the kernel copied: reading 700 MB of layers is not needed."""

    @cached_property
    def looks(self) -> Mapping[str, Looks]:
        return _Looks(self)


class _Looks(Mapping[str, Looks]):
    def __init__(self, below: Below) -> None:
        self._below = below

    def __getitem__(self, path: str) -> Looks:
        place = self._below.place(path)
        if place is None:
            raise KeyError(path)
        status = place.lstat()
        owner = Owner(status.st_uid, status.st_gid) if os.geteuid() == 0 else Owner()
        return Looks(stat.S_IMODE(status.st_mode), owner)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _each(paths: Collection[str], where: Callable[[str], Path | None]) -> Iterator[tuple[str, Found]]:
    for path in paths:
        place = where(path)
        found = None if place is None else _found(place)
        if found is not None:
            yield path, found


def _found(place: Path) -> Found | None:
    """What lies there; None for nothing, or what is neither file, folder nor link."""
    try:
        status = place.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            return Found(MemberKind.SYMLINK, mode, target=os.readlink(place))  # noqa: PTH115 - as it stands
        if stat.S_ISDIR(status.st_mode):
            return Found(MemberKind.DIRECTORY, mode)
        if not stat.S_ISREG(status.st_mode):
            return None
        data = place.read_bytes() if status.st_size <= LARGEST else None
        return Found(MemberKind.FILE, mode, status.st_size, data)
    except (FileNotFoundError, NotADirectoryError):
        return None


def altered(site: Site, run: str, workdir: str, mounts: Collection[str]) -> Altered:
    """The run, which runs detached or was kept. Raises :class:`RunError` when nothing of it is there."""
    kept = Kept(containers(site.store.home) / run)
    note = kept.note()
    upper = kept.root / "upper"
    if note is None or not upper.is_dir():
        raise RunError(
            Text("nothing that the run {id} changed is there", id=run),
            hints=("a shell keeps what is changed in it, and so do run --keep and run -d",),
        )
    blobs = tuple(layers_of(site.store)(Digest.parse(note.image)))
    layers = unpack(blobs, site.store.rootfs, reporter=site.reporter, limits=site.limits)
    return Altered(run, note.image, workdir, tuple(sorted(mounts)), upper, blobs, layers)
