"""How an image's name is written into archives and layouts, and read from those that other programs wrote.

Three programs, three conventions: containerd and Docker 25 read ``io.containerd.image.name``, a full name with a
tag; skopeo and umoci ``org.opencontainers.image.ref.name``, which Docker fills with the tag alone; Docker before 25
the ``RepoTags`` of ``manifest.json``. Who reads a name without a tag takes it for ``latest``, so for these readers
we write it out; the name as it was given is kept beside it, and that one we read.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainload.errors import ImageError
from trainload.reference import Reference

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
_UNTAGGED = "latest"


def tagged(name: str) -> Reference | None:
    """``name`` as Docker reads it; None when it is no name, or one with a digest, for Docker."""
    try:
        reference = Reference.parse(name)
    except ImageError:
        return None
    if reference.digest is not None:
        return None
    return reference if reference.tag else reference.with_tag(_UNTAGGED)


def name_annotations(name: str | None) -> dict[str, str]:
    """What the descriptor of an image called ``name`` carries."""
    if name is None:
        return {}
    reference = tagged(name)
    return {REF_NAME: name, **({CONTAINERD_NAME: reference.full} if reference else {})}


def name_from(found: Mapping[str, str]) -> str | None:
    """The name in a descriptor's annotations, whoever wrote them. Raises :class:`ImageError` for what is none."""
    short, full = found.get(REF_NAME), found.get(CONTAINERD_NAME)
    if full is None:
        return None if short is None else str(Reference.parse(short))
    whole = Reference.parse(full)
    if short is not None:
        meant = tagged(short)
        if meant is not None and meant.full == whole.full:
            return str(Reference.parse(short))
    return str(whole)
