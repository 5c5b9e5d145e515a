"""Whether folders of layers are what unpacking the layers makes, however they came to be."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from trainload.run.unpack import LayerBlob, unpack

Entry = tuple[object, ...]


def entries(folder: Path) -> Mapping[str, Entry]:
    """Everything that can be seen of a tree: kinds, modes, owners, times, attributes, contents, shared files."""
    first: dict[tuple[int, int], str] = {}
    found: dict[str, Entry] = {}
    for place in sorted((folder, *folder.rglob("*"))):
        path, status = str(place.relative_to(folder)), place.lstat()
        kind, whiteout = stat.S_IFMT(status.st_mode), stat.S_ISCHR(status.st_mode)
        names = {
            name: os.getxattr(place, name, follow_symlinks=False)
            for name in os.listxattr(place, follow_symlinks=False)
        }
        content: object = None
        if stat.S_ISREG(kind):
            content = place.read_bytes()
        elif stat.S_ISLNK(kind):
            content = os.readlink(place)  # noqa: PTH115 - the target as it stands
        same = path if stat.S_ISDIR(kind) else first.setdefault((status.st_dev, status.st_ino), path)
        when = None if whiteout or path == "." else status.st_mtime_ns  # nothing says when
        looks = (kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_rdev)
        found[path] = (*looks, when, names, content, same)
    return found


def differences(rootfs: Path, layer: LayerBlob, fresh: Path) -> list[str]:
    """Paths that are otherwise than unpacking ``layer`` below ``fresh``, which is empty, makes them."""
    [real] = unpack([layer], fresh)
    there = rootfs / "layers" / real.folder.parent.name / "fs"
    if not there.is_dir():
        return ["nothing is there"]
    ours, theirs = entries(there), entries(real.folder)
    said = [json.loads((one.parent / "done.json").read_bytes()) for one in (there, real.folder)]
    found = [path for path in sorted({*ours, *theirs}) if ours.get(path) != theirs.get(path)]
    return found + [key for key in ("format", "implicit", "dropped") if said[0][key] != said[1][key]]
