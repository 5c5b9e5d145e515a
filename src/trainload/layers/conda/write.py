"""Conda layers: one package or many, placed in their prefix as conda would link them, and recompressed once.

No script of a package runs (THREATS C07): those that conda would run are told by the plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from trainload.errors import LayerError, Place
from trainload.events import SILENT, Moved, Reporter
from trainload.layers.conda import prefix
from trainload.layers.conda.bytecode import stamped
from trainload.layers.conda.ground import Ground
from trainload.layers.conda.info import EntryPoint
from trainload.layers.conda.package import Package, Placed, read_package
from trainload.layers.conda.record import Linked, record
from trainload.layers.model import ByteSink, Sources, Written
from trainload.layers.tarread import MemberKind, TarReader
from trainload.layers.writer import LayerWriter, Stream
from trainload.limits import DEFAULT, Limits, MiB
from trainload.plan.key import recipe_key
from trainload.plan.model import CondaRecipe

_TEXT = 256 * MiB
"""Bytes of a text file with a placeholder, which is held in memory."""
_STEP = 4 * MiB
_SCRIPT = """\
#!{prefix}/bin/python{python}
# -*- coding: utf-8 -*-
import re
import sys

from {module} import {imported}

if __name__ == '__main__':
\tsys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])
\tsys.exit({attribute}())
"""
"""As rattler writes it (python_entry_point_template)."""


def write_conda(
    recipe: CondaRecipe, sources: Sources, sink: ByteSink, reporter: Reporter = SILENT, limits: Limits = DEFAULT
) -> Written:
    """Writes the layer of ``recipe`` and verifies every file on the way.

    Of a path that several of its packages have, the last one's counts, as in layers that lie on each other; which
    those are is told by whoever looks at all packages (``builder/owners.py``). Raises :class:`LayerError` for a
    package that is broken or hostile (THREATS C01–C06); what the sink got is then worth nothing.
    """
    with ExitStack() as stack:
        packages = [
            read_package(
                stack.enter_context(sources.open(each.archive)),
                each,
                recipe.site_packages,
                limits,
                prefix=recipe.prefix,
            )
            for each in recipe.packages
        ]
        owners = {path: number for number, one in enumerate(packages) for path in one.paths}
        progress = _Progress(
            reporter, str(recipe_key(recipe)), sum(each.archive.size or 0 for each in recipe.packages)
        )
        with LayerWriter(sink) as out:
            ground = Ground.of(recipe)
            for folder in ground.folders(_folders(packages)):
                ground.directory(out, folder)
            for number, package in enumerate(packages):
                left_out = {path for path, owner in owners.items() if owner != number}
                _Placing(package, recipe, out, left_out, progress, ground).run()
            return out.close()


@dataclass(slots=True)
class _Progress:
    reporter: Reporter
    task: str
    size: int
    """Bytes of the archives: what is told never passes it."""
    done: int = 0
    told: int = 0

    def add(self, size: int) -> None:
        self.done += size
        if self.done - self.told >= _STEP:
            self.told = self.done
            self.reporter.report(Moved(self.task, min(self.done, self.size)))


def _folders(packages: Sequence[Package]) -> list[str]:
    """Every directory of the layer; those above too, for Docker 20.10 closes a folder that a layer leaves out."""
    folders: set[str] = set()
    for package in packages:
        for path in (*package.paths, *(f"{folder}/" for folder in package.folders)):
            parent = path
            while parent := parent.rpartition("/")[0]:
                if parent in folders:
                    break
                folders.add(parent)
    return sorted(folders)


@dataclass(slots=True)
class _Placing:
    """Writes one package."""

    package: Package
    recipe: CondaRecipe
    out: LayerWriter
    left_out: set[str]
    """Image paths that another package of the layer has."""
    progress: _Progress
    ground: Ground
    linked: list[Linked] = field(default_factory=list)
    sums: dict[str, bytes] = field(default_factory=dict)
    """Image path → sha256 of what was written."""

    def run(self) -> None:
        package = self.package
        reader = package.archive.content()
        for member in reader:
            placed = package.placed.get(package.archive.path(member.name))
            if placed is None:
                continue  # a directory, or part of info/
            self._member(placed, reader)
        for point in package.info.entry_points:
            self._entry_point(point)
        self._file(package.record, record(package.files, package.info, self.linked))

    def _file(self, path: str, content: bytes | Stream, mode: int = 0o644) -> None:
        self.out.file(self.ground.real(path), content, mode=mode, owner=self.ground.owner)

    def _member(self, placed: Placed, reader: TarReader) -> None:
        if placed.member.kind is MemberKind.SYMLINK:
            if placed.path not in self.left_out:
                self.out.symlink(self.ground.real(placed.path), placed.target, owner=self.ground.owner)
            own = hashlib.sha256(placed.member.linkname).digest()
            self.linked.append(Linked(self._below(placed.path), placed.entry, own))
            return
        if placed.member.kind is MemberKind.HARDLINK:
            self._hardlink(placed)
            return
        if placed.path in self.left_out:
            for _ in self._checked(placed, reader.chunks()):
                pass
            self.sums[placed.path], size = placed.entry.sha256 or b"", None
        else:
            content = self._content(placed, reader)
            self._file(placed.path, content, placed.mode)
            size = len(content) if isinstance(content, bytes) else content.size
        self.linked.append(Linked(self._below(placed.path), placed.entry, self.sums[placed.path], size))
        self.progress.add(placed.member.size)

    def _hardlink(self, placed: Placed) -> None:
        source = self.package.by_image[placed.target]
        if (source.entry.sha256, source.entry.placeholder) != (placed.entry.sha256, placed.entry.placeholder):
            raise LayerError("a hard link is listed as another file than it leads to", place=self._place(placed))
        if placed.path not in self.left_out and placed.target not in self.left_out:
            path, target = self.ground.real(placed.path), self.ground.real(placed.target)
            self.out.hardlink(path, target, mode=source.mode, owner=self.ground.owner)
        self.linked.append(Linked(self._below(placed.path), placed.entry, self.sums[placed.target]))

    def _content(self, placed: Placed, reader: TarReader) -> bytes | Stream:
        """What the file has in its prefix, checked while it is read."""
        entry, size = placed.entry, placed.member.size
        chunks = self._checked(placed, reader.chunks())
        old = entry.placeholder
        if not old:
            if placed.path.endswith(".pyc") and size <= _TEXT:
                return self._summed_bytes(placed, stamped(self.package.placed, placed, b"".join(chunks)))
            return Stream(size, self._summed(placed, chunks))
        new = self.recipe.prefix
        if entry.binary:
            return Stream(size, self._summed(placed, prefix.in_binary(chunks, old, new, self._place(placed))))
        if size > _TEXT:
            raise LayerError(
                "a text file with a prefix is too large", place=self._place(placed), got=size, want=_TEXT
            )
        return self._summed_bytes(placed, prefix.in_text(b"".join(chunks), old, new))

    def _checked(self, placed: Placed, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The member as it stands; at its end its sha256 is the listed one (THREATS C03)."""
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
            yield chunk
        want = placed.entry.sha256
        if want is not None and digest.digest() != want:
            raise LayerError(
                "its sha256 is not the one in the list of paths", place=self._place(placed), got=digest.hexdigest(),
                want=want.hex(),
            )  # fmt: skip

    def _summed(self, placed: Placed, chunks: Iterator[bytes]) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
            yield chunk
        self.sums[placed.path] = digest.digest()

    def _summed_bytes(self, placed: Placed, data: bytes) -> bytes:
        self.sums[placed.path] = hashlib.sha256(data).digest()
        return data

    def _entry_point(self, point: EntryPoint) -> None:
        path = self.package.command(point)
        script = _SCRIPT.format(
            prefix=self.recipe.prefix,
            python=self.recipe.python,
            module=point.module,
            imported=point.attribute.partition(".")[0],
            attribute=point.attribute,
        ).encode()
        if path not in self.left_out:
            self._file(path, script, 0o755)
        self.linked.append(Linked(self._below(path), None, hashlib.sha256(script).digest(), len(script)))

    def _below(self, path: str) -> str:
        return path[len(self.package.scheme.prefix) + 1 :]

    def _place(self, placed: Placed) -> Place:
        return Place(self.package.name, placed.entry.path)
