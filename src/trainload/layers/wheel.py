"""A wheel as files of the image: read, checked and placed; nothing of it is ever run (THREATS D7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from trainload.errors import Place, Text
from trainload.layers.entrypoints import read_entry_points
from trainload.layers.place import Scheme
from trainload.layers.record import read_record
from trainload.layers.wheeltree import METADATA_LIMIT, Archive, Item, tree
from trainload.layers.zip import Member, read_bytes, read_members
from trainload.layers.zipend import refuse
from trainload.limits import DEFAULT, Limits
from trainload.lock.source import headers
from trainload.plan.model import VENV
from trainload.plan.placed import InstallScheme


@dataclass(frozen=True, slots=True)
class Wheel:
    """What a wheel puts into the image."""

    file: str
    """Its file name."""
    distribution: str
    """Normalised name (PEP 503)."""
    version: str
    items: tuple[Item, ...]
    """Sorted by path."""
    folders: tuple[str, ...]
    """Paths of the directories that the archive lists itself; sorted."""


def read_wheel(
    stream: BinaryIO,
    name: str,
    python: str,
    limits: Limits = DEFAULT,
    *,
    prefix: str = VENV,
    folders: InstallScheme | None = None,
) -> Wheel:
    """The wheel called ``name`` for ``python`` (a minor version), from its central directory and metadata.

    ``prefix``: of the environment it goes into; ``folders``: where an installer of another kind would put it.

    Every file's sha256 is RECORD's promise, to be checked by whoever reads the file. Raises
    :class:`LayerError` for an archive that is broken, hostile or not what its name says (THREATS W01–W31).
    """
    members = {member.name: member for member in read_members(stream, name, limits)}
    info = _find_info(name, members)
    stem = info.removesuffix(".dist-info")
    scheme = Scheme(python, canonicalize_name(stem.rpartition("-")[0]), f"{stem}.data", prefix.lstrip("/"), folders)
    archive = Archive(stream, name, members, info, scheme, limits.unrecorded)
    version = _check_identity(archive)
    rows = read_record(archive.read("RECORD"), name, f"{info}/RECORD")
    place = Place(name, f"{info}/entry_points.txt")
    points = read_entry_points(archive.read("entry_points.txt"), python, place) if place.inside in members else ()
    items, listed = tree(archive, rows, points)
    return Wheel(name, scheme.distribution, version, items, listed)


def read_metadata(stream: BinaryIO, name: str, limits: Limits = DEFAULT) -> bytes:
    """The METADATA of the wheel called ``name``. Raises :class:`LayerError` for a broken or hostile archive."""
    members = {member.name: member for member in read_members(stream, name, limits)}
    info = _find_info(name, members)
    path = f"{info}/METADATA"
    if path not in members or members[path].is_directory:
        refuse(name, path, Text("the wheel lacks this file"))
    return read_bytes(stream, name, members[path], METADATA_LIMIT)


def _find_info(name: str, members: dict[str, Member]) -> str:
    tops = {path.partition("/")[0] for path in members}
    found = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(found) != 1:
        refuse(name, None, Text("it has {count} .dist-info folders", count=len(found)), want="one")
    return found[0]


def _check_identity(archive: Archive) -> str:
    """The version; file name, ``.dist-info`` and METADATA must agree on name and version (THREATS W22)."""
    try:
        name, version, _, _ = parse_wheel_filename(archive.name)
    except InvalidWheelFilename as error:
        refuse(archive.name, None, Text("its file name is not a wheel's ({reason})", reason=error))
    headers = _headers(archive.read("METADATA"))
    info_version = archive.info.removesuffix(".dist-info").rpartition("-")[2]
    stated = (
        (archive.info, archive.scheme.distribution, info_version.replace("_", "-")),
        (f"{archive.info}/METADATA", canonicalize_name(headers.get("name", "")), headers.get("version", "")),
    )
    public = Version(version.public)  # a build's local label may stand in the file name only
    for where, its_name, its_version in stated:
        if its_name != name or _version(its_version) not in (version, public):
            got, want = f"{its_name} {its_version}", f"{name} {version}"
            refuse(archive.name, where, Text("it says {got}, the file name says {want}", got=got, want=want))
    wheel_version = _headers(archive.read("WHEEL")).get("wheel-version", "")
    if wheel_version.partition(".")[0] != "1":
        refuse(
            archive.name, f"{archive.info}/WHEEL", Text("its wheel format is {got}", got=wheel_version), want="1.x"
        )
    return str(version)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _headers(data: bytes) -> dict[str, str]:
    """The first value of each field, by its lower-case name."""
    return {name: values[0] for name, values in headers(data).items()}
