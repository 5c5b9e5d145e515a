"""The project's own files as the last layer: owned by the image's user, all else normalised (THREATS P10)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text
from trainload.layers.model import ByteSink, Written
from trainload.layers.tar import entry_name
from trainload.plan.model import CodeRecipe
from trainload.project.model import CodeFile, CodeListing

OUTPUTS = "outputs"
"""The folder below the workdir that a run writes to; it must belong to the user."""

ATTRIBUTES = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700}
_LINKS = frozenset({"bin", "sbin", "lib", "lib64", "var/run", "var/lock"})
"""Links in a base with merged /usr: a directory entry would replace them."""
_TOP = frozenset("boot dev etc home media mnt opt proc root run srv sys tmp usr var".split())  # noqa: SIM905 - words
"""Folders of the base that do not become the user's when they are the workdir."""
_CHUNK = 1 << 20

OpenFile = Callable[[str], BinaryIO]
"""Opens a regular file of the project by its path for streaming."""


def code_content(listing: CodeListing, open_file: OpenFile) -> str:
    """:attr:`CodeRecipe.content`: sha256 over path, mode and target or content of each file, in order.

    Raises :class:`LayerError` for a file that cannot be read, is not as long as listed (THREATS P04, P06), or
    has a name that an image layer cannot hold (P07).
    """
    total = hashlib.sha256()
    for file in sorted(listing.files):
        entry_name(file.path)
        digest = hashlib.sha256()
        if file.target is None:
            for chunk in _chunks(file, open_file):
                digest.update(chunk)
        total.update(_line(file, digest.hexdigest()))
    return total.hexdigest()


def write_code(recipe: CodeRecipe, listing: CodeListing, open_file: OpenFile, sink: ByteSink) -> Written:
    """Writes the layer of ``recipe``: ``listing`` below the workdir.

    Raises :class:`LayerError` as :func:`code_content` does, and when the files are not those of the recipe any
    more: what the sink got is then worth nothing.
    """
    from trainload.layers.writer import LayerWriter, Owner, Stream  # a build that finds its layers writes none

    workdir = recipe.workdir.strip("/")
    owner = Owner(recipe.owner, recipe.owner)
    total = hashlib.sha256()
    with LayerWriter(sink) as out:
        for path in above(workdir):
            mine = (path == workdir and path not in _TOP) or (path.startswith("home/") and path.count("/") == 1)
            out.directory(path, mode=ATTRIBUTES.get(path, 0o755), owner=owner if mine else Owner())
        for path, file in _entries(workdir, listing):
            if file is None:
                out.directory(path, owner=owner)
            elif file.target is not None:
                out.symlink(path, file.target, owner=owner)
                total.update(_line(file, hashlib.sha256().hexdigest()))
            else:
                digest = hashlib.sha256()
                chunks = _hashed(_chunks(file, open_file), digest)
                out.file(path, Stream(file.size, chunks), mode=_mode(file), owner=owner)
                total.update(_line(file, digest.hexdigest()))
        written = out.close()
    if total.hexdigest() != recipe.content:
        raise LayerError(
            Text("the project changed while its layer was made"),
            hints=[Text("run it again when nothing writes to the project any more")],
            retryable=True,
        )
    return written


def above(workdir: str) -> list[str]:
    """The workdir and the folders above it, from the top, with the attributes they have in a base.

    They are named because Docker 20.10 makes a folder that a layer does not name one that ordinary users cannot
    enter; a directory entry replaces the attributes in lower layers (layer.md).
    """
    parts = workdir.split("/") if workdir else []
    paths = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return [path for path in paths if path not in _LINKS]


def _entries(workdir: str, listing: CodeListing) -> Iterator[tuple[str, CodeFile | None]]:
    """Image paths in order, None for a folder: the listed files' and ``outputs``."""
    found: dict[str, CodeFile | None] = {file.path: file for file in listing.files}
    for file in listing.files:
        parent = file.path.rpartition("/")[0]
        while parent and parent not in found:
            found[parent] = None
            parent = parent.rpartition("/")[0]
    found.setdefault(OUTPUTS, None)
    for path in sorted(found):
        yield (f"{workdir}/{path}" if workdir else path), found[path]


def _mode(file: CodeFile) -> int:
    return 0o755 if file.executable else 0o644


def _line(file: CodeFile, sha256: str) -> bytes:
    """One file's part of the content digest; no field can hold the separators of the next."""
    kind = "link" if file.target is not None else f"{_mode(file):o}"
    value = file.target if file.target is not None else sha256
    return "\0".join((file.path, kind, value, "")).encode("utf-8", "surrogateescape")


def _hashed(chunks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _chunks(file: CodeFile, open_file: OpenFile) -> Iterator[bytes]:
    """The file's bytes. Raises :class:`LayerError` unless there are as many as were listed."""
    done = 0
    try:
        with open_file(file.path) as stream:
            while chunk := stream.read(_CHUNK):
                done += len(chunk)
                if done > file.size:
                    break
                yield chunk
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno is not None else str(error)
        raise LayerError(
            Text("the file cannot be read: {reason}", reason=reason),
            place=Place(file.path),
            hints=[Text("make it readable, or leave it out with exclude in [tool.trainload]")],
        ) from error
    if done != file.size:
        raise LayerError(
            Text("the file changed while it was read: {got} bytes, listed with {want}", got=done, want=file.size),
            place=Place(file.path),
            hints=[Text("run it again when nothing writes to the file any more")],
            retryable=True,
        )
