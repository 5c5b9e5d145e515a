"""What differs between two images: layers, packages, configuration and files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainload.digest import Digest
from trainload.image.contents import Contents
from trainload.image.history import Step, steps
from trainload.image.model import Config, Image
from trainload.image.mounts import mounts_of
from trainload.layers.foreign.installed import Package


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer that one of the images has."""

    step: Step
    in_old: bool
    in_new: bool


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A package that is new, gone or of another version; sizes in bytes, unpacked."""

    manager: str
    name: str
    old: str | None
    """Version; None where it is not there. Several, joined by commas, where an image has several."""
    new: str | None
    old_size: int
    new_size: int


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One value of the configuration, e.g. ``env.PATH``; None where it is not set."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path that is new, gone or different; sizes in bytes, None where it is not there."""

    path: str
    old: int | None
    new: int | None
    owned: bool = False
    """By a package: its version is what changed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two images."""

    layers: tuple[LayerChange, ...]
    packages: tuple[PackageChange, ...]
    settings: tuple[SettingChange, ...]
    files: tuple[FileChange, ...]

    @property
    def code(self) -> tuple[FileChange, ...]:
        """Files that no package brought, and that nobody compiled from others: code, data, what a shell changed."""
        return tuple(one for one in self.files if not one.owned and "/__pycache__/" not in f"/{one.path}/")

    def size(self, *, in_old: bool, in_new: bool) -> int:
        """Bytes of the layers that are there and not there."""
        chosen = [one for one in self.layers if (one.in_old, one.in_new) == (in_old, in_new)]
        return sum(one.step.layer.size for one in chosen if one.step.layer is not None)


def compare(old: Image, new: Image, before: Contents, after: Contents) -> Difference:
    """``before`` and ``after``: what is in ``old`` and ``new``."""
    return Difference(
        tuple(_layers(old, new)),
        tuple(_packages(before, after)),
        tuple(_settings(old, new)),
        tuple(_files(before, after)),
    )


def _layers(old: Image, new: Image) -> Iterator[LayerChange]:
    """What only ``old`` has, then those of ``new``; the same tar stream packed otherwise is another layer."""
    known = _with_layers(old)
    wanted = _with_layers(new)
    for digest, step in known.items():
        if digest not in wanted:
            yield LayerChange(step, in_old=True, in_new=False)
    for digest, step in wanted.items():
        yield LayerChange(step, in_old=digest in known, in_new=True)


def _with_layers(image: Image) -> dict[Digest, Step]:
    return {step.layer.digest: step for step in steps(image) if step.layer is not None}


def _packages(before: Contents, after: Contents) -> Iterator[PackageChange]:
    old, new = _versions(before), _versions(after)
    old_sizes, new_sizes = _sizes(before), _sizes(after)
    for key in sorted(old.keys() | new.keys()):
        versions = old.get(key), new.get(key)
        if versions[0] != versions[1]:
            yield PackageChange(*key, *versions, old_sizes.get(key, 0), new_sizes.get(key, 0))


def _versions(contents: Contents) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], list[str]] = {}
    for package in contents.packages:
        found.setdefault(_key(package), []).append(package.version)
    return {key: ", ".join(sorted(versions)) for key, versions in found.items()}


def _sizes(contents: Contents) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for placed in contents.seen.values():
        if placed.package is not None:
            key = _key(placed.package)
            found[key] = found.get(key, 0) + placed.entry.size
    return found


def _key(package: Package) -> tuple[str, str]:
    return package.manager, package.name


def _settings(old: Image, new: Image) -> Iterator[SettingChange]:
    before, after = ({**_flat(image.config), **_mounts(image)} for image in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield SettingChange(name, before.get(name), after.get(name))


def _mounts(image: Image) -> dict[str, str]:
    return {f"weights at {path}": digest.short for path, digest in mounts_of(image)}


def _flat(config: Config) -> Mapping[str, str]:
    """The configuration as one value per name; what is not set is not there."""
    runtime = config.runtime
    plain = {
        "platform": str(config.platform),
        "user": runtime.user,
        "workdir": runtime.workdir,
        "entrypoint": " ".join(runtime.entrypoint),
        "command": " ".join(runtime.command),
        "stop signal": runtime.stop_signal or "",
        "volumes": " ".join(runtime.volumes),
        "ports": " ".join(runtime.ports),
        **{f"env {name}": value for name, value in runtime.env.items()},
        **{f"label {name}": value for name, value in runtime.labels.items()},
    }
    return {name: value for name, value in plain.items() if value}


def _files(before: Contents, after: Contents) -> Iterator[FileChange]:
    """By kind, content, target and mode."""
    for path in sorted(before.seen.keys() | after.seen.keys()):
        placed = [one for one in (before.seen.get(path), after.seen.get(path)) if one is not None]
        old = before.seen[path].entry if path in before.seen else None
        new = after.seen[path].entry if path in after.seen else None
        looks = [(e.kind, e.sha256, e.target, e.mode) if e else None for e in (old, new)]
        if looks[0] != looks[1]:
            owned = any(one.package is not None for one in placed)
            yield FileChange(path, old.size if old else None, new.size if new else None, owned)
