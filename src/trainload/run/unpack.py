"""Layers unpacked once each, in parallel, as the user who runs: ``rootfs/layers/<diff_id>-<uid>/``.

The result is a cache that can be made again, so no file is fsynced. A layer is written under a temporary
name with its lock held and renamed when its digest is right: ``kill -9`` leaves only what the next look
removes. After a power loss a layer that was not known to be on the disk yet is not trusted (``done.json``
has the boot it was written in).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from trainload.digest import Digest
from trainload.errors import LayerError, Place, RunError, Text
from trainload.events import SILENT, Began, Ended, How, Reporter
from trainload.limits import DEFAULT, Limits
from trainload.values import dataclass

FORMAT = 1
"""Of an unpacked layer; another one is made again."""
_Made = TypeVar("_Made")
_SETTLED = 60.0  # seconds after which the kernel has most likely written it back: syncfs is then cheap


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer that lies in the store."""

    path: Path
    diff_id: Digest
    size: int
    """Bytes of the blob, for progress."""
    title: str = ""


@dataclass(frozen=True, slots=True)
class UnpackedLayer:
    """A layer as a folder."""

    folder: Path
    implicit: tuple[str, ...]
    """Folders no entry of this layer names: a lower layer says how they look."""
    dropped: tuple[str, ...]
    """What was left out, by kind: ``device``, ``set-id``, ``attribute``."""


def unpack(
    layers: Sequence[LayerBlob], rootfs: Path, *, reporter: Reporter = SILENT, limits: Limits = DEFAULT
) -> tuple[UnpackedLayer, ...]:
    """Every layer as a folder below ``rootfs``, made if it is missing; the same order as given.

    Raises :class:`LayerError` for a broken or hostile layer, :class:`RunError` when it cannot be written.
    """
    below = rootfs / "layers"
    below.mkdir(parents=True, exist_ok=True, mode=0o700)
    order = sorted({layer.diff_id: layer for layer in layers}.values(), key=lambda layer: -layer.size)
    known = {layer.diff_id: ready(_folder(below, layer.diff_id)) for layer in order}
    missing = [layer for layer in order if known[layer.diff_id] is None]
    if missing:
        from concurrent.futures import ThreadPoolExecutor  # slow to import, and mostly not needed

        with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
            made = pool.map(lambda layer: _make(layer, below, reporter, limits), missing)
            known.update(zip((layer.diff_id for layer in missing), made, strict=True))
    return tuple(found for layer in layers if (found := known[layer.diff_id]) is not None)


def lies(diff_id: Digest, rootfs: Path) -> Path | None:
    """The files of a layer, if it is unpacked."""
    found = ready(_folder(rootfs / "layers", diff_id))
    return None if found is None else found.folder


def _folder(below: Path, diff_id: Digest) -> Path:
    return below / f"{diff_id.hex}-{os.geteuid()}"


def _make(layer: LayerBlob, below: Path, reporter: Reporter, limits: Limits) -> UnpackedLayer:
    """Unpack one layer unless somebody else did while we waited for its lock."""
    final = _folder(below, layer.diff_id)
    name = layer.title or layer.diff_id.short
    task, label = f"unpack {layer.diff_id}", layer.title or f"layer {name} (unpacked)"
    began = time.monotonic()
    with locked(final.with_suffix(".lock")):
        found = ready(final)
        if found is not None:
            return found
        reporter.report(Began(task, label, None))
        try:
            size = _laid(final, lambda folder: _fill(layer, folder, reporter, limits))
        except BaseException as error:
            reporter.report(Ended(task, label, How.FAILED))
            if isinstance(error, OSError):
                raise _unwritable(name, error) from error
            raise
        reporter.report(Ended(task, label, How.MADE, size, time.monotonic() - began))
    found = ready(final)
    assert found is not None
    return found


def lay_down(diff_id: Digest, rootfs: Path, fill: Callable[[Path], object]) -> bool:
    """A layer's folder made by ``fill``, which ends with :func:`write_done`; False: it is there already.

    Raises whatever ``fill`` does; nothing is left then.
    """
    below = rootfs / "layers"
    below.mkdir(parents=True, exist_ok=True, mode=0o700)
    final = _folder(below, diff_id)
    with locked(final.with_suffix(".lock")):
        if ready(final) is not None:
            return False
        _laid(final, fill)
    return True


def _laid(final: Path, fill: Callable[[Path], _Made]) -> _Made:
    """``final``, made whole under another name; its lock is held."""
    temporary = final.with_suffix(".tmp")
    try:
        for stale in (temporary, final):
            remove(stale)
        made = fill(temporary)
        temporary.rename(final)
    except BaseException:
        remove(temporary)
        raise
    return made


def _unwritable(label: str, error: OSError) -> RunError:
    return RunError(
        Text("the layer {layer} could not be unpacked: {reason}", layer=label, reason=error.strerror or error),
        hints=(
            "make room, or set TRAINLOAD_HOME to a folder on another disk",
            "the folder must be on a file system with extended attributes, such as ext4, xfs or btrfs",
        ),
    )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive ``flock``; the kernel lets go when the holder dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove(folder: Path) -> None:
    """Remove a tree that may hold folders without permissions."""
    if not folder.exists():
        return
    if os.geteuid() != 0:
        _open_up(folder)
    shutil.rmtree(folder)


def _open_up(folder: Path) -> None:
    folder.chmod(0o700)  # overlayfs makes its working folder with no permissions at all
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _open_up(Path(entry.path))


def ready(folder: Path) -> UnpackedLayer | None:
    """The unpacked layer, if it is whole and was written in a way that can be trusted."""
    try:
        done = json.loads((folder / "done.json").read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if done["format"] != FORMAT or not (done["synced"] or done["boot"] == _boot()):
        return None
    if not done["synced"] and time.time() - done["time"] > _SETTLED:
        sync(folder)
        _replace(folder / "done.json", {**done, "synced": True})
    return UnpackedLayer(folder / "fs", tuple(done["implicit"]), tuple(done["dropped"]))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def sync(folder: Path) -> None:
    """Wait until the file system of ``folder`` is on the disk (syncfs(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    finally:
        os.close(descriptor)


def write_done(folder: Path, implicit: Sequence[str], dropped: Sequence[str]) -> None:
    """Mark ``folder`` as whole; the last thing before it gets its name."""
    done: dict[str, object] = {
        "format": FORMAT,
        "boot": _boot(),
        "time": time.time(),
        "synced": False,
        "implicit": list(implicit),
        "dropped": list(dropped),
    }
    _replace(folder / "done.json", done)


def _replace(path: Path, value: dict[str, object]) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(value, sort_keys=True), encoding="utf-8")
    fresh.rename(path)


def _fill(layer: LayerBlob, temporary: Path, reporter: Reporter, limits: Limits) -> int:
    """Unpack into ``temporary`` and check the digest; bytes of the tar stream."""
    # not needed by a run whose layers are all there
    from trainload.run.inflate import TarStream
    from trainload.run.placing import Placing
    from trainload.run.rootdir import RootDir

    files = temporary / "fs"
    files.mkdir(parents=True, mode=0o755)
    name = layer.title or str(layer.diff_id)
    root = RootDir(files)
    try:
        with TarStream(layer.path, name, limits=limits) as stream:
            notes = Placing(root, stream, name, limits).run(f"unpack {layer.diff_id}", reporter)
            digest, size = stream.digest(), stream.size
        if digest != layer.diff_id:
            raise LayerError(
                "the layer does not hold what the image says",
                place=Place(name),
                got=digest,
                want=layer.diff_id,
                hints=("the stored layer is damaged: remove the image and build or pull it again",),
            )
    finally:
        root.close()
    write_done(temporary, sorted(os.fsdecode(path) for path in root.implicit), sorted(notes.dropped))
    return size
