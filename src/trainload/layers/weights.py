"""Weights as a layer: files as they are, stored without compression, below folders that are nobody's to change.

Numbers of a trained model hardly compress: at 80 to 130 MB/s a core deflate takes 7 % off float32 and 20 % off
bfloat16, and storing runs at the disk's speed here and on every machine that unpacks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from trainload.errors import LayerError, Place, Text
from trainload.layers.code import ATTRIBUTES, above
from trainload.layers.decompress import opened
from trainload.layers.model import BegunSink, ByteSink, Earlier, Written
from trainload.layers.tarread import TarReader
from trainload.layers.writer import LayerWriter
from trainload.lock.model import File
from trainload.plan.model import PlacedFile, WeightsRecipe

_OPEN = 0o1777


class Pours(Protocol):
    """Gives locked files without a copy of them being kept."""

    def pour(self, file: File, write: Callable[[bytes], object], earlier: Iterable[bytes] = (), /) -> object:
        """The bytes of ``file`` to ``write``, in order; raises :class:`FetchError` unless they were all right.

        ``earlier``: what is known to be its first bytes, and need not be brought again.
        """


def write_weights(recipe: WeightsRecipe, sources: Pours, sink: ByteSink) -> Written:
    """Writes the layer of ``recipe``. Raises :class:`FetchError`: what the sink got is then worth nothing."""
    with _earlier(sink) as earlier:
        return _write(recipe, sources, sink, earlier)


def _write(recipe: WeightsRecipe, sources: Pours, sink: ByteSink, earlier: _Members) -> Written:
    made: dict[str, Callable[[LayerWriter], object]] = {}
    for file in recipe.files:
        made[file.path] = partial(_file, file, sources, earlier)
    for path, target in recipe.links:
        made[path] = lambda out, path=path, target=target: out.symlink(path, target)  # type: ignore[misc]
    for path, text in recipe.texts:
        made[path] = lambda out, path=path, text=text: out.file(path, text.encode())  # type: ignore[misc]
    below = [path.rpartition("/")[0] for path in made]
    folders = {folder for path in (*below, *recipe.shared) for folder in above(path)}
    with LayerWriter(sink, stored=True) as out:
        for path in sorted(folders | set(made)):
            if path in made:
                made[path](out)
            else:
                out.directory(path, mode=_OPEN if path in recipe.shared else ATTRIBUTES.get(path, 0o755))
        return out.close()


class _Members:
    """The files of a layer that was begun, as far as it came; asked for in their order."""

    def __init__(self, stream: Earlier | None) -> None:
        plain = None if stream is None else opened(stream, Place("a layer that was begun"))
        self._reader = None if plain is None else TarReader(plain, "a layer that was begun")
        self._members = iter(() if self._reader is None else self._reader)

    def content(self, path: str) -> Iterator[bytes]:
        if self._reader is None:
            return
        try:
            for member in self._members:
                if os.fsdecode(member.name) == path:
                    yield from self._reader.chunks(1 << 20)
                    return
        except LayerError:
            self._reader = None  # here it ends


@contextmanager
def _earlier(sink: ByteSink) -> Iterator[_Members]:
    found = sink.earlier() if isinstance(sink, BegunSink) else None
    try:
        yield _Members(found)
    finally:
        if found is not None:
            found.close()


def _file(file: PlacedFile, sources: Pours, earlier: _Members, out: LayerWriter) -> None:
    if file.file.size is None:
        raise LayerError(
            Text("the lock does not say how large {file} is", file=file.file.name),
            place=Place(file.path),
            hints=[Text("lock again: trainload lock")],
        )
    pour = partial(sources.pour, file.file)
    out.poured(file.path, file.file.size, lambda write: pour(write, earlier.content(file.path)))
