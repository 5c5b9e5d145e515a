"""Where locked files may be had: a value, and what a project's settings say of it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from trainload.lock.model import ArchivePath, ChannelPath, HubPath
from trainload.system.wire import origin
from trainload.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Places:
    """Where locked files may be had on this machine and from it."""

    folders: tuple[Path, ...] = ()
    """The find-links folders, absolute."""
    mirrors: tuple[str, ...] = ()
    """Mirrors of the package index, ``https://mirror.example/pypi/simple``; asked before the file's own address."""
    interpreters: tuple[str, ...] = ()
    """URL patterns of mirrors of python-build-standalone; asked before the file's own address."""
    archive_urls: Callable[[ArchivePath], Sequence[str]] = lambda location: ()
    """Addresses of a distribution's file, the best first."""
    hub_urls: Callable[[HubPath], Sequence[str]] = lambda location: ()
    """Addresses of a hub's file, the best first."""
    local: Callable[[str], tuple[BinaryIO, str] | None] = lambda path: None
    """A file of the project by its path, and its sha256."""
    channel_urls: Callable[[ChannelPath], Sequence[str]] = lambda location: ()
    """Addresses of a conda package, the best first; ``file:`` ones too."""
    credentials: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    """Origin → the ``Authorization`` header it gets (THREATS D8)."""
    git: Mapping[str, str] = field(default_factory=dict)
    """The environment that git runs in."""
    headers: Callable[[str], Mapping[str, str]] = lambda url: {}
    """What a request to an address carries besides."""


def link_folders(root: Path, find_links: Sequence[str]) -> tuple[Path, ...]:
    """The find-links that are folders, absolute; addresses are left out."""
    return tuple((root / link).resolve() for link in find_links if "://" not in link)


def credentials(indexes: Sequence[str]) -> dict[tuple[str, str, int], str]:
    """The ``Authorization`` header for each origin among ``indexes`` that is written with a user and password."""
    return dict(_credentials(indexes))


def _credentials(indexes: Sequence[str]) -> Iterator[tuple[tuple[str, str, int], str]]:
    for index in indexes:
        parts = urlsplit(index)
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            yield origin(index), f"Basic {base64.b64encode(pair.encode()).decode()}"
