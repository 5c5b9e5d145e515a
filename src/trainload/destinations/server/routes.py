"""Which request is for what: paths and methods of the specification (distribution-spec § Endpoints). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trainload.destinations.server.messages import Refusal, refuse
from trainload.digest import Digest
from trainload.errors import ImageError
from trainload.reference import is_repository, is_tag


@dataclass(frozen=True, slots=True)
class Base:
    """end-1: is this a registry?"""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Which repositories there are; not of the specification, but of Docker's registry and known to its tools."""


@dataclass(frozen=True, slots=True)
class Blob:
    """end-2, end-10."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """end-3, end-7, end-9."""

    name: str
    reference: str | Digest
    """A tag or a digest."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """end-4, end-11: a new upload."""

    name: str


@dataclass(frozen=True, slots=True)
class Upload:
    """end-5, end-6, end-13, end-14: one on its way."""

    name: str
    session: str


@dataclass(frozen=True, slots=True)
class Tags:
    """end-8."""

    name: str


@dataclass(frozen=True, slots=True)
class Referrers:
    """end-12."""

    name: str
    digest: Digest


Route = Base | Catalog | Blob | Manifest | Uploads | Upload | Tags | Referrers

_READ = ("GET", "HEAD")
METHODS: dict[type[Route], tuple[str, ...]] = {
    Base: _READ,
    Catalog: _READ,
    Blob: (*_READ, "DELETE"),
    Manifest: (*_READ, "PUT", "DELETE"),
    Uploads: ("POST",),
    Upload: (*_READ, "PATCH", "PUT", "DELETE"),
    Tags: _READ,
    Referrers: _READ,
}


def find_route(method: str, path: str) -> Route:
    """What ``path`` is about. Raises :class:`Refusal`: no such path, a wrong name or digest, a wrong method."""
    route = _route(path)
    allowed = METHODS[type(route)]
    if method not in allowed:
        raise refuse(405, "UNSUPPORTED", f"{method} is not possible here", Allow=", ".join(allowed))
    return route


def blob_path(name: str, digest: Digest) -> str:
    return f"/v2/{name}/blobs/{digest}"


def manifest_path(name: str, reference: str | Digest) -> str:
    return f"/v2/{name}/manifests/{reference}"


def upload_path(name: str, session: str) -> str:
    return f"/v2/{name}/blobs/uploads/{session}"


def parse_digest(text: str) -> Digest:
    """Raises :class:`Refusal`: not a digest, or of an algorithm we do not know (THREATS R07)."""
    try:
        return Digest.parse(text)
    except ImageError:
        raise refuse(400, "DIGEST_INVALID", f"{text[:200]} is not a digest", "sha256 or sha512") from None


def parse_name(text: str) -> str:
    """Raises :class:`Refusal` for what cannot be a repository's name."""
    if not is_repository(text):
        raise refuse(400, "NAME_INVALID", f"{text[:300]} cannot be the name of a repository")
    return text


def _route(path: str) -> Route:
    if path in ("/v2/", "/v2"):
        return Base()
    if path == "/v2/_catalog":
        return Catalog()
    words = path.split("/")
    if words[:2] != ["", "v2"] or len(words) < 5:
        raise _nothing(path)
    name, kind, last = "/".join(words[2:-2]), words[-2], words[-1]
    if kind == "uploads" and words[-3] == "blobs":
        name = parse_name("/".join(words[2:-3]))
        return Upload(name, last) if last else Uploads(name)
    if kind == "blobs" and last == "uploads":  # without the slash at its end, as some clients write it
        return Uploads(parse_name(name))
    if kind == "blobs":
        return Blob(parse_name(name), parse_digest(last))
    if kind == "manifests":
        return Manifest(parse_name(name), _reference(last))
    if kind == "tags" and last == "list":
        return Tags(parse_name(name))
    if kind == "referrers":
        return Referrers(parse_name(name), parse_digest(last))
    raise _nothing(path)


def _reference(text: str) -> str | Digest:
    if ":" in text:
        return parse_digest(text)
    if not is_tag(text):
        raise refuse(400, "MANIFEST_INVALID", f"{text[:200]} is neither a tag nor a digest")
    return text


def _nothing(path: str) -> Refusal:
    return refuse(404, "UNSUPPORTED", f"there is nothing at {path[:300]}")
