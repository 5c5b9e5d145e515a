"""Where the embedded engine keeps things in the store, and the layers it unpacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from trainload.digest import Digest
from trainload.image.history import Step, steps
from trainload.run.model import Mount
from trainload.run.unpack import LayerBlob
from trainload.store.layout import Layout
from trainload.store.store import Store
from trainload.values import replace


def containers(home: Path) -> Path:
    """Folders of detached runs."""
    return Layout(home).containers


def volume(home: Path, name: str) -> Path:
    """The folder of a named volume."""
    return home / "volumes" / name


def with_folders(mounts: Sequence[Mount], home: Path) -> tuple[Mount, ...]:
    """``mounts`` with named volumes as folders, made when they are used first."""
    found = []
    for mount in mounts:
        if not mount.volume:
            found.append(mount)
            continue
        folder = volume(home, mount.source)
        folder.mkdir(parents=True, exist_ok=True)
        found.append(replace(mount, source=str(folder), volume=False))
    return tuple(found)


def layers_of(store: Store) -> Callable[[Digest], Sequence[LayerBlob]]:
    """The layers of an image of ``store``, base first."""

    def layers(digest: Digest) -> Sequence[LayerBlob]:
        return [
            LayerBlob(store.path(step.layer.digest), step.diff_id, step.layer.size, _title(step))
            for step in steps(store.image(digest))
            if step.layer is not None and step.diff_id is not None
        ]

    return layers


def _title(step: Step) -> str:
    """For progress; a foreign layer's history is a whole shell script."""
    words = " ".join(step.title.split()) or (step.diff_id.short if step.diff_id else "")
    return f"{words if len(words) <= 60 else words[:59] + '…'} (unpacked)"
