"""``conda-meta/NAME-VERSION-BUILD.json``: what conda, mamba and rattler know of a placed package.

Of the fields they write those are left out that are of the machine that installed it (docs/guides/conda.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainload.layers.conda.info import Info, PathEntry
from trainload.plan.model import CondaFiles

_OF_INDEX = (
    "arch", "build_number", "features", "license", "license_family", "platform", "python_site_packages_path",
    "subdir", "timestamp", "track_features",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Linked:
    """A file that lies in the prefix."""

    path: str
    """Below the prefix."""
    entry: PathEntry | None
    """None: we made it, an entry point."""
    sha256: bytes
    """Of what lies there; of a link's own target."""
    size: int | None = None
    """Where it differs from what the package says."""


def record(package: CondaFiles, info: Info, linked: Sequence[Linked]) -> bytes:
    """The document; equal packages in equal prefixes give equal bytes."""
    ordered = sorted(linked, key=lambda each: each.path.split("/"))
    values: dict[str, object] = {
        **{key: info.index[key] for key in _OF_INDEX if info.index.get(key) is not None},
        "build": package.build,
        "channel": package.channel,
        "constrains": list(package.constrains),
        "depends": list(package.depends),
        "files": [each.path for each in ordered],
        "fn": package.archive.name,
        "link": {"source": "", "type": 1},
        "name": package.name,
        "paths_data": {"paths": [_path(each) for each in ordered], "paths_version": 1},
        "requested_specs": [],
        "sha256": package.archive.sha256,
        "url": package.url,
        "version": package.release,
    }
    if package.noarch:
        values["noarch"] = package.noarch
    if package.archive.size is not None:
        values["size"] = package.archive.size
    return (json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode(
        "utf-8", "surrogateescape"
    )


def _path(linked: Linked) -> Mapping[str, object]:
    entry = linked.entry
    if entry is None:
        return {
            "_path": linked.path, "path_type": "unix_python_entry_point", "sha256": linked.sha256.hex(),
            "size_in_bytes": linked.size,
        }  # fmt: skip
    found: dict[str, object] = {"_path": linked.path, "path_type": str(entry.kind)}
    if entry.sha256 is not None:
        found["sha256"] = entry.sha256.hex()
    if linked.size is not None or entry.size is not None:
        found["size_in_bytes"] = entry.size if linked.size is None else linked.size
    if linked.sha256 != entry.sha256:
        found["sha256_in_prefix"] = linked.sha256.hex()
    if entry.placeholder is not None:
        found |= {"prefix_placeholder": entry.placeholder, "file_mode": "binary" if entry.binary else "text"}
    return found
