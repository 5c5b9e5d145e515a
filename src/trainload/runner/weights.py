"""Weights that are mounted into runs: an artifact's layers as one folder of hard links, as long as it is needed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainload.runner.container import flatten
from trainload.runner.home import Home, open_lock
from trainload.runner.trouble import Trouble
from trainload.runner.unpack import KEPT, remove, unpacked

LINKS = "w"
"""In a run's folder: links to what it has mounted."""


def folder_of(home: Home, request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> Path:
    """Where ``path`` of the artifact lies here. Raises :class:`Trouble`."""
    below = home.path / "hosted" / "weights"
    below.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = below / str(request["digest"]).split(":")[1]
    with home.lock("gc", shared=True):
        layers = unpacked(home.path, request["layers"], tell)
    lock = open_lock(place.with_name(place.name + ".lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _join(layers, place)
        os.utime(str(place))
    finally:
        os.close(lock)
    _forget_unused(home, below, place.name)
    found = place / str(request["path"]).strip("/")
    if not found.exists():
        raise Trouble("layer", said=request["path"])
    return found


def _join(layers: list[Path], place: Path) -> None:
    temporary = place.with_name(place.name + ".tmp")
    if temporary.exists():
        remove(temporary)
    before = os.umask(0o022)  # whoever the container's user is may read them
    try:
        temporary.mkdir()
        for layer in layers:
            flatten(layer, temporary)
    finally:
        os.umask(before)
    temporary.rename(place)


def hold(folder: Path, mounts: list[str]) -> None:
    """Let them stay as long as the run whose folder this is."""
    for number, source in enumerate(mounts):
        (folder / LINKS).mkdir(exist_ok=True)
        (folder / LINKS / str(number)).symlink_to(source)


def _forget_unused(home: Home, below: Path, now: str) -> None:
    """Those that nobody asked for in a month, unless a run has them."""
    used = {os.path.realpath(str(link)) for link in (home.path / "hosted").glob(f"*/{LINKS}/*")}
    for place in below.iterdir():
        inside = str(place.resolve()) + os.sep
        if place.name == now or not place.is_dir() or any((one + os.sep).startswith(inside) for one in used):
            continue
        with contextlib.suppress(OSError):
            if time.time() - place.stat().st_mtime > KEPT:
                remove(place)
