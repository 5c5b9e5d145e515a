"""Sizes that an index does not tell: plain pages of links have none, so each file's server is asked.

A size is a convenience ("+41 MB"); which bytes go in is the hash's business. A server that does not answer
leaves the size open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from trainload.errors import FetchError
from trainload.lock.model import File, Lock, PythonPackage, Url
from trainload.system.http import Http, Retry, origin
from trainload.values import replace

_AT_ONCE = 4
"""Requests without a body. A server of Python's own (``http.server``) keeps five waiting: who comes after these
tries again after a second."""
_TIMEOUT = 5.0  # seconds; a size is not worth more


def fill_sizes(
    packages: tuple[PythonPackage, ...],
    http: Http,
    *,
    previous: Lock | None = None,
    credentials: Mapping[tuple[str, str, int], str] | None = None,
) -> tuple[PythonPackage, ...]:
    """The packages with the sizes that were missing, from the last lock or from the files' own servers."""
    known = {file.sha256: file.size for file in _files(previous.packages)} if previous is not None else {}
    quick = replace(http, retry=Retry(tries=1), connect_timeout=_TIMEOUT, stall_timeout=_TIMEOUT)
    secrets = credentials or {}

    def ask(file: File) -> tuple[str, int | None]:
        assert isinstance(file.location, Url)
        url = file.location.url
        secret = secrets.get(origin(url))
        try:
            return file.sha256, quick.size(url, {"Authorization": secret} if secret is not None else None)
        except FetchError:
            return file.sha256, None

    missing = {
        file.sha256: file for file in _files(packages) if file.size is None and known.get(file.sha256) is None
    }
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        known.update(pool.map(ask, [file for file in missing.values() if isinstance(file.location, Url)]))

    def told(file: File) -> File:
        return file if file.size is not None else replace(file, size=known.get(file.sha256))

    return tuple(
        replace(
            package,
            wheels=tuple(told(wheel) for wheel in package.wheels),
            sdist=told(package.sdist) if package.sdist is not None else None,
        )
        for package in packages
    )


def _files(packages: tuple[PythonPackage, ...]) -> Iterator[File]:
    for package in packages:
        yield from package.wheels
        if package.sdist is not None:
            yield package.sdist
