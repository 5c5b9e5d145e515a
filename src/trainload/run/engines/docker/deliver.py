"""An image of the store brought into Docker: by digest, only the layers that are missing there, verified after.

A Docker of this machine pulls from the store itself, served as a registry on loopback for that moment. One that
runs elsewhere, or that cannot pull, is given an archive, without the layers it has already.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from trainload.destinations import save
from trainload.destinations.cargo import from_store
from trainload.destinations.departure import Leaving
from trainload.digest import Digest
from trainload.errors import RunError, Text, TrainloadError
from trainload.events import Began, Ended, How, Level, Moved, Reporter, Said
from trainload.image.model import Image
from trainload.run.engines.docker.api import Api, ApiError
from trainload.run.engines.inspected import left_out, local_name
from trainload.store.store import Store

_UNREACHED = ("connect: connection refused", "connect: network is unreachable")
_MOST_LOOKED_AT = 100  # images of an engine that are asked for their layers


@dataclass(frozen=True, slots=True)
class Delivery:
    """One image on its way into one Docker."""

    api: Api
    store: Store
    reporter: Reporter
    image: Image
    name: str
    """As the user knows it."""

    def run(self) -> str:
        """Docker's id of the image. Raises :class:`RunError`."""
        found = find(self.api, self.image)
        if found is not None:
            return found
        began, label = time.monotonic(), f"{self.name} (docker)"
        task = f"docker {self.image.digest}"
        self.reporter.report(Began(task, label, self.image.size))
        moved = _Count(self.reporter, task)
        try:
            found = self._deliver(moved)
        except BaseException:
            self.reporter.report(Ended(task, label, How.FAILED))
            raise
        self.reporter.report(Ended(task, label, How.SENT, moved.total, time.monotonic() - began))
        return found

    def _deliver(self, moved: _Count) -> str:
        if self.api.address.here and self._repository() is not None:
            try:
                self._pull(moved)
            except ApiError as error:
                self._say(_why(error), Level.WARNING)
            else:
                return self._verified()
        if not self.api.address.here:
            self._say(Text("Docker is at {address}, not here: it gets an archive of what it lacks",
                           address=self.api.address.url))  # fmt: skip
        omit = self._already_there()
        try:
            self._load(moved, omit)
        except ApiError:
            if not omit:
                raise
        if omit and find(self.api, self.image) is None:  # it has them in another form
            self._load(moved, omit=())
        return self._verified()

    def _say(self, text: Text, level: Level = Level.INFO) -> None:
        self.reporter.report(Said(text, level))

    def _verified(self) -> str:
        """Its id is a digest of all that it is; the layers are looked at once more."""
        found = find(self.api, self.image)
        if found is None:
            raise RunError(
                Text("the image {name} is not in Docker after it was delivered", name=self.name),
                hints=(Text("`docker system df` shows whether its disk is full"),),
            )
        self._tag(found)
        return found

    def _repository(self) -> str | None:
        """A name under which the store, as a registry, shows the image."""
        for name in self.store.names().names_of(self.image.digest):
            repository = re.sub(r":[^/:]*$", "", name.partition("@")[0])
            if self.store.repositories.manifest(repository, self.image.digest) is not None:
                return repository
        return None

    def _pull(self, moved: _Count) -> None:
        from trainload.destinations.server.serve import Settings, serving

        with serving(Settings(self.store.home, read_only=True), lambda one: moved.add(one.size)) as server:
            name = f"{server.address}/{self._repository()}"
            for _ in self.api.progress("/images/create", fromImage=name, tag=str(self.image.digest)):
                pass
            self._tag(f"{name}@{self.image.digest}")
            # Docker keeps where it came from, which is no place that anybody could pull from again
            self.api.delete(f"/images/{name}@{self.image.digest}", noprune=1)

    def _tag(self, found: str) -> None:
        repository, tag = local_name(self.name)
        self.api.post(f"/images/{found}/tag", repo=repository, tag=tag)

    def _already_there(self) -> frozenset[Digest]:
        """Blobs of layers that Docker has below the same layers (it finds them by their chain id)."""
        others: list[Sequence[str]] = []
        for listed in self.api.get("/images/json")[:_MOST_LOOKED_AT]:
            known = self.api.find(f"/images/{listed['Id']}/json")
            others.append((known or {}).get("RootFS", {}).get("Layers") or ())
        return left_out(self.image, others)

    def _load(self, moved: _Count, omit: Collection[Digest]) -> None:
        repository, tag = local_name(self.name)
        leaving = Leaving(from_store(self.store, self.image.digest), f"{repository}:{tag}")
        body = _written(lambda sink: save.write(self.store, save.pack([leaving], omit), sink), moved)
        for _ in self.api.progress("/images/load", body, {"Content-Type": "application/x-tar"}, quiet=1):
            pass


def find(api: Api, image: Image) -> str | None:
    """Docker's id of the image, when it has all of it; the containerd store calls it by its manifest."""
    for digest in (image.manifest.config.digest, image.digest):
        found = api.find(f"/images/{digest}/json")
        if found is not None and _same_layers(found, image):
            return str(found["Id"])
    return None


def _why(error: ApiError) -> Text:
    """Why a pull did not work."""
    if any(word in error.message for word in _UNREACHED):
        return Text("Docker runs in another network and cannot pull from here: it gets an archive of what it lacks")
    return Text("Docker could not pull from this machine ({reason}): it gets an archive", reason=error.message)


def _same_layers(found: dict[str, object], image: Image) -> bool:
    root = found.get("RootFS")
    layers = root.get("Layers") if isinstance(root, dict) else None
    return layers == [str(diff_id) for diff_id in image.config.diff_ids]


@dataclass(slots=True)
class _Count:
    """Bytes that moved, from several threads."""

    reporter: Reporter
    task: str
    total: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, size: int) -> None:
        with self._guard:
            self.total += size
            self.reporter.report(Moved(self.task, self.total))


class _Pipe:
    """What is written comes out as pieces, in another thread."""

    def __init__(self) -> None:
        self.pieces: queue.Queue[bytes | TrainloadError | None] = queue.Queue(maxsize=16)

    def write(self, data: bytes, /) -> object:
        self.pieces.put(data)
        return len(data)


def _written(write: Callable[[_Pipe], object], moved: _Count) -> Iterator[bytes]:
    """The pieces of what ``write`` writes into its argument; its error is raised where they are read."""
    pipe = _Pipe()

    def work() -> None:
        try:
            write(pipe)
        except TrainloadError as error:
            pipe.pieces.put(error)
        else:
            pipe.pieces.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (piece := pipe.pieces.get()) is not None:
        if isinstance(piece, TrainloadError):
            raise piece
        if piece:
            moved.add(len(piece))
            yield piece
