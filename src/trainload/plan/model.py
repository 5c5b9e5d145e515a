"""The plan: ordered layers and the image config, a complete value before any work starts.

Each layer names its recipe: all inputs that decide its bytes. The recipe's key is the cache key, so two
projects, machines or people with the same inputs have the same layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from trainload.digest import Digest
from trainload.errors import Text
from trainload.lock.model import DistributionPackage, File
from trainload.plan.lines import CopyRecipe, RunRecipe
from trainload.plan.placed import Below, FilesRecipe, KnownRecipe, SiteRecipe
from trainload.platform import Platform
from trainload.values import dataclass

VENV = "/opt/venv"
"""The virtual environment all Python packages go into, so that their layers do not depend on the base."""

CONDA = "/opt/conda"
"""The prefix of conda packages; where conda's own images have it, too."""


class Kind(StrEnum):
    """A layer's kind; the order of the members is the order of the layers (engines share prefixes).

    With a CONFIGURED layer, USER lies before it: its scripts may add accounts of their own.
    """

    BASE = "base"
    SYSTEM = "system"
    CONFIGURED = "configured"
    INTERPRETER = "python"
    ENVIRONMENT = "venv"
    CONDA = "conda"
    PACKAGE = "package"
    SMALL = "packages"
    BYTECODE = "bytecode"
    USER = "user"
    WEIGHTS = "weights"
    TOOLS = "tools"
    CODE = "code"
    COPIED = "copied"
    """Of a Dockerfile, whose lines decide the order."""
    RUN = "run"


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """Distribution packages placed without running their scripts."""

    distribution: str
    suite: str
    profile: str
    architecture: str
    requested: tuple[str, ...]
    packages: tuple[DistributionPackage, ...]
    version: int = 2


@dataclass(frozen=True, slots=True)
class BareBaseRecipe(BaseRecipe):
    """The same with the distribution's own users alone: a Dockerfile makes its own, by any name and number."""


@dataclass(frozen=True, slots=True)
class ImageLayerRecipe:
    """A layer of a base image in a registry, taken as it is."""

    digest: str
    """Of the blob."""
    size: int
    """Bytes of the blob."""
    diff_id: str
    media_type: str
    """In OCI's words; Docker's layers are the same bytes."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class SystemRecipe:
    """Distribution packages placed over a base image, without running their scripts."""

    below: tuple[str, ...]
    """diff_ids of the image's layers: its folders, links, accounts and dpkg's database decide how."""
    suite: str
    profile: str
    architecture: str
    packages: tuple[DistributionPackage, ...]
    uid: int | None
    """A numeric user that is made known too, unless the base knows it."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class ConfiguredRecipe:
    """What ``dpkg --configure`` changes when it runs, over the base, the scripts that are not modelled."""

    base: BaseRecipe
    """Its packages bring the scripts and the programs that run."""
    uid: int | None = None
    """Of the user layer between the base and this one, if there is one."""
    version: int = 1
    """Of what counts as modelled, of how scripts are run, and of what is kept of their changes."""


@dataclass(frozen=True, slots=True)
class InterpreterRecipe:
    """A python-build-standalone archive placed at ``/opt/python``."""

    archive: File
    python: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class EnvironmentRecipe:
    """The skeleton of the virtual environment: ``pyvenv.cfg`` and links to the interpreter."""

    python: str
    """Full or minor version written to ``pyvenv.cfg``."""
    interpreter: str
    """Absolute path in the image, e.g. ``/usr/bin/python3.11``."""
    system_site_packages: bool = False
    folders: tuple[str, ...] = ()
    """Absolute folders whose packages it finds too, after its own."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class WheelsRecipe:
    """Wheels spliced into the virtual environment, in the order given (canonical: by name)."""

    wheels: tuple[File, ...]
    python: str
    """Minor version: it names the site-packages folder."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class PrefixWheelsRecipe(WheelsRecipe):
    """Wheels placed beside conda packages, by the conda environment's own Python."""

    prefix: str = CONDA


@dataclass(frozen=True, slots=True)
class CondaFiles:
    """One conda package, and what the record of it in ``conda-meta`` says."""

    name: str
    release: str
    """The package's version."""
    build: str
    archive: File
    channel: str
    url: str
    """Its canonical address, whichever mirror it came from."""
    depends: tuple[str, ...]
    constrains: tuple[str, ...]
    noarch: str = ""


@dataclass(frozen=True, slots=True)
class CondaRecipe:
    """Conda packages placed in their prefix, in the order given (canonical: by name)."""

    packages: tuple[CondaFiles, ...]
    site_packages: str = ""
    """Below the prefix; empty where nothing depends on it, so that the layer is the same for every Python."""
    python: str = ""
    """Minor version, for scripts of ``noarch: python`` packages; empty as above."""
    prefix: str = CONDA
    version: int = 2


@dataclass(frozen=True, slots=True)
class PrefixCondaRecipe(CondaRecipe):
    """Conda packages in a prefix of an image that belongs to somebody, or has folders and links of its own."""

    uid: int = 0
    gid: int = 0
    below: tuple[Below, ...] = ()
    """What lies there and does not look like folders of ours, sorted by path."""


PATHS = "__editable__.project.pth"
"""In ``site-packages``; as setuptools names the file of a project that is installed in place."""


@dataclass(frozen=True, slots=True)
class CondaEnvironmentRecipe:
    """What makes the prefix an environment that conda knows: its history and its variables."""

    requested: tuple[str, ...]
    packages: tuple[str, ...]
    """``channel::name-version-build``, as conda's history has them; sorted."""
    variables: tuple[tuple[str, str], ...] = ()
    paths: tuple[str, ...] = ()
    """Folders of the image that Python imports from, as ``pip install -e`` has them in a ``.pth`` file."""
    site_packages: str = ""
    """Below the prefix; only where there are ``paths``."""
    prefix: str = CONDA
    version: int = 1


@dataclass(frozen=True, slots=True)
class SourceRecipe:
    """The files of an sdist, where they are built; a layer of the place it is built in, never of an image."""

    sdist: File
    version: int = 1


@dataclass(frozen=True, slots=True)
class BuildRecipe:
    """A wheel that is built from source in the sandbox; no layer, but what goes into one."""

    name: str
    """Normalised project name (PEP 503)."""
    release: str
    """The project's version."""
    source: SourceRecipe
    base: BaseRecipe
    interpreter: InterpreterRecipe | None
    environment: EnvironmentRecipe
    tools: WheelsRecipe
    """What builds it, in the virtual environment."""
    version: int = 1
    """Of how it is built, and of what is kept of the result."""


@dataclass(frozen=True, slots=True)
class CondaBuildRecipe(BuildRecipe):
    """One that is built beside conda packages, by their Python, in a virtual environment of its own."""

    conda: tuple[CondaRecipe, ...] = ()


@dataclass(frozen=True, slots=True)
class UnbuiltRecipe:
    """A :class:`WheelsRecipe` some of whose wheels are still to be built: their bytes are not known yet."""

    wheels: tuple[File, ...]
    builds: tuple[BuildRecipe, ...]
    python: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class BytecodeRecipe:
    """Unchecked-hash pycs of the layers below, compiled by the image's own interpreter in one process."""

    below: tuple[Digest, ...]
    """diff_ids of all layers below; known once they are made."""
    python: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class AccountFiles:
    """Lines of ``/etc/passwd`` and ``/etc/group`` of a base image."""

    passwd: tuple[str, ...]
    group: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserRecipe:
    """``/etc/passwd`` and ``/etc/group`` with a line for a numeric user the base does not know."""

    uid: int
    base: BaseRecipe | AccountFiles
    """What makes, or is, the files this layer adds a line to."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class CodeRecipe:
    """The project's own files; its bytes are the content, so its key needs the files' digests."""

    workdir: str
    owner: int
    content: str
    """sha256 over the sorted (path, mode, target or sha256) of the files."""
    version: int = 1


@dataclass(frozen=True, slots=True, order=True)
class PlacedFile:
    """A file of the outside world at its place in the image."""

    path: str
    """Without the first slash."""
    file: File


@dataclass(frozen=True, slots=True)
class WeightsRecipe:
    """Files of models as they are, root's and nobody's to change."""

    files: tuple[PlacedFile, ...]
    """Sorted by path."""
    links: tuple[tuple[str, str], ...] = ()
    """(path, target) of symbolic links, sorted."""
    texts: tuple[tuple[str, str], ...] = ()
    """(path, content) of small files, sorted."""
    shared: tuple[str, ...] = ()
    """Folders that programs may put more into, as into /tmp."""
    version: int = 1


Recipe = (
    BaseRecipe | ImageLayerRecipe | SystemRecipe | ConfiguredRecipe | InterpreterRecipe | EnvironmentRecipe
    | WheelsRecipe | UnbuiltRecipe | CondaRecipe | CondaEnvironmentRecipe | BytecodeRecipe | UserRecipe
    | CodeRecipe | SourceRecipe | WeightsRecipe | CopyRecipe | RunRecipe | SiteRecipe | FilesRecipe
    | KnownRecipe
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """One layer to be made or found."""

    kind: Kind
    title: str
    """What the image's history says: ``torch 2.13.0+cpu``."""
    recipe: Recipe
    size: int | None
    """Bytes of its inputs, about what the layer weighs; None when unknown."""
    why: Text


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """``Healthcheck`` of Docker's image config; times in nanoseconds, 0: the engine's default."""

    test: tuple[str, ...]
    """``("CMD", word, …)``, ``("CMD-SHELL", text)`` or ``("NONE",)``."""
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """The image config's ``config`` part (OCI image-spec config.md)."""

    user: str
    workdir: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    stop_signal: str | None = None
    volumes: tuple[str, ...] = ()
    """Folders an engine keeps outside of the container, sorted."""
    ports: tuple[str, ...] = ()
    """``8888/tcp``: what programs inside listen on, sorted; published only when asked."""
    health: HealthConfig | None = None
    shell: tuple[str, ...] = ()
    """What runs the shell form of a Dockerfile's commands; empty: ``/bin/sh -c``."""
    onbuild: tuple[str, ...] = ()
    """Instructions of a Dockerfile for images that are built on this one."""
    author: str = ""


@dataclass(frozen=True, slots=True)
class BaseDocument:
    """A base image as its manifest and config describe it, for one platform."""

    name: str
    """As it was written."""
    digest: str
    """Of its manifest."""
    layers: tuple[ImageLayerRecipe, ...]
    config: RuntimeConfig
    history: tuple[Mapping[str, object], ...] = ()
    """Entries as the image specification writes them (config.md § history); empty when they fit no layers."""


@dataclass(frozen=True, slots=True)
class PlannedMount:
    """Weights that are no part of the image: an artifact of their own, seen at ``path`` when it runs."""

    title: str
    path: str
    """Of the folder or file, without the first slash."""
    layers: tuple[PlannedLayer, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an image will be, complete."""

    name: str
    platform: Platform
    layers: tuple[PlannedLayer, ...]
    config: RuntimeConfig
    warnings: tuple[Text, ...] = ()
    base: BaseDocument | None = None
    """The image whose layers come first, if the base is one."""
    mounts: tuple[PlannedMount, ...] = ()
    """Sorted by path."""
