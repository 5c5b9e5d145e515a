"""What an image asks to be mounted into its runs: weights that are artifacts of their own (docs/adr/0031)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from trainload.digest import Digest
from trainload.errors import ImageError, Place, Text
from trainload.image.model import MOUNTS, Image


def mounts_of(image: Image) -> tuple[tuple[str, Digest], ...]:
    """(path, digest of the artifact's manifest). Raises :class:`ImageError` for an annotation of nonsense."""
    return tuple(_asked(image))


def _asked(image: Image) -> Iterator[tuple[str, Digest]]:
    said = image.manifest.annotations.get(MOUNTS)
    if said is None:
        return
    try:
        found = json.loads(said)
        pairs = [(one["path"], Digest.parse(one["digest"])) for one in found]
    except (ValueError, TypeError, KeyError) as error:
        raise _nonsense(image, said) from error
    for path, digest in pairs:
        parts = path.split("/") if isinstance(path, str) else []
        if len(parts) < 2 or parts[0] or not {"", ".", ".."}.isdisjoint(parts[1:]) or "\0" in path:
            raise _nonsense(image, said)
        yield path, digest


def _nonsense(image: Image, said: str) -> ImageError:
    text = "what is mounted into the image cannot be understood"
    return ImageError(Text(text), place=Place(str(image.digest), MOUNTS), got=said[:200])
