"""The lock: exact bytes of everything that goes in. A pure value; ``toml.py`` reads and writes it.

On disk it is ``pylock.trainload.toml``, a standard PEP 751 lock whose ``[tool.trainload]`` table holds the
rest. Files are located so that any mirror can serve them: an index URL, a path inside a distribution's
archive, or a name to be found in the user's find-links folders; never by a path of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainload.platform import Platform
from trainload.values import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Url:
    """A canonical address; mirrors may stand in at fetch time."""

    url: str


@dataclass(frozen=True, slots=True, order=True)
class ArchivePath:
    """A path inside a distribution's archive, e.g. ``debian`` and ``pool/main/t/tini/tini_0.19.0-1_amd64.deb``."""

    archive: str
    """``debian``, ``debian-security``, ``ubuntu``, ``ubuntu-ports``."""
    path: str


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A file of that name in one of the find-links folders."""

    name: str


@dataclass(frozen=True, slots=True, order=True)
class Made:
    """A file that was built here from source; never in a lock, which holds what it is made of."""

    name: str


@dataclass(frozen=True, slots=True, order=True)
class HubPath:
    """A file in a repository of a hub; any mirror of the hub may serve it."""

    kind: str
    """``models`` or ``datasets``."""
    repository: str
    """``org/name``, or ``name``."""
    commit: str
    """40 lower-case hexadecimal digits."""
    path: str
    """Inside the repository."""


@dataclass(frozen=True, slots=True, order=True)
class InProject:
    """A file of the project by its path."""

    path: str


@dataclass(frozen=True, slots=True, order=True)
class ChannelPath:
    """A path inside a conda channel, e.g. ``conda-forge`` and ``linux-64/zlib-1.3.1-hb9d3cd8_2.conda``."""

    channel: str
    """As people name it: ``conda-forge``, or its address where it has no name."""
    path: str
    address: str = ""
    """The channel's own address, without a slash at its end; mirrors may stand in at fetch time."""


@dataclass(frozen=True, slots=True, order=True)
class Commit:
    """A commit of a git repository, or a folder of it; its file is an archive, the same wherever it is made."""

    url: str
    """``https://…``; git's own configuration may lead it elsewhere."""
    commit: str
    """40 lower-case hexadecimal digits."""
    subdirectory: str = ""
    revision: str = ""
    """What was asked for, if it was not the commit itself."""


Location = Url | ArchivePath | Found | Made | HubPath | InProject | ChannelPath | Commit


@dataclass(frozen=True, slots=True, order=True)
class File:
    """One file of the outside world by its exact bytes."""

    name: str
    """Its file name; no ``/``, no control characters (THREATS F04)."""
    sha256: str
    """64 lower-case hexadecimal digits; mandatory (THREATS F01)."""
    size: int | None
    """Bytes; None when the index does not say."""
    location: Location


@dataclass(frozen=True, slots=True)
class PythonPackage:
    """One version of a Python project and the files of it that a target of the lock can take.

    A name occurs twice only when architectures need different versions; the markers then exclude each other.
    """

    name: str
    """Normalised project name (PEP 503)."""
    version: str
    wheels: tuple[File, ...] = ()
    """Sorted by file name; only what fits the lock's Python and glibc on some architecture."""
    sdist: File | None = None
    """Kept only when some architecture has no wheel."""
    marker: str | None = None
    """None: every target takes it; else mostly ``platform_machine == 'x86_64'``."""


UNKNOWN = "0+unknown"
"""Stands for the version of a source that only its build tells, until it has told."""


@dataclass(frozen=True, slots=True)
class Build:
    """What building one sdist takes, exactly (PEP 518), so that it needs no network."""

    name: str
    """Of the package, normalised."""
    version: str
    packages: tuple[PythonPackage, ...]
    """What its build environment holds; wheels only. Sorted by name, then version."""


@dataclass(frozen=True, slots=True, order=True)
class PythonFile:
    """A distribution file chosen for one target."""

    name: str
    """Normalised project name (PEP 503)."""
    version: str
    file: File
    is_wheel: bool = True


@dataclass(frozen=True, slots=True, order=True)
class DistributionPackage:
    """One binary package of a distribution."""

    name: str
    version: str
    architecture: str
    """The package's own: ``amd64``, ``arm64`` or ``all``."""
    file: File
    installed_size: int
    """Bytes, as the distribution says (its Installed-Size × 1024)."""


@dataclass(frozen=True, slots=True, order=True)
class ReleaseFile:
    """A signed index the packages were taken from."""

    archive: str
    suite: str
    """``bookworm``, ``bookworm-security`` …"""
    date: str
    """Its Date field, ISO 8601 UTC; a later lock refuses an older one (THREATS D12)."""
    sha256: str


@dataclass(frozen=True, slots=True)
class DistributionBase:
    """A base composed of distribution packages, per architecture, in dpkg's unpack order by name."""

    distribution: str
    """``debian`` or ``ubuntu``."""
    suite: str
    profile: str
    requested: tuple[str, ...]
    """What was asked for: the profile's packages and the user's ``system`` list."""
    releases: tuple[ReleaseFile, ...]
    packages: Mapping[str, tuple[DistributionPackage, ...]]
    """OCI architecture → packages sorted by name."""
    python: str
    """The distribution's own Python, ``3.11``; empty: none goes in, because the packages bring one."""
    glibc: tuple[int, int]
    """What manylinux tags the base can hold."""
    system: tuple[str, ...] = ()
    """The user's part of ``requested``, as it was written."""
    essential: bool = False
    """Every Essential package is asked for, because maintainer scripts are to run (Debian policy 3.8)."""


@dataclass(frozen=True, slots=True, order=True)
class Blob:
    """A document in a registry."""

    digest: str
    """``sha256:`` and 64 lower-case hexadecimal digits."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class BasePython:
    """The interpreter of a base image that the packages go with."""

    path: str
    """Absolute: ``/usr/bin/python3.10``."""
    version: str
    """Full where the image tells it, else the minor one."""
    installed: tuple[tuple[str, str], ...] = ()
    """(name, version) of the distributions it has, sorted; what the project needs of them is not placed again."""
    folders: tuple[str, ...] = ()
    """Absolute folders with packages that our virtual environment would not find by itself."""
    is_ours: bool = False
    """It is the virtual environment at ``/opt/venv`` itself."""

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image for one platform, and what a build must know of it without looking inside."""

    manifest: Blob
    config: Blob
    distribution: str
    """``ID`` of os-release: ``ubuntu``; empty when there is none."""
    suite: str
    """``jammy``; empty when the image does not say."""
    glibc: tuple[int, int]
    python: BasePython | None = None
    """None: the image has none that fits; then packages or a standalone archive bring one."""
    init: str = ""
    """Path of an init such as tini, or empty."""
    accounts: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Lines of ``/etc/passwd`` and ``/etc/group``; never of shadow."""
    packages: tuple[DistributionPackage, ...] = ()
    """Distribution packages placed on top, sorted by name: ``system``, a Python, and what they need."""


@dataclass(frozen=True, slots=True)
class ImageBase:
    """A base image in a registry, by digest."""

    reference: str
    """As it was written: ``nvidia/cuda:12.4.1-runtime-ubuntu22.04``."""
    digest: str
    """What that meant when it was locked: of an index or a manifest."""
    images: Mapping[str, BaseImage]
    """OCI architecture → the image for it."""
    requested: tuple[str, ...] = ()
    """The packages that were asked for on top: a Python, if the image has none, and ``system``."""
    profile: str = ""
    """Which files of packages on top are left out; empty without such packages."""
    releases: tuple[ReleaseFile, ...] = ()
    """Where packages on top were taken from."""


Base = DistributionBase | ImageBase


def glibc_of(base: Base, architecture: str) -> tuple[int, int]:
    """The C library of ``base`` on one architecture, which it has."""
    return base.glibc if isinstance(base, DistributionBase) else base.images[architecture].glibc


def packages_of(base: Base) -> Mapping[str, tuple[DistributionPackage, ...]]:
    """OCI architecture → the distribution packages we place, sorted by name."""
    if isinstance(base, DistributionBase):
        return base.packages
    return {architecture: image.packages for architecture, image in base.images.items()}


@dataclass(frozen=True, slots=True)
class StandalonePython:
    """A python-build-standalone ``install_only`` archive per architecture, for a Python the base lacks."""

    version: str
    """Full: ``3.12.8``."""
    archives: Mapping[str, File]


@dataclass(frozen=True, slots=True, order=True)
class WeightFile:
    """One file of ``weights``."""

    path: str
    """Inside its repository; of local files inside the project."""
    file: File
    blob: str = ""
    """git's name of it (sha1), for files that a hub keeps in git itself; the others are known by their sha256."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One entry of the project's ``weights``, exactly."""

    source: str
    """As the project names it, in its one spelling: ``hf://org/model@main``."""
    files: tuple[WeightFile, ...]
    """Sorted by path."""
    commit: str = ""
    """What the revision of a hub's repository meant when it was locked."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """Which files of it were asked for."""


@dataclass(frozen=True, slots=True, order=True)
class CondaPackage:
    """One conda package, as the channel's index describes it."""

    name: str
    version: str
    build: str
    """Its build string: ``py312h2ec8cdc_0``."""
    file: File
    noarch: str = ""
    """``python`` or ``generic``; empty: it is of one platform."""
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()

    @property
    def subdir(self) -> str:
        """``linux-64``, ``linux-aarch64`` or ``noarch``."""
        assert isinstance(self.file.location, ChannelPath)
        return self.file.location.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class CondaEnvironment:
    """What goes into the conda prefix, for every architecture."""

    requested: tuple[str, ...]
    """The specifications that were solved, as written; empty where a lock of the user's was taken over."""
    channels: tuple[tuple[str, str], ...]
    """(name, address) by priority."""
    packages: Mapping[str, tuple[CondaPackage, ...]]
    """OCI architecture → packages sorted by name."""
    python: str
    """Full version of the environment's Python; empty where it has none."""
    site_packages: str
    """Below the prefix: ``lib/python3.12/site-packages``; empty without a Python."""
    installed: tuple[tuple[str, str], ...] = ()
    """(name, version) of the Python distributions they bring, sorted; looked up only where pip adds to them."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Everything that goes in, for every target platform at once."""

    inputs: str
    """sha256 (64 hexadecimal digits) of all that was asked for; differs from the project's: the lock is stale."""
    python: str
    """Minor version of the image's interpreter, ``3.11``."""
    packages: tuple[PythonPackage, ...]
    """Sorted by name, then version."""
    base: Base
    platforms: tuple[Platform, ...]
    interpreter: StandalonePython | None = None
    accelerator: str = "cpu"
    unhashed: tuple[str, ...] = ()
    """Names of Python files whose sha256 is of what came when they were locked, because nobody told one (F01)."""
    builds: tuple[Build, ...] = ()
    """For every sdist among ``packages``; sorted by name, then version."""
    build_base: DistributionBase | None = None
    """Where packages are built, if that takes more than the base has (``build.packages``)."""
    weights: tuple[Weights, ...] = ()
    """In the order in which the project names them."""
    conda: CondaEnvironment | None = None
    """Brings the Python then; ``packages`` go into its prefix."""
