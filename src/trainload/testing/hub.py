"""A hub of models on loopback: revisions, trees and files as the public one has them, large files on a CDN.

The CDN is another server on another port, so that it shows what goes along with a redirect; both misbehave as told.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import unquote

from trainload.testing.server import FaultServer, Reply, Request

LARGE = 1024
"""Bytes from which a file lies beside git; the public hub's is 10 MB and what is no text."""
_PAGE = 3
"""Files a page of a listing has, so that there are several."""


@dataclass
class Repository:
    """Commits and what their names mean."""

    kind: str
    name: str
    revisions: dict[str, str] = field(default_factory=dict)
    """Branch or tag → commit."""
    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    gated: bool = False
    """Given to those only whose token was granted access."""


def blob(data: bytes) -> str:
    """git's name of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class MemoryHub:
    """A hub and its CDN; used as a context manager."""

    def __init__(self, *, token: str = "", granted: bool = True) -> None:
        """``token``: what gated repositories ask for; ``granted``: its account may read them."""
        self.server = _HubServer(self)
        self.cdn = FaultServer()
        self.token = token
        self.granted = granted
        self._repositories: dict[tuple[str, str], Repository] = {}

    @property
    def url(self) -> str:
        """What HF_ENDPOINT names."""
        return self.server.url

    def push(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        revision: str = "main",
        kind: str = "models",
        gated: bool = False,
    ) -> str:
        """A new commit of a repository, and ``revision`` means it; returns the commit."""
        found = self._repositories.setdefault((kind, name), Repository(kind, name))
        found.gated = gated
        told = [name, kind, sorted((path, blob(data)) for path, data in files.items()), len(found.commits)]
        commit = hashlib.sha1(json.dumps(told).encode(), usedforsecurity=False).hexdigest()
        found.commits[commit] = dict(files)
        found.revisions[revision] = commit
        for data in files.values():
            if len(data) >= LARGE:
                self.cdn.serve(self.place(data), Reply(data, etag=f'"{hashlib.sha256(data).hexdigest()}"'))
        return commit

    def place(self, data: bytes) -> str:
        """Where a large file lies on the CDN."""
        return f"/blobs/{hashlib.sha256(data).hexdigest()}"

    def answer(self, request: Request) -> Reply | None:
        """What the hub says; None: there is no such place."""
        path, _, query = request.path.partition("?")
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            for kind in ("models", "datasets"):
                for name, verb, rest in _cut(parts[1:], kind):
                    found = self._repositories.get((kind, name))
                    if found is not None and verb in ("revision", "tree"):
                        return self._refused(found, request) or self._told(found, verb, rest, query)
            return _error(404 if self._knows(request) else 401, "RepoNotFound", "Repository not found")
        kind = "datasets" if parts[0] == "datasets" else "models"
        for name, verb, rest in _cut([kind, *parts] if kind == "models" else parts, kind):
            found = self._repositories.get((kind, name))
            if found is not None and verb == "resolve":
                return self._refused(found, request) or self._file(found, rest)
        return _error(404, "RepoNotFound", "Repository not found")

    def _knows(self, request: Request) -> bool:
        return bool(self.token) and request.headers.get("authorization") == f"Bearer {self.token}"

    def _refused(self, repository: Repository, request: Request) -> Reply | None:
        if not repository.gated:
            return None
        if not self._knows(request):
            return _error(401, "GatedRepo", f"Access to model {repository.name} is restricted")
        return (
            None if self.granted else _error(403, "GatedRepo", f"Access to model {repository.name} is restricted")
        )

    def _told(self, repository: Repository, verb: str, rest: list[str], query: str) -> Reply:
        name = unquote("/".join(rest))
        commit = repository.revisions.get(name, name)
        if commit not in repository.commits:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {name}")
        if verb == "revision":
            siblings = [{"rfilename": path} for path in sorted(repository.commits[commit])]
            told = {"id": repository.name, "sha": commit, "private": False, "gated": repository.gated}
            return _json({**told, "siblings": siblings})
        files = sorted(repository.commits[commit].items())
        start = int(dict(part.split("=") for part in query.split("&")).get("cursor", "0"))
        following = f"{self.url}/api/{repository.kind}/{repository.name}/tree/{commit}?recursive=true&cursor="
        more = start + _PAGE < len(files)
        link = {"Link": f'<{following}{start + _PAGE}>; rel="next"'} if more else {}
        folders = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "folder"}]
        return _json([*folders, *(_entry(*file) for file in files[start : start + _PAGE])], link)

    def _file(self, repository: Repository, rest: list[str]) -> Reply:
        name, path = unquote(rest[0]), unquote("/".join(rest[1:]))
        commit = repository.revisions.get(name, name)
        data = repository.commits.get(commit, {}).get(path)
        if data is None:
            return _error(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit}
        if len(data) < LARGE:
            return Reply(data, headers=headers, etag=f'"{blob(data)}"')
        sha256 = hashlib.sha256(data).hexdigest()
        headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data))}
        return Reply(b"", 302, {**headers, "Location": self.cdn.url + self.place(data)}, etag=f'"{sha256}"')

    def __enter__(self) -> MemoryHub:
        self.server.__enter__()
        self.cdn.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)
        self.cdn.__exit__(kind, error, trace)


class _HubServer(FaultServer):
    """Answers as the hub does, unless something else was served for a path."""

    def __init__(self, hub: MemoryHub) -> None:
        super().__init__()
        self._hub = hub

    def next_reply(self, request: Request) -> Reply:
        if request.path.partition("?")[0] in self.replies:
            return super().next_reply(request)
        self.requests.append(request)
        return self._hub.answer(request) or Reply(b"no such place", 404)


def _cut(parts: list[str], kind: str) -> list[tuple[str, str, list[str]]]:
    """(repository, verb, rest) as an address may mean it: names have one part or two."""
    if parts[:1] != [kind]:
        return []
    return [("/".join(parts[1:at]), parts[at], parts[at + 1 :]) for at in (2, 3) if len(parts) > at + 1]


def _entry(path: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "oid": blob(data), "size": len(data), "path": path}
    if len(data) < LARGE:
        return entry
    sha256 = hashlib.sha256(data).hexdigest()
    pointer = f"version 1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
    return {**entry, "oid": blob(pointer), "lfs": {"oid": sha256, "size": len(data), "pointerSize": len(pointer)}}


def _json(value: object, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(json.dumps(value).encode(), headers={"Content-Type": "application/json", **(headers or {})})


def _error(status: int, code: str, text: str) -> Reply:
    headers = {"X-Error-Code": code, "X-Error-Message": text}
    return Reply(json.dumps({"error": text}).encode(), status, headers)
