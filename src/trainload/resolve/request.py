"""What is asked of uv for the Python part of a lock, and the files of this machine that count for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit

from trainload.errors import LockError, Place, Text
from trainload.limits import DEFAULT
from trainload.lock import tags
from trainload.lock.adopt import Wanted
from trainload.lock.found import Installed
from trainload.lock.model import Lock, PythonPackage
from trainload.lock.select import Target
from trainload.project.model import Dependencies, PyprojectDependencies, RequirementFiles
from trainload.resolve.linked import write_page
from trainload.resolve.own import Own
from trainload.resolve.places import link_folders
from trainload.resolve.provided import FAMILY, Provided
from trainload.resolve.upgrade import Upgrade
from trainload.values import dataclass, field

OF_THE_INDEX = "cuda"
"""The package index's own torch carries CUDA; every other accelerator is one of uv's torch backends."""

_BUILDS = {"cuda": r"\+cu[0-9]+", "auto": r"\+(cpu|cu[0-9]+|rocm[0-9.]+|xpu)"}
"""Local version labels that are builds for an accelerator; one that is not here has its own name as label."""


_UV_GLIBC = (17, 28, *range(31, 41))  # minor versions of glibc 2 that ``uv --python-platform`` knows


@dataclass(frozen=True, slots=True)
class PythonRequest:
    """What is to be locked, and where it may come from."""

    root: Path
    """The project's folder."""
    dependencies: Dependencies
    targets: tuple[Target, ...]
    accelerator: str = OF_THE_INDEX
    find_links: tuple[str, ...] = ()
    """Folders, relative to ``root`` or absolute, and addresses of pages with links."""
    indexes: tuple[str, ...] = ()
    """By precedence, the default one last (``""``: uv's own); empty: uv's own only."""
    mirrors: tuple[str, ...] = ()
    """Indexes that are asked only when the others cannot be reached."""
    previous: Lock | None = None
    """Its versions are kept where they still fit."""
    upgrade: Upgrade = field(default_factory=Upgrade)
    unhashed: bool = False
    """Take files over that have no sha256 (THREATS F01); their sha256 is empty then."""
    constraints: tuple[str, ...] = ()
    """Files of bounds on versions, beside those of the requirements files."""
    build_constraints: tuple[str, ...] = ()
    """Bounds on the versions of what builds sdists, as requirements (PEP 508)."""
    provided: Provided = field(default_factory=Provided)
    """What the base image's Python has."""
    taken: tuple[PythonPackage, ...] = ()
    """What a lock of a conda environment has for pip."""
    options: tuple[str, ...] = ()
    """More that uv is told: of a command line that is not ours."""
    own: tuple[Own, ...] = ()
    """Packages of repositories; each is the only version of its project."""
    page: Path | None = None
    """Links to all that lies in the find-links folders, which uv is given instead of these."""

    @property
    def installed(self) -> tuple[Installed, ...]:
        """What it has on all targets alike."""
        return self.provided.on(target.platform for target in self.targets)


def wanted(request: PythonRequest) -> Wanted:
    found = {}
    for folder in link_folders(request.root, find_links(request)):
        if not folder.is_dir():
            raise LockError(
                Text("the find-links folder {folder} does not exist", folder=folder),
                hints=[Text("mend or remove it in find-links")],
            )
        found.update({str(file): file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()})
    return Wanted(request.targets, found, lambda path: sha256_of(Path(path)), unhashed=request.unhashed)


def sha256_of(path: Path) -> str:
    """Of a wheel here, read once while it stays as it is. Raises :class:`LockError` when it cannot be read."""
    try:
        status = path.stat()
        return _sha256(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise LockError("the wheel cannot be read", place=Place(str(path)), got=error.strerror) from error


@lru_cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_links(request: PythonRequest) -> tuple[str, ...]:
    own = request.dependencies.find_links if isinstance(request.dependencies, RequirementFiles) else ()
    return tuple(dict.fromkeys((*request.find_links, *own)))


def _links(request: PythonRequest) -> tuple[str, ...]:
    """Where uv looks beside indexes."""
    links = find_links(request)
    if request.page is None:
        return links
    return (str(request.page), *(link for link in links if "://" in link))


def read_lock_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DEFAULT.document + 1)
    except OSError as error:
        raise LockError("the lock cannot be read", place=Place(str(path)), got=error.strerror) from error


def compile_arguments(
    request: PythonRequest,
    output: Path,
    *,
    index: str | None = None,
    backend: str | None = None,
    alone: bool = False,
    binary: bool = True,
) -> list[str]:
    """What uv is asked. Wheels only: reading an sdist's requirements would run its code (THREATS D7).

    ``binary`` False: sources count too; only where uv has metadata for every project it may look at.
    """
    place = f"--python-platform={_uv_platform(request.targets[0])}" if alone else "--universal"
    arguments = [place, "--format=pylock.toml", "--no-header", "--quiet"]
    arguments += ["--only-binary=:all:"] if binary else []
    arguments += request.options
    arguments += [f"--constraints={file}" for file in request.constraints]
    arguments += [f"--python-version={request.targets[0].python}", f"--output-file={output}"]
    indexes = ([index] if index is not None else []) + list(request.indexes[:-1])
    arguments += [f"--index={address}" for address in indexes]
    arguments += [f"--default-index={address}" for address in request.indexes[-1:] if address]
    arguments += [f"--find-links={link}" for link in _links(request)]
    arguments += [f"--torch-backend={backend}"] if backend is not None else []
    arguments += [f"--upgrade-package={name}" for name in request.upgrade.packages]
    match request.dependencies:
        case RequirementFiles(files=files):
            arguments += ["--", *files]
        case PyprojectDependencies(path=path, extras=extras, groups=groups):
            arguments += [f"--extra={extra}" for extra in extras] + [f"--group={path}:{group}" for group in groups]
            arguments += ["--", path]
        case _:
            raise AssertionError("other locks are taken over, not compiled")
    return arguments


def _uv_platform(target: Target) -> str:
    """uv's name of the target, for the newest glibc it knows that the base has."""
    known = [minor for minor in _UV_GLIBC if (2, minor) <= target.glibc]
    return f"{target.platform.machine}-manylinux_2_{max(known, default=_UV_GLIBC[0])}"


def torch_backend(request: PythonRequest) -> str | None:
    """uv's torch backend; none when an index of the user's is already one for that accelerator."""
    if request.accelerator == OF_THE_INDEX:
        return None
    ends = {urlsplit(address).path.rstrip("/").rpartition("/")[2] for address in request.indexes}
    return None if request.accelerator in ends else request.accelerator


def accelerated(found: Mapping[str, int], request: PythonRequest) -> tuple[Path, ...]:
    """Wheels in the find-links folders that are builds for the accelerator, and fit some target.

    They win over any index: a higher version there is another build, and not what was put into the folder.
    """
    label = re.compile(_BUILDS.get(request.accelerator, re.escape(f"+{request.accelerator}")))
    chosen = []
    for path in sorted(map(Path, found)):
        name, _, rest = path.name.partition("-")
        fits = any(tags.wheel_rank(path.name, target.ranks()) for target in request.targets)
        if name.lower() in FAMILY and label.search(rest.partition("-")[0]) and fits:
            chosen.append(path)
    return tuple(chosen)


def other_builds(found: Mapping[str, int], request: PythonRequest) -> tuple[str, ...]:
    """Bounds that leave out what lies in the find-links folders for other accelerators: uv takes the highest."""
    label = re.compile(_BUILDS.get(request.accelerator, re.escape(f"+{request.accelerator}")))
    bounds = set()
    for path in map(Path, found):
        name, _, rest = path.name.partition("-")
        version = rest.partition("-")[0]
        if name.lower() in FAMILY and re.search(_BUILDS["auto"], version) and not label.search(version):
            bounds.add(f"{name}!={version}")
    return tuple(sorted(bounds))


def local_index(folder: Path, wheels: Sequence[Path]) -> str | None:
    """A package index (PEP 503) of just these wheels; uv asks the first index that has a project, and no other."""
    if not wheels:
        return None
    projects: dict[str, list[Path]] = {}
    for wheel in wheels:
        projects.setdefault(project_of(wheel), []).append(wheel)
    for name, files in projects.items():
        (folder / name).mkdir(parents=True)
        write_page(folder / name / "index.html", files)
    return f"file://{quote(str(folder))}"


def project_of(wheel: Path) -> str:
    """The normalised name of a wheel's project (PEP 503)."""
    return re.sub("[-_.]+", "-", wheel.name.partition("-")[0]).lower()
