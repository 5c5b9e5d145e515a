"""Answers the requests of the specification from a store.

Reading goes through one :class:`Store` that holds nothing; whatever brings bytes has a lease of its own until a
link or a name keeps them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainload.destinations.server.access import Guard
from trainload.destinations.server.messages import Answer, Refusal, Request, json_answer
from trainload.destinations.server.promises import Promises
from trainload.destinations.server.reading import Reading
from trainload.destinations.server.routes import (
    Base,
    Blob,
    Catalog,
    Manifest,
    Referrers,
    Tags,
    Upload,
    Uploads,
    find_route,
)
from trainload.destinations.server.uploads import Uploads as Sessions
from trainload.destinations.server.writing import Writing
from trainload.digest import Digest
from trainload.errors import TrainloadError
from trainload.store.repositories import repository_of
from trainload.store.store import Store


class Registry:
    """One store as a registry; safe for threads."""

    def __init__(self, home: Path, guard: Guard, failed: Callable[[TrainloadError], object]) -> None:
        """``failed`` is told what the store said when a request could not be answered."""
        self._guard = guard
        self._failed = failed
        self._store = Store.open(home)
        self._sessions = Sessions(home)
        self._promises = Promises(home)
        self._reading = Reading(self._store)
        self._writing = Writing(home, self._store, self._reading, self._sessions, self._promises)

    def open(self) -> None:
        """Make the store if it is absent. Raises :class:`StoreError` when it cannot be used."""
        self._store.names()
        if not self._guard.read_only:
            with self._store.writing():
                pass

    def close(self) -> None:
        """Give up unfinished uploads and all leases."""
        self._sessions.close()
        self._promises.close()
        self._store.close()

    def tick(self) -> None:
        """Called now and then: what waited too long ends."""
        self._sessions.expire()
        self._promises.expire()

    def answer(self, request: Request) -> Answer:
        """The answer to a request; its body is read here. Raises :class:`CutError`."""
        try:
            self._guard.check(request)
            return self._answer(request)
        except Refusal as refusal:
            return refusal.answer
        except TrainloadError as error:
            self._failed(error)
            status = 507 if error.retryable else 500
            return json_answer({"errors": [{"code": "UNKNOWN", "message": str(error.text)}]}, status)

    def _answer(self, request: Request) -> Answer:
        route = find_route(request.method, request.path)
        match route:
            case Base():
                return json_answer({})
            case Catalog():
                return self._reading.catalog(request)
            case Tags():
                return self._reading.tags(route, request)
            case Referrers():
                return self._reading.referrers(route, request)
            case Blob():
                return self._blob(route, request)
            case Manifest():
                return self._manifest(route, request)
            case Uploads():
                return self._writing.start(route, request)
            case Upload():
                return self._upload(route, request)

    def _blob(self, route: Blob, request: Request) -> Answer:
        if request.method == "DELETE":
            return self._writing.delete_blob(route)
        answer = self._reading.blob(route, request)
        self._promise(request, route.name, route.digest)
        return answer

    def _manifest(self, route: Manifest, request: Request) -> Answer:
        match request.method:
            case "PUT":
                return self._writing.manifest(route, request)
            case "DELETE":
                return self._writing.delete_manifest(route)
        answer = self._reading.manifest(route, request)
        self._promise(request, route.name, Digest.parse(answer.headers["Docker-Content-Digest"]))
        return answer

    def _upload(self, route: Upload, request: Request) -> Answer:
        match request.method:
            case "PATCH":
                return self._writing.chunk(route, request)
            case "PUT":
                return self._writing.finish(route, request)
            case "DELETE":
                return self._writing.cancel(route, request)
        return self._writing.status(route)

    def _promise(self, request: Request, name: str, digest: Digest) -> None:
        """Who asks whether something is here will leave it out of a push."""
        if request.method == "HEAD" and not self._guard.read_only:
            self._promises.keep(repository_of(name), digest)
