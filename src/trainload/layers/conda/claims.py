"""What conda packages want of an image, from their lists of paths alone: no content is read (THREATS D5)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from trainload.errors import LayerError, Place, Text
from trainload.layers.conda.archive import INFO, Archive, open_archive
from trainload.layers.conda.documents import objects, parse
from trainload.layers.conda.info import FILES, LARGEST, PathKind, read_info
from trainload.layers.conda.place import Scheme, place
from trainload.layers.ownership import Claim
from trainload.layers.place import Refused
from trainload.layers.tarread import MemberKind
from trainload.limits import DEFAULT, Limits
from trainload.plan.model import CondaFiles, CondaRecipe


def conda_claims(
    recipe: CondaRecipe, package: CondaFiles, stream: BinaryIO, limits: Limits = DEFAULT
) -> Mapping[str, Claim]:
    """By image path, without the first slash; equal ones are the same file before its prefix is replaced.

    Raises :class:`LayerError` for a package whose list cannot be read.
    """
    info = read_info(read_documents(open_archive(stream, package.archive.name, limits)), package)
    prefix = recipe.prefix.lstrip("/")
    scheme = Scheme(prefix, recipe.site_packages if info.noarch == "python" else "")
    found: dict[str, Claim] = {}
    for path, entry in info.paths.items():
        where = place(path, scheme)
        if isinstance(where, Refused):
            raise LayerError(
                Text("the package is refused: {reason}", reason=where.reason),
                place=Place(package.archive.name, path),
            )
        if entry.kind is not PathKind.FOLDER:
            # a list from before 2017 tells no content, so a file of one is the same as no other
            digest = entry.sha256 or hashlib.sha256(f"{package.archive.sha256} {path}".encode()).digest()
            found[where] = Claim(digest, entry.size or 0, 0)
    for point in info.entry_points:
        words = f"{point.name} {point.module} {point.attribute}"
        found[f"{prefix}/bin/{point.name}"] = Claim(hashlib.sha256(words.encode()).digest(), 0, 0)
    return found


def read_index(stream: BinaryIO, name: str, limits: Limits = DEFAULT) -> Mapping[str, object]:
    """``info/index.json`` of the package called ``name``. Raises :class:`LayerError`."""
    archive = open_archive(stream, name, limits)
    reader = archive.info()
    for member in reader:
        if archive.path(member.name) == "info/index.json" and member.kind is MemberKind.FILE:
            return parse(reader.content(LARGEST), Place(name, "info/index.json"))
    raise LayerError("the package lacks this file", place=Place(name, "info/index.json"))


def linking_scripts(stream: BinaryIO, name: str, package: str, limits: Limits = DEFAULT) -> tuple[str, ...]:
    """Those that conda runs when it links ``package``, from the archive ``name``. Raises :class:`LayerError`."""
    documents = read_documents(open_archive(stream, name, limits))
    wanted = [f"bin/.{package}-{word}-link.sh" for word in ("pre", "post")]
    if "info/paths.json" in documents:
        rows = objects(parse(documents["info/paths.json"], Place(name)), "paths", Place(name))
        listed = {row.get("_path") for row in rows}
    else:
        listed = set(documents.get("info/files", b"").decode("utf-8", "replace").splitlines())
    return tuple(path for path in wanted if path in listed)


def read_documents(archive: Archive) -> Mapping[str, bytes]:
    """The documents of ``info/`` by their paths. Raises :class:`LayerError`."""
    documents: dict[str, bytes] = {}
    reader = archive.info()
    for member in reader:
        path = archive.path(member.name)
        if path in FILES and member.kind is MemberKind.FILE:
            documents[path] = reader.content(LARGEST)
        elif archive.is_one and not f"{path}/".startswith(INFO) and "info/paths.json" in documents:
            break  # conda-build puts info first; whoever writes the layer looks at all of it
    return documents


def clashes(claims: Sequence[tuple[str, Mapping[str, Claim]]]) -> dict[tuple[str, str], list[str]]:
    """Paths that two packages have with different content: (the hidden one, the one that counts) → paths."""
    owners: dict[str, tuple[str, Claim]] = {}
    found: dict[tuple[str, str], list[str]] = {}
    for name, its_claims in claims:
        for path, claim in its_claims.items():
            first = owners.get(path)
            if first is not None and first[1] != claim:
                found.setdefault((first[0], name), []).append(path)
            owners[path] = name, claim
    return found
