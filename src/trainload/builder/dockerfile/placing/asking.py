"""The question that a ``pip install`` is for uv, with everything of the image that decides its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.interpreter import Target
from trainload.builder.dockerfile.placing.links import Linked, links_folder
from trainload.builder.dockerfile.placing.plain import Pages, copied, with_hashes
from trainload.builder.dockerfile.placing.required import name_of
from trainload.builder.dockerfile.placing.unhashed import Unhashed
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import LockError, Problems, Text
from trainload.lock.adopt import Adopted
from trainload.lock.found import Installed
from trainload.lock.model import PythonFile, PythonPackage
from trainload.lock.select import Target as Fitting
from trainload.lock.select import choose
from trainload.platform import Platform
from trainload.project.model import RequirementFiles, Settings
from trainload.resolve.places import credentials
from trainload.resolve.provided import Provided
from trainload.resolve.question import Question
from trainload.resolve.request import PythonRequest
from trainload.resolve.sizes import fill_sizes
from trainload.resolve.sources import Leave
from trainload.resolve.uv import NeedsBuild
from trainload.system import scratch
from trainload.system.metadata import MetadataServer, can_be_asked

_NAMED = 60
"""Characters of what is asked for that a question of the lock tells."""
_OF_A_PAGE = 4
"""Requests at once where only pages of links are asked: often a server of Python's own (``http.server``), which
keeps five waiting, and who comes after these tries again after a second."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for, and what for."""

    requirements: tuple[str, ...]
    files: tuple[str, ...]
    """Contents of requirements files: a requirement on each line."""
    constraints: tuple[str, ...]
    index: str | None
    extra_indexes: tuple[str, ...]
    find_links: tuple[str, ...]
    """Addresses of pages."""
    wheels: tuple[Linked, ...]
    """Those of folders of the image."""
    no_index: bool
    prereleases: bool
    dependencies: bool
    upgrade: bool
    is_uv: bool
    target: Target
    platform: Platform
    glibc: tuple[int, int] | None
    hashes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Project → the sha256 its file may have, sorted; empty: any."""

    @property
    def question(self) -> str:
        """Its name in the lock; everything that decides the answer is in its digest."""
        told = " ".join([*self.requirements, *" ".join(self.files).split()])
        told = told if len(told) <= _NAMED else told[: _NAMED - 1] + "…"
        plain = {
            "asked": {
                name: value
                for name, value in asdict(self).items()
                if name not in ("target", "platform") and (name != "hashes" or value)
            },
            "python": self.target.python.version,
            "installed": [[each.name, each.version] for each in self.target.installed],
            "platform": str(self.platform),
        }
        return f"pip install {told} ({self.platform.architecture}, {Digest.sha256(canonical_json(plain)).hex[:12]})"

    @property
    def preferred(self) -> tuple[Installed, ...]:
        """What is kept where it fits: all that is installed, but for what is named to be upgraded."""
        if not self.upgrade:
            return self.target.installed
        named = {name_of(line) for line in (*self.requirements, *"\n".join(self.files).splitlines())}
        return tuple(each for each in self.target.installed if each.name not in named)


def ask(asked: Ask, bench: Bench, ground: Ground) -> tuple[PythonFile, ...]:
    """What pip would have in the end, sorted by name, as wheels.

    Raises :class:`Beyond` where something has to be built, and where nothing fits: the line says so better itself.
    """
    if asked.glibc is None:
        raise Beyond(Text("an image whose C library is not known"))
    services = bench.services()
    target = Fitting(asked.platform, asked.target.python.version, asked.glibc)
    shop = bench.shop
    with Unhashed(shop.store, services.http, services.reporter, shop.limits) as unhashed:
        found, pages = _found(asked, target, bench, ground, unhashed)
        # what stays has no file
        placed = tuple(pages.bare(package) for package in found.packages if package.wheels or package.sdist)
        told = tuple(package for package in placed if all(wheel.sha256 for wheel in package.wheels))
        rest = tuple(package for package in placed if package not in told)  # their sizes come with their bytes
        told, rest = (_allowed(asked, told), _allowed(asked, rest)) if asked.hashes else (told, rest)
        secrets = credentials(_indexes(asked, bench.settings))
        packages = (*fill_sizes(told, services.http, credentials=secrets), *rest)
        problems = Problems()
        chosen = choose(packages, target, problems, sdists=False)
        problems.check()
        return with_hashes(chosen, found.unhashed, unhashed)


def _found(asked: Ask, target: Fitting, bench: Bench, ground: Ground, unhashed: Unhashed) -> tuple[Adopted, Pages]:
    """What uv chose, and the pages it was given for it."""
    with scratch.folder("pip") as folder:
        lines = "\n".join([*asked.requirements, *asked.files])
        (folder / "requirements.txt").write_text(lines + "\n", encoding="utf-8")
        (folder / "constraints.txt").write_text("\n".join(asked.constraints) + "\n", encoding="utf-8")
        own = (links_folder(asked.wheels, ground, folder / "wheels"),) if asked.wheels else ()
        with MetadataServer(unhashed.metadata) as server:
            pages = _pages(asked, bench, folder, server)
            try:
                return _settled(asked, target, bench, folder, own + pages.links), pages
            except (Beyond, LockError):
                if not server.failed:
                    raise
        pages = _pages(asked, bench, folder, None)
        return _settled(asked, target, bench, folder, own + pages.links), pages


def _pages(asked: Ask, bench: Bench, folder: Path, server: MetadataServer | None) -> Pages:
    services = bench.services()
    if asked.hashes:
        return Pages(asked.find_links)
    return copied(asked.find_links, services.http, folder, server if can_be_asked(services.uv.environ) else None)


def _indexes(asked: Ask, settings: Settings) -> tuple[str, ...]:
    indexes = settings.indexes.value
    if asked.index is None and not asked.extra_indexes:
        return indexes
    return (*asked.extra_indexes, asked.index or (indexes[-1] if indexes else ""))


def _request(asked: Ask, target: Fitting, bench: Bench, folder: Path, find_links: Sequence[str]) -> PythonRequest:
    settings = bench.settings
    return PythonRequest(
        root=bench.root,
        dependencies=RequirementFiles((str(folder / "requirements.txt"),)),
        targets=(target,),
        find_links=(*find_links, *settings.find_links.value),
        indexes=() if asked.no_index else _indexes(asked, settings),
        mirrors=() if asked.no_index else settings.mirrors.value.pypi,
        constraints=(str(folder / "constraints.txt"),),
        provided=Provided({asked.platform: asked.preferred}),
        options=_options(asked),
        unhashed=True,
    )


def _settled(asked: Ask, target: Fitting, bench: Bench, folder: Path, find_links: Sequence[str]) -> Adopted:
    """uv's answer. Raises :class:`Beyond` where something has to be built or nothing fits, :class:`LockError`."""
    services = bench.services()
    uv = replace(services.uv, at_once=_OF_A_PAGE) if asked.no_index else services.uv
    request = _request(asked, target, bench, folder, find_links)
    question = Question(request, uv, folder / "pylock.resolved.toml", None, alone=True)
    try:
        found = question.settled(Leave())[0]
    except NeedsBuild as error:
        raise Beyond(Text("{names}, which would have to be built", names=", ".join(sorted(error.names)))) from error
    except LockError as error:
        if error.retryable and asked.extra_indexes and bench.wanted.network:
            raise Beyond(Text("an index that cannot be reached: pip goes on with the others")) from error
        if error.retryable:
            raise
        raise Beyond(Text("what nothing fits: {reason}", reason=error.got or error.text)) from error
    if not asked.is_uv and not asked.no_index:
        sources = question.newer_sources(found)
        if sources:
            raise Beyond(Text("{names}, which would have to be built", names=", ".join(sorted(sources))))
    return found


def _allowed(asked: Ask, packages: Sequence[PythonPackage]) -> tuple[PythonPackage, ...]:
    """Without files of other hashes, as pip leaves them out. Raises :class:`Beyond` where none is left."""
    allowed = dict(asked.hashes)
    found = []
    for package in packages:
        wheels = tuple(wheel for wheel in package.wheels if wheel.sha256 in allowed.get(package.name, ()))
        if not wheels:
            raise Beyond(Text("{name}, whose wheels have other hashes than the line wants", name=package.name))
        found.append(replace(package, wheels=wheels))
    return tuple(found)


def _options(asked: Ask) -> tuple[str, ...]:
    """pip takes the best version of all indexes; uv by itself asks no second one for what the first has."""
    found = () if asked.is_uv else ("--index-strategy=unsafe-best-match",)
    found = (*found, "--prerelease=allow") if asked.prereleases else found
    found = (*found, "--no-index") if asked.no_index else found
    return found if asked.dependencies else (*found, "--no-deps")
