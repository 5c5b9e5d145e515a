"""Many packages become one file system, as dpkg would have unpacked them (THREATS D05, D06, D16, D5)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainload.errors import LayerError, Place, Text
from trainload.layers.debian.accounts import Accounts
from trainload.layers.debian.index import Entry, Indexed
from trainload.layers.debian.root import Node, Root, join, normalise
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import Owner
from trainload.limits import DEFAULT
from trainload.lock.distribution import relations

_MERGED = ("bin", "lib", "sbin")
"""Always links into usr (Debian bookworm, Ubuntu jammy and later)."""
_MERGED_IF_USED = ("lib32", "lib64", "libo32", "libx32")
_MIGRATED = {"var/run": "/run", "var/lock": "/run/lock"}
"""Directories of base-files that its postinst turns into links."""
_PLACED = frozenset({MemberKind.FILE, MemberKind.DIRECTORY, MemberKind.SYMLINK, MemberKind.HARDLINK})


_FOLDERS = frozenset(
    {"dev", "etc", "proc", "run", "sys", "tmp", "usr", "var", "usr/bin", "usr/lib", "usr/sbin", "usr/share"}
)
"""Folders of the system (FHS 3.0), which no package turns into something else."""


@dataclass(slots=True)
class Merged:
    """The file system, and which paths a package lost to one that replaces it."""

    root: Root
    lost: dict[int, set[str]] = field(default_factory=dict)


def merge(packages: Sequence[Indexed], accounts: Accounts, below: Mapping[str, str] | None = None) -> Merged:
    """One root from ``packages``. Raises :class:`LayerError` naming both packages for a path with two owners.

    ``below``: the symbolic links of the image the packages are placed over, by path; None: there is none.
    """
    return _Merge(packages, accounts, below).run()


class _Merge:
    def __init__(
        self, packages: Sequence[Indexed], accounts: Accounts, below: Mapping[str, str] | None = None
    ) -> None:
        self._below = below
        self._packages = packages
        self._accounts = accounts
        self._root = Root()
        self._merged = Merged(self._root)
        self._owners: dict[str, tuple[int, str]] = {}
        self._known: dict[str, str] = {"": ""}
        self._links: dict[str, str] = {}
        self._aliases = self._all_aliases()
        self._find_links()

    def run(self) -> Merged:
        for path, target in sorted(self._aliases.items()) if self._below is None else ():
            self._root.nodes[path] = Node(MemberKind.SYMLINK, 0o777, target=target)
        for number, package in enumerate(self._packages):
            by_path = {entry.path: entry for entry in package.entries}
            for entry in package.entries:
                self._place(number, entry, by_path)
        self._check()
        for package in self._packages:
            for path, text in package.texts.items():
                self._root.texts[self._real(path)] = text
        for path in sorted(self._root.nodes):
            parent = posixpath.dirname(path)
            if parent and parent not in self._root.nodes:
                self._root.folder(parent)
        return self._merged

    def _all_aliases(self) -> dict[str, str]:
        """Links that stand whatever the packages have there: directories of theirs are those the links lead to."""
        if self._below is not None:
            folders = {
                entry.path
                for package in self._packages
                for entry in package.entries
                if entry.member.kind is MemberKind.DIRECTORY
            }
            return {path: target for path, target in self._below.items() if path in folders}
        used = {entry.path.partition("/")[0] for package in self._packages for entry in package.entries}
        aliases = {name: f"usr/{name}" for name in (*_MERGED, *_MERGED_IF_USED) if name in _MERGED or name in used}
        if any(package.name == "base-files" for package in self._packages):
            aliases |= _MIGRATED
        return aliases

    def _find_links(self) -> None:
        """Every symbolic link, by its path as the package says it and by where that really is."""
        self._links = {**(self._below or {}), **self._aliases}
        for package in self._packages:
            for entry in package.entries:
                if entry.member.kind is not MemberKind.SYMLINK:
                    continue
                target = entry.member.linkname.decode("utf-8", "surrogateescape")
                alias = self._aliases.get(entry.path)
                if alias is None:
                    self._links[entry.path] = target
                elif normalise(posixpath.dirname(entry.path), target) != normalise("", alias):
                    raise LayerError(
                        Text("/{path} does not lead to {target}", path=entry.path, target=alias),
                        place=Place(package.deb.name, entry.path),
                        got=target,
                    )
        real = {self._real_parent(path): target for path, target in self._links.items()}
        self._links |= real
        self._known = {"": ""}

    def _real(self, path: str, hops: int = 0) -> str:
        """``path`` with every link of the packages followed."""
        known = self._known.get(path)
        if known is not None:
            return known
        parent, _, name = path.rpartition("/")
        here = join(self._real(parent, hops), name)
        target = self._links.get(here)
        if target is not None:
            folder = posixpath.dirname(here)
            led = normalise(folder, target)
            if led is None or hops >= DEFAULT.symlink_hops:
                raise LayerError(
                    Text("the link /{path} leads outside or in a circle", path=here), place=Place(here), got=target
                )
            here = self._real(led, hops + 1)
        self._known[path] = here
        return here

    def _real_parent(self, path: str) -> str:
        parent, _, name = path.rpartition("/")
        return join(self._real(parent), name)

    def _place(self, number: int, entry: Entry, by_path: dict[str, Entry]) -> None:
        member = entry.member
        file = self._packages[number].deb.name
        if member.kind not in _PLACED:
            raise LayerError(Text("a {kind} is not accepted", kind=member.kind), place=Place(file, entry.path))
        if entry.path in self._aliases:
            if member.kind is MemberKind.DIRECTORY:  # an unmerged package's /bin is /usr/bin
                self._directory(self._real(entry.path), self._node(number, entry))
            elif member.kind is not MemberKind.SYMLINK:
                raise LayerError(
                    Text("/{path} must be a directory", path=entry.path), place=Place(file, entry.path)
                )
            return
        path = self._real_parent(entry.path)
        if entry.path in _FOLDERS and member.kind is not MemberKind.DIRECTORY:
            # a link here would carry what other packages place below to somewhere else (THREATS D16)
            raise LayerError(Text("/{path} must be a directory", path=entry.path), place=Place(file, entry.path))
        if member.kind is MemberKind.DIRECTORY:
            self._directory(path, self._node(number, entry))
        elif member.kind is MemberKind.HARDLINK:
            self._claim(path, number, entry, self._hard_link(number, entry, by_path))
        else:
            if member.kind is MemberKind.SYMLINK:
                self._check_link(path, entry, file)
            self._claim(path, number, entry, self._node(number, entry))

    def _node(self, number: int, entry: Entry) -> Node:
        member = entry.member
        return Node(
            member.kind,
            member.mode,
            Owner(self._accounts.uid(member.uname, member.uid), self._accounts.gid(member.gname, member.gid)),
            member.linkname.decode("utf-8", "surrogateescape"),
            member.size,
            entry.sha256,
            origin=(number, entry.position),
        )

    def _directory(self, path: str, node: Node) -> None:
        """The first owner's attributes stay, unless it said only the usual and a later one says more."""
        if path in self._links:
            return  # dpkg keeps a link to a directory where a package has a directory; checked at the end
        known = self._root.nodes.get(path)
        if known is None or _plain(known):
            self._root.nodes[path] = node
        elif not _plain(node) and not known.same_as(node):
            raise LayerError(
                Text("two packages disagree about the directory /{path}", path=path),
                place=Place(self._package_of(node), path),
                got=f"{node.mode:o} {node.owner.uid}:{node.owner.gid}",
                want=f"{known.mode:o} {known.owner.uid}:{known.owner.gid} ({self._package_of(known)})",
            )

    def _package_of(self, node: Node) -> str:
        return self._packages[node.origin[0]].deb.name if node.origin else ""

    def _check_link(self, path: str, entry: Entry, file: str) -> None:
        target = entry.member.linkname.decode("utf-8", "surrogateescape")
        led = normalise(posixpath.dirname(path), target)
        if led is None:
            raise LayerError("a link leads outside", place=Place(file, entry.path), got=target)
        if self._real_parent(led) == path:
            raise LayerError(
                "a link leads to itself once /usr is merged", place=Place(file, entry.path), got=target
            )

    def _hard_link(self, number: int, entry: Entry, by_path: dict[str, Entry]) -> Node:
        place = Place(self._packages[number].deb.name, entry.path)
        target = posixpath.normpath(entry.member.linkname.decode("utf-8", "surrogateescape")).lstrip("/")
        other = by_path.get(target)
        while other is not None and other.member.kind is MemberKind.HARDLINK and other.position < entry.position:
            target = posixpath.normpath(other.member.linkname.decode("utf-8", "surrogateescape")).lstrip("/")
            other = by_path.get(target)
        if other is None or other.member.kind is not MemberKind.FILE or other.position > entry.position:
            raise LayerError("a hard link leads to no earlier file of the package", place=place, got=target)
        node = self._node(number, other)
        return Node(
            MemberKind.HARDLINK, node.mode, node.owner, self._real_parent(target), node.size, node.sha256,
            origin=(number, entry.position),
        )  # fmt: skip

    def _claim(self, path: str, number: int, entry: Entry, node: Node) -> None:
        owner = self._owners.get(path)
        if owner is not None and owner[0] != number:
            other, other_path = owner
            if self._replaces(other, number):
                self._merged.lost.setdefault(number, set()).add(entry.path)
                return
            if self._replaces(number, other):
                self._merged.lost.setdefault(other, set()).add(other_path)
            elif self._root.nodes[path].same_as(node):
                return
            else:
                raise LayerError(
                    Text("two packages bring /{path}", path=path),
                    place=Place(self._packages[number].deb.name, entry.path),
                    got=self._packages[number].name,
                    want=self._packages[other].name,
                    hints=[Text("leave one of them out")],
                )
        elif owner is not None:
            raise LayerError(
                Text("a package brings /{path} twice once /usr is merged", path=path),
                place=Place(self._packages[number].deb.name, entry.path),
                got=f"/{entry.path}",
                want=f"/{owner[1]}",
            )
        known = self._root.nodes.get(path)
        if known is not None and known.kind is MemberKind.DIRECTORY:
            raise LayerError(
                Text("/{path} is a directory of one package and a {kind} of another", path=path, kind=node.kind),
                place=Place(self._packages[number].deb.name, entry.path),
                got=self._package_of(known),
            )
        self._owners[path] = (number, entry.path)
        self._root.nodes[path] = node

    def _replaces(self, one: int, other: int) -> bool:
        """Whether a package's Replaces names the other (deb-control(5); unversioned or its version fits)."""
        field = self._packages[one].deb.control.get("Replaces")
        package = self._packages[other].package
        return any(
            relation.name == package.name and relation.holds_for(package.version)
            for group in relations.parse(" ".join(field.split()))
            for relation in group
        )

    def _check(self) -> None:
        """Links that stand where packages have directories must lead to directories; so must parents."""
        nodes = self._root.nodes
        for number, package in enumerate(self._packages):
            for entry in package.entries:
                if entry.member.kind is not MemberKind.DIRECTORY:
                    continue
                real = self._real(entry.path)
                found = nodes.get(real)
                if found is not None and found.kind is not MemberKind.DIRECTORY:
                    raise LayerError(
                        Text(
                            "/{path} is a directory of one package and a {kind} of another",
                            path=real,
                            kind=found.kind,
                        ),
                        place=Place(self._packages[number].deb.name, entry.path),
                    )
                if found is None:
                    nodes[real] = self._node(number, entry)
        for path, node in nodes.items():
            if node.kind is MemberKind.HARDLINK and nodes[node.target].origin is None:
                raise LayerError(Text("the hard link /{path} lost its file", path=path))
            if node.kind is MemberKind.HARDLINK and nodes[node.target].sha256 != node.sha256:
                raise LayerError(Text("the hard link /{path} lost its file to another package", path=path))


def _plain(node: Node) -> bool:
    return node.kind is MemberKind.DIRECTORY and node.mode == 0o755 and node.owner == Owner()
