"""The question that a conda line is for the solver, with everything of the image that decides its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.condahome import Configured, Prefix
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import LockError, ManyErrors, Text
from trainload.lock.model import ChannelPath, CondaPackage, File
from trainload.project.model import ChannelPriority, CondaFile, CondaSettings, Origin
from trainload.resolve.conda.lock import Added, CondaRequest, resolve_added
from trainload.resolve.conda.rattler import UnreachableError, module
from trainload.values import dataclass, replace

_NAMED = 60
_RENEWED = frozenset({"ca-certificates", "certifi", "openssl"})
"""conda: aggressive_update_packages; mamba and micromamba have none."""
_NAME = re.compile(r"^(?:.*::)?([A-Za-z0-9_.-]+)")
_TEXTS = ("name", "version", "build", "channel", "address", "path", "sha256")


@dataclass(frozen=True, slots=True)
class Ask:
    """What a line wants of a prefix."""

    tool: str
    """``conda``, ``mamba`` or ``micromamba``."""
    verb: str
    """For the question's name: ``conda install``."""
    prefix: Prefix
    specs: tuple[str, ...]
    channels: tuple[str, ...]
    """By priority."""
    configured: Configured
    cuda: str = ""
    """CONDA_OVERRIDE_CUDA."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """What conda's solver is given: new ones, what was asked for before, and that nothing goes."""
        names = {_name(spec) for spec in self.specs}
        kept = tuple(spec for spec in self.prefix.requested if _name(spec) not in names)
        pins = tuple(
            f"python={'.'.join(each.version.split('.')[:2])}.*"
            for each in self.prefix.there
            if each.name == "python" and "python" not in names
        )
        return (*self.specs, *kept, *pins, *(each.name for each in self.prefix.there if each.name not in names))

    def question(self, bench: Bench, glibc: tuple[int, int]) -> str:
        """Its name in the lock; everything that decides the answer is in its digest."""
        told = " ".join(self.specs)
        told = told if len(told) <= _NAMED else told[: _NAMED - 1] + "…"
        plain = {
            "wanted": self.wanted, "channels": self.channels, "priority": self.configured.priority,
            "cuda": self.cuda, "prefix": self.prefix.path, "glibc": glibc, "tool": self.tool,
            "there": [[each.name, each.version, each.build] for each in self.prefix.there],
        }  # fmt: skip
        digest = Digest.sha256(canonical_json(plain)).hex[:12]
        return f"{self.verb} {told} ({bench.platform.architecture}, {digest})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the lock says."""

    packages: tuple[CondaPackage, ...]
    python: str
    site_packages: str
    scripts: tuple[str, ...]
    """Packages with scripts that conda runs when it links them."""


def answer(asked: Ask, ground: Ground, bench: Bench) -> Answer:
    """Raises :class:`LockError` when the lock may not change, :class:`Beyond` where nothing is known to fit."""
    glibc = ground.facts.glibc
    if glibc is None:
        raise Beyond(Text("an image whose C library is not known"))

    def ask() -> Mapping[str, object]:
        found = _solved(asked, glibc, ground, bench)
        bench.shop.prefetch([package.file for package in found.packages])
        scripts = [package.name for package in found.packages if _has_scripts(package, bench)]
        python = {"python": found.python, "site-packages": found.site_packages} if found.python else {}
        return {"packages": [_row(package) for package in found.packages], "scripts": scripts, **python}

    return _read(bench.answers.ask(asked.question(bench, glibc), ask))


def _solved(asked: Ask, glibc: tuple[int, int], ground: Ground, bench: Bench) -> Added:
    from trainload.builder.conda import channels

    try:
        module()
    except LockError as error:
        raise Beyond(Text("{reason}: {hint}", reason=error.text, hint=error.hints[0])) from error
    settings = bench.settings.conda
    own = settings.value
    alias = own.channel_alias or asked.configured.alias
    usual = ChannelPriority.FLEXIBLE if settings.origin is Origin.DEFAULT else own.channel_priority
    priority = ChannelPriority(asked.configured.priority or usual)
    conda = channels(bench.shop, bench.root, bench.settings, offline=bench.bases.offline)
    documents = ground.read_all(list(asked.prefix.documents.values()))
    request = CondaRequest(
        environment=CondaFile(channels=asked.channels, specs=asked.wanted),
        settings=CondaSettings(asked.channels, alias, priority),
        glibc={bench.platform: glibc},
        accelerator=f"cu{asked.cuda.replace('.', '')}" if asked.cuda else "cpu",
        channels=conda.channels,
        cache=conda.cache,
        offline=conda.offline,
        installed=tuple(documents[path] for path in sorted(documents)),
        pip_with_python=True,
    )
    renewed = _RENEWED if asked.tool == "conda" else frozenset()
    kept = tuple(
        documents[path]
        for name, path in sorted(asked.prefix.documents.items())
        if name not in renewed and path in documents
    )
    try:
        if kept != request.installed:
            try:
                return resolve_added(replace(request, installed=kept), asked.prefix.there)
            except UnreachableError:
                raise
            except LockError:
                pass  # what is to be renewed is in no channel any more
        return resolve_added(request, asked.prefix.there)
    except UnreachableError:
        raise
    except (LockError, ManyErrors) as error:
        reason = error.got if isinstance(error, LockError) and error.got else error
        raise Beyond(Text("what nothing fits: {reason}", reason=reason)) from error


def _has_scripts(package: CondaPackage, bench: Bench) -> bool:
    from trainload.layers.conda.claims import linking_scripts

    with bench.shop.sources.open(package.file) as stream:
        return bool(linking_scripts(stream, package.file.name, package.name, bench.shop.limits))


def _name(spec: str) -> str:
    match = _NAME.match(spec)
    return match[1].lower() if match is not None else spec


def _row(package: CondaPackage) -> dict[str, object]:
    location = package.file.location
    assert isinstance(location, ChannelPath)
    size = {"size": package.file.size} if package.file.size is not None else {}
    noarch = {"noarch": package.noarch} if package.noarch else {}
    return {
        "name": package.name, "version": package.version, "build": package.build, "channel": location.channel,
        "address": location.address, "path": location.path, "sha256": package.file.sha256, **size, **noarch,
        "depends": list(package.depends), "constrains": list(package.constrains),
    }  # fmt: skip


def _read(found: Mapping[str, object]) -> Answer:
    rows, scripts = found.get("packages"), found.get("scripts")
    python, site = found.get("python", ""), found.get("site-packages", "")
    if not isinstance(rows, list) or not isinstance(scripts, list) or not isinstance(python, str):
        raise _broken()
    return Answer(tuple(map(_package, rows)), python, str(site), tuple(map(str, scripts)))


def _package(row: object) -> CondaPackage:
    """Raises :class:`Beyond` for a row that is none."""
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in _TEXTS):
        raise _broken()
    size, noarch = row.get("size"), row.get("noarch", "")
    lists = [row.get("depends", []), row.get("constrains", [])]
    if not isinstance(size, int | None) or not all(isinstance(each, list) for each in lists):
        raise _broken()
    name, version, build, channel, address, path, sha256 = (row[key] for key in _TEXTS)
    file = File(path.rpartition("/")[2], sha256, size, ChannelPath(channel, path, address))
    depends, constrains = (tuple(map(str, each)) for each in lists)
    return CondaPackage(name, version, build, file, str(noarch), depends, constrains)


def _broken() -> Beyond:
    return Beyond(Text("an answer of the lock is broken"))
