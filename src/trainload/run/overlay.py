"""Layers joined to one root file system, by the best way this machine allows; which one is found by trying."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from trainload.run import kernel
from trainload.run.unpack import UnpackedLayer


class Way(StrEnum):
    """How layers are joined, the best first."""

    OVERLAY = "overlay"
    """All layers by the new mount API: nothing is copied (Linux 6.5)."""
    FLAT = "flat overlay"
    """Layers flattened into one folder with hard links, a writable overlay on it (Linux 5.11)."""
    READ_ONLY = "read-only"
    """The flattened folder itself: only memory and mounted folders can be written."""


def give_folders_their_looks(layers: Sequence[UnpackedLayer], upper: Path) -> None:
    """Make those folders in ``upper`` that a higher layer brought along without saying how they look.

    ``layers`` from the base to the top. overlayfs shows the topmost folder's attributes, but one that is only
    there because something lies in it says nothing about them (``/tmp`` must stay 1777).
    """
    for path in sorted({path for layer in layers for path in layer.implicit}):
        looks = _looks(layers, path)
        if looks is not None:
            _like(layers, upper, path, looks)


def _looks(layers: Sequence[UnpackedLayer], path: str) -> os.stat_result | None:
    """How the folder must look, if the topmost layer that has it would show it otherwise."""
    shown: os.stat_result | None = None
    for layer in reversed(layers):
        try:
            status = (layer.folder / path).lstat()
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            return None
        if path not in layer.implicit:
            return status if shown and _differ(shown, status) else None
        shown = shown or status
    return None


def _differ(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid) != (other.st_mode, other.st_uid, other.st_gid)


def _like(layers: Sequence[UnpackedLayer], upper: Path, path: str, looks: os.stat_result) -> None:
    parts = Path(path).parts
    for count in range(1, len(parts) + 1):
        here = "/".join(parts[:count])
        if (upper / here).exists():
            continue
        top = next(layer.folder / here for layer in reversed(layers) if (layer.folder / here).is_dir())
        status = looks if here == path else top.lstat()
        (upper / here).mkdir()
        if os.geteuid() == 0:
            os.chown(upper / here, status.st_uid, status.st_gid)
        (upper / here).chmod(stat.S_IMODE(status.st_mode))


def join(way: Way, layers: Sequence[Path], run: Path) -> Path:
    """Mount ``layers`` (base first; one, flattened, unless the way is OVERLAY) in this mount namespace.

    ``run`` has the folders ``upper``, ``work`` and ``merged``. Returns the root's place. Raises :class:`OSError`.
    """
    upper, work, merged = (str(run / name) for name in ("upper", "work", "merged"))
    if way is Way.OVERLAY:
        # overlayfs refuses a folder that stands there twice; of equal layers the topmost decides all that they say
        kernel.mount_overlay(list(dict.fromkeys(map(str, reversed(layers)))), upper, work, merged)
    elif way is Way.FLAT:
        kernel.mount_overlay_by_text(str(layers[0]), upper, work, merged)
    else:
        return layers[0]
    return run / "merged"
