"""Environment variables that a conda package sets on activation: ``etc/conda/env_vars.d/*.json`` (conda 4.8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text
from trainload.layers.conda.archive import open_archive
from trainload.layers.conda.claims import read_documents
from trainload.layers.conda.documents import parse
from trainload.layers.conda.info import read_info
from trainload.layers.tarread import MemberKind
from trainload.limits import DEFAULT, Limits, MiB
from trainload.plan.model import CONDA, CondaFiles

_PATH = re.compile(r"etc/conda/env_vars\.d/[^/]+\.json")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OURS = frozenset({"PATH", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "LD_PRELOAD", "LD_LIBRARY_PATH"})


def activation_variables(stream: BinaryIO, package: CondaFiles, limits: Limits = DEFAULT) -> Mapping[str, str]:
    """Name → value, with the package's own prefix replaced. Raises :class:`LayerError` for what is no variable."""
    archive = open_archive(stream, package.archive.name, limits)
    info = read_info(read_documents(archive), package)
    wanted = {path for path in info.paths if _PATH.fullmatch(path)}
    found: dict[str, str] = {}
    if not wanted:
        return found
    reader = archive.content()
    for member in reader:
        path = archive.path(member.name)
        if path not in wanted or member.kind is not MemberKind.FILE:
            continue
        place = Place(package.archive.name, path)
        for name, value in parse(reader.content(MiB), place).items():
            if not _NAME.fullmatch(name) or name in _OURS or not isinstance(value, str) or "\0" in value:
                raise LayerError(Text("{name} may not be set by a package", name=name[:80]), place=place)
            placeholder = info.paths[path].placeholder
            found[name] = value.replace(placeholder, CONDA) if placeholder else value
    return found
