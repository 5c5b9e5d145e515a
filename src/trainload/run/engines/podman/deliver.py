"""An image of the store brought into Podman, and verified after.

A Podman of this machine reads the store itself, seen as a layout. A service elsewhere (``podman --remote``, a
machine of Podman's) reads no file of ours: it gets an archive, without the layers it has.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass

from trainload.destinations import save
from trainload.destinations.cargo import from_store
from trainload.destinations.departure import Leaving
from trainload.digest import Digest, canonical_json
from trainload.errors import RunError, Text
from trainload.events import Began, Ended, How, Moved, Reporter, Said
from trainload.image.assemble import document
from trainload.image.model import INDEX, Image
from trainload.run.engines import inspected
from trainload.run.engines.podman.program import PodmanError, Program
from trainload.store.store import Store
from trainload.system import scratch

_LAYOUT = "trainload-delivery"


def find(program: Program, image: Image) -> str | None:
    """Podman's id of the image, which is its config's digest, when all of it is there."""
    config = image.manifest.config.digest.hex
    try:
        found = program.ask("image", "inspect", config)[0]
    except PodmanError:
        return None
    layers = [str(diff_id) for diff_id in image.config.diff_ids]
    return config if found["Id"] == config and found["RootFS"]["Layers"] == layers else None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One image on its way into one Podman."""

    program: Program
    store: Store
    reporter: Reporter
    image: Image
    name: str
    """As the user knows it."""

    def run(self, *, remote: bool) -> None:
        """``remote``: a service elsewhere does what the program is told. Raises :class:`RunError`."""
        if find(self.program, self.image) is not None:
            return
        began, label = time.monotonic(), f"{self.name} (podman)"
        self.reporter.report(Began(self._task, label, self.image.size))
        try:
            size = self._load() if remote else self._pull()
            self._check()
        except BaseException:
            self.reporter.report(Ended(self._task, label, How.FAILED))
            raise
        self.reporter.report(Ended(self._task, label, How.SENT, size, time.monotonic() - began))

    @property
    def _task(self) -> str:
        return f"podman {self.image.digest}"

    def _check(self) -> None:
        """That it is there, and named."""
        if find(self.program, self.image) is None:
            raise RunError(Text("the image {name} is not in Podman after it was delivered", name=self.name))
        repository, tag = inspected.local_name(self.name)
        self.program.call("tag", self.image.manifest.config.digest.hex, f"{repository}:{tag}")

    def _pull(self) -> int:
        """From the store itself, seen as a layout that holds this image: no byte is written for the way."""
        _, tag = inspected.local_name(self.name)
        with scratch.folder("podman") as folder:
            layout = folder / _LAYOUT
            layout.mkdir()
            (layout / "blobs").symlink_to(self.store.home / "blobs")
            (layout / "oci-layout").write_bytes(canonical_json({"imageLayoutVersion": "1.0.0"}))
            line = {**document(self.image.descriptor), "annotations": {"org.opencontainers.image.ref.name": tag}}
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [line]}
            (layout / "index.json").write_bytes(canonical_json(index))
            self.program.call("pull", "--quiet", f"oci:{_LAYOUT}:{tag}", cwd=folder)
        with contextlib.suppress(PodmanError):
            self.program.call("untag", self.image.manifest.config.digest.hex, f"localhost/{_LAYOUT}:latest")
        return self.image.size

    def _load(self) -> int:
        self.reporter.report(Said(Text("Podman runs elsewhere: it gets an archive of what it lacks")))
        omit = inspected.left_out(self.image, self._stacks())
        try:
            size = self._archive(omit)
        except PodmanError:
            if not omit:
                raise
        else:
            if not omit or find(self.program, self.image) is not None:
                return size
        return self._archive(())  # it has them in another form

    def _archive(self, omit: Collection[Digest]) -> int:
        """Bytes that went there."""
        archive = save.pack([Leaving(from_store(self.store, self.image.digest), None)], omit)
        self.program.fed(
            lambda sink: save.write(
                self.store, archive, sink, lambda done: self.reporter.report(Moved(self._task, done))
            ),
            "load", "--quiet",
        )  # fmt: skip
        return archive.size

    def _stacks(self) -> list[list[str]]:
        """The layers of each image there."""
        ids = self.program.call("images", "--quiet", "--no-trunc").split()
        found = self.program.ask("image", "inspect", *sorted(set(ids))) if ids else []
        return [one["RootFS"]["Layers"] or [] for one in found]
