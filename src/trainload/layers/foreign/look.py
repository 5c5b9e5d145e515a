"""What one layer tells of the image it is part of: the few files that say what a base has, and what it takes away.

Found once per layer and kept as JSON by its diff_id, so that a layer is read once per store. Bounded whatever a
layer holds: what is too much is refused, not half believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable
from dataclasses import asdict
from typing import BinaryIO

from trainload.digest import Digest, canonical_json
from trainload.errors import LayerError, Place, Text
from trainload.layers.foreign.changes import Change, Effect, LayerReader, Reader
from trainload.layers.tarread import Member, MemberKind
from trainload.limits import DEFAULT, Limits, MiB
from trainload.values import dataclass, field

FORMAT = 1
"""Of what is looked for: raised when it changes, so that layers are read anew."""
TEXT_LIMIT = 8 * MiB
"""Of one text; dpkg's status of a large image has 2 MB."""
_METADATA_LIMIT = MiB
"""Of the part of a distribution's METADATA before its description; the largest have some 100 KB."""
_ALL_TEXTS = 64 * MiB
_NOTES = 200_000
"""Links, files and whiteouts that are noted of one layer."""
_OVERLAP = 256
_DEEP = 3

_TEXT = re.compile(
    r"""(usr/lib|etc)/os-release | etc/(passwd|group) | var/lib/dpkg/status(\.d/(?!.*\.md5sums$)[^/]+)?
    | (.*/)?pyvenv\.cfg""",
    re.VERBOSE,
)
_METADATA = re.compile(r".*/(?:site|dist)-packages/[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
_PROGRAM = re.compile(
    r"(?:.*/)?s?bin/(?:python[0-9.]*|tini(?:-static)?|dumb-init|docker-init|sh|bash)|tini"
    r"|(?:usr/)?lib/ld-musl-[^/]+\.so\.1"
)
_PYTHON = re.compile(r"(?:.*/)?(?:bin/python3\.[0-9]+|lib(?:64)?/(?:[^/]+/)?libpython3\.[0-9]+[^/]*\.so[^/]*)")
_LIBC = re.compile(r"(?:usr/)?lib(?:64)?/(?:[^/]+-linux-gnu/)?(?:libc\.so\.6|libc-2\.[0-9]+\.so)")
_PYTHON_SAYS = re.compile(rb"(3\.[0-9]{1,2}\.[0-9]{1,2}(?:(?:a|b|rc)[0-9]{1,2})?)\+?\x00")
"""It begins with plain bytes: these are found fifty times as fast as an assertion about what is before them."""
_OF_A_NUMBER = b"0123456789."
_LIBC_SAYS = re.compile(rb"GNU C Library [^\n\x00]{0,120}release version ([0-9]{1,2}\.[0-9]{1,3})")


@dataclass(slots=True)
class Findings:
    """Of one layer, or of several put together by :func:`joined`. Paths have no first slash."""

    texts: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    """Interpreters, their libraries and the C library → the version that is written in them."""
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic links near the root and of programs → where they lead; hard links as absolute ones."""
    files: set[str] = field(default_factory=set)
    """Programs that are files."""
    hidden: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)

    def to_json(self) -> bytes:
        """For the store's facts."""
        plain = {name: sorted(value) if isinstance(value, set) else value for name, value in asdict(self).items()}
        return canonical_json(plain)

    @classmethod
    def from_json(cls, data: bytes) -> Findings:
        """What :meth:`to_json` wrote; the caller knows that nobody changed it."""
        plain = json.loads(data)
        sets = (set(plain[name]) for name in ("files", "hidden", "emptied"))
        return cls(plain["texts"], plain["versions"], plain["links"], *sets)


def statement(diff_id: Digest) -> Digest:
    """What the store's facts know a layer's findings by."""
    return Digest.sha256(canonical_json({"findings": str(diff_id), "version": FORMAT}))


Beside = Callable[[Change, Reader, "Findings"], object]


def look(
    blob: BinaryIO, diff_id: Digest, name: str, *, limits: Limits = DEFAULT, beside: Beside | None = None
) -> Findings:
    """The findings of the layer in ``blob``; ``name`` is for errors.

    ``beside``: told each change, with what was found so far; it may read what was not read of a file.

    Raises :class:`LayerError` for a layer that is broken, hostile, or not the one of ``diff_id``.
    """
    reader = LayerReader(blob, diff_id, name, limits=limits)
    return look_at(reader, name, beside=beside)


def look_at(reader: Reader, name: str, *, beside: Beside | None = None) -> Findings:
    """As :func:`look`, of changes that come from somewhere else than a stored layer."""
    return _Looking(reader, name).run(beside)


def joined(layers: Iterable[Findings]) -> Findings:
    """What an image of these layers has, base first; nothing in it is hidden any more."""
    whole = Findings()
    for layer in layers:
        gone = layer.hidden | layer.links.keys() | layer.texts.keys() | layer.versions.keys() | layer.files
        emptied = gone | layer.emptied
        maps: tuple[dict[str, str], ...] = (whole.texts, whole.versions, whole.links)
        for known in maps:
            for name in [name for name in known if name in gone or _below(name, emptied)]:
                del known[name]
        whole.files = {name for name in whole.files if name not in gone and not _below(name, emptied)}
        whole.texts.update(layer.texts)
        whole.versions.update(layer.versions)
        whole.links.update(layer.links)
        whole.files |= layer.files
    return whole


def _below(path: str, folders: Container[str]) -> bool:
    """Whether something in ``folders`` is above ``path``."""
    parts = path.split("/")
    return any("/".join(parts[:count]) in folders for count in range(len(parts)))


class _Looking:
    def __init__(self, reader: Reader, name: str) -> None:
        self._reader = reader
        self._name = name
        self._found = Findings()
        self._text = 0

    def run(self, beside: Beside | None) -> Findings:
        found = self._found
        for change in self._reader:
            if _is_text(change.path):  # what we look for has plain names
                self._take(change)
            if beside is not None:
                beside(change, self._reader, found)
            noted = len(found.hidden) + len(found.emptied) + len(found.links) + len(found.files)
            if noted > _NOTES:
                raise LayerError("the layer has too many whiteouts or links", place=Place(self._name), want=_NOTES)
        return found

    def _take(self, change: Change) -> None:
        if change.effect is Effect.HIDES:
            self._found.hidden.add(change.path)
        elif change.effect is Effect.EMPTIES:
            self._found.emptied.add(change.path)
        else:
            self._place(change.path, change.member)

    def _place(self, path: str, member: Member) -> None:
        if member.kind is MemberKind.FILE:
            self._file(path, member)
        elif member.kind in (MemberKind.SYMLINK, MemberKind.HARDLINK):
            self._link(path, member)

    def _link(self, path: str, member: Member) -> None:
        target = member.linkname.decode("utf-8", "surrogateescape")
        if member.kind is MemberKind.HARDLINK:
            target = "/" + target.lstrip("/")
        near = path.count("/") < _DEEP and member.kind is MemberKind.SYMLINK
        if _is_text(target) and (near or any(each.fullmatch(path) for each in (_PROGRAM, _TEXT, _PYTHON, _LIBC))):
            for known in (self._found.texts, self._found.versions):
                known.pop(path, None)
            self._found.files.discard(path)
            self._found.links[path] = target

    def _file(self, path: str, member: Member) -> None:
        self._found.links.pop(path, None)  # of two entries with one name the last wins
        if _METADATA.fullmatch(path):
            self._keep(path, _head(self._content(path, member, cut=True)))
        elif _TEXT.fullmatch(path):
            self._keep(path, self._content(path, member, cut=False))
        elif _PYTHON.fullmatch(path):
            self._found.files.add(path)
            self._scan(path, _PYTHON_SAYS)
        elif _LIBC.fullmatch(path):
            self._scan(path, _LIBC_SAYS)
        elif _PROGRAM.fullmatch(path):
            self._found.files.add(path)

    def _content(self, path: str, member: Member, *, cut: bool) -> bytes:
        if cut:
            return self._reader.files.read(min(member.size, _METADATA_LIMIT))
        if member.size > TEXT_LIMIT:
            raise LayerError(
                Text("the file is too large"), place=Place(self._name, path), got=member.size, want=TEXT_LIMIT
            )
        return self._reader.files.content(TEXT_LIMIT)

    def _keep(self, path: str, content: bytes) -> None:
        self._text += len(content)
        if self._text > _ALL_TEXTS:
            raise LayerError("the layer describes too much", place=Place(self._name, path), want=_ALL_TEXTS)
        self._found.texts[path] = content.decode("utf-8", "replace")

    def _scan(self, path: str, pattern: re.Pattern[bytes]) -> None:
        """The version that is written in a program or library, if there is one."""
        minor = re.search(r"python(3\.[0-9]+)", path)
        before = b""
        for chunk in self._reader.files.chunks():
            text = before + chunk
            for match in pattern.finditer(text):
                at = match.start(1)
                if at and text[at - 1] in _OF_A_NUMBER:
                    continue
                version = match[1].decode()
                if minor is None or re.match(rf"{re.escape(minor[1])}\.", version):
                    self._found.versions[path] = version
                    return
            before = chunk[-_OVERLAP:]


def _head(metadata: bytes) -> bytes:
    """The fields of a METADATA file that say what it is and needs (core metadata specifications)."""
    lines = re.split(rb"\r?\n\r?\n", metadata, maxsplit=1)[0].splitlines()
    wanted = (b"name:", b"version:", b"requires-dist:", b"provides-extra:")
    return b"".join(line + b"\n" for line in lines if line.lower().startswith(wanted))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
