"""Distribution packages over a base image: placed as dpkg would, into the folders and links the image has.

As for a composed base (:mod:`trainload.layers.debian.base`) no maintainer script runs, and what scripts of new
packages would do is modelled. What the image has stays as it is: its folders' modes and owners, its accounts, its
choices among alternatives. A package that takes the place of an older version replaces its files; a file that only
the older version had stays behind, since our layers hold no deletions, and is told.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainload.digest import Digest
from trainload.errors import LayerError, Place, Text
from trainload.events import SILENT, Level, Reporter, Said
from trainload.layers.debian import accounts as accounts_of
from trainload.layers.debian import alternatives, certificates, database, diversions, effects, ldcache, scripts
from trainload.layers.debian.accounts import Accounts
from trainload.layers.debian.base import Base, Cost, index_packages, postinst, write_tree
from trainload.layers.debian.index import Indexed
from trainload.layers.debian.merge import Merged, merge
from trainload.layers.debian.root import Node, Root
from trainload.layers.foreign.tree import Opener, Tree, read_tree
from trainload.layers.model import ByteSink, Sources, Written
from trainload.layers.tarread import MemberKind
from trainload.layers.user import user_lines
from trainload.layers.writer import LayerWriter, Owner
from trainload.limits import DEFAULT, Limits
from trainload.plan.model import AccountFiles, SystemRecipe

_ACCOUNTS = ("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow")
_CACHE = "etc/ld.so.cache"
_MOST = 5
"""Paths that a warning names."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What is known once base and packages were read."""

    recipe: SystemRecipe
    tree: Tree
    packages: tuple[Indexed, ...]
    replaced: frozenset[str]
    """Packages of which the base has another version."""


def write_system(
    recipe: SystemRecipe,
    below: Sequence[tuple[Opener, Digest]],
    sources: Sources,
    sink: ByteSink,
    reporter: Reporter = SILENT,
    limits: Limits = DEFAULT,
) -> Written:
    """The layer of ``recipe`` over the layers ``below`` (how to open the blob, and its diff_id), base first.

    Raises :class:`LayerError` for a broken or hostile package or layer, and for a path that the base has as
    something else.
    """
    tree = read_tree(below, _wanted, limits=limits)
    packages = tuple(index_packages(recipe, sources, reporter, Cost(limits=limits)))
    work = _Work(recipe, tree, packages, _replaced(tree, packages))
    root = _compose(work, reporter)
    base = Base(_changes(root, tree), packages, Accounts(), ())
    with LayerWriter(sink) as writer:
        write_tree(base, sources, writer)
        return writer.close()


def _wanted(path: str) -> bool:
    return (
        path in _ACCOUNTS
        or path == _CACHE
        or path.startswith(("etc/ld.so.conf", "var/lib/dpkg/triggers/"))
        or path in (database.STATUS, "var/lib/dpkg/diversions")
        or (path.startswith("var/lib/dpkg/info/") and path.endswith(".list"))
    )


def _replaced(tree: Tree, packages: Iterable[Indexed]) -> frozenset[str]:
    installed = database.names(tree.texts.get(database.STATUS, b""))
    return frozenset(package.name for package in packages if package.name in installed)


def _compose(work: _Work, reporter: Reporter) -> Root:
    """The image's tree with the packages in it."""
    tree, packages = work.tree, work.packages
    accounts = accounts_of.read_files(tree.texts.get("etc/passwd", b""), tree.texts.get("etc/group", b""))
    links = {path: node.target for path, node in tree.nodes.items() if node.kind is MemberKind.SYMLINK}
    diverted = diversions.of(packages)
    merged = merge(diversions.apply(packages, diverted), accounts, links)
    root = _joined(merged, work)
    fresh = [package for package in packages if package.name not in work.replaced]
    scripts_of = {package.name: postinst(package) for package in fresh}
    known = _more_accounts(root, accounts, fresh)
    effects.install(root, scripts_of, known)
    _write_accounts(root, accounts, known, work.recipe.uid)
    if "ca-certificates" in scripts_of:
        certificates.install(root)
    alternatives.install(root, [each for script in scripts_of.values() for each in alternatives.parse(script)[0]])
    _extend_cache(root, work)
    database.extend(root, packages, merged.lost, diversions.state(diverted))
    _tell(work, root, fresh, reporter)
    return root


def _joined(merged: Merged, work: _Work) -> Root:
    """One root of both. Raises :class:`LayerError` where a folder meets something else."""
    root, below = merged.root, work.tree.nodes
    root.base = below
    for path, node in below.items():
        ours = root.nodes.get(path)
        if ours is None:
            root.nodes[path] = node
        elif (ours.kind is MemberKind.DIRECTORY) != (node.kind is MemberKind.DIRECTORY):
            raise LayerError(
                Text("/{path} is a {kind} of the base", path=path, kind=node.kind),
                place=Place(work.packages[ours.origin[0]].deb.name if ours.origin else "", path),
                got=ours.kind,
                hints=[Text("leave the package out, or take another base")],
            )
        elif node.kind is MemberKind.DIRECTORY:
            root.nodes[path] = node
    root.texts.update({path: text for path, text in work.tree.texts.items() if path not in root.texts})
    return root


def _more_accounts(root: Root, accounts: Accounts, fresh: Sequence[Indexed]) -> Accounts:
    """The base's accounts with those that packages bring."""
    found = root.below(accounts_of.SYSUSERS)
    paths = [path for path, node in found if path.endswith(".conf") and node is not root.base.get(path)]
    accounts = accounts_of.from_sysusers(accounts, {path: root.text(path) or b"" for path in paths})
    return accounts_of.from_scripts(accounts, [postinst(package) for package in fresh])


def _write_accounts(root: Root, old: Accounts, new: Accounts, uid: int | None) -> None:
    """Lines for new accounts at the end of the base's files; the lines that are there stay as they are."""
    users, groups = new.users[len(old.users) :], new.groups[len(old.groups) :]
    added = Accounts.of(users, groups)
    lines = {
        "etc/passwd": added.passwd(),
        "etc/group": added.group(),
        "etc/shadow": added.shadow(),
        "etc/gshadow": added.gshadow(),
    }
    for path, more in lines.items():
        text = root.text(path)
        if more and (text is not None or path in _ACCOUNTS[:2]):
            root.replace(path, _ended(text or b"") + more)
    if uid is not None:
        _write_user(root, uid)


def _write_user(root: Root, uid: int) -> None:
    files = AccountFiles(*(tuple((root.text(path) or b"").decode("utf-8", "replace").splitlines())
                           for path in _ACCOUNTS[:2]))  # fmt: skip
    user, changed = user_lines(uid, files)
    for path, lines in zip(_ACCOUNTS[:2], (changed.passwd, changed.group), strict=True):
        root.replace(path, "".join(f"{line}\n" for line in lines).encode())
    root.folder(posixpath.dirname(user.home.strip("/")))
    root.folder(user.home, mode=0o755, owner=Owner(user.uid, user.gid))


def _ended(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _extend_cache(root: Root, work: _Work) -> None:
    libraries = {
        real: library
        for package in work.packages
        for path, library in package.libraries.items()
        if (real := root.real(path)) is not None
    }
    old = work.tree.texts.get(_CACHE)
    if libraries and old is not None:
        new = ldcache.extend(root, old, libraries, work.recipe.architecture)
        if new is not None:
            root.replace(_CACHE, new)


def _tell(work: _Work, root: Root, fresh: Sequence[Indexed], reporter: Reporter) -> None:
    """Scripts that are not run, and what an older version leaves behind."""
    for each in scripts.needs_configuration((package.name, package.deb.members) for package in fresh):
        text = Text(
            "{package}: its {script} is not run ({line})",
            package=each.package, script=each.script, line=each.lines[0],
        )  # fmt: skip
        reporter.report(Said(text, Level.WARNING))
    for package in work.packages:
        if package.name not in work.replaced:
            continue
        left = _left_behind(work.tree, root, package)
        if left:
            text = Text(
                "{package}: files of the base's version stay behind: {paths}",
                package=package.name,
                paths=", ".join([*left[:_MOST], *(["…"] if len(left) > _MOST else [])]),
            )
            reporter.report(Said(text, Level.WARNING))


def _left_behind(tree: Tree, root: Root, package: Indexed) -> list[str]:
    name = f"var/lib/dpkg/info/{package.name}"
    texts = (tree.texts.get(f"{name}{end}.list") for end in ("", f":{package.package.architecture}"))
    old = next((text for text in texts if text is not None), b"").decode("utf-8", "replace").splitlines()
    listed = {f"/{path}" for path in package.listed}
    found = []
    for path in sorted({*old} - listed):
        real = root.real(path)
        if real and root.nodes[real] is tree.nodes.get(real) and root.nodes[real].kind is not MemberKind.DIRECTORY:
            found.append(path)
    return found


def _changes(root: Root, tree: Tree) -> Root:
    """What is not the base's, and every folder above it, since Docker 20.10 closes a folder a layer leaves out."""
    kept: dict[str, Node] = {path: node for path, node in root.nodes.items() if node is not tree.nodes.get(path)}
    for path in list(kept):
        parent = posixpath.dirname(path)
        while parent and parent not in kept:
            kept[parent] = root.nodes[parent]
            parent = posixpath.dirname(parent)
    return Root(kept)
