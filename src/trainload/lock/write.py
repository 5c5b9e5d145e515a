"""Writes ``pylock.trainload.toml``: sorted, one file per line, so that a git diff reads like a list of changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

from trainload.lock.model import (
    ArchivePath,
    Base,
    BaseImage,
    Build,
    ChannelPath,
    Commit,
    DistributionPackage,
    File,
    Found,
    HubPath,
    ImageBase,
    InProject,
    Lock,
    Made,
    PythonPackage,
    ReleaseFile,
    StandalonePython,
    Url,
    Weights,
)
from trainload.lock.read import VERSION
from trainload.lock.words import inline, listed, text

_HEAD = """\
# Made by `trainload lock`: the exact bytes of everything that goes in. Keep it in version control.
# Its Python part is a standard lock (PEP 751) for the targets under `environments`.
"""
_TARGET = "sys_platform == 'linux' and implementation_name == 'cpython' and platform_machine == '{machine}'"


def dumps(lock: Lock) -> bytes:
    """The lock as TOML (PEP 751); equal locks give equal bytes."""
    lines = [_HEAD]
    lines.append('lock-version = "1.0"')
    machines = [target.machine for target in sorted(lock.platforms)]
    lines.extend(listed("environments", (text(_TARGET.format(machine=machine)) for machine in machines)))
    if lock.python:
        lines.append(f"requires-python = {text(f'=={lock.python}.*')}")
    lines.append('created-by = "trainload"')
    if not lock.packages:
        lines.append("packages = []")
    for package in sorted(lock.packages, key=lambda package: (package.name, package.version)):
        lines.extend(_package(package))
    lines.extend(["", "[tool.trainload]", f"version = {VERSION}"])
    for key, value in (("inputs", lock.inputs), ("python", lock.python), ("accelerator", lock.accelerator)):
        lines += [f"{key} = {text(value)}"] if value else []
    lines.append(f"platforms = [{', '.join(text(str(target)) for target in sorted(lock.platforms))}]")
    if lock.unhashed:
        lines.append("# nobody told the hashes of these; they are of what came when they were locked")
        lines.extend(listed("unhashed", (text(name) for name in sorted(lock.unhashed))))
    lines.extend(base_lines(lock.base, "base"))
    if lock.build_base is not None:
        lines.extend(base_lines(lock.build_base, "build-base"))
    for build in lock.builds:
        lines.extend(_build(build))
    if lock.conda is not None:
        from trainload.lock.writeconda import written

        lines.extend(written(lock.conda))
    if lock.interpreter is not None:
        lines.extend(_interpreter(lock.interpreter))
    for weights in lock.weights:
        lines.extend(weights_lines(weights))
    return ("\n".join(lines) + "\n").encode()


def _build(build: Build) -> Iterator[str]:
    table = "tool.trainload.builds"
    yield from ("", f"[[{table}]]", f"name = {text(build.name)}", f"version = {text(build.version)}")
    for package in sorted(build.packages, key=lambda package: (package.name, package.version)):
        yield from _package(package, f"{table}.packages")


def _package(package: PythonPackage, table: str = "packages") -> Iterator[str]:
    yield from ("", f"[[{table}]]", f"name = {text(package.name)}", f"version = {text(package.version)}")
    if package.marker is not None:
        yield f"marker = {text(package.marker)}"
    if package.wheels:
        yield from listed("wheels", (_file(wheel) for wheel in sorted(package.wheels)))
    if package.sdist is not None and isinstance(package.sdist.location, Commit):
        yield from _repository(package.sdist, package.sdist.location)
    elif package.sdist is not None:
        yield f"sdist = {_file(package.sdist)}"


def _repository(file: File, at: Commit) -> Iterator[str]:
    """PEP 751 § packages.vcs, and of our own the archive that the commit is made into."""
    vcs = {
        "type": "git", "url": at.url, "requested-revision": at.revision, "commit-id": at.commit,
        "subdirectory": at.subdirectory,
    }  # fmt: skip
    yield f"vcs = {inline({key: value for key, value in vcs.items() if value})}"
    own = {"name": file.name, **({} if file.size is None else {"size": file.size}), "sha256": file.sha256}
    yield f"tool = {inline({'trainload': {'archive': own}})}"


def _file(file: File) -> str:
    pairs: dict[str, object] = {}
    match file.location:
        case Url(url):
            if unquote(urlsplit(url).path).rpartition("/")[2] != file.name:
                pairs["name"] = file.name
            pairs["url"] = url
        case Found(name):
            pairs["path"] = name
        case ArchivePath() | Made() | HubPath() | InProject() | ChannelPath() | Commit():
            raise AssertionError("a Python file of a lock comes from an index or a find-links folder")
    if file.size is not None:
        pairs["size"] = file.size
    return inline({**pairs, "hashes": {"sha256": file.sha256}})


def base_lines(base: Base, table: str) -> Iterator[str]:
    """The table ``tool.trainload.TABLE``, a line at a time."""
    yield from ("", f"[tool.trainload.{table}]")
    if isinstance(base, ImageBase):
        yield from _image_base(base)
        return
    yield 'kind = "distribution"'
    for key, value in (("distribution", base.distribution), ("suite", base.suite), ("profile", base.profile)):
        yield f"{key} = {text(value)}"
    yield from listed("requested", (text(name) for name in base.requested))
    if base.system:
        yield from listed("system", (text(name) for name in base.system))
    if base.essential:
        yield "essential = true"
    if base.python:
        yield f"python = {text(base.python)}"
    yield f"glibc = {text(_version(base.glibc))}"
    yield from _releases(base.releases)
    yield from ("", f"[tool.trainload.{table}.packages]")
    for architecture, packages in sorted(base.packages.items()):
        yield from listed(architecture, (_distribution_package(package) for package in sorted(packages)))


def _version(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _releases(releases: Iterable[ReleaseFile]) -> Iterator[str]:
    rows = (
        {"archive": item.archive, "suite": item.suite, "date": item.date, "sha256": item.sha256}
        for item in releases
    )
    yield from listed("releases", (inline(row) for row in rows))


def _image_base(base: ImageBase) -> Iterator[str]:
    yield 'kind = "image"'
    for key, value in (("reference", base.reference), ("digest", base.digest), ("profile", base.profile)):
        if value:
            yield f"{key} = {text(value)}"
    if base.requested:
        yield from listed("requested", (text(name) for name in base.requested))
    if base.releases:
        yield from _releases(base.releases)
    for architecture, image in sorted(base.images.items()):
        yield from ("", f"[tool.trainload.base.images.{architecture}]")
        yield from _base_image(image)


def _base_image(image: BaseImage) -> Iterator[str]:
    for key, blob in (("manifest", image.manifest), ("config", image.config)):
        yield f"{key} = {inline({'digest': blob.digest, 'size': blob.size})}"
    for key, value in (("distribution", image.distribution), ("suite", image.suite), ("init", image.init)):
        if value:
            yield f"{key} = {text(value)}"
    yield f"glibc = {text(_version(image.glibc))}"
    python = image.python
    if python is not None:
        told: dict[str, object] = {"path": python.path, "version": python.version}
        if python.is_ours:
            told["venv"] = True
        yield f"python = {inline(told)}"
        if python.folders:
            yield from listed("folders", map(text, python.folders))
        yield from listed("installed", (text(f"{name}=={version}") for name, version in python.installed))
    for key, lines in zip(("passwd", "group"), image.accounts, strict=True):
        yield from listed(key, map(text, lines))
    if image.packages:
        yield from listed("packages", (_distribution_package(package) for package in sorted(image.packages)))


def _distribution_package(package: DistributionPackage) -> str:
    location = package.file.location
    assert isinstance(location, ArchivePath)
    return inline(
        {
            "name": package.name,
            "version": package.version,
            "architecture": package.architecture,
            "archive": location.archive,
            "path": location.path,
            "size": package.file.size,
            "sha256": package.file.sha256,
            "installed-size": package.installed_size,
        }
    )


def _interpreter(interpreter: StandalonePython) -> Iterator[str]:
    yield from ("", "[tool.trainload.interpreter]", f"version = {text(interpreter.version)}")
    yield from ("", "[tool.trainload.interpreter.archives]")
    for architecture, archive in sorted(interpreter.archives.items()):
        yield f"{architecture} = {_file(archive)}"


def weights_lines(weights: Weights) -> Iterator[str]:
    """An entry of weights: files by their paths; where they lie follows from the source and the commit."""
    yield from ("", "[[tool.trainload.weights]]", f"source = {text(weights.source)}")
    if weights.commit:
        yield f"commit = {text(weights.commit)}"
    for key, patterns in (("include", weights.include), ("exclude", weights.exclude)):
        if patterns:
            yield from listed(key, map(text, patterns))
    rows = (
        {
            "path": one.path,
            **({"size": one.file.size} if one.file.size is not None else {}),
            "sha256": one.file.sha256,
            **({"blob": one.blob} if one.blob else {}),
        }
        for one in sorted(weights.files)
    )
    yield from listed("files", map(inline, rows))
