"""Which files of the folder are in the build context: ``.dockerignore``, with Docker's own rules."""

from __future__ import annotations

from collections.abc import Callable

from trainload.errors import ConfigError, Place, Text
from trainload.tree import Entry, EntryKind, Tree

_LIMIT = 1 << 20
_MOST = 2_000


def ignore_file(tree: Tree, dockerfile: str) -> str | None:
    """The one that holds: ``NAME.dockerignore`` beside the Dockerfile goes before the context's own."""
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        found = tree.find(name) if not name.startswith(("/", "../")) else None
        if found is not None and found.kind is EntryKind.FILE:
            return name
    return None


class Ignored:
    """Asks of paths in the context, with ``/`` between parts."""

    def __init__(self, text: str, name: str) -> None:
        """Raises :class:`ConfigError` for a pattern that means nothing."""
        from e2b_dockerfile_utils import PatternMatcher

        lines = [line.strip() for line in text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")]
        patterns = [line for line in lines if line and not line.startswith("#")]
        if len(patterns) > _MOST:
            raise ConfigError(Text("the file has too many patterns"), place=Place(name), want=_MOST)
        self._some = bool(patterns)
        try:
            self._matcher = PatternMatcher(patterns)
        except ValueError as error:
            raise ConfigError(Text("{reason}", reason=error), place=Place(name)) from error

    def out(self, path: str) -> bool:
        return self._some and bool(self._matcher.matches(path))

    def enter(self, folder: str) -> bool:
        """Whether something below ``folder`` may be in the context."""
        return not self.out(folder) or bool(self._matcher.may_match_under(folder))


def read_ignored(tree: Tree, dockerfile: str) -> Ignored:
    name = ignore_file(tree, dockerfile)
    text = tree.read(name, limit=_LIMIT).decode("utf-8", "surrogateescape") if name else ""
    return Ignored(text, name or ".dockerignore")


def context_entries(tree: Tree, ignored: Ignored, enter: Callable[[Entry], bool]) -> list[Entry]:
    """What is in the context, sorted; folders that ``enter`` leaves out are not looked into.

    A folder that is out is there all the same when something in it is taken back.
    """
    walked = tree.walk(lambda folder: ignored.enter(folder.path) and enter(folder))
    found = [entry for entry in walked if not ignored.out(entry.path)]
    known = {entry.path for entry in found}
    missing = {
        entry.path[:at]
        for entry in found
        for at, char in enumerate(entry.path)
        if char == "/" and entry.path[:at] not in known
    }
    folders = [one for path in missing if (one := tree.find(path)) is not None]
    return sorted([*found, *folders])
