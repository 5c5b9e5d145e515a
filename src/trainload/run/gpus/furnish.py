"""What a grant changes in a root file system before its program starts: links, and the dynamic linker's cache.

Every path is resolved inside (THREATS L12); of the root only a run's own upper layer is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cmp_to_key
from pathlib import Path

from trainload.errors import RunError, Text
from trainload.layers.debian import ldcache
from trainload.platform import Platform
from trainload.run.gpus.model import Grant, Link
from trainload.run.gpus.soname import soname
from trainload.run.inside import Inside
from trainload.run.model import Mount
from trainload.values import dataclass, field

CACHE = "/etc/ld.so.cache"
COMPAT = "/usr/local/cuda/compat"
"""Where CUDA images keep a newer driver's user-space part (CUDA forward compatibility)."""
_LOADERS = {"amd64": "/lib64/ld-linux-x86-64.so.2", "arm64": "/lib/ld-linux-aarch64.so.1"}
_LIBRARY = re.compile(r"lib.*\.so(?:\..*)?")


@dataclass(frozen=True, slots=True)
class Furnished:
    """What else the container needs then."""

    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def loader() -> str:
    """glibc's dynamic linker, as every image for this machine has it."""
    return _LOADERS[Platform.host().architecture]


def furnish(inside: Inside, grant: Grant, mounts: Sequence[Mount], folder: Path) -> Furnished:
    """``mounts``: the grant's, with resolved targets; ``folder``: of the run, for the new cache."""
    for link in grant.links:
        if not link.path.startswith("/dev/"):
            make_link(inside, link)
    found = _libraries(inside, grant, mounts)
    there = {mount.target for mount in mounts}
    for place, names in found.items():
        for name, file in names.items():  # ldconfig makes these too
            if name != file.name and f"{inside.resolve(place)}/{name}" not in there:
                make_link(inside, Link(f"{place}/{name}", file.name))
    newer = _compat(inside, grant)
    places = [*newer, *grant.folders]
    if not places:
        return Furnished()
    cache = _cache(inside, found, newer)
    if cache is None:  # musl, or a format that is best left alone
        return Furnished(env={"LD_LIBRARY_PATH": ":".join(places)})
    (folder / "ld.so.cache").write_bytes(cache)
    (folder / "ld.so.cache").chmod(0o644)
    return Furnished(mounts=(Mount(str(folder / "ld.so.cache"), inside.make_file(CACHE), read_only=True),))


def make_link(inside: Inside, link: Link) -> None:
    """As ``ln -sf``; a folder of the image stays. Raises :class:`RunError`."""
    parent, _, name = link.path.rpartition("/")
    place = inside.at(inside.make_folder(parent or "/")) / name
    if place.is_dir() and not place.is_symlink():
        return
    try:
        place.unlink(missing_ok=True)
        place.symlink_to(link.target)
    except OSError as error:
        text = "{path} cannot be made in the container: {reason}"
        raise RunError(Text(text, path=link.path, reason=error.strerror)) from error


def _libraries(inside: Inside, grant: Grant, mounts: Sequence[Mount]) -> dict[str, dict[str, Path]]:
    """Folder inside → soname → name of the file there, of all libraries that were mounted."""
    architecture = Platform.host().architecture
    found: dict[str, dict[str, Path]] = {}
    for folder in grant.folders:
        resolved = inside.resolve(folder)
        names = found.setdefault(folder, {})
        for mount in mounts:
            parent, _, name = mount.target.rpartition("/")
            if parent == resolved and _LIBRARY.fullmatch(name):
                names.setdefault(soname(Path(mount.source), architecture) or name, Path(folder, name))
            elif resolved.startswith(mount.target + "/") and Path(mount.source).is_dir():
                below = Path(mount.source, resolved[len(mount.target) + 1 :])
                for file in sorted(below.glob("lib*.so*")):
                    if (called := soname(file, architecture)) is not None:
                        names.setdefault(called, Path(folder, called))
    return found


def _compat(inside: Inside, grant: Grant) -> tuple[str, ...]:
    """The image's own driver library goes first when it is newer than the host's (toolkit: enable-cuda-compat)."""
    ours = _major(grant.driver or "")
    place = inside.resolve(COMPAT)
    versions = [_major(path.name.removeprefix("libcuda.so.")) for path in inside.at(place).glob("libcuda.so.*.*")]
    return (COMPAT,) if ours is not None and any(v is not None and v > ours for v in versions) else ()


def _major(version: str) -> int | None:
    found = re.match(r"[0-9]{1,6}", version)
    return int(found[0]) if found else None


def _cache(inside: Inside, found: Mapping[str, Mapping[str, Path]], first: Sequence[str]) -> bytes | None:
    """The image's cache with these libraries before its own of the same names."""
    architecture = Platform.host().architecture
    path = inside.at(inside.resolve(CACHE))
    if not inside.at(inside.resolve(loader())).is_file():
        return None
    old = ldcache.decode(path.read_bytes()) if path.is_file() else []
    if old is None:
        return None
    flags = ldcache.FLAGS[architecture]
    new = {name: f"{folder}/{name}" for folder in reversed([*found]) for name in found[folder]}
    for folder in first:
        for file in sorted(inside.at(inside.resolve(folder)).glob("lib*.so*")):
            if (called := soname(file, architecture)) is not None:
                new[called] = f"{folder}/{called}"
    kept = [entry for entry in old if entry.soname not in new or entry.flags != flags]
    entries = [ldcache.Cached(name, place, flags) for name, place in new.items()]
    return ldcache.encode(sorted([*entries, *kept], key=cmp_to_key(ldcache.newest_first)))
