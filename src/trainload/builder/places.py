"""Where a project's locked files may be had: as it configures, as this machine has it, as the environment says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trainload.events import Reporter
from trainload.lock.model import ArchivePath, ChannelPath, Commit, File, HubPath
from trainload.project.model import Settings
from trainload.project.weights import LocalSource
from trainload.resolve.places import Places, credentials, link_folders
from trainload.tree import Tree
from trainload.values import dataclass

if TYPE_CHECKING:
    from trainload.resolve.archives import Archives
    from trainload.resolve.hub import Endpoints
    from trainload.resolve.local import LocalFiles
    from trainload.resolve.own import Fetch
    from trainload.resolve.weights import Shelf
    from trainload.store.store import Store
    from trainload.system.http import Http


def places(settings: Settings, root: Path, environ: Mapping[str, str], local: LocalFiles | None) -> Places:
    """``local``: the project's own files, where some of them are weights."""
    hub = _HubUrls(settings.mirrors.value.hub, environ)
    usual = Places(
        folders=link_folders(root, settings.find_links.value),
        mirrors=settings.mirrors.value.pypi,
        interpreters=settings.mirrors.value.python,
        credentials=credentials(settings.indexes.value),
        archive_urls=_ArchiveUrls(settings.mirrors.value.apt),
        channel_urls=_ChannelUrls(root, settings.mirrors.value.conda),
        hub_urls=hub,
        git=environ,
        headers=hub.headers,
    )
    if local is None:
        return usual
    from trainload.values import replace

    return replace(usual, local=local.open)


def local_files(settings: Settings, tree: Tree, root: Path, home: Path) -> LocalFiles | None:
    """The project's own files, if some of them are weights. ``home``: where what is known of them is kept."""
    if not any(isinstance(one.source, LocalSource) for one in settings.weights.value):
        return None
    return _local(tree, root, home)


def local_digests(settings: Settings, tree: Tree, root: Path, home: Path) -> Mapping[str, str]:
    """The sha256 of the project's files that are weights, by path."""
    files = local_files(settings, tree, root, home)
    if files is None:
        return {}
    from trainload.resolve.local import digests

    return digests(files, settings.weights.value)


def _local(tree: Tree, root: Path, home: Path) -> LocalFiles:
    from trainload.resolve.cache import FolderCache
    from trainload.resolve.local import LocalFiles

    return LocalFiles(tree, root, FolderCache(home / "cache" / "weights"))


@dataclass(frozen=True, slots=True)
class Ground:
    """The folder that is worked in, and what reaches the world from it."""

    tree: Tree
    root: Path
    environ: Mapping[str, str]
    store: Store
    reporter: Reporter


def shelf(settings: Settings, ground: Ground, http: Http) -> Shelf:
    """Where weights are found, while they are locked."""
    from trainload.resolve.hub import Hub, find_endpoints
    from trainload.resolve.weights import Shelf

    local = _local(ground.tree, ground.root, ground.store.home)
    hub = Hub(http, lambda: find_endpoints(settings.mirrors.value.hub, ground.environ))
    return Shelf(hub, http, ground.store.files, local, ground.reporter)


def repositories(ground: Ground, *, offline: bool) -> Fetch:
    """Commits of git repositories, while they are locked."""

    def fetch(url: str, revision: str, folder: str, known: File | None) -> File:
        from trainload.resolve.repository import Repositories, keep

        with ground.store.writing():
            if known is not None and ground.store.files.find(known.sha256, known.size) is not None:
                return known
            git = Repositories(ground.environ, offline)
            at = Commit(url, git.commit(url, revision), folder)
            return keep(git, at, ground.store.files, ground.reporter)

    return fetch


class _ArchiveUrls:
    """Addresses of distribution files; the machine's configuration is read when the first one is asked for."""

    def __init__(self, mirrors: Sequence[str]) -> None:
        self._mirrors = mirrors

    @cached_property
    def _archives(self) -> Archives:
        from trainload.resolve.archives import find_archives

        return find_archives(self._mirrors)

    def __call__(self, location: ArchivePath) -> Sequence[str]:
        return self._archives.urls(location)


class _ChannelUrls:
    """Addresses of conda packages."""

    def __init__(self, root: Path, mirrors: tuple[str, ...]) -> None:
        self._root = root
        self._mirrors = mirrors

    def __call__(self, location: ChannelPath) -> Sequence[str]:
        from trainload.resolve.conda.channels import Channels

        return Channels(self._root, self._mirrors).urls(location)


class _HubUrls:
    """Addresses of a hub's files; token and client are looked for when the first one is asked for."""

    def __init__(self, mirrors: Sequence[str], environ: Mapping[str, str]) -> None:
        self._mirrors = mirrors
        self._environ = environ

    @cached_property
    def _endpoints(self) -> Endpoints:
        from trainload.resolve.hub import find_endpoints

        return find_endpoints(self._mirrors, self._environ)

    def __call__(self, location: HubPath) -> Sequence[str]:
        return self._endpoints.files(location)

    def headers(self, url: str) -> Mapping[str, str]:
        return self._endpoints.headers(url) if "_endpoints" in self.__dict__ else {}  # no hub was asked for yet
