"""The registry client: what Trainload asks of an OCI registry, as verbs over references and descriptors."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import BinaryIO, TypeVar

from trainload.digest import Digest
from trainload.errors import ImageError, RegistryError, Text
from trainload.events import SILENT, How, Level, Reporter, Said
from trainload.image.model import INDEX, Descriptor
from trainload.image.parse import Node, parse_descriptor, parse_manifest
from trainload.image.strict_json import parse_object
from trainload.reference import Reference
from trainload.registry.auth import NOBODY, Authorizer, Credentials
from trainload.registry.hosts import USUAL_HOSTS, Endpoint, Hosts
from trainload.registry.protocol import (
    ACCEPT,
    RefusedError,
    Request,
    blob_path,
    check_digest,
    digest_header,
    manifest_path,
    next_page,
    path_of,
    refused,
    scope,
    with_query,
)
from trainload.registry.session import Session, settle
from trainload.registry.upload import Upload, quirks_of
from trainload.system.http import Http, Transfer
from trainload.system.wire import count, shown
from trainload.values import dataclass, field, replace

T = TypeVar("T")
_PAGE = "1000"  # entries of a list asked for at once
_MOST_PAGES = 1000  # a million tags; beyond it somebody plays with us


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest or index as it came."""

    data: bytes
    media_type: str
    digest: Digest

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))


@dataclass(slots=True)
class Client:
    """Speaks with all registries; safe for threads.

    Whatever is read is verified here, but for blobs: their bytes are verified where they are committed.
    Every method raises :class:`RegistryError`; for a document that breaks the image specification
    :class:`ImageError`.
    """

    http: Http
    hosts: Hosts = USUAL_HOSTS
    credentials: Credentials = NOBODY
    reporter: Reporter = SILENT
    _sessions: dict[Endpoint, Session] = field(default_factory=dict)
    _authority: Authorizer = field(init=False)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._authority = Authorizer(self.http, self.hosts, self.credentials)

    def manifest(self, reference: Reference, *, mirrors: bool = True) -> Fetched:
        """The manifest or index under a tag or digest, verified.

        ``mirrors``: also as a mirror has it; what a tag means there nobody can verify.
        """
        if not mirrors:
            return self._manifest(self._session(self.hosts.server(reference.domain)), reference)
        return self._read(reference, lambda session: self._manifest(session, reference))

    def find(self, reference: Reference, *, pushing: bool = False) -> Descriptor | None:
        """What a tag or digest stands for (HEAD); None: it is not there.

        ``pushing``: what the registry itself has, not a mirror, asked by somebody who will write there.
        """
        if pushing:
            session = self._session(self.hosts.server(reference.domain))
            return self._find(session, reference, scope(reference, "pull,push"))
        return self._read(reference, lambda session: self._find(session, reference, scope(reference)))

    def download(
        self,
        reference: Reference,
        blob: Descriptor,
        write: Callable[[bytes], object],
        restart: Callable[[], object],
    ) -> int:
        """Stream a blob to ``write``, resumed after cuts; returns its bytes. The caller verifies them.

        ``restart`` is called when the bytes come again from the first one.
        """
        taken = _Taken(write, restart)

        def fetch(session: Session) -> int:
            taken.begin()
            request = Request("GET", blob_path(reference, blob.digest), (scope(reference),))
            transfer = Transfer(session.url(request), taken.write, taken.restart, blob.size, blob.size)
            return session.download(request, transfer)

        return self._read(reference, fetch)

    def has(self, reference: Reference, blob: Descriptor) -> bool:
        """Whether the repository itself has the blob."""
        session = self._session(self.hosts.server(reference.domain))
        answer = session.ask(Request("HEAD", blob_path(reference, blob.digest), (scope(reference, "pull,push"),)))
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise refused(answer, Text("{name} does not say what it has", name=reference.name))
        check_digest(answer, blob.digest)
        return count(answer.headers.get("content-length", "")) in (None, blob.size)

    def upload(
        self,
        reference: Reference,
        blob: Descriptor,
        open_blob: Callable[[], BinaryIO],
        mount_from: Sequence[Reference] = (),
    ) -> How:
        """Bring a blob to the repository unless it is there: ``PRESENT``, ``MOUNTED`` or ``SENT``.

        ``open_blob`` opens its bytes, again for each try. ``mount_from``: repositories that may have it.
        """
        if self.has(reference, blob):
            return How.PRESENT
        return self.send(reference, blob, open_blob, mount_from)

    def send(
        self,
        reference: Reference,
        blob: Descriptor,
        open_blob: Callable[[], BinaryIO],
        mount_from: Sequence[Reference] = (),
    ) -> How:
        """As :meth:`upload`, for a blob that is known not to be there."""
        session = self._session(self.hosts.server(reference.domain))
        near = [one for one in mount_from if one.domain == reference.domain and one.path != reference.path]
        endpoint = session.endpoint
        upload = Upload(endpoint.base, reference, blob, next(iter(near), None), quirks_of(endpoint.host))
        return session.converse(upload.run(), open_blob)

    def put_manifest(self, reference: Reference, data: bytes, media_type: str) -> Digest:
        """Put a manifest or index under the reference's digest or tag; what it needs is there already."""
        session = self._session(self.hosts.server(reference.domain))
        digest = Digest.sha256(data)
        headers = {"Content-Type": media_type}
        request = Request("PUT", manifest_path(reference), (scope(reference, "pull,push"),), headers, data)
        answer = session.ask(request)
        if answer.status != 201:
            raise refused(answer, Text("{name} does not take the manifest", name=str(reference)))
        check_digest(answer, digest)
        return digest

    def tags(self, reference: Reference, most: int | None = None) -> tuple[str, ...]:
        """All tags of the repository, in the registry's order; with ``most`` only the first."""
        return self._read(reference, lambda session: self._tags(session, reference, most))

    def referrers(
        self, reference: Reference, digest: Digest, artifact_type: str | None = None
    ) -> tuple[Descriptor, ...]:
        """What says that it belongs to ``digest`` (distribution-spec § Listing Referrers)."""
        found = self._read(reference, lambda session: self._referrers(session, reference, digest, artifact_type))
        return tuple(one for one in found if artifact_type in (None, one.artifact_type))

    def delete(self, reference: Reference) -> None:
        """Remove a tag, or a manifest by digest."""
        session = self._session(self.hosts.server(reference.domain))
        request = Request("DELETE", manifest_path(reference), (scope(reference, "pull,push,delete"),))
        answer = session.ask(request)
        if answer.status != 202:
            raise refused(answer, Text("{name} was not deleted", name=str(reference)))

    def _manifest(self, session: Session, reference: Reference) -> Fetched:
        request = Request("GET", manifest_path(reference), (scope(reference),), {"Accept": ACCEPT})
        answer = session.ask(request)
        if answer.status != 200:
            raise refused(answer, Text("{name} cannot be had", name=str(reference)))
        said = digest_header(answer)
        want = reference.digest or said
        got = digest_of(answer.body, want.algorithm if want else "sha256")
        for claimed in (reference.digest, said):  # THREATS R03
            if claimed is not None and claimed.algorithm == got.algorithm and claimed != got:
                raise RegistryError(
                    Text("the manifest from {url} is not the one that was asked for", url=shown(answer.url)),
                    got=got, want=claimed, retryable=True,
                )  # fmt: skip
        kind = answer.headers.get("content-type", "").partition(";")[0].strip() or None
        found = parse_manifest(answer.body, str(reference), media_type=kind)
        return Fetched(answer.body, found.media_type, got)

    def _find(self, session: Session, reference: Reference, allowed: str) -> Descriptor | None:
        request = Request("HEAD", manifest_path(reference), (allowed,), {"Accept": ACCEPT})
        answer = session.ask(request)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refused(answer, Text("{name} cannot be had", name=str(reference)))
        digest, size = digest_header(answer), count(answer.headers.get("content-length", ""))
        if reference.digest is not None:
            check_digest(answer, reference.digest)
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        if digest is None or size is None or not kind:  # old registries say it only with the bytes
            return self._manifest(session, reference).descriptor
        return Descriptor(kind, digest, size)

    def _tags(self, session: Session, reference: Reference, most: int | None) -> tuple[str, ...]:
        found: list[str] = []
        url: str | None = with_query(f"{path_of(reference)}/tags/list", n=str(most or _PAGE))
        seen: set[str] = set()
        while url is not None and len(seen) < _MOST_PAGES and (most is None or len(found) < most):
            answer = session.ask(Request("GET", url, (scope(reference),)))
            if answer.status != 200:
                raise refused(answer, Text("{name} does not list its tags", name=reference.name))
            found += Node(parse_object(answer.body, shown(answer.url)), shown(answer.url)).get("tags").texts()
            url = next_page(answer, session.endpoint.base, seen)
        return tuple(dict.fromkeys(found))[:most]

    def _referrers(
        self, session: Session, reference: Reference, digest: Digest, artifact_type: str | None
    ) -> tuple[Descriptor, ...]:
        found: list[Descriptor] = []
        path = f"{path_of(reference)}/referrers/{digest}"
        url: str | None = with_query(path, artifactType=artifact_type) if artifact_type else path
        seen: set[str] = set()
        while url is not None and len(seen) < _MOST_PAGES:
            answer = session.ask(Request("GET", url, (scope(reference),), {"Accept": INDEX}))
            if answer.status == 404 and not seen:
                fallback = replace(reference, tag=f"{digest.algorithm}-{digest.hex}"[:128], digest=None)
                answer = session.ask(
                    Request("GET", manifest_path(fallback), (scope(reference),), {"Accept": INDEX})
                )
                if answer.status == 404:
                    return ()
            if answer.status != 200:
                raise refused(answer, Text("{name} does not list what belongs to it", name=reference.name))
            root = Node(parse_object(answer.body, shown(answer.url)), shown(answer.url))
            parse_manifest(answer.body, shown(answer.url), media_type=INDEX)  # the same checks (THREATS R21)
            found += [parse_descriptor(item) for item in root.get("manifests").items()]
            url = next_page(answer, session.endpoint.base, seen)
        return tuple(found)

    def _read(self, reference: Reference, work: Callable[[Session], T]) -> T:
        """What ``work`` gives at the first server that can do it; mirrors first."""
        endpoints = self.hosts.readers(reference.domain)
        for endpoint in endpoints[:-1]:
            try:
                found = work(self._session(endpoint))
            except (RegistryError, ImageError) as error:
                missed = Text("the mirror {host} does not serve {name}", host=endpoint.host, name=str(reference))
                self.reporter.report(Said(missed, Level.INFO if isinstance(error, RefusedError) else Level.WARNING))
                continue
            if found is not None:
                return found
        return work(self._session(endpoints[-1]))

    def _session(self, endpoint: Endpoint) -> Session:
        with self._guard:
            if endpoint not in self._sessions:
                settled = settle(endpoint, self.http)
                self._sessions[endpoint] = Session(settled, self.http, self._authority)
            return self._sessions[endpoint]


def digest_of(data: bytes, algorithm: str) -> Digest:
    return Digest(algorithm, hashlib.new(algorithm, data).hexdigest())


class _Taken:
    """Passes bytes on; another server begins anew."""

    def __init__(self, write: Callable[[bytes], object], restart: Callable[[], object]) -> None:
        self._out, self._restart = write, restart
        self._some = False

    def begin(self) -> None:
        if self._some:
            self.restart()

    def write(self, data: bytes) -> None:
        self._some = True
        self._out(data)

    def restart(self) -> None:
        self._some = False
        self._restart()
