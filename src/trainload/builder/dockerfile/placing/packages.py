"""``apt-get install`` as a layer: what apt would choose with what lies below, placed as dpkg would place it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.aided import Made, Wished, aided, bare
from trainload.builder.dockerfile.placing.archives import Known, known, profile, recommends
from trainload.builder.dockerfile.placing.deciding import decided
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.steps import InstallDistribution, UpgradeDistribution
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import RunLine
from trainload.errors import LockError, Text
from trainload.layers.debian.database import names
from trainload.layers.debian.deb import open_deb
from trainload.layers.debian.scripts import needs_configuration
from trainload.layers.tarread import MemberKind
from trainload.lock.distribution.installed import installed
from trainload.lock.model import ArchivePath, DistributionPackage, File, Url
from trainload.plan.model import Kind, PlannedLayer, SystemRecipe
from trainload.resolve.distribution import resolve_on_top, resolve_upgrade
from trainload.resolve.indexes import Services

_WHY = Text("its packages are placed as apt and dpkg would")
_STATES = "var/lib/apt/extended_states"
_NAMED = 60


def place_packages(step: InstallDistribution, line: RunLine, ground: Ground, bench: Bench) -> Made:
    """What ``step`` leaves. Raises :class:`Beyond` where apt would have to choose.

    Raises :class:`LockError` when the lock may not change, :class:`FetchError` for archives that cannot be reached.
    """
    here = known(ground, bench.platform.architecture)
    with_more = recommends(ground, step.recommends)
    packages, scripts = _packages(step, here, line, ground, bench, with_more=with_more)
    scripts = (*scripts, *_answered(packages, ground))
    if not packages and not step.files:
        return Made(())
    if scripts or step.files:
        return aided(Wished(step.packages, step.options, files=step.files), packages, scripts, line, ground)
    count, suite = len(packages), here.suite
    recipe = SystemRecipe(
        below=tuple(str(layer.diff_id) for layer in ground.layers),
        suite=suite.name,
        profile=profile(ground),
        architecture=bench.platform.architecture,
        packages=packages,
        uid=None,
    )
    size = sum(package.file.size or 0 for package in packages)
    title = f"{count} {suite.distribution} package{'' if count == 1 else 's'}: {' '.join(step.packages)}"
    placed = PlannedLayer(Kind.SYSTEM, title[:200], recipe, size, _WHY)
    return Made((placed, *_states(step, packages, ground)))


def place_upgrade(step: UpgradeDistribution, line: RunLine, ground: Ground, bench: Bench) -> Made:
    """The newest versions of all that is installed, by the image's own apt from locked files. Raises as above."""
    here = known(ground, bench.platform.architecture)
    if (ground.read("etc/machine-id") or b"").strip() and here.suite.distribution == "ubuntu":
        raise Beyond(Text("an Ubuntu with a machine-id, which decides what updates come in phases"))
    if any(re.search(r"^Status: *hold ", text, re.MULTILINE) for text in ground.facts.status.split("\n\n")):
        raise Beyond(Text("packages that are held"))
    what = "apt-get dist-upgrade" if step.whole else "apt-get upgrade"
    asked = _Question(what, (), recommends(ground, None) if step.whole else None, upgrade=True)
    packages = _asked(asked, here, line, ground, bench)[0]
    if not packages:
        return Made(())
    names = tuple(package.name for package in packages)
    return aided(Wished((), step.options, what), packages, names, line, ground)


def _states(
    step: InstallDistribution, packages: Sequence[DistributionPackage], ground: Ground
) -> tuple[PlannedLayer, ...]:
    """apt's note of what came only because something needs it: ``apt-get autoremove`` of a later line reads it."""
    wished = {bare(name) for name in step.packages}
    native = next((package.architecture for package in packages if package.architecture != "all"), "amd64")
    draft = Draft(ground)
    text = draft.text(_STATES) or ""
    for package in packages:
        if package.name not in wished:
            text += f"Package: {package.name}\nArchitecture: {native}\nAuto-Installed: 1\n\n"
    if draft.find("var/lib/apt") is None or text == (draft.text(_STATES) or ""):
        return ()
    draft.write(_STATES, text)
    recipe = draft.recipe()
    assert recipe is not None
    return (PlannedLayer(Kind.SYSTEM, "apt's states", recipe, len(text), _WHY),)


def _packages(
    step: InstallDistribution, here: Known, line: RunLine, ground: Ground, bench: Bench, *, with_more: bool
) -> tuple[tuple[DistributionPackage, ...], tuple[str, ...]]:
    """The answer of the lock, or a new one; and the packages whose scripts have to run."""
    told = " ".join((*step.packages, *step.files))
    told = told if len(told) <= _NAMED else told[: _NAMED - 1] + "…"
    return _asked(
        _Question(f"apt-get install {told}", step.packages, with_more, files=step.files), here, line, ground, bench
    )


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of the archives."""

    what: str
    """For people: ``apt-get install git``."""
    names: tuple[str, ...]
    recommends: bool | None
    """None: nothing new may come."""
    upgrade: bool = False
    """Of all that is installed, not of ``names``."""
    files: tuple[str, ...] = ()
    """Packages of the image."""

    @property
    def words(self) -> tuple[str, ...]:
        """Of apt-get's command line."""
        plain = "--install-recommends" if self.recommends else "--no-install-recommends"
        return (
            (self.what.removeprefix("apt-get "), plain)
            if self.upgrade
            else ("install", plain, *self.names, *self.files)
        )


def _asked(
    asked: _Question, here: Known, line: RunLine, ground: Ground, bench: Bench
) -> tuple[tuple[DistributionPackage, ...], tuple[str, ...]]:
    status, arch, suite = ground.facts.status, bench.platform.architecture, here.suite.name
    plain: dict[str, object] = {
        "packages": asked.names, "recommends": asked.recommends, "suite": suite,
        "installed": sorted(f"{name} {found.version}" for name, found in installed(status, arch).items()),
        "beside": here.digest(),
    }  # fmt: skip
    if asked.files:
        plain["files"] = [_identity(file, ground) for file in asked.files]
    question = f"{asked.what} ({suite} {arch}, {Digest.sha256(canonical_json(plain)).hex[:12]})"

    def answer() -> Mapping[str, object]:
        services = bench.services().distribution(())
        if asked.files:
            why = Text("the package {name}", name=asked.files[0])
            packages = decided(asked.words, here, line, ground, bench, why)
            return {"packages": [_row(package) for package in packages], "scripts": []}
        try:
            packages = _resolved(asked, here, {arch: status}, services)[arch]
        except LockError as error:
            if error.retryable:
                raise
            why = Text("what apt itself has to decide: {reason}", reason=error.text)
            packages = decided(asked.words, here, line, ground, bench, why)
        return {"packages": [_row(package) for package in packages], "scripts": _scripts(packages, status, bench)}

    answered = bench.answers.ask(question, answer)
    rows, scripts = answered.get("packages"), answered.get("scripts")
    if not isinstance(rows, list) or not isinstance(scripts, list):
        raise Beyond(Text("an answer of the lock is broken"))
    return tuple(_package(row) for row in rows), tuple(map(str, scripts))


def _identity(path: str, ground: Ground) -> list[str]:
    """Of a file in the image: the layer that has it, and how large it is there."""
    seen = ground.find(ground.real(path.strip("/")))
    if seen is None or seen.kind is not MemberKind.FILE:
        raise Beyond(Text("the file {path}, which is not there", path=path))
    return [path, str(ground.layers[seen.layer].diff_id), str(seen.size)]


def _answered(packages: Sequence[DistributionPackage], ground: Ground) -> Iterator[str]:
    """Packages whose scripts are modelled as if nobody had answered their questions: the time zone, debconf(7)."""
    known = (ground.read("var/cache/debconf/config.dat") or b"").decode("utf-8", "replace")
    there = {name for name in ("etc/localtime", "etc/timezone") if ground.at(name) is not None}
    for package in packages:
        if f"\nName: {package.name}/" in f"\n{known}" or (package.name == "tzdata" and there):
            yield package.name


def _resolved(
    asked: _Question, here: Known, status: Mapping[str, str], services: Services
) -> Mapping[str, tuple[DistributionPackage, ...]]:
    suite, setup = here.suite.name, here.setup
    if asked.upgrade:
        return resolve_upgrade(suite, status, services, recommends=asked.recommends, setup=setup)
    return resolve_on_top(suite, asked.names, status, services, like_apt=asked.recommends, setup=setup)[0]


def _scripts(packages: Sequence[DistributionPackage], status: str, bench: Bench) -> list[str]:
    """Packages whose scripts do something that is not modelled, or take the place of an older version."""
    installed = set(names(status.encode()))
    bench.shop.prefetch([package.file for package in packages])
    found = []
    for package in packages:
        if package.name in installed:
            found.append(package.name)  # its older version's scripts would run
            continue
        with bench.shop.sources.open(package.file) as file:
            members = open_deb(file, package.file.name, limits=bench.shop.limits).members
        found += [each.package for each in needs_configuration([(package.name, members)])]
    return found


def _row(package: DistributionPackage) -> dict[str, object]:
    location = package.file.location
    assert isinstance(location, ArchivePath | Url)
    place = {"url": location.url} if isinstance(location, Url) else {
        "archive": location.archive, "path": location.path,
    }  # fmt: skip
    return {
        "name": package.name, "version": package.version, "architecture": package.architecture, **place,
        "sha256": package.file.sha256, "size": package.file.size or 0, "installed-size": package.installed_size,
    }  # fmt: skip


def _package(row: object) -> DistributionPackage:
    """Raises :class:`Beyond` for a row that is none."""
    own = isinstance(row, dict) and "url" in row
    texts = ("name", "version", "architecture", "sha256", *(("url",) if own else ("archive", "path")))
    numbers = ("size", "installed-size")
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in texts):
        raise Beyond(Text("an answer of the lock is broken"))
    if not all(isinstance(row.get(key), int) for key in numbers):
        raise Beyond(Text("an answer of the lock is broken"))
    location = Url(row["url"]) if own else ArchivePath(row["archive"], row["path"])
    name = (unquote(row["url"]) if own else row["path"]).rpartition("/")[2]
    file = File(name, row["sha256"], row["size"], location)
    return DistributionPackage(row["name"], row["version"], row["architecture"], file, row["installed-size"])
