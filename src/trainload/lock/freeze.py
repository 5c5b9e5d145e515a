"""A lock in the words of other tools: a list for conda, requirements for pip, an inventory for all others. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlencode

from trainload.errors import LockError, Text
from trainload.lock.model import (
    ArchivePath,
    ChannelPath,
    Commit,
    CondaPackage,
    DistributionBase,
    DistributionPackage,
    File,
    Found,
    HubPath,
    ImageBase,
    InProject,
    Lock,
    PythonFile,
    Url,
)
from trainload.lock.select import Selection, select
from trainload.platform import Platform

_CONDA = {"amd64": "linux-64", "arm64": "linux-aarch64"}


def explicit(lock: Lock, platform: Platform) -> str:
    """What ``conda create --file`` and ``micromamba create -f`` take: addresses and sha256.

    Raises :class:`LockError` for a lock without conda packages, or not for ``platform``.
    """
    packages = _conda(lock, platform)
    if not packages:
        raise LockError(
            "the lock has no conda packages", hints=[Text("its Python packages: --format requirements")]
        )
    lines = [f"# platform: {_CONDA[platform.architecture]}", "@EXPLICIT"]
    lines += [f"{address(package.file)}#{package.file.sha256}" for package in packages]
    return "\n".join(lines) + "\n"


def requirements(lock: Lock, platform: Platform) -> str:
    """What ``pip install --require-hashes -r`` takes. Raises as :func:`explicit` for the platform."""
    lines = [
        f"# for CPython {lock.python} on {platform}" if lock.python else "# no Python, and so no packages of it"
    ]
    chosen = select(lock, platform, sdists=True).python
    lines += [f"{_pinned(each)}{_hash(each)}" for each in chosen]
    return "\n".join(lines) + "\n"


def _pinned(each: PythonFile) -> str:
    """A build of its own (``2.6.0+cu124``) by its address: the usual index does not have it."""
    location = each.file.location
    if "+" in each.version and isinstance(location, Url):
        return f"{each.name} @ {location.url}"
    if isinstance(location, Commit):
        return f"{each.name} @ {address(each.file)}"
    return f"{each.name}=={each.version}"


def _hash(each: PythonFile) -> str:
    """None of a commit, which is one itself; pip refuses both together."""
    return "" if isinstance(each.file.location, Commit) else f" --hash=sha256:{each.file.sha256}"


def inventory(lock: Lock, platform: Platform) -> list[dict[str, object]]:
    """Everything that goes in, as a list for bills of materials: kind, name, version, purl, bytes, relations.

    Package URLs: https://github.com/package-url/purl-spec. Raises as :func:`explicit` for the platform.
    """
    selection = select(lock, platform, sdists=True)
    rows = [
        *(_distribution(lock, package) for package in selection.base),
        *_interpreter(lock, selection),
        *map(_conda_row, _conda(lock, platform)),
        *map(_python_row, selection.python),
        *_weights(lock),
    ]
    if isinstance(lock.base, ImageBase):
        rows.insert(0, _image(lock.base, platform))
    return rows


def _conda(lock: Lock, platform: Platform) -> tuple[CondaPackage, ...]:
    select(lock, platform, sdists=True)
    return lock.conda.packages.get(platform.architecture, ()) if lock.conda is not None else ()


def _row(kind: str, name: str, version: str, purl: str, file: File, **more: object) -> dict[str, object]:
    row: dict[str, object] = {
        "kind": kind, "name": name, "version": version, "purl": purl, "file": file.name, "sha256": file.sha256,
        "size": file.size, "location": address(file),
    }  # fmt: skip
    return {**row, **{key: value for key, value in more.items() if value}}


def _conda_row(package: CondaPackage) -> dict[str, object]:
    location = package.file.location
    assert isinstance(location, ChannelPath)
    qualifiers = {
        "build": package.build, "channel": location.channel, "subdir": package.subdir,
        "type": "tar.bz2" if package.file.name.endswith(".bz2") else "conda",
    }  # fmt: skip
    purl = f"pkg:conda/{quote(package.name)}@{quote(package.version)}?{urlencode(qualifiers)}"
    return _row(
        "conda", package.name, package.version, purl, package.file, build=package.build, channel=location.channel,
        depends=list(package.depends), constrains=list(package.constrains),
    )  # fmt: skip


def _python_row(package: PythonFile) -> dict[str, object]:
    purl = f"pkg:pypi/{quote(package.name)}@{quote(package.version)}"
    if isinstance(package.file.location, Commit):  # the index has another of that name, or none
        purl += f"?{urlencode({'vcs_url': address(package.file)})}"
    return _row("python", package.name, package.version, purl, package.file, source=not package.is_wheel)


def _distribution(lock: Lock, package: DistributionPackage) -> dict[str, object]:
    base = lock.base
    distribution = base.distribution if isinstance(base, DistributionBase) else _archive(package.file)
    qualifiers = {"arch": package.architecture}
    if isinstance(base, DistributionBase):
        qualifiers["distro"] = base.suite
    purl = f"pkg:deb/{quote(distribution)}/{quote(package.name)}@{quote(package.version)}?{urlencode(qualifiers)}"
    return _row("distribution", package.name, package.version, purl, package.file)


def _archive(file: File) -> str:
    return file.location.archive.partition("-")[0] if isinstance(file.location, ArchivePath) else "debian"


def _interpreter(lock: Lock, selection: Selection) -> Iterator[dict[str, object]]:
    if lock.interpreter is not None and selection.interpreter is not None:
        version = lock.interpreter.version
        yield _row("interpreter", "cpython", version, f"pkg:generic/cpython@{version}", selection.interpreter)


def _weights(lock: Lock) -> Iterator[dict[str, object]]:
    for weights in lock.weights:
        for one in weights.files:
            name = weights.source
            purl = f"pkg:generic/{quote(name, safe='')}@{quote(weights.commit or one.file.sha256)}"
            yield _row("weights", name, weights.commit, purl, one.file, path=one.path)


def _image(base: ImageBase, platform: Platform) -> dict[str, object]:
    manifest = base.images[platform.architecture].manifest
    return {
        "kind": "image", "name": base.reference, "version": base.digest,
        "purl": f"pkg:oci/{quote(base.reference.rpartition('/')[2].partition(':')[0])}@{quote(base.digest)}",
        "sha256": manifest.digest.partition(":")[2], "size": manifest.size,
    }  # fmt: skip


def address(file: File) -> str:
    """Where it is from, as the lock says it; never a mirror."""
    match file.location:
        case Url(url):
            return url
        case ChannelPath(path=path, address=address):
            return f"{address}/{path}"
        case ArchivePath(archive, path):
            return f"{archive}:{path}"
        case HubPath(kind, repository, commit, path):
            return f"hf:{kind}/{repository}@{commit}/{path}"
        case Found(name):
            return f"find-links:{name}"
        case InProject(path):
            return path
        case Commit(url, commit, folder):
            return f"git+{url}@{commit}" + (f"#subdirectory={folder}" if folder else "")
        case _:
            return file.name
