"""An image of the store brought into Docker: by digest, only the layers that are missing there, verified after.

A Docker of this machine that keeps layers by chain id (its graph drivers) is given them inflated, in archives
that follow each other (``legs.py``). With containerd's image store, which keeps blobs as they are, it pulls from
the store itself, served as a registry on loopback for that moment. One that runs elsewhere, or that can do
neither, is given one archive of the blobs, without the layers it has already.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainload.destinations import save
from trainload.destinations.cargo import from_store
from trainload.destinations.departure import Leaving
from trainload.digest import Digest
from trainload.errors import RunError, Text, TrainloadError
from trainload.events import Began, Ended, How, Level, Moved, Reporter, Said
from trainload.image.model import Descriptor, Image
from trainload.run.engines.docker.api import Api, ApiError
from trainload.run.engines.docker.legs import PART, legs, parts
from trainload.run.engines.inspected import common_layers, left_out, local_name
from trainload.store.store import Store

_UNREACHED = ("connect: connection refused", "connect: network is unreachable")
_MOST_LOOKED_AT = 100  # images of an engine that are asked for their layers
_NOT_WORTH_A_LOOK = 1 << 20  # bytes that travel sooner than a hundred images are asked


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
        if self.api.address.here:
            ways = [self._travel] if keeps_chains(self.api.get("/info")) else []
            ways += [self._pull] if self._repository() is not None else []
        else:
            ways = []
            self._say(Text("Docker is at {address}, not here: it gets an archive of what it lacks",
                           address=self.api.address.url))  # fmt: skip
        for way in ways:
            try:
                way(moved)
            except ApiError as error:
                self._say(_why(error, pulled=way == self._pull), Level.WARNING)
            else:
                return self._verified()
        self._archive(moved)
        return self._verified()

    def _archive(self, moved: _Count) -> None:
        omit = self._already_there()
        try:
            self._load(moved, omit)
        except ApiError:
            if not omit:
                raise
        if omit and find(self.api, self.image) is None:  # it has them in another form
            self._load(moved, omit=())

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

    def _travel(self, moved: _Count) -> None:
        """Only the layers that are missing; once more with all, when those that were seen have gone meanwhile."""
        listed = self.api.get("/images/json")
        present = common_layers([str(one) for one in self.image.config.diff_ids], self._stacks(listed))
        old = {one["Id"] for one in listed if PART in (one.get("Labels") or {})}
        try:
            made = self._in_legs(present, moved)
        except ApiError:
            if not present:
                raise
            made = self._in_legs(0, moved)
        for each in (parts(self.image) & old) | made if old or made else ():
            with contextlib.suppress(ApiError):
                self.api.delete(f"/images/{each}", noprune=1)

    def _in_legs(self, present: int, moved: _Count) -> set[str]:
        """The images that were made on the way."""
        from trainload.run.engines.docker.travel import Journey

        from_store(self.store, self.image.digest)  # what is not whole there is named before anything leaves
        known = self.store.recipes.unpacked([one.digest for one in self.image.manifest.layers[present:]])

        def unpacked(blob: Descriptor, diff_id: Digest) -> int:
            return known[blob.digest] if blob.digest in known else measured(self.store, blob, diff_id)

        route = legs(self.image, present, unpacked)
        Journey(self.api, self.store, moved.add).run(route)
        return {leg.id for leg in route[:-1]}

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
        return left_out(self.image, self._stacks(self.api.get("/images/json")))

    def _stacks(self, listed: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
        """Layers of the images there, elder versions of ours first, until one lacks next to nothing of it."""
        layers = self.image.manifest.layers
        ours = [str(diff_id) for diff_id in self.image.config.diff_ids]
        elder = f"{local_name(self.name)[0]}:"
        for one in sorted(listed, key=lambda one: not _called(one, elder))[:_MOST_LOOKED_AT]:
            known = self.api.find(f"/images/{one['Id']}/json")
            theirs = (known or {}).get("RootFS", {}).get("Layers") or ()
            yield theirs
            if sum(layer.size for layer in layers[common_layers(ours, [theirs]) :]) < _NOT_WORTH_A_LOOK:
                return

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


def keeps_chains(info: Mapping[str, Any]) -> bool:
    """Whether this Docker keeps unpacked layers by chain id alone, and not the blobs they came as; pure.

    containerd's image store tells its kind, and pushes what it was given: inflated layers would stay so. Podman
    speaks Docker's language, too, and would make other images of legs.
    """
    status = dict(one for one in info.get("DriverStatus") or () if len(one) == 2)
    return "driver-type" not in status and "BuildahVersion" not in info


def _called(listed: Mapping[str, Any], prefix: str) -> bool:
    return any(tag.startswith(prefix) for tag in listed["RepoTags"] or ())


def measured(store: Store, blob: Descriptor, diff_id: Digest) -> int:
    """Bytes of a layer's tar stream when no record knows them: it was not made here. Raises :class:`RunError`."""
    found = store.unpacked(blob)
    if found is None or found[0] != diff_id:
        text = "the layer {digest} does not unpack to what its image says"
        raise RunError(Text(text, digest=blob.digest.short))
    return found[1]


def _why(error: ApiError, *, pulled: bool) -> Text:
    """Why a way did not lead there."""
    if not pulled:
        return Text("Docker did not take inflated layers ({reason}): another way is tried", reason=error.message)
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
