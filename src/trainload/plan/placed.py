"""Recipes of what lines of a Dockerfile place without being run: packages of any Python of an image, and files."""

from __future__ import annotations

from trainload.lock.model import File
from trainload.values import dataclass


@dataclass(frozen=True, slots=True)
class InstallScheme:
    """Where an installer of one Python puts a wheel (packaging.python.org: recording installed projects).

    Paths of the image without a first slash.
    """

    site: str
    """``usr/local/lib/python3.11/site-packages``: for purelib and platlib alike."""
    scripts: str
    headers: str
    """The folder with a folder for each project."""
    data: str
    interpreter: str
    """Absolute, as scripts name it in their first line."""
    is_venv: bool = False

    @property
    def origin(self) -> str:
        """What ``direct_url.json`` of its wheel says (PEP 610)."""
        return ""


@dataclass(frozen=True, slots=True)
class AddressedScheme(InstallScheme):
    """For one wheel that was asked for by its address."""

    origin: str = ""


@dataclass(frozen=True, slots=True)
class KnownRecipe:
    """Of a layer that was made before: only its key is known, and nothing can be made of it."""

    key: str


@dataclass(frozen=True, slots=True)
class Below:
    """A folder or link that lies below: what an entry of the same path has to keep."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    target: str = ""
    """Of a link: the folder it means, links followed."""


@dataclass(frozen=True, slots=True)
class SiteRecipe:
    """Wheels in the folders of an image's own Python, as its pip would install them."""

    wheels: tuple[File, ...]
    python: str
    """Minor version."""
    scheme: InstallScheme
    uid: int = 0
    gid: int = 0
    removed: tuple[str, ...] = ()
    """Files and folders of the versions that are replaced, sorted."""
    below: tuple[Below, ...] = ()
    """What lies there and does not look like folders of ours, sorted by path."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class AddressedSiteRecipe(SiteRecipe):
    """Wheels some of which were asked for by their address."""

    origins: tuple[tuple[str, str], ...] = ()
    """File name → what ``direct_url.json`` says (PEP 610)."""

    def schemes(self) -> dict[str, InstallScheme]:
        """File name → where it goes, if it is one of those."""
        one = self.scheme
        plain = (one.site, one.scripts, one.headers, one.data, one.interpreter, one.is_venv)
        return {name: AddressedScheme(*plain, origin=origin) for name, origin in self.origins}


@dataclass(frozen=True, slots=True)
class PlacedEntry:
    """Something at a path."""

    path: str
    """Without a first slash."""
    kind: str
    """``file``, ``directory``, ``symlink``, ``whiteout``."""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    target: str = ""
    """Of a link."""
    content: str = ""
    """Of a file: base64."""
    origin: int | None = None
    """Of a file whose content stays: the number of the layer below that has it."""


@dataclass(frozen=True, slots=True)
class FilesRecipe:
    """A few entries: accounts, links, folders, modes and owners."""

    entries: tuple[PlacedEntry, ...]
    """Sorted by path."""
    below: tuple[str, ...] = ()
    """diff_ids, if some content is taken from there."""
    version: int = 1
