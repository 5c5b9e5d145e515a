"""Takes over a standard lock (PEP 751) made by uv or by the user: the same versions and hashes, for our targets.

Nothing is resolved here. What a target can never take (another system's wheels, another Python's versions) is left
out, so that the lock reads as a list of what goes in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from trainload.errors import LockError, Place, Problems, Text
from trainload.lock import document, tags
from trainload.lock.grammar import FILE_NAME, HEX
from trainload.lock.model import File, Found, Location, PythonPackage, Url
from trainload.lock.read import refusal
from trainload.lock.select import MACHINE_MARKERS, Target, holds, nothing_fits
from trainload.platform import Platform
from trainload.values import dataclass, field, replace

if TYPE_CHECKING:
    from packaging.pylock import Package, PackageArchive, PackageSdist, PackageWheel, Pylock

_NO_HASH: Mapping[str, str] = {"none": ""}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take over of a lock."""

    targets: tuple[Target, ...]
    found: Mapping[str, int] = field(default_factory=dict)
    """Absolute paths of the files in the find-links folders → bytes; a ``file:`` address must be one of them."""
    sha256: Callable[[str], str] = lambda path: ""
    """The hash of one of them, asked only for a wheel that stands in for a source, or has no hash."""
    extras: Collection[str] = ()
    groups: Collection[str] | None = None
    """Dependency groups; None: the lock's default ones."""
    unhashed: bool = False
    """Take files over whose sha256 the lock does not have (THREATS F01)."""


@dataclass(frozen=True, slots=True)
class Adopted:
    packages: tuple[PythonPackage, ...]
    misfits: Mapping[Platform, tuple[LockError, ...]]
    """Platform → packages that have neither a wheel nor a source for it (THREATS W30)."""
    unhashed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """File name → the hashes the lock has, of files that are here with an empty sha256."""


def adopt(data: bytes, file: str, wanted: Wanted) -> Adopted:
    """The packages of the lock in ``data`` for the wanted targets, sorted by name.

    Raises :class:`LockError`, or all problems at once: no hash (THREATS F01), a version control checkout, a folder,
    an address that may not be in a lock (THREATS F03), two versions for one target.
    """
    pylock = _parse(data, file)
    problems = Problems()
    _check_targets(pylock, file, wanted, problems)
    packages: list[PythonPackage] = []
    misfits: dict[Platform, tuple[LockError, ...]] = {}
    chosen: dict[tuple[str, Platform], str] = {}
    unhashed: dict[str, Mapping[str, str]] = {}
    for index, package in enumerate(pylock.packages):
        takers = [target for target in wanted.targets if _applies(package, target, pylock, wanted)]
        if not takers:
            continue
        for target in takers:
            other = chosen.setdefault((package.name, target.platform), str(package.version))
            if other != str(package.version):
                text = Text(
                    "{name} is locked in two versions for {platform}", name=package.name, platform=target.platform
                )
                problems.add(
                    LockError(text, place=Place(file, f"packages[{index}]"), got=f"{other}, {package.version}")
                )
        whole = _Reader(Place(file, f"packages[{index}]"), wanted, problems, unhashed).package(package)
        if whole is not None:
            whole = _with_built(whole, takers, wanted)
            packages.append(_for_targets(whole, takers, wanted.targets))
            for target in _without_file(whole, takers):
                misfits[target.platform] = (*misfits.get(target.platform, ()), nothing_fits(whole, target))
    problems.check()
    return Adopted(tuple(sorted(packages, key=lambda package: (package.name, package.version))), misfits, unhashed)


def _parse(data: bytes, file: str) -> Pylock:
    from packaging.pylock import Pylock, PylockValidationError

    values = document.parse(data, file)
    _stand_in(values)
    try:
        pylock = Pylock.from_dict(values)
    except PylockValidationError as error:
        place = Place(file, str(error.context) if error.context else None)
        raise LockError(
            Text("is not a valid lock (PEP 751): {reason}", reason=error.message), place=place
        ) from error
    if str(pylock.lock_version) != "1.0":
        raise LockError(
            "the lock has a format this version of Trainload does not know",
            place=Place(file, "lock-version"),
            got=pylock.lock_version,
            want="1.0 (PEP 751)",
        )
    return pylock


def _stand_in(values: Mapping[str, object]) -> None:
    """Files without any hash get one that is none: PEP 751 wants one, and we say better which file lacks it."""
    packages = values.get("packages")
    for package in packages if isinstance(packages, list) else ():
        files = [package.get(key) for key in ("sdist", "archive")] if isinstance(package, dict) else []
        wheels = package.get("wheels") if isinstance(package, dict) else None
        for file in (*files, *(wheels if isinstance(wheels, list) else ())):
            if isinstance(file, dict) and file.get("hashes", {}) == {}:
                file["hashes"] = dict(_NO_HASH)


def _check_targets(pylock: Pylock, file: str, wanted: Wanted, problems: Problems) -> None:
    """The lock must be made for our targets at all (PEP 751 § requires-python, § environments)."""
    for target in wanted.targets:
        environment = target.environment()
        full = environment["python_full_version"]
        if pylock.requires_python is not None and not pylock.requires_python.contains(full, prereleases=True):
            problems.add(
                LockError(
                    "the lock is for another Python",
                    place=Place(file, "requires-python"),
                    got=pylock.requires_python,
                    want=f"one that includes {full}, the image's Python",
                    hints=[Text("set python or base in [tool.trainload], or make the lock for this Python")],
                )
            )
            return
        if pylock.environments and not any(holds(marker, environment) for marker in pylock.environments):
            text = Text("the lock is not for {platform}", platform=target.platform)
            problems.add(LockError(text, place=Place(file, "environments")))


def _applies(package: Package, target: Target, pylock: Pylock, wanted: Wanted) -> bool:
    """Whether ``target`` takes the package (PEP 751 § Installation)."""
    if package.marker is None:
        return True
    groups = pylock.default_groups if wanted.groups is None else wanted.groups
    environment: dict[str, str | frozenset[str]] = {
        **target.environment(),
        "extras": frozenset(wanted.extras),
        "dependency_groups": frozenset(groups or ()),
    }
    return holds(package.marker, environment)


def _for_targets(package: PythonPackage, takers: Sequence[Target], targets: Sequence[Target]) -> PythonPackage:
    """The package without the files no target takes, and with a marker only if some target does not take it."""
    fitting = tuple(wheel for wheel in package.wheels if any(_fits(wheel, target) for target in takers))
    complete = all(any(_fits(wheel, target) for wheel in fitting) for target in takers)
    marker = None
    if len(takers) < len(targets):
        marker = " or ".join(MACHINE_MARKERS[target.platform.machine] for target in takers)
    return PythonPackage(
        name=package.name,
        version=package.version,
        wheels=fitting or (() if package.sdist is not None else package.wheels),
        sdist=None if complete else package.sdist,
        marker=marker,
    )


def _with_built(package: PythonPackage, takers: Sequence[Target], wanted: Wanted) -> PythonPackage:
    """A package of which some target has the source only, with the wheels of that version from find-links."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    if package.sdist is None or all(any(_fits(wheel, target) for wheel in package.wheels) for target in takers):
        return package
    built = []
    for path, size in sorted(wanted.found.items()):
        name = path.rpartition("/")[2]
        try:
            project, version, _, _ = parse_wheel_filename(name)
        except InvalidWheelFilename:
            continue
        if (project, str(version)) == (package.name, package.version):
            built.append(File(name, wanted.sha256(path), size, Found(name)))
    return replace(package, wheels=tuple(sorted((*package.wheels, *built))))


def _without_file(package: PythonPackage, takers: Sequence[Target]) -> list[Target]:
    if package.sdist is not None:
        return []
    return [target for target in takers if not any(_fits(wheel, target) for wheel in package.wheels)]


def _fits(wheel: File, target: Target) -> bool:
    return tags.wheel_rank(wheel.name, target.ranks()) is not None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one package; what is wrong with it goes into ``problems``."""

    place: Place
    wanted: Wanted
    problems: Problems
    unhashed: dict[str, Mapping[str, str]]

    def package(self, package: Package) -> PythonPackage | None:
        if package.vcs is not None or package.directory is not None:
            where = package.vcs.url if package.vcs is not None else "a folder"
            self.wrong(
                Text("{name} is not locked to bytes: it is built from source", name=package.name),
                got=where,
                hints=[Text("build a wheel once (uv build --wheel) and name its folder in find-links")],
            )
            return None
        wheels = [self.file(wheel) for wheel in package.wheels or ()]
        sdist = self.file(package.sdist) if package.sdist is not None else None
        if package.archive is not None:
            archive = self.file(package.archive)
            if archive is not None and tags.is_wheel_name(archive.name):
                wheels.append(archive)
            else:
                sdist = archive
        files = self.once([wheel for wheel in wheels if wheel is not None])
        version = str(package.version) if package.version is not None else _version_of(files)
        return PythonPackage(package.name, version, files, sdist)

    def once(self, wheels: Sequence[File]) -> tuple[File, ...]:
        """Each name once, from find-links if it lies there; one name is one file (THREATS F02)."""
        chosen: dict[str, File] = {}
        for wheel in wheels:
            other = chosen.setdefault(wheel.name, wheel)
            if other.sha256 != wheel.sha256:
                text = Text("{file} has two different hashes", file=wheel.name)
                self.wrong(text, got=f"{other.sha256}, {wheel.sha256}")
            elif isinstance(wheel.location, Found):
                chosen[wheel.name] = wheel
        return tuple(sorted(chosen.values()))

    def file(self, file: PackageWheel | PackageSdist | PackageArchive) -> File | None:
        sha256 = str(file.hashes.get("sha256", "")).lower()
        location, size = self.location(file.url, file.path)
        if location is None:
            return None
        name = location.name if isinstance(location, Found) else _name(location)
        if not FILE_NAME.fullmatch(name):
            self.wrong(Text("{file} is no file name", file=name))
            return None
        if not HEX.fullmatch(sha256):
            if not self.wanted.unhashed or sha256:
                self.wrong(
                    Text("{file} has no sha256, so its bytes are not known", file=name),
                    got=", ".join(key for key in file.hashes if key not in _NO_HASH) or "no hash",
                    hints=[] if sha256 else [Text("to trust what is fetched now: trainload lock --allow-unhashed")],
                )
                return None
            self.unhashed[name] = {key: value for key, value in file.hashes.items() if key not in _NO_HASH}
        return File(name, sha256, file.size if file.size is not None else size, location)

    def location(self, url: str | None, path: str | None) -> tuple[Location | None, int | None]:
        """Where the file lies, without what may not be in a lock, and its bytes when it lies in find-links."""
        parts = urlsplit(url or "")
        if url is None or parts.scheme == "file":
            local = path if url is None else unquote(parts.path)
            name = (local or "").replace("\\", "/").rpartition("/")[2]
            found = self.wanted.found
            matching = [size for known, size in found.items() if known == local]
            if url is None and not matching:
                matching = [size for known, size in found.items() if known.rpartition("/")[2] == name]
            if name and matching:
                return Found(name), matching[0]
            self.wrong(
                Text("{file} lies on this machine, but in none of the find-links folders", file=name),
                hints=[Text("name its folder in find-links of [tool.trainload]")],
            )
            return None, None
        clean = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
        reason = refusal(clean)
        if reason is not None:
            self.wrong(Text("{url}: {reason}", url=clean[:200], reason=reason))
            return None, None
        return Url(clean), None

    def wrong(self, text: Text, *, got: object = None, hints: Sequence[Text] = ()) -> None:
        self.problems.add(LockError(text, place=self.place, got=got, hints=hints))


def _name(location: Location) -> str:
    assert isinstance(location, Url)
    return unquote(urlsplit(location.url).path).rpartition("/")[2]


def _version_of(wheels: Sequence[File]) -> str:
    """The version a wheel's name carries; a direct reference has no other."""
    return wheels[0].name.split("-")[1] if wheels else "0"
