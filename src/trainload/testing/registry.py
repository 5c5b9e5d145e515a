"""A registry in memory: enough of the distribution specification for every way a client goes. No I/O.

``faults.py`` serves it on loopback and lets it misbehave.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from trainload.digest import Digest
from trainload.errors import ImageError
from trainload.image.model import INDEX

_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|tags|referrers)/(?P<rest>[^/]*)")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; a HEAD has the headers of its body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Repository:
    """What one name holds."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """Digest → bytes and media type."""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class MemoryRegistry:
    """The rules; safe for threads."""

    mounts: bool = True
    """Honour cross-repository mounts; otherwise they are answered with a session."""
    referrers: bool = True
    page: int = 1000
    """Entries of a list in one answer."""
    media_types: frozenset[str] | None = None
    """Of manifests that are taken; None: all."""
    demand: str = ""
    """What ``WWW-Authenticate`` says to requests without one of ``accepts``; empty: everybody may do everything."""
    accepts: set[str] = field(default_factory=set)
    """Authorization headers that are let in."""
    token: Callable[[Asked], Reply] | None = None
    """The token server, at ``/token``."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _guard: threading.RLock = field(default_factory=threading.RLock)

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def put(self, name: str, data: bytes, media_type: str, tag: str | None = None) -> str:
        """A manifest, from behind; returns its digest."""
        digest = str(Digest.sha256(data))
        self.repository(name).manifests[digest] = (data, media_type)
        if tag is not None:
            self.repository(name).tags[tag] = digest
        return digest

    def put_blob(self, name: str, data: bytes) -> str:
        digest = str(Digest.sha256(data))
        self.repository(name).blobs[digest] = data
        return digest

    def serve(self, asked: Asked) -> Reply:
        """The answer to one request."""
        with self._guard:
            path = urlsplit(asked.target).path
            if path == "/token" and self.token is not None:
                return self.token(asked)
            if self.demand and asked.headers.get("authorization") not in self.accepts:
                return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": self.demand})
            if path.rstrip("/") == "/v2":
                return Reply(200, {}, b"{}")
            match = _PATH.fullmatch(path)
            if match is None:
                return _error(404, "NAME_UNKNOWN")
            kind = match["kind"].replace("blobs/uploads", "uploads")
            served: Reply = getattr(self, f"_{kind}")(match["name"], match["rest"], asked)
            return served

    def arrived(self, asked: Asked, part: bytes) -> None:
        """Bytes of an upload that was cut: the session has them, as a crash-safe registry keeps them."""
        with self._guard:
            session = urlsplit(asked.target).path.rpartition("/")[2]
            if session in self.uploads:
                self.uploads[session] += part

    def _blobs(self, name: str, digest: str, asked: Asked) -> Reply:
        data = self.repository(name).blobs.get(digest)
        if asked.method not in ("GET", "HEAD"):
            return _error(405, "UNSUPPORTED")
        if data is None:
            return _error(404, "BLOB_UNKNOWN")
        headers = {
            "Docker-Content-Digest": digest,
            "Content-Type": "application/octet-stream",
            "ETag": f'"{digest}"',
        }
        span = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        if span is None:
            return Reply(200, headers, data)
        first = int(span[1])
        if first >= len(data):
            return Reply(416)
        return Reply(206, {**headers, "Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}, data[first:])

    def _manifests(self, name: str, reference: str, asked: Asked) -> Reply:
        repository = self.repository(name)
        if asked.method == "PUT":
            return self._take(name, reference, asked)
        digest = repository.tags.get(reference, reference)
        if digest not in repository.manifests:
            return _error(404, "MANIFEST_UNKNOWN")
        if asked.method == "DELETE":
            if reference == digest:
                del repository.manifests[digest]
            repository.tags = {tag: to for tag, to in repository.tags.items() if reference not in (tag, to)}
            return Reply(202)
        data, media_type = repository.manifests[digest]
        return Reply(200, {"Docker-Content-Digest": digest, "Content-Type": media_type}, data)

    def _take(self, name: str, reference: str, asked: Asked) -> Reply:
        media_type = asked.headers.get("content-type", "")
        if self.media_types is not None and media_type not in self.media_types:
            return _error(400, "MANIFEST_INVALID")
        document = json.loads(asked.body)
        repository = self.repository(name)
        needs = [document.get("config"), *document.get("layers", ())]
        for need in needs if "layers" in document else ():
            if need["digest"] not in repository.blobs:
                return _error(400, "MANIFEST_BLOB_UNKNOWN")
        for child in document.get("manifests", ()):
            if child["digest"] not in repository.manifests:
                return _error(400, "MANIFEST_UNKNOWN")
        digest = self.put(name, asked.body, media_type, None if ":" in reference else reference)
        return Reply(201, {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest})

    def _tags(self, name: str, rest: str, asked: Asked) -> Reply:
        if name not in self.repositories:
            return _error(404, "NAME_UNKNOWN")
        tags = sorted(tag for tag in self.repository(name).tags if tag > asked.query.get("last", ""))
        shown = tags[: self.page]
        more = {"Link": f'</v2/{name}/tags/list?last={shown[-1]}>; rel="next"'} if len(tags) > self.page else {}
        return Reply(200, {"Content-Type": "application/json", **more}, _json({"name": name, "tags": shown}))

    def _referrers(self, name: str, digest: str, asked: Asked) -> Reply:
        if not self.referrers:
            return _error(404, "NOT_FOUND")
        found = []
        for own, (data, media_type) in self.repository(name).manifests.items():
            document = json.loads(data)
            if document.get("subject", {}).get("digest") == digest:
                kind = document.get("artifactType") or document["config"]["mediaType"]
                found.append({"mediaType": media_type, "digest": own, "size": len(data), "artifactType": kind})
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found}
        return Reply(200, {"Content-Type": INDEX}, _json(index))

    def _uploads(self, name: str, session: str, asked: Asked) -> Reply:
        if asked.method == "POST":
            return self._begin(name, asked)
        if session not in self.uploads:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        held = self.uploads[session]
        if asked.method == "PATCH":
            first = int(asked.headers.get("content-range", "0-").partition("-")[0])
            if first != len(held):
                return Reply(416, self._stand(name, session))
            held += asked.body
            return Reply(202, self._stand(name, session))
        if asked.method == "PUT":
            held += asked.body
            del self.uploads[session]
            return self._end(name, bytes(held), asked.query.get("digest", ""))
        return Reply(204, self._stand(name, session))

    def _begin(self, name: str, asked: Asked) -> Reply:
        digest, source = asked.query.get("mount", ""), asked.query.get("from", "")
        data = self.repository(source).blobs.get(digest) if source in self.repositories else None
        if data is not None and self.mounts:
            self.repository(name).blobs[digest] = data
            return Reply(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})
        session = f"upload-{next(self._numbers)}"
        self.uploads[session] = bytearray()
        return Reply(202, self._stand(name, session))

    def _stand(self, name: str, session: str) -> dict[str, str]:
        size = len(self.uploads[session])
        return {"Location": f"/v2/{name}/blobs/uploads/{session}", "Range": f"0-{max(0, size - 1)}"}

    def _end(self, name: str, data: bytes, digest: str) -> Reply:
        try:
            wanted = Digest.parse(digest)
        except ImageError:
            return _error(400, "DIGEST_INVALID")
        if Digest.sha256(data) != wanted:
            return _error(400, "DIGEST_INVALID")
        self.put_blob(name, data)
        return Reply(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Reply:
    body = _json({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]})
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, body)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
