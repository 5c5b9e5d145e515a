"""Locked files in memory, and the layer that wheels become, read back by another's tar reader."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO

from trainload.events import SILENT, Reporter
from trainload.layers.model import Written
from trainload.layers.wheels import write_wheels
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import File, Found
from trainload.plan.model import WheelsRecipe


class MemorySources:
    """Files by their names."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.opened = 0

    def open(self, file: File, /) -> BinaryIO:
        self.opened += 1
        return io.BytesIO(self._files[file.name])

    def pour(self, file: File, write: Callable[[bytes], object], earlier: Iterable[bytes] = (), /) -> None:
        self.opened += 1
        write(self._files[file.name])


def locked(name: str, data: bytes) -> File:
    return File(name, hashlib.sha256(data).hexdigest(), len(data), Found(name))


def wheel_layer(
    files: Mapping[str, bytes], sink: io.BytesIO, reporter: Reporter = SILENT, limits: Limits = DEFAULT
) -> Written:
    """Writes the layer of the wheels, given by file name, in this order, for Python 3.11."""
    recipe = WheelsRecipe(tuple(locked(name, data) for name, data in files.items()), "3.11")
    return write_wheels(recipe, MemorySources(files), sink, reporter, limits)


def unpacked(files: Mapping[str, bytes], reporter: Reporter = SILENT) -> dict[str, tuple[int, bytes | None]]:
    """The same layer as (mode, content) by path below the environment; a folder has no content."""
    sink = io.BytesIO()
    wheel_layer(files, sink, reporter)
    found: dict[str, tuple[int, bytes | None]] = {}
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue()), mode="r:gz") as tar:
        for info in tar:
            file = tar.extractfile(info) if info.isreg() else None
            found[info.name.removeprefix("opt/venv/")] = (info.mode, file.read() if file else None)
    return found
