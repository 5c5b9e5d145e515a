"""Python distributions of conda packages, looked up in the packages themselves and remembered by their bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import SEEK_END
from pathlib import Path
from typing import TYPE_CHECKING

from trainload.digest import Digest, canonical_json
from trainload.errors import Text
from trainload.layers.model import Sources
from trainload.limits import DEFAULT, Limits
from trainload.lock.found import Installed
from trainload.lock.model import CondaPackage, File
from trainload.lock.source import headers
from trainload.plan.model import CONDA, CondaFiles, CondaRecipe, Plan
from trainload.resolve.cache import FolderCache
from trainload.resolve.conda.request import Conda
from trainload.resolve.conda.taken import About

if TYPE_CHECKING:
    from trainload.builder.workshop import Workshop
    from trainload.project.model import Settings

_FORMAT = 3
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Distributions:
    """Looks into conda packages, which are fetched for it."""

    sources: Sources
    prefetch: Callable[[Sequence[File]], object]
    memory: FolderCache
    limits: Limits = DEFAULT

    def __call__(self, packages: Sequence[CondaPackage], /) -> tuple[Installed, ...]:
        """Every distribution of ``packages``, sorted by name. Raises :class:`FetchError`, :class:`LayerError`."""
        candidates = [package for package in packages if _may_have(package)]
        known = {package: self._known(package) for package in candidates}
        self.prefetch([package.file for package, found in known.items() if found is None])
        found: dict[str, Installed] = {}
        for package, installed in known.items():
            for each in installed if installed is not None else self._look(package):
                found[each.name] = each
        return tuple(found[name] for name in sorted(found))

    def _known(self, package: CondaPackage) -> tuple[Installed, ...] | None:
        data = self.memory.get(self._key(package))
        if data is None:
            return None
        try:
            return tuple(_installed(row) for row in json.loads(data))
        except (ValueError, TypeError, KeyError):
            return None  # a file that a power cut left half

    def _look(self, package: CondaPackage) -> tuple[Installed, ...]:
        from trainload.layers.conda.distributions import distributions

        with self.sources.open(package.file) as stream:
            found = tuple(
                each
                for data in distributions(stream, package.file.name, self.limits)
                if (each := _of_metadata(data)) is not None
            )
        self.memory.put(self._key(package), json.dumps([asdict(each) for each in found]).encode())
        return found

    def _key(self, package: CondaPackage) -> str:
        return f"{package.file.sha256}-{_FORMAT}"


@dataclass(frozen=True, slots=True)
class Abouts:
    """What conda packages say of themselves, for locks that do not say it."""

    sources: Sources
    prefetch: Callable[[Sequence[File]], object]
    memory: FolderCache
    limits: Limits = DEFAULT

    def __call__(self, files: Sequence[File], /) -> dict[str, About]:
        """By sha256. Raises :class:`FetchError`, :class:`LayerError`."""
        known = {file: self._known(file) for file in dict.fromkeys(files)}
        self.prefetch([file for file, about in known.items() if about is None])
        return {file.sha256: about or self._look(file) for file, about in known.items()}

    def _known(self, file: File) -> About | None:
        data = self.memory.get(self._key(file))
        if data is None:
            return None
        try:
            return _about(json.loads(data))
        except (ValueError, TypeError, AttributeError):
            return None  # a file that a power cut left half

    def _look(self, file: File) -> About:
        from trainload.layers.conda.claims import read_index

        with self.sources.open(file) as stream:
            about = _about(read_index(stream, file.name, self.limits))
            about = replace(about, size=stream.seek(0, SEEK_END))
        self.memory.put(self._key(file), json.dumps(asdict(about)).encode())
        return about

    def _key(self, file: File) -> str:
        return f"about-{file.sha256}-{_FORMAT}"


def _about(values: Mapping[str, object]) -> About:
    size = values.get("size")
    noarch, folder = values.get("noarch"), values.get("python_site_packages_path") or values.get("site_packages")
    return About(
        depends=_texts(values.get("depends")),
        constrains=_texts(values.get("constrains")),
        noarch=noarch if noarch in ("python", "generic") else "generic" if noarch else "",
        site_packages=folder if isinstance(folder, str) else "",
        size=size if isinstance(size, int) else None,
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True)
class Activation:
    """What conda packages set on activation becomes the image's; looked up once for a set of packages."""

    sources: Sources
    prefetch: Callable[[Sequence[File]], object]
    memory: FolderCache
    limits: Limits = DEFAULT

    def known(self, plan: Plan) -> Plan:
        """``plan`` with the variables, if they were looked up before; nothing is fetched."""
        packages = _packages_of(plan)
        data = self.memory.get(_key_of(packages)) if packages else None
        return _activated(plan, json.loads(data)) if data is not None else plan

    def __call__(self, plan: Plan) -> Plan:
        """``plan`` with the variables. Raises :class:`FetchError`, :class:`LayerError`."""
        packages = _packages_of(plan)
        if not packages or self.memory.get(_key_of(packages)) is not None:
            return self.known(plan)
        from trainload.layers.conda.activation import activated, brought, first_line

        self.prefetch([package.archive for package in packages])
        found = []
        for package in packages:
            with self.sources.open(package.archive) as stream:
                found.append(brought(stream, package, self.limits))
        variables, untold = activated(found)
        told = {
            "variables": variables,
            "scripts": [[one.package, one.path, one.because] for one in untold],
            "linking": [
                [one.package, path, first_line(text or "")] for one in found for path, text in one.linking.items()
            ],
        }
        self.memory.put(_key_of(packages), json.dumps(told, sort_keys=True).encode())
        return _activated(plan, told)


def channels(shop: Workshop, root: Path, settings: Settings, *, offline: bool) -> Conda:
    """Conda channels as the project in ``root`` has them, for locking."""
    from trainload.resolve.conda.channels import Channels

    memory = _memory(shop)
    return Conda(
        Channels(root, settings.mirrors.value.conda),
        shop.store.home / "cache" / "conda",
        Distributions(shop.sources, shop.prefetch, memory, shop.limits),
        Abouts(shop.sources, shop.prefetch, memory, shop.limits),
        offline,
    )


def activation(shop: Workshop) -> Activation:
    return Activation(shop.sources, shop.prefetch, _memory(shop), shop.limits)


def _memory(shop: Workshop) -> FolderCache:
    return FolderCache(shop.store.home / "cache" / "packages")


def _packages_of(plan: Plan) -> list[CondaFiles]:
    """By name: of two packages that set one variable the later counts, as conda sorts the files."""
    recipes = [layer.recipe for layer in plan.layers if isinstance(layer.recipe, CondaRecipe)]
    return sorted((package for recipe in recipes for package in recipe.packages), key=lambda each: each.name)


def _key_of(packages: Sequence[CondaFiles]) -> str:
    told = {"activation": [package.archive.sha256 for package in packages], "format": _FORMAT}
    return Digest.sha256(canonical_json(told)).hex


def _activated(plan: Plan, told: Mapping[str, object]) -> Plan:
    """Variables under what the environment's own file and the user set; scripts that do not count are named."""
    variables, scripts, linking = (told.get(key) for key in ("variables", "scripts", "linking"))
    if not isinstance(variables, dict) or not isinstance(scripts, list) or not isinstance(linking, list):
        return plan
    own = {str(name): str(value) for name, value in variables.items()}
    text = (
        "{package} has {file}, which conda runs on activation; it is not run, and its {part} is not understood: set"
        " what it sets under variables, or begin the command with: . {prefix}/{file}"
    )
    warnings = [
        Text(text, package=str(package), file=str(path), part=str(because), prefix=CONDA)
        for package, path, because in scripts
    ]
    text = (
        "{package} has {file}, which conda runs when it places it ({part}); it is not run: where that is needed, a"
        " Dockerfile with conda env create -f environment.yml runs it"
    )
    warnings += [
        Text(text, package=str(package), file=str(path), part=str(line)[:_SHOWN] or "…")
        for package, path, line in linking
    ]
    new = tuple(warning for warning in warnings if warning not in plan.warnings)
    config = replace(plan.config, env={**own, **plan.config.env})
    return replace(plan, config=config, warnings=(*plan.warnings, *new))


def _may_have(package: CondaPackage) -> bool:
    """Whether Python can import anything of it: then it depends on Python, or is for any."""
    return package.noarch == "python" or any(
        depend.split(maxsplit=1)[0] in ("python", "python_abi") for depend in package.depends if depend.strip()
    )


def _of_metadata(data: bytes) -> Installed | None:
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    fields = headers(data)
    name, version = (next(iter(fields.get(key, ())), "") for key in ("name", "version"))
    try:
        Version(version)
    except InvalidVersion:
        return None  # uv could not compare it either
    return Installed(
        str(canonicalize_name(name)), version, tuple(fields.get("requires-dist", ())),
        tuple(fields.get("provides-extra", ())),
    )  # fmt: skip


def _installed(row: dict[str, object]) -> Installed:
    requires, extras = row["requires"], row["extras"]
    if not isinstance(requires, list) or not isinstance(extras, list):
        raise TypeError(row)
    return Installed(str(row["name"]), str(row["version"]), tuple(map(str, requires)), tuple(map(str, extras)))
