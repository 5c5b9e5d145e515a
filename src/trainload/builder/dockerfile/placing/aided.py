"""Commands that run in the sandbox between steps that are placed: by themselves, over what was placed, offline.

Packages whose scripts have to run are chosen and locked as any others are; the image's own apt unpacks and
configures them, so nothing of what it does has to be modelled (docs/adr/0038).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.builder.dockerfile.placing.files import search
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.expand import PROXIES
from trainload.dockerfile.steps import FETCHED, RunProgram
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import RunLine
from trainload.errors import Text
from trainload.lock.model import DistributionPackage, File, Url
from trainload.plan.lines import LineMount, RunRecipe
from trainload.plan.model import Kind, PlannedLayer
from trainload.values import dataclass

_STATES = "var/lib/apt/extended_states"
_AUTO = re.compile(r"^Package: *(\S+)\n(?:.+\n)*?Auto-Installed: *1$", re.MULTILINE)
FOLDER = FETCHED
"""Where apt sees what it is given."""
_WHY = Text("its packages are locked; their scripts run in the sandbox")
_GIVEN = Text("run in the sandbox, offline, with what it fetches by its sha256")
_PROGRAM = Text("run in the sandbox, by itself")
_TITLE = 200
_APT = (
    "apt-get install -y --no-install-recommends --no-remove -o Dir::Etc::preferences=/dev/null"
    " -o Dir::Etc::preferencesparts=/dev/null -o Dpkg::Options::=--force-unsafe-io"
)
"""Everything is chosen: pins and recommendations have been heard. No file is synced by itself: if the machine goes
down, the line is run anew.
"""


@dataclass(frozen=True, slots=True)
class Made:
    """Layers, and what those that are run are given."""

    layers: tuple[PlannedLayer, ...]
    files: tuple[File, ...] = ()
    """Shown in :data:`FOLDER` while a layer is made."""


@dataclass(frozen=True, slots=True)
class Wished:
    """What a line asks apt for."""

    packages: tuple[str, ...]
    """As they are named; empty: what is installed, in newer versions."""
    options: tuple[str, ...] = ()
    """For dpkg: ``--force-confold``."""
    told: str = ""
    """For people, where no packages are named."""
    files: tuple[str, ...] = ()
    """Packages of the image, absolute."""


def bare(wish: str) -> str:
    """``git=1:2*`` and ``git/bookworm`` are ``git``."""
    return re.split("[=/]", wish, maxsplit=1)[0]


def aided(
    wished: Wished,
    packages: Sequence[DistributionPackage],
    scripts: Sequence[str],
    line: RunLine,
    ground: Ground,
) -> Made:
    """``packages``, for ``wished``, by the image's apt; ``scripts``: the packages because of which it has to."""
    files = tuple(package.file for package in packages)
    names = {bare(name) for name in wished.packages}
    status, states = ground.facts.status, (ground.read(_STATES) or b"").decode("utf-8", "replace")
    before = {match[1] for match in _AUTO.finditer(states)}
    auto = sorted(
        package.name for package in packages
        if package.name not in names
        and (f"\nPackage: {package.name}\n" not in f"\n{status}" or package.name in before)
    )  # fmt: skip
    options = "".join(f" -o Dpkg::Options::={option}" for option in wished.options)
    given = [*([f"{FOLDER}/*.deb"] if files else []), *map(shlex.quote, wished.files)]
    script = f"{_APT}{options} {' '.join(given)}" + (
        f" && apt-mark auto {' '.join(auto)} >/dev/null" if auto else ""
    )
    recipe = recipe_of(("/bin/sh", "-c", script), line, ground, (LineMount("bind", FOLDER, _content(files)),))
    count = len(packages) + len(wished.files)
    named = " ".join((*wished.packages, *wished.files)) or wished.told
    title = f"{count} package{'' if count == 1 else 's'} by apt: {named}"
    size = sum(file.size or 0 for file in files)
    return Made((PlannedLayer(Kind.RUN, title[:_TITLE], recipe, size, _why(scripts)),), files)


def program(step: RunProgram, line: RunLine, ground: Ground) -> Made:
    """One command of the line."""
    files = tuple(File(one.name, one.sha256, None, Url(one.address)) for one in step.fetched)
    mounts = (LineMount("bind", FOLDER, _content(files)),) if files else ()
    for one in step.fetched:
        if search(one.tool, one.search, Draft(ground)) is None:
            raise Beyond(Text("the image has no {program}", program=one.tool))
        if one.is_new and ground.find(one.path) is not None:
            raise Beyond(Text("{path}, which is there already", path=one.path))
    recipe = recipe_of(step.argv, line, ground, mounts, dict(step.env))
    title = " ".join(step.argv)[:_TITLE]
    return Made((PlannedLayer(Kind.RUN, title, recipe, None, _GIVEN if files else _PROGRAM),), files)


def _content(files: Sequence[File]) -> str:
    return str(Digest.sha256(canonical_json([[file.name, file.sha256] for file in files])))


def _why(scripts: Sequence[str]) -> Text:
    return Text("its packages are locked; the scripts of {package} run in the sandbox", package=scripts[0]) \
        if len(scripts) == 1 else _WHY  # fmt: skip


def recipe_of(
    argv: tuple[str, ...],
    line: RunLine,
    ground: Ground,
    mounts: tuple[LineMount, ...],
    more: dict[str, str] | None = None,
) -> RunRecipe:
    """``argv`` in the place of ``line``, offline."""
    env = {"DEBIAN_FRONTEND": "noninteractive", **line.env, **(more or {})}
    return RunRecipe(
        below=tuple(str(layer.diff_id) for layer in ground.layers),
        folders=(),
        argv=argv,
        env=tuple(sorted((name, value) for name, value in env.items() if name not in PROXIES)),
        user=line.user,
        workdir=line.workdir,
        mounts=mounts,
    )
