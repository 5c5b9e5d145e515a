"""Which saved files are edits of the project: pure, but for reading the project itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trainload.project.detect import read_project
from trainload.project.inputs import inputs_digest
from trainload.project.listing import list_code
from trainload.project.model import LOCK, Project, lock_file
from trainload.tree import Above, Tree

_SOURCE = (".py", ".pyi", ".toml", ".sh", ".ipynb", ".cu", ".cpp", ".h")
"""What people write and programs rarely do."""
_NOISE = frozenset({"__pycache__", ".git", ".venv", "venv", "node_modules", ".ipynb_checkpoints"})
_OUTPUTS = "outputs"


@dataclass(frozen=True, slots=True)
class Basis:
    """A project at one moment, as far as edits of it matter."""

    project: Project
    inputs: str
    """Of the lock."""
    lock: bytes
    files: frozenset[str]
    """That go into the image."""

    def same_image(self, other: Basis) -> bool:
        """Whether the images differ in nothing but the code."""
        mine = (self.project.settings, self.inputs, self.lock)
        return mine == (other.project.settings, other.inputs, other.lock)


def look(tree: Tree, flags: Mapping[str, object], environ: Mapping[str, str], above: Above) -> Basis:
    """The project in ``tree`` as it is now. Raises :class:`ConfigError`."""
    project = read_project(tree, flags=flags, environ=environ)
    listing = list_code(tree, project, above)
    file = project.locks[0]
    lock = tree.read(file, limit=64 << 20) if tree.find(file) is not None else b""
    files = frozenset(file.path for file in listing.files)
    return Basis(project, inputs_digest(tree, project, environ=environ), lock, files)


def _is_lock(path: str) -> bool:
    return path == LOCK or fnmatchcase(path, lock_file("*"))


def worth_a_look(paths: frozenset[str]) -> frozenset[str]:
    """``paths`` without those that no ignore file need be asked about: a run writes them all the time."""
    return frozenset(path for path in paths if _NOISE.isdisjoint(parts := path.split("/")) and parts[0] != _OUTPUTS)


class Edits:
    """Tells edits from what the program itself writes into its folder."""

    def __init__(self) -> None:
        self._last: frozenset[str] = frozenset()
        self._known_own: set[str] = set()
        self.put_aside: tuple[str, ...] = ()
        """Files that the last look put aside."""

    def counting(self, paths: frozenset[str], before: Basis | None, now: Basis) -> tuple[str, ...]:
        """Those of ``paths`` that are a reason to run again, sorted.

        A file that is no source and was the only reason for the last run as well is most likely written by the run:
        it is put aside, or the project would run for ever.
        """
        files = now.files | (before.files if before is not None else frozenset())
        found = {path for path in paths if path in files and not _is_lock(path)} - self._known_own
        if before is None or not now.same_image(before):
            found |= {path for path in paths if _is_lock(path)}
            found = found or set(paths if before is not None else ())
        suspects = frozenset(path for path in found if not path.endswith(_SOURCE))
        own = suspects & self._last if found == set(suspects) else frozenset()
        self.put_aside = tuple(sorted(own))
        self._known_own |= own
        self._last = suspects if found == set(suspects) else frozenset()
        return tuple(sorted(found - own))
