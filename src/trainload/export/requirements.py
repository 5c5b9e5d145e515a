"""A lock's Python packages as a requirements file with hashes, for pip (pip: Hash-checking Mode)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trainload.lock.model import File, Found, Lock, PythonPackage, Url
from trainload.lock.select import Selection

_CREDENTIALS = re.compile(r"^(https?://)[^/@\s]+@")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def requirements(lock: Lock, selections: Sequence[Selection], indexes: Sequence[str], *, folder: bool) -> str:
    """The file. ``folder``: all wheels lie in one, so no index and no address is named.

    A build of its own (``2.6.0+cu124``) is named by its address, because the usual index does not have it.
    """
    lines = ["# Written by trainload export dockerfile from pylock.trainload.toml; exact, with hashes."]
    if not folder:
        lines += _indexes(indexes)
    taken = {(item.name, item.version) for selection in selections for item in selection.python}
    for package in sorted(lock.packages, key=lambda one: (one.name, one.version)):
        if (package.name, package.version) not in taken:
            continue
        if "+" in package.version and not folder:
            lines += _addresses(package, selections)
        else:
            marker = f" ; {package.marker}" if package.marker else ""
            hashes = [f"    --hash=sha256:{file.sha256}" for file in _files(package)]
            lines.append(" \\\n".join([f"{package.name}=={package.version}{marker}", *hashes]))
    return "\n".join(lines) + "\n"


def _indexes(indexes: Sequence[str]) -> Iterator[str]:
    """pip's options; the last is the main one, and the empty one pip's own default. Passwords stay here."""
    clean = [_CREDENTIALS.sub(r"\1", url) for url in indexes]
    if clean and clean[-1]:
        yield f"--index-url {clean[-1]}"
    yield from (f"--extra-index-url {url}" for url in clean[:-1] if url)


def _files(package: PythonPackage) -> tuple[File, ...]:
    return (*package.wheels, *((package.sdist,) if package.sdist is not None else ()))


def _addresses(package: PythonPackage, selections: Sequence[Selection]) -> Iterator[str]:
    for selection in selections:
        for item in selection.python:
            location = item.file.location
            if (item.name, item.version) == (package.name, package.version) and isinstance(location, Url):
                machine = _MACHINES[selection.platform.architecture]
                where = f" ; platform_machine == '{machine}'" if len(selections) > 1 else ""
                yield f"{package.name} @ {location.url}{where} \\\n    --hash=sha256:{item.file.sha256}"


def in_folders(selections: Sequence[Selection]) -> tuple[File, ...]:
    """Files that no index has, only a folder of wheels."""
    files = (item.file for selection in selections for item in selection.python)
    return tuple(dict.fromkeys(file for file in files if isinstance(file.location, Found)))


def sources(selections: Sequence[Selection]) -> tuple[str, ...]:
    """Packages that pip will have to build."""
    return tuple(sorted({item.name for one in selections for item in one.python if not item.is_wheel}))
