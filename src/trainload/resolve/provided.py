"""What a base image's Python has already: uv is told, prefers it, and what it keeps of it is not placed again.

uv sees a wheel for each of these distributions that holds metadata only; such wheels lie in a scratch folder and
never go anywhere. Their versions are what uv prefers to keep. Of builds for an accelerator (NVIDIA's torch
``2.3.0a0+….nv24.4`` is on no index) uv sees no other version, so they stay or the lock fails.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement
from packaging.version import Version

from trainload import nesting
from trainload.errors import LockError, Text
from trainload.events import Level, Reporter, Said
from trainload.lock.adopt import Adopted
from trainload.lock.found import Installed
from trainload.lock.merge import marker_of
from trainload.lock.model import PythonPackage
from trainload.lock.select import MACHINE_MARKERS
from trainload.platform import Platform
from trainload.values import dataclass, field, replace

FAMILY = frozenset({"torch", "torchvision", "torchaudio", "torchtext", "torchdata", "torchcodec"})
"""Projects whose builds differ by accelerator; uv's own list for ``--torch-backend`` is of the same kind."""

_BUILD = "0base"
"""Build tag of a stub: the wheel of that version on an index has another name (binary distribution format)."""
_OF_TORCH = ("triton", "pytorch-triton")
_CUDA = "nvidia-"
_UNSATISFIED = re.compile(r"only ([a-z0-9-]+)(?:\[[^\]]*\])?==(\S+) is available")


@dataclass(frozen=True, slots=True)
class Provided:
    """Distributions of a base image, per platform."""

    by_platform: Mapping[Platform, tuple[Installed, ...]] = field(default_factory=dict)
    whole: bool = False
    """Our packages go into the same folder, so none of these may be replaced."""
    conda: bool = False
    """They are those of a conda environment."""

    def on(self, platforms: Iterable[Platform]) -> tuple[Installed, ...]:
        """What is the same on all of ``platforms``; sorted by name."""
        sets = [set(self.by_platform.get(platform, ())) for platform in platforms]
        return tuple(sorted(set.intersection(*sets))) if sets else ()

    def is_same(self) -> bool:
        """Whether all platforms have the same."""
        return len({frozenset(installed) for installed in self.by_platform.values()}) <= 1

    def stays(self, name: str) -> bool:
        """Whether another version may not take its place."""
        return self.whole or name in FAMILY


@dataclass(frozen=True, slots=True)
class Split:
    """Packages of a lock beside what the base has."""

    packages: tuple[PythonPackage, ...]
    """To be placed."""
    kept: tuple[Installed, ...] = ()
    """Of the base."""
    hidden: tuple[tuple[Installed, str], ...] = ()
    """Of the base, and the version that is placed over it."""
    needless: tuple[str, ...] = ()
    """What only another torch than the base's needs."""


def public(version: str) -> str:
    """A version without its local label (PEP 440)."""
    return Version(version).public


@dataclass(frozen=True, slots=True)
class Stubs:
    """Wheels of metadata for what the base has; none where it has nothing."""

    folder: Path
    wheels: tuple[Path, ...] = ()
    staying: tuple[Path, ...] = ()
    """Those that uv is to see no other version of."""

    @property
    def links(self) -> tuple[str, ...]:
        """Where uv finds them."""
        return (str(self.folder),) if self.wheels else ()


def write_stubs(
    folder: Path, installed: Sequence[Installed], provided: Provided, alone: Collection[str] = ()
) -> Stubs:
    """A wheel of metadata for each distribution, in ``folder``, which is made.

    ``alone``: names of which no other version is to be seen, as of what the base keeps.
    """
    if not installed:
        return Stubs(folder)
    folder.mkdir()
    wheels = {each: _stub(folder, each) for each in installed}
    return Stubs(
        folder,
        tuple(wheels.values()),
        tuple(wheel for each, wheel in wheels.items() if each.name in alone or provided.stays(each.name)),
    )


def _stub(folder: Path, each: Installed) -> Path:
    name, version = each.name.replace("-", "_"), str(Version(each.version))
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {each.name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in each.extras if extra.isprintable()]
    lines += [f"Requires-Dist: {text}" for text in each.requires if _is_plain(text)]
    wheel = "Wheel-Version: 1.0\nGenerator: trainload\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    path = folder / f"{name}-{version}-{_BUILD}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{info}/WHEEL", wheel)
        archive.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def _is_plain(text: str) -> bool:
    """Whether a requirement is one that an index can satisfy."""
    try:
        return nesting.requirement(text).url is None
    except InvalidRequirement:
        return False


def without_stubs(adopted: Adopted, stubs: Stubs) -> Adopted:
    """What uv chose, with no file of ours in it: a package that only a stub stands for has no file."""
    ours = {hashlib.sha256(stub.read_bytes()).hexdigest() for stub in stubs.wheels}
    packages = tuple(
        replace(package, wheels=tuple(wheel for wheel in package.wheels if wheel.sha256 not in ours))
        for package in adopted.packages
    )
    return replace(adopted, packages=packages)


def preferred(previous: bytes | None, installed: Sequence[Installed]) -> bytes:
    """A lock for uv to prefer: the last one, and over it what the base has (PEP 751, as little as uv reads)."""
    import tomllib

    known = tomllib.loads(previous.decode())["packages"] if previous is not None else []
    names = {each.name for each in installed}
    rows = [(row["name"], row["version"]) for row in known if row["name"] not in names]
    rows += [(each.name, str(Version(each.version))) for each in installed]
    lines = ['lock-version = "1.0"', 'created-by = "trainload"']
    for name, version in rows:
        lines += ["", "[[packages]]", f'name = "{name}"', f'version = "{version}"']
    return ("\n".join(lines) + "\n").encode()


def beside(adopted: Adopted, platforms: Sequence[Platform], provided: Provided, reporter: Reporter) -> Adopted:
    """What was chosen without what the base has; what that means is told. Raises as :func:`split` does."""
    if not provided.by_platform:
        return adopted
    found = split(adopted.packages, platforms, provided)
    if found.kept:
        names = ", ".join(f"{each.name} {each.version}" for each in found.kept)
        text = (
            Text("of conda: {names}", names=names) if provided.conda else Text("of the base: {names}", names=names)
        )
        reporter.report(Said(text))
    for own, version in found.hidden:
        text = Text("{name} {version} hides the base's {own}", name=own.name, version=version, own=own.version)
        reporter.report(Said(text, Level.WARNING))
    if found.needless:
        text = Text("left out, since torch is the base's: {names}", names=", ".join(found.needless))
        reporter.report(Said(text))
    left = {package.name for package in found.packages}
    misfits = {
        platform: tuple(error for error in errors if error.text.values.get("name") in left)
        for platform, errors in adopted.misfits.items()
    }
    return replace(
        adopted,
        packages=found.packages,
        misfits={platform: errors for platform, errors in misfits.items() if errors},
    )


def split(packages: Sequence[PythonPackage], platforms: Sequence[Platform], provided: Provided) -> Split:
    """What of ``packages`` the base has, and what is placed.

    A version counts as the base's whatever its local label: ``2.3.0+cu121`` is ``2.3.0`` built another way. Raises
    :class:`LockError` for what may not be replaced.
    """
    known = {
        platform: {each.name: each for each in provided.by_platform.get(platform, ())} for platform in platforms
    }
    placed: list[PythonPackage] = []
    kept: set[Installed] = set()
    hidden: set[tuple[Installed, str]] = set()
    for package in packages:
        takers = [platform for platform in platforms if _takes(platform, package)]
        lacking = []
        for platform in takers:
            own = known[platform].get(package.name)
            if own is not None and public(own.version) == public(package.version):
                kept.add(own)
                continue
            lacking.append(platform)
            if own is not None and provided.stays(own.name):
                raise replaces(own, package.version, conda=provided.conda)
            if own is not None:
                hidden.add((own, package.version))
        if len(lacking) == len(takers):
            placed.append(package)
        elif lacking:
            placed.append(replace(package, marker=marker_of(lacking)))
    needless = _needless({each.name for each in kept}, placed)
    left = tuple(package for package in placed if package.name not in needless)
    return Split(left, tuple(sorted(kept)), tuple(sorted(hidden)), needless)


def _takes(platform: Platform, package: PythonPackage) -> bool:
    """Whether the platform takes the package: our own locks have no other markers (:mod:`trainload.lock.merge`)."""
    return package.marker is None or MACHINE_MARKERS[platform.machine] in package.marker


def _needless(kept: Collection[str], placed: Sequence[PythonPackage]) -> tuple[str, ...]:
    """The CUDA that another build of torch would bring, where a lock of the user's names it and torch stays."""
    if "torch" not in kept:
        return ()
    return tuple(package.name for package in placed if package.name.startswith(_CUDA) or package.name in _OF_TORCH)


def replaces(own: Installed, version: str, *, conda: bool = False) -> LockError:
    """The project wants another version of what stays."""
    if conda:
        values = {"name": own.name, "own": own.version, "version": version}
        return LockError(
            Text("conda brings {name} {own}, and the pip section needs {name} {version}", **values),
            hints=[
                Text("ask conda for the version that pip needs: {name}={version}", name=own.name, version=version),
                Text("or take {name} out of the dependencies of conda, if nothing there needs it", name=own.name),
            ],
        )
    return LockError(
        Text("the base has {name} {own}, and the project needs {name} {version}", name=own.name, own=own.version,
             version=version),
        hints=[
            Text("ask for what the base has: {name}=={own}", name=own.name, own=own.version),
            Text("or take a base without {name}, such as apt:jammy", name=own.name),
        ],
    )  # fmt: skip


def explained(error: LockError, installed: Sequence[Installed], provided: Provided) -> LockError:
    """uv's complaint that there is no solution, where the base is the reason."""
    match = _UNSATISFIED.search(str(error.got))
    own = next((each for each in installed if match and each.name == match[1]), None)
    if own is None or not provided.stays(own.name):
        return error
    text = Text("the base has {name} {own}, which the project does not take", name=own.name, own=own.version)
    hints = replaces(own, own.version).hints
    if provided.conda:
        values = {"name": own.name, "own": own.version}
        text = Text("conda brings {name} {own}, which the pip section does not take", **values)
        hints = replaces(own, own.version, conda=True).hints[-1:]
    return LockError(text, got=error.got, hints=hints)
