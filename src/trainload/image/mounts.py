"""What an image asks to be mounted into its runs: weights that are artifacts of their own (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainload.digest import Digest
from trainload.errors import ImageError, Place, Text
from trainload.image.model import MOUNTS, Image
from trainload.nesting import loads


def mounts_of(image: Image) -> tuple[tuple[str, Digest], ...]:
    """(path, digest of the artifact's manifest). Raises :class:`ImageError` for an annotation of nonsense."""
    return mounts_said(image.manifest.annotations, str(image.digest))


def mounts_said(annotations: Mapping[str, str], name: str) -> tuple[tuple[str, Digest], ...]:
    """As :func:`mounts_of`, of the annotations of the manifest that is called ``name``."""
    said = annotations.get(MOUNTS)
    return () if said is None else tuple(_asked(said, name))


def _asked(said: str, name: str) -> Iterator[tuple[str, Digest]]:
    try:
        found: Any = loads(said)
        pairs = [(one["path"], Digest.parse(one["digest"])) for one in found]
    except (ValueError, TypeError, KeyError) as error:
        raise _nonsense(said, name) from error
    for path, digest in pairs:
        parts = path.split("/") if isinstance(path, str) else []
        if len(parts) < 2 or parts[0] or not {"", ".", ".."}.isdisjoint(parts[1:]) or "\0" in path:
            raise _nonsense(said, name)
        yield path, digest


def _nonsense(said: str, name: str) -> ImageError:
    text = "what is mounted into the image cannot be understood"
    return ImageError(Text(text), place=Place(name, MOUNTS), got=said[:200])
