"""Which Python distributions a conda package brings, whatever it is called itself: pip must know them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from trainload.layers.conda.archive import open_archive
from trainload.layers.tarread import MemberKind
from trainload.limits import DEFAULT, Limits, MiB

_METADATA = re.compile(
    r"(?:lib/python3\.\d+t?/)?site-packages/[^/]+(?:\.dist-info/METADATA|\.egg-info(?:/PKG-INFO)?)"
)
_LARGEST = 16 * MiB


def distributions(stream: BinaryIO, name: str, limits: Limits = DEFAULT) -> Iterator[bytes]:
    """The metadata (core metadata specification) of each, in the archive's order. Raises :class:`LayerError`."""
    archive = open_archive(stream, name, limits)
    reader = archive.content()
    for member in reader:
        if member.kind is MemberKind.FILE and _METADATA.fullmatch(archive.path(member.name)):
            yield reader.content(_LARGEST)
