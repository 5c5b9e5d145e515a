"""What clients read: blobs, manifests, lists (distribution-spec § Pull, § Content Discovery)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from trainload.destinations.server.messages import Answer, Request, Slice, json_answer, refuse
from trainload.destinations.server.pages import next_link, page
from trainload.destinations.server.ranges import wanted_range
from trainload.destinations.server.routes import Blob, Manifest, Referrers, Tags
from trainload.digest import Digest
from trainload.image.model import INDEX, Descriptor
from trainload.limits import DEFAULT, MiB
from trainload.store.repositories import Attached, repository_of
from trainload.store.store import Store
from trainload.store.trouble import DamagedError, MissingError

_ANSWER_LIMIT = DEFAULT.manifest - MiB // 4
"""Bytes of descriptors in one list of referrers, which must be no larger than a manifest may be."""


class Reading:
    """Answers what changes nothing; safe for threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hashed: dict[Digest, tuple[int, int, int]] = {}

    def sound(self, digest: Digest) -> bool:
        """Whether the store has the blob, unchanged since it was committed (THREATS L03).

        Where modification times were lost (a copy of a store), every blob is hashed once.
        """
        try:
            state = self._store.path(digest).lstat()
        except OSError:
            return False
        seen = (state.st_mtime_ns, state.st_ino, state.st_size)
        if self._hashed.get(digest) == seen:
            return True
        if not self._store.blobs.sound(digest):
            return False
        self._hashed[digest] = seen
        return True

    def has_blob(self, name: str, digest: Digest) -> bool:
        """Whether a repository shows the blob and its bytes are sound."""
        return self._store.repositories.has_blob(repository_of(name), digest) and self.sound(digest)

    def blob(self, route: Blob, request: Request) -> Answer:
        """end-2, whole or a part."""
        if not self.has_blob(route.name, route.digest):
            raise _no_blob(route)
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **_identity(route.digest)}
        if _is_known(request, route.digest):
            return Answer(304, headers)
        try:
            file = self._store.blob_file(route.digest)
        except MissingError:
            raise _no_blob(route) from None
        size = os.fstat(file.fileno()).st_size
        try:
            part = wanted_range(_if_same(request, route.digest), size)
        except BaseException:
            file.close()
            raise
        if part is None:
            return Answer(200, headers, Slice(file, 0, size))
        start, length = part
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
        return Answer(206, headers, Slice(file, start, length))

    def manifest(self, route: Manifest, request: Request) -> Answer:
        """end-3: the bytes as they were pushed, whatever ``Accept`` says: their digest is what was asked for."""
        descriptor = self.find_manifest(route)
        if descriptor is None:
            raise _no_manifest(route)
        headers = {"Content-Type": descriptor.media_type, **_identity(descriptor.digest)}
        if _is_known(request, descriptor.digest):
            return Answer(304, headers)
        try:
            return Answer(200, headers, self._store.read(descriptor.digest, DEFAULT.manifest))
        except (MissingError, DamagedError):
            raise _no_manifest(route) from None

    def find_manifest(self, route: Manifest) -> Descriptor | None:
        """What a tag or digest means in a repository."""
        repository = repository_of(route.name)
        if isinstance(route.reference, Digest):
            return self._store.repositories.manifest(repository, route.reference)
        return self._store.repositories.tagged(repository, route.reference)

    def tags(self, route: Tags, request: Request) -> Answer:
        """end-8."""
        repository = repository_of(route.name)
        if not self._store.repositories.known(repository):
            raise refuse(404, "NAME_UNKNOWN", f"there is no repository {route.name}")
        names, headers = page(request, self._store.repositories.tags(repository))
        return json_answer({"name": route.name, "tags": list(names)}, headers=headers)

    def catalog(self, request: Request) -> Answer:
        """All repositories, as Docker's registry lists them."""
        names, headers = page(request, self._store.repositories.all())
        return json_answer({"repositories": list(names)}, headers=headers)

    def referrers(self, route: Referrers, request: Request) -> Answer:
        """end-12; also for a repository or subject that is not here: then there are none yet."""
        found: Sequence[Attached] = self._store.repositories.referrers(repository_of(route.name), route.digest)
        headers: dict[str, str] = {}
        kind = request.parameter("artifactType")
        if kind:
            found = [one for one in found if one.document.artifact_type == kind]
            headers["OCI-Filters-Applied"] = "artifactType"
        last = request.parameter("last")
        if last:
            found = [one for one in found if str(one.descriptor.digest) > last]
        part = _fitting(found)
        if len(part) < len(found):
            more = {"last": str(part[-1]["digest"]), **({"artifactType": kind} if kind else {})}
            headers |= next_link(request.path, more)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": part}
        return json_answer(index, content_type=INDEX, headers=headers)


def _fitting(found: Sequence[Attached]) -> list[dict[str, object]]:
    """As many entries as one answer can have."""
    entries: list[dict[str, object]] = []
    size = 0
    for one in found:
        entry = _entry(one)
        size += json_answer(entry).length
        if size > _ANSWER_LIMIT and entries:
            break
        entries.append(entry)
    return entries


def _entry(one: Attached) -> dict[str, object]:
    entry: dict[str, object] = {
        "mediaType": one.descriptor.media_type,
        "digest": str(one.descriptor.digest),
        "size": one.descriptor.size,
    }
    if one.document.artifact_type:
        entry["artifactType"] = one.document.artifact_type
    if one.document.annotations:
        entry["annotations"] = dict(one.document.annotations)
    return entry


def _identity(digest: Digest) -> Mapping[str, str]:
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}


def _is_known(request: Request, digest: Digest) -> bool:
    """The client has these bytes already (RFC 9110 § 13.1.2)."""
    return f'"{digest}"' in request.headers.get("if-none-match", "")


def _if_same(request: Request, digest: Digest) -> str | None:
    """The ``Range`` header, unless the client had another blob in mind (RFC 9110 § 13.1.5)."""
    if request.headers.get("if-range", f'"{digest}"') != f'"{digest}"':
        return None
    return request.headers.get("range")


def _no_blob(route: Blob) -> Exception:
    return refuse(404, "BLOB_UNKNOWN", f"{route.name} has no blob {route.digest}")


def _no_manifest(route: Manifest) -> Exception:
    return refuse(404, "MANIFEST_UNKNOWN", f"{route.name} has no manifest {route.reference}")
