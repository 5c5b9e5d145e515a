"""A base layer from distribution packages (DESIGN § 4): placed as dpkg would, no maintainer script run.

Documented effects, apart from which the tree is what ``dpkg --unpack`` makes:

* ``slim`` and ``distroless`` leave out what :data:`trainload.layers.debian.exclude.SLIM` says, and tell dpkg so;
* what the scripts of the base would do is modelled: accounts, certificates, alternatives, ``/etc/ld.so.cache``,
  copies of defaults (:mod:`trainload.layers.debian.effects`); other scripts are reported by name;
* a user ``app`` (1000) with a home; in ``dev``, apt's list of archives;
* dpkg's database says "installed". Modes and owners, setuid included, are the packages'.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from trainload.errors import Text
from trainload.events import SILENT, Level, Moved, Reporter, Said
from trainload.layers.debian import (
    accounts as accounts_of,
)
from trainload.layers.debian import (
    alternatives,
    archives,
    certificates,
    database,
    diversions,
    effects,
    exclude,
    ldcache,
    scripts,
)
from trainload.layers.debian.accounts import Accounts
from trainload.layers.debian.index import Budget, Indexed, index
from trainload.layers.debian.merge import Merged, merge
from trainload.layers.debian.root import Node, Root
from trainload.layers.model import ByteSink, Sources, Written
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import LayerWriter, Owner, Stream
from trainload.limits import DEFAULT, Limits, MiB
from trainload.plan.key import recipe_key
from trainload.plan.model import BareBaseRecipe, BaseRecipe, SystemRecipe

HELD = 80 * MiB
"""Unpacked bytes that are held so that they need not be decompressed twice: a slim base fits."""
_HELD_OF_MANY = HELD // 4
_MANY = 48 * MiB
"""Bytes of packages from which most of the unpacked ones would not be held anyway: their room is for the names of
ten thousands of files and for two decompressors."""
_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """What making a base may take."""

    held: int = HELD
    """Unpacked bytes kept in memory; what does not fit is decompressed twice."""
    limits: Limits = DEFAULT


@dataclass(frozen=True, slots=True)
class Base:
    """A composed base before it is written."""

    root: Root
    packages: tuple[Indexed, ...]
    accounts: Accounts
    unmodelled: tuple[scripts.Unmodelled, ...]
    """Packages whose scripts would do more than what was modelled."""


def write_base(
    recipe: BaseRecipe,
    sources: Sources,
    sink: ByteSink,
    reporter: Reporter = SILENT,
    *,
    cost: Cost = Cost(),
    configured: bool = False,
) -> Written:
    """The layer of ``recipe``; scripts that are not modelled are told to ``reporter``.

    ``configured``: a layer above runs each ``postinst``, so that only the others are told. Reports ``Moved`` (bytes
    of packages read) for the task ``recipe_key(recipe)``, which the caller begins and ends.

    Raises :class:`LayerError` for a broken or hostile package and for paths with two owners.
    """
    base = compose(recipe, sources, reporter, cost)
    for each in base.unmodelled:
        if configured and each.script == scripts.CONFIGURES:
            continue
        reporter.report(
            Said(
                Text(
                    "{package}: its {script} is not run ({line})",
                    package=each.package, script=each.script, line=each.lines[0],
                ),
                Level.WARNING,
            )
        )  # fmt: skip
    with LayerWriter(sink) as writer:
        write_tree(base, sources, writer)
        return writer.close()


def compose(recipe: BaseRecipe, sources: Sources, reporter: Reporter = SILENT, cost: Cost = Cost()) -> Base:
    """Everything about the base that is known before its bytes are written."""
    packages = tuple(index_packages(recipe, sources, reporter, cost))
    accounts = _accounts(packages)
    diverted = diversions.of(packages)
    merged = merge(diversions.apply(packages, diverted), accounts)
    accounts = _more_accounts(merged.root, packages, accounts, bare=isinstance(recipe, BareBaseRecipe))
    _model(recipe, merged, packages, accounts)
    database.install(merged.root, packages, merged.lost, diversions.state(diverted))
    reported = scripts.needs_configuration((package.name, package.deb.members) for package in packages)
    return Base(merged.root, packages, accounts, tuple(reported))


def index_packages(
    recipe: BaseRecipe | SystemRecipe, sources: Sources, reporter: Reporter, cost: Cost
) -> Iterator[Indexed]:
    """The packages of ``recipe`` in their order, each read once, several at a time."""
    if sum(package.file.size or 0 for package in recipe.packages) > _MANY:
        cost = replace(cost, held=min(cost.held, _HELD_OF_MANY))
    chosen, budget = exclude.rules(recipe.profile), Budget(cost.held)

    def one(number: int) -> Indexed:
        return index(
            recipe.packages[number], sources, budget,
            lambda path, kind: exclude.excluded(path, kind, chosen), effects.wanted, cost.limits,
        )  # fmt: skip

    task = str(recipe_key(recipe))
    sizes = [package.file.size or 0 for package in recipe.packages]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _WORKERS), thread_name_prefix="trainload-deb") as pool:
        done = 0
        try:
            for package, size in zip(pool.map(one, range(len(recipe.packages))), sizes, strict=True):
                done += size
                reporter.report(Moved(task, done))
                yield package
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _accounts(packages: Sequence[Indexed]) -> Accounts:
    """What base-passwd says; files of packages are owned by these names."""
    texts = {path: text for package in packages for path, text in package.texts.items()}
    return accounts_of.read_masters(texts.get(accounts_of.USER_MASTER), texts.get(accounts_of.GROUP_MASTER))


def _more_accounts(root: Root, packages: Sequence[Indexed], accounts: Accounts, *, bare: bool) -> Accounts:
    """Users of other packages, and (but for a ``bare`` base) the one nothing runs as root for."""
    files = {path: root.text(path) or b"" for path, _ in root.below(accounts_of.SYSUSERS) if path.endswith(".conf")}
    accounts = accounts_of.from_sysusers(accounts, files)
    accounts = accounts_of.from_scripts(accounts, [postinst(package) for package in packages])
    return accounts if bare else accounts.with_user(accounts_of.default_user(shell_of(root)), accounts_of.USER)


def postinst(package: Indexed) -> str:
    """The script's text; empty where there is none."""
    script = package.deb.members.get("postinst")
    return script.content.decode("utf-8", "replace") if script else ""


def shell_of(root: Root) -> str:
    """The login shell of the users we add."""
    return next((f"/{path}" for path in ("bin/bash", "bin/sh") if root.has(path)), "/usr/sbin/nologin")


def _model(recipe: BaseRecipe, merged: Merged, packages: Sequence[Indexed], accounts: Accounts) -> None:
    """Add what scripts would have made."""
    root = merged.root
    postinsts = {package.name: postinst(package) for package in packages}
    effects.install(root, postinsts, accounts)
    write_accounts(root, accounts)
    root.folder("home")
    if not isinstance(recipe, BareBaseRecipe):
        root.folder(f"home/{accounts_of.USER}", owner=Owner(accounts_of.USER_ID, accounts_of.USER_ID))
    certificates.install(root)
    alternatives.install(root, [each for script in postinsts.values() for each in alternatives.parse(script)[0]])
    libraries = {
        real: library
        for package in packages
        for path, library in package.libraries.items()
        if (real := root.real(path)) is not None
    }
    ldcache.install(root, libraries, recipe.architecture)
    chosen = exclude.rules(recipe.profile)
    if chosen and not exclude.is_own(recipe.profile) and root.has("usr/bin/dpkg"):
        root.write(exclude.CONFIGURATION, exclude.configuration(chosen))
    archives.install(root, recipe.suite, recipe.architecture, usual=isinstance(recipe, BareBaseRecipe))


def write_accounts(root: Root, accounts: Accounts) -> None:
    """The four files of accounts; shadow is for its group only (passwd's shadowconfig)."""
    shadow = Owner(0, accounts.gid(b"shadow", 42))
    for name, content, mode, owner in (
        ("passwd", accounts.passwd(), 0o644, Owner()),
        ("group", accounts.group(), 0o644, Owner()),
        ("shadow", accounts.shadow(), 0o640, shadow),
        ("gshadow", accounts.gshadow(), 0o640, shadow),
    ):
        root.write(f"etc/{name}", content, mode=mode, owner=owner)


def write_tree(base: Base, sources: Sources, writer: LayerWriter) -> None:
    """Directories and links first, then each package's files in its own order, then ours."""
    nodes = base.root.nodes
    files: dict[int, dict[int, str]] = {}
    for path in sorted(nodes):
        node = nodes[path]
        if node.kind is MemberKind.DIRECTORY:
            writer.directory(path, mode=node.mode, owner=node.owner)
        elif node.kind is MemberKind.SYMLINK:
            writer.symlink(path, node.target, owner=node.owner)
        elif node.origin is not None:
            files.setdefault(node.origin[0], {})[node.origin[1]] = path
    for number, package in enumerate(base.packages):
        _write_package(package, files.get(number, {}), nodes, sources, writer)
    for path in sorted(nodes):
        node = nodes[path]
        if node.content is not None:
            writer.file(path, node.content, mode=node.mode, owner=node.owner)


def _write_package(
    package: Indexed, files: dict[int, str], nodes: dict[str, Node], sources: Sources, writer: LayerWriter
) -> None:
    """``files``: paths by position in the package's data."""
    if package.contents is not None:
        for position in sorted(files):
            _put(writer, files[position], nodes, package.contents.get(position, b""))
    elif files:
        with sources.open(package.package.file) as file:
            reader = package.deb.files(file)
            for position, member in enumerate(reader):
                if position in files:
                    _put(writer, files[position], nodes, Stream(member.size, reader.chunks()))


def _put(writer: LayerWriter, path: str, nodes: dict[str, Node], content: bytes | Stream) -> None:
    node = nodes[path]
    if node.kind is MemberKind.HARDLINK:
        writer.hardlink(path, node.target, mode=node.mode, owner=node.owner)
    else:
        writer.file(path, content, mode=node.mode, owner=node.owner)
