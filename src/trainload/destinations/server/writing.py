"""What clients change: uploads, manifests, deletions (distribution-spec § Push, § Content Management)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from trainload.destinations.server.messages import Answer, CutError, Problem, Refusal, Request, refuse
from trainload.destinations.server.promises import Promises
from trainload.destinations.server.ranges import check_chunk, received_range
from trainload.destinations.server.reading import Reading
from trainload.destinations.server.routes import (
    Blob,
    Manifest,
    Upload,
    Uploads,
    blob_path,
    manifest_path,
    parse_digest,
    parse_name,
    upload_path,
)
from trainload.destinations.server.uploads import Upload as Session
from trainload.destinations.server.uploads import Uploads as Sessions
from trainload.digest import Digest
from trainload.errors import ImageError
from trainload.image.model import Descriptor
from trainload.image.parse import parse_manifest
from trainload.limits import DEFAULT
from trainload.reference import is_tag
from trainload.store.repositories import LackingError, NeededError, repository_of
from trainload.store.store import Store
from trainload.store.trouble import DamagedError


class Writing:
    """Answers what changes the store; safe for threads."""

    def __init__(self, home: Path, store: Store, reading: Reading, sessions: Sessions, promises: Promises) -> None:
        self._home = home
        self._store = store
        self._reading = reading
        self._sessions = sessions
        self._promises = promises

    def start(self, route: Uploads, request: Request) -> Answer:
        """end-4, end-11: mount, a whole blob at once, or a session."""
        mount, whole = request.parameter("mount"), request.parameter("digest")
        if mount is not None:
            digest = parse_digest(mount)
            if self._mount(route.name, digest, request.parameter("from")):
                return _created(blob_path(route.name, digest), digest)
        elif whole is not None:
            return self._whole(route, request, parse_digest(whole))
        algorithm = request.parameter("digest-algorithm") or "sha256"
        if algorithm not in self._store.blobs.folders:
            raise refuse(400, "DIGEST_INVALID", f"{algorithm[:40]} is not known here", "sha256 or sha512")
        return _going_on(route.name, self._sessions.start(repository_of(route.name), algorithm))

    def status(self, route: Upload) -> Answer:
        """end-13."""
        return _going_on(route.name, self._sessions.find(repository_of(route.name), route.session), 204)

    def chunk(self, route: Upload, request: Request) -> Answer:
        """end-5. What arrived before a cut stays: the client asks how much that was and goes on there."""
        session = self._sessions.find(repository_of(route.name), route.session)
        with session.turn(request.interrupt):
            self._take(route, session, request)
        return _going_on(route.name, session)

    def finish(self, route: Upload, request: Request) -> Answer:
        """end-6, with or without a last chunk."""
        digest = parse_digest(request.parameter("digest") or "")
        session = self._sessions.find(repository_of(route.name), route.session)
        with session.turn(request.interrupt):
            self._take(route, session, request)
            self._commit(session, digest)
        return _created(blob_path(route.name, digest), digest)

    def cancel(self, route: Upload, request: Request) -> Answer:
        """end-14."""
        session = self._sessions.find(repository_of(route.name), route.session)
        with session.turn(request.interrupt):
            self._sessions.end(session)
        return Answer(204)

    def manifest(self, route: Manifest, request: Request) -> Answer:
        """end-7."""
        data = _read(request, DEFAULT.manifest)
        by_digest = isinstance(route.reference, Digest)
        digest = route.reference if isinstance(route.reference, Digest) else Digest.sha256(data)
        if not digest.matches(data):
            raise refuse(400, "DIGEST_INVALID", f"these are not the bytes of {digest}", str(Digest.sha256(data)))
        tags = request.query.get("tag", ()) if by_digest else (str(route.reference),)
        for tag in tags:
            if not is_tag(tag):
                raise refuse(400, "MANIFEST_INVALID", f"{tag[:200]} cannot be a tag")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip() or None
        try:
            parsed = parse_manifest(data, str(route.reference), media_type=media_type)
            descriptor = Descriptor(parsed.media_type, digest, len(data))
            with closing(Store.open(self._home)) as lease:
                lease.put(data, digest.algorithm)
                self._push(repository_of(route.name), descriptor, tags)
        except ImageError as error:
            raise refuse(400, "MANIFEST_INVALID", str(error).partition("\n")[0]) from error
        except LackingError as error:
            raise _lacking(error) from error
        answer = _created(manifest_path(route.name, route.reference), digest)
        headers = dict(answer.headers)
        if parsed.subject is not None:
            headers["OCI-Subject"] = str(parsed.subject.digest)
        if by_digest and tags:
            headers["OCI-Tag"] = ", ".join(tags)
        return Answer(201, headers)

    def delete_manifest(self, route: Manifest) -> Answer:
        """end-9: a tag alone, or a manifest with all its tags."""
        repository = repository_of(route.name)
        try:
            if isinstance(route.reference, Digest):
                done = self._store.repositories.remove_manifest(repository, route.reference)
            else:
                done = self._store.repositories.untag(repository, route.reference)
        except NeededError as error:
            raise refuse(405, "DENIED", str(error), {"manifest": str(error.by)}) from error
        if not done:
            raise refuse(404, "MANIFEST_UNKNOWN", f"{route.name} has no manifest {route.reference}")
        return Answer(202)

    def delete_blob(self, route: Blob) -> Answer:
        """end-10: the blob is gone from this repository; from the store when nothing else needs it, by gc."""
        try:
            done = self._store.repositories.remove_blob(repository_of(route.name), route.digest)
        except NeededError as error:
            raise refuse(405, "DENIED", str(error), {"manifest": str(error.by)}) from error
        if not done:
            raise refuse(404, "BLOB_UNKNOWN", f"{route.name} has no blob {route.digest}")
        return Answer(202)

    def _push(self, repository: str, descriptor: Descriptor, tags: Sequence[str]) -> None:
        """What the client was told is there is there, also when the image that showed it is gone meanwhile."""
        try:
            self._store.repositories.push(repository, descriptor, tags)
        except LackingError as error:
            if not all(self._promises.made(repository, need.digest) for need in error.lacking):
                raise
            for need in error.lacking:
                self._store.repositories.add_blob(repository, need.digest)
            self._store.repositories.push(repository, descriptor, tags)

    def _mount(self, name: str, digest: Digest, source: str | None) -> bool:
        """Without ``from`` the whole store is the source: here a digest is as good as the blob."""
        if source is None:
            there = self._reading.sound(digest)
        else:
            there = self._reading.has_blob(parse_name(source), digest)
        return there and self._store.repositories.add_blob(repository_of(name), digest)

    def _whole(self, route: Uploads, request: Request, digest: Digest) -> Answer:
        session = self._sessions.start(repository_of(route.name), digest.algorithm, request.body.length)
        with session.turn(request.interrupt):
            try:
                request.body.copy_to(session.ingest.write)
                self._commit(session, digest)
            finally:
                self._sessions.end(session)
        return _created(blob_path(route.name, digest), digest)

    def _take(self, route: Upload, session: Session, request: Request) -> None:
        """Add a request's bytes to the session."""
        length = request.body.length
        content_range = request.headers.get("content-range")
        try:
            check_chunk(content_range, length, session.size)
        except Refusal as refusal:
            refusal.headers.setdefault("Location", upload_path(route.name, session.session))
            raise
        if length == 0:
            return
        self._store.blobs.check_room(length)
        before = session.size
        try:
            taken = request.body.copy_to(session.ingest.write)
        except CutError:
            session.ingest.flush()
            raise
        session.ingest.flush()
        check_chunk(content_range, taken, before)  # a chunked body tells its length only at its end

    def _commit(self, session: Session, digest: Digest) -> None:
        try:
            self._sessions.commit(session, digest)
            self._store.repositories.add_blob(session.repository, digest)
        except DamagedError as error:
            raise refuse(
                400, "DIGEST_INVALID", f"the bytes have another digest: {error.got}", str(digest)
            ) from error
        finally:
            self._sessions.end(session)


def _read(request: Request, limit: int) -> bytes:
    """A small body. Raises :class:`Refusal` (413) beyond ``limit`` bytes."""
    data = bytearray()

    def take(piece: memoryview) -> None:
        if len(data) + len(piece) > limit:
            raise _too_large(limit)
        data.extend(piece)

    if request.body.length is not None and request.body.length > limit:
        raise _too_large(limit)
    request.body.copy_to(take)
    return bytes(data)


def _too_large(limit: int) -> Refusal:
    return refuse(413, "SIZE_INVALID", f"a manifest has at most {limit} bytes")


def _created(location: str, digest: Digest) -> Answer:
    return Answer(201, {"Location": location, "Docker-Content-Digest": str(digest)})


def _going_on(name: str, session: Session, status: int = 202) -> Answer:
    headers = {
        "Location": upload_path(name, session.session),
        "Range": received_range(session.size),
        "Docker-Upload-UUID": session.session,
    }
    return Answer(status, headers)


def _lacking(error: LackingError) -> Refusal:
    problems: Iterable[Problem] = (
        Problem("MANIFEST_BLOB_UNKNOWN", f"{one.digest} was not pushed yet", {"digest": str(one.digest)})
        for one in error.lacking
    )
    return Refusal(404, problems)
