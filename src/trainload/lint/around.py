"""What lies around the files that are checked, read once from a folder."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trainload.charset import as_pip_reads
from trainload.errors import TrainloadError
from trainload.lint import code
from trainload.lint.check import kubernetes_documents
from trainload.lint.model import Kind, Surroundings
from trainload.tree import Entry, EntryKind, Tree

_MOST = 20_000
"""Files of a folder; one with more is a data set."""
_SCRIPTS = 300
_LARGEST = 256 << 10
_SKIPPED = frozenset(
    {".git", "node_modules", "__pycache__", ".venv", "venv", "site-packages", ".tox", ".mypy_cache"}
)
_TEXTS = re.compile(r"(?:.*/)?(?:[\w.-]*requirements[\w.-]*\.txt|requirements/[\w.-]+\.txt|constraints[\w.-]*\.txt"
                    r"|environment[\w.-]*\.ya?ml)|pyproject\.toml")  # fmt: skip
_PYTHON = re.compile(r"3\.[0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, read once for all its files."""

    tree: Tree
    entries: tuple[Entry, ...]
    common: Surroundings
    """Without what depends on the file that is checked."""

    @classmethod
    def read(cls, tree: Tree, common: Surroundings | None = None) -> Folder:
        """What is in ``tree``; ``common``: what is known from elsewhere."""
        entries = tuple(_entries(tree))
        names = [one.path for one in entries]
        texts = {name: _text(tree, name) for name in names if _TEXTS.fullmatch(name)}
        scripts = {name: _text(tree, name) for name in [n for n in names if n.endswith(".py")][:_SCRIPTS]}
        python = _PYTHON.search(_text(tree, ".python-version")) if ".python-version" in names else None
        known = replace(
            common or Surroundings(),
            texts=texts, workers=code.workers(scripts), health=code.health(scripts.values()),
            servers=code.servers(scripts), inside=code.inside(scripts), python=python[0] if python else None,
        )  # fmt: skip
        return cls(tree, entries, known)

    def around(self, file: str, kind: Kind | None) -> Surroundings:
        """What lies around ``file``, whose path is relative to the folder."""
        if kind is Kind.DOCKERFILE:
            return replace(self.common, files=dict(self._context(file)))
        files = {one.path: one.size for one in self.entries}
        if kind is Kind.KUBERNETES:
            return replace(self.common, files=files, services=tuple(self._neighbours(file)))
        return replace(self.common, files=files)

    def _context(self, file: str) -> Iterator[tuple[str, int]]:
        from trainload.dockerfile.ignore import read_ignored

        try:
            ignored = read_ignored(self.tree, file)
        except TrainloadError:
            return  # its own trouble: what the context is, nobody knows then
        for one in self.entries:
            if one.path not in (file, ".dockerignore") and not ignored.out(one.path):
                yield one.path, one.size

    def _neighbours(self, file: str) -> Iterator[object]:
        for one in self.entries:
            beside = one.path != file and posixpath.dirname(one.path) == posixpath.dirname(file)
            if beside and one.path.endswith((".yaml", ".yml")):
                yield from kubernetes_documents(one.path, _text(self.tree, one.path))


def _entries(tree: Tree) -> Iterator[Entry]:
    count = 0
    for entry in tree.walk(lambda one: one.path.rpartition("/")[2] not in _SKIPPED):
        if entry.kind is EntryKind.FILE:
            yield entry
            count += 1
            if count >= _MOST:
                return


def _text(tree: Tree, path: str) -> str:
    """A small file's text; empty where it cannot be read: it is only advice that depends on it."""
    try:
        data = tree.read(path, limit=_LARGEST)
        return as_pip_reads(data) or data.decode("utf-8", "replace")
    except TrainloadError:
        return ""


_NAMES = re.compile(
    r"(?:[\w.-]*[Dd]ockerfile|Dockerfile\.[\w.-]+|[Cc]ontainerfile|(?:docker-)?compose[\w.-]*\.ya?ml|[\w.-]+\.ya?ml)"
)
_MANIFESTS = frozenset({"", "k8s", "kubernetes", "manifests", "deploy", "kube", "docker", "jobs"})


def candidates(folder: Folder) -> Iterator[str]:
    """Files that may be of a kind we know: in the folder itself, and where manifests usually lie."""
    for one in folder.entries:
        name = posixpath.basename(one.path)
        if posixpath.dirname(one.path) in _MANIFESTS and _NAMES.fullmatch(name) and one.size <= _LARGEST:
            yield one.path
