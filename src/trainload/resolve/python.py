"""Locks the Python part: asks uv, or takes over the lock the user has, and never mixes the two."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from trainload.errors import LockError, Place, Text
from trainload.limits import DEFAULT
from trainload.lock import tags
from trainload.lock.adopt import Adopted, Wanted, adopt
from trainload.lock.merge import merge
from trainload.lock.model import Lock, PythonPackage
from trainload.lock.select import Target
from trainload.lock.toml import dumps
from trainload.platform import Platform
from trainload.project.model import (
    Dependencies,
    NoDependencies,
    PylockFile,
    PyprojectDependencies,
    RequirementFiles,
    UvLock,
)
from trainload.resolve.upgrade import Upgrade
from trainload.resolve.uv import Uv, explain, is_network_failure
from trainload.system import process, scratch

_FAMILY = frozenset({"torch", "torchvision", "torchaudio", "torchtext", "torchdata", "torchcodec"})
"""Projects whose builds differ by accelerator; uv's own list for ``--torch-backend`` is of the same kind."""

_OF_THE_INDEX = "cuda"
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
    accelerator: str = _OF_THE_INDEX
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


def resolve_python(request: PythonRequest, uv: Uv) -> Adopted:
    """The exact Python packages for every target.

    Raises :class:`LockError` with uv's reason in our words, or naming every package that is not locked to bytes.
    """
    match request.dependencies:
        case NoDependencies():
            return Adopted((), {})
        case PylockFile(path=path, extras=extras, groups=groups):
            wanted = replace(_wanted(request), extras=extras, groups=groups or None)
            return adopt(_read(request.root / path), path, wanted)
        case UvLock():
            return _export(request, request.dependencies, uv)
        case RequirementFiles() | PyprojectDependencies():
            return _compile(request, uv)


def link_folders(root: Path, find_links: Sequence[str]) -> tuple[Path, ...]:
    """The find-links that are folders, absolute; addresses are left out."""
    return tuple((root / link).resolve() for link in find_links if "://" not in link)


def _wanted(request: PythonRequest) -> Wanted:
    found = {}
    for folder in link_folders(request.root, _links(request)):
        if not folder.is_dir():
            raise LockError(
                Text("the find-links folder {folder} does not exist", folder=folder),
                hints=[Text("mend or remove it in find-links")],
            )
        found.update({str(file): file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()})
    return Wanted(request.targets, found, lambda path: _sha256(Path(path)), unhashed=request.unhashed)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LockError("the wheel cannot be read", place=Place(str(path)), got=error.strerror) from error


def _links(request: PythonRequest) -> tuple[str, ...]:
    own = request.dependencies.find_links if isinstance(request.dependencies, RequirementFiles) else ()
    return tuple(dict.fromkeys((*request.find_links, *own)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DEFAULT.document + 1)
    except OSError as error:
        raise LockError("the lock cannot be read", place=Place(str(path)), got=error.strerror) from error


def _export(request: PythonRequest, lock: UvLock, uv: Uv) -> Adopted:
    """``uv.lock`` as it stands: exported, not resolved."""
    arguments = ["--format", "pylock.toml", "--frozen", "--no-emit-project", "--no-dev", "--no-header"]
    arguments += [f"--extra={extra}" for extra in lock.extras] + [f"--group={group}" for group in lock.groups]
    done = uv.run("export", arguments, (request.root / lock.path).parent)
    if done.exit_code != 0:
        raise explain(done)
    return adopt(done.stdout, lock.path, _wanted(request))


def _compile(request: PythonRequest, uv: Uv) -> Adopted:
    """Every platform in one resolution; one by one when that leaves some platform without a wheel it can take."""
    with scratch.folder("lock") as folder:
        output = folder / "pylock.resolved.toml"
        if request.previous is not None and not request.upgrade.everything:
            output.write_bytes(dumps(request.previous))
        together = _resolved(request, uv, output)
        if not together.misfits:
            return together
        common = output.read_bytes()
        parts: dict[Platform, tuple[PythonPackage, ...]] = {}
        unhashed = dict(together.unhashed)
        for target in request.targets:
            output.write_bytes(common)
            try:
                part = _resolved(replace(request, targets=(target,)), uv, output, alone=True)
            except LockError:
                return together
            if part.misfits:
                return together
            parts[target.platform] = part.packages
            unhashed.update(part.unhashed)
        return Adopted(merge(parts), {}, unhashed)


def _resolved(request: PythonRequest, uv: Uv, output: Path, *, alone: bool = False) -> Adopted:
    """One question to uv, again with a mirror if need be. What ``output`` holds before is what uv prefers to keep.

    ``alone``: only wheels that the first target takes count; otherwise wheels of any platform do.
    """
    wanted = _wanted(request)
    preferred = _accelerated(wanted.found, request)
    index = _local_index(output.parent / f"simple{len(list(output.parent.iterdir()))}", preferred)
    backend = None if index is not None else torch_backend(request)

    def ask(asked: PythonRequest) -> process.Completed:
        arguments = compile_arguments(asked, output, index=index, backend=backend, alone=alone)
        return uv.run("pip compile", arguments, asked.root)

    done = ask(request)
    if done.exit_code != 0 and is_network_failure(done) and not any(request.indexes[-1:]):
        for mirror in request.mirrors:
            done = ask(replace(request, indexes=(*request.indexes[:-1], mirror)))
            if done.exit_code == 0:
                break
    if done.exit_code != 0:
        raise explain(done, backend=backend)
    return adopt(_read(output), "uv pip compile", wanted)


def compile_arguments(
    request: PythonRequest,
    output: Path,
    *,
    index: str | None = None,
    backend: str | None = None,
    alone: bool = False,
) -> list[str]:
    """What uv is asked. Wheels only: reading an sdist's requirements would run its code (THREATS D7)."""
    place = f"--python-platform={_uv_platform(request.targets[0])}" if alone else "--universal"
    arguments = [place, "--format=pylock.toml", "--only-binary=:all:", "--no-header", "--quiet"]
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
    if request.accelerator == _OF_THE_INDEX:
        return None
    ends = {urlsplit(address).path.rstrip("/").rpartition("/")[2] for address in request.indexes}
    return None if request.accelerator in ends else request.accelerator


def _accelerated(found: Mapping[str, int], request: PythonRequest) -> tuple[Path, ...]:
    """Wheels in the find-links folders that are builds for the accelerator, and fit some target.

    They win over any index: a higher version there is another build, and not what was put into the folder.
    """
    label = re.compile(_BUILDS.get(request.accelerator, re.escape(f"+{request.accelerator}")))
    chosen = []
    for path in sorted(map(Path, found)):
        name, _, rest = path.name.partition("-")
        fits = any(tags.wheel_rank(path.name, target.ranks()) for target in request.targets)
        if name.lower() in _FAMILY and label.search(rest.partition("-")[0]) and fits:
            chosen.append(path)
    return tuple(chosen)


def _local_index(folder: Path, wheels: Sequence[Path]) -> str | None:
    """A package index (PEP 503) of just these wheels; uv asks the first index that has a project, and no other."""
    if not wheels:
        return None
    projects: dict[str, list[Path]] = {}
    for wheel in wheels:
        projects.setdefault(wheel.name.partition("-")[0].lower(), []).append(wheel)
    for name, files in projects.items():
        lines = [f'<a href="file://{quote(str(file))}">{html.escape(file.name)}</a>' for file in files]
        (folder / name).mkdir(parents=True)
        (folder / name / "index.html").write_text(
            "<!DOCTYPE html><html><body>\n" + "\n".join(lines) + "\n</body></html>\n"
        )
    return f"file://{quote(str(folder))}"
