"""Base images: their documents from a registry, their layers into the store, and what is found in them.

Documents are kept as fetched files and findings as facts, all by digest: a layer is downloaded and looked into once
per store, and a project that is locked and built here needs no network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from trainload.digest import Digest
from trainload.errors import FetchError, ImageError, LockError, RegistryError, StoreError, Text
from trainload.events import How, Reporter
from trainload.image.model import (
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    Descriptor,
    Image,
    ImageIndex,
    Manifest,
)
from trainload.image.parse import is_image_config, make_image, parse_manifest, select
from trainload.limits import DEFAULT, Limits
from trainload.lock.found import Facts
from trainload.lock.model import Blob
from trainload.plan.model import BaseDocument, ImageLayerRecipe
from trainload.platform import Platform
from trainload.reference import DOCKER_HUB, Reference
from trainload.store.store import Store
from trainload.store.trouble import DamagedError
from trainload.values import dataclass

if TYPE_CHECKING:
    from trainload.destinations.together import Stop
    from trainload.layers.foreign.look import Findings


class Fetched(Protocol):
    """A manifest or index as it came."""

    @property
    def data(self) -> bytes: ...
    @property
    def digest(self) -> Digest: ...


class Registry(Protocol):
    """What is asked of a registry client (:class:`trainload.registry.client.Client`)."""

    def manifest(self, reference: Reference, /) -> Fetched: ...

    def find(self, reference: Reference, /) -> Descriptor | None: ...

    def download(
        self,
        reference: Reference,
        blob: Descriptor,
        write: Callable[[bytes], object],
        restart: Callable[[], object],
        /,
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Bases:
    """Base images as the store and a registry have them; safe for threads."""

    store: Store
    registry: Callable[[], Registry]
    """The client, made when it is first asked for."""
    reporter: Reporter
    offline: bool = False
    limits: Limits = DEFAULT

    def current(self, reference: Reference) -> Digest | None:
        """What the tag means in the registry now; None when it cannot be told."""
        if self.offline or reference.digest is not None:
            return reference.digest
        try:
            found = self.registry().find(reference)
        except (FetchError, ImageError):
            return None
        return found.digest if found is not None else None

    def pin(self, reference: Reference, platforms: Sequence[Platform]) -> tuple[Digest, Mapping[Platform, Image]]:
        """What the reference means now, and the image for each platform.

        Raises :class:`RegistryError`, :class:`ImageError`, and :class:`LockError` when offline.
        """
        if self.offline:
            raise LockError(
                Text("what {name} means cannot be asked offline", name=reference),
                hints=[Text("run `trainload lock` once with a network")],
            )
        try:
            top = self.registry().manifest(reference)
        except RegistryError as error:
            if reference.domain == DOCKER_HUB:
                error.hints = (
                    *self._ours(reference), *error.hints,
                    Text("name a mirror of Docker Hub in mirrors.registry: docker.io"),
                )  # fmt: skip
            raise
        digest = self._keep(top.data)
        parsed = parse_manifest(top.data, str(reference), limits=self.limits)
        images = {}
        for platform in platforms:
            image = self._image(reference, parsed, top.data, platform)
            if image.config.platform != platform:
                raise ImageError(
                    Text("the image is not made for {platform}", platform=platform),
                    got=f"{reference}: {image.config.platform}",
                    hints=[Text("name a base that is, or set platforms to what it is made for")],
                )
            images[platform] = image
        return digest, images

    def _ours(self, reference: Reference) -> tuple[Text, ...]:
        """What to say where the name is one of this machine only: no lock can name it."""
        name = f"{reference.name}:{reference.tag or 'latest'}"
        try:
            self.store.resolve(name)
        except StoreError:
            return ()
        text = "{name} is in this machine's store only: push it, and name it as the registry has it"
        return (Text(text, name=name),)

    def image(self, reference: Reference, manifest: Blob, config: Blob) -> Image:
        """The image of a lock, from here or the registry."""
        documents = [self._known(Digest.parse(blob.digest), blob.size) for blob in (manifest, config)]
        name = str(reference)
        data = documents[0] or self._manifest(_at(reference, Digest.parse(manifest.digest)))
        parsed = parse_manifest(data, name, digest=Digest.parse(manifest.digest), limits=self.limits)
        if isinstance(parsed, ImageIndex):
            raise ImageError(Text("an index was given where an image is needed"), got=name)
        return make_image(data, documents[1] or self._config(reference, parsed), name, limits=self.limits)

    def facts(self, reference: Reference, image: Image) -> Facts:
        """What the image has; its layers are downloaded and looked into unless that was done before."""
        from trainload.destinations.together import Stop, together
        from trainload.layers.foreign.found import facts
        from trainload.layers.foreign.look import joined

        layers = document(image, str(reference)).layers
        stop = Stop()
        found = together(partial(self._findings, reference, stop), layers, stop)
        return facts(joined(found), image.config.runtime.env)

    def layer(self, reference: Reference, layer: ImageLayerRecipe, title: str, stopped: threading.Event) -> How:
        """Have the layer in the store, held; a download ends once ``stopped`` is set.

        Raises :class:`RegistryError` when it cannot be had.
        """
        digest = Digest.parse(layer.digest)
        if self.store.hold(digest):
            return How.PRESENT
        self._check_online(reference)
        from trainload.destinations.blobs import Blobs
        from trainload.destinations.cargo import Part
        from trainload.destinations.together import Stop

        blobs = Blobs(self.store, self.registry(), self.reporter, Stop(stopped))
        how = blobs.bring(reference, Part(Descriptor(layer.media_type, digest, layer.size), title))
        self.store.whereabouts.learn(reference, [digest])  # a push to the same registry mounts it from there
        return how

    def _findings(self, reference: Reference, stop: Stop, layer: ImageLayerRecipe) -> Findings:
        from trainload.layers.foreign.look import Findings, look, statement

        diff_id = Digest.parse(layer.diff_id)
        known = self.store.facts.said(statement(diff_id))
        if known is not None:
            return Findings.from_json(known)
        self.layer(reference, layer, f"{reference.name} {diff_id.short}", stop.event)
        with self.store.blob_file(Digest.parse(layer.digest)) as blob:
            found = look(blob, diff_id, f"{reference}: {layer.digest}", limits=self.limits)
        self.store.facts.note(statement(diff_id), found.to_json())
        return found

    def _image(self, reference: Reference, parsed: Manifest | ImageIndex, data: bytes, platform: Platform) -> Image:
        """The image for ``platform`` below an index, or the one there is."""
        for _ in range(self.limits.index_depth):
            if not isinstance(parsed, ImageIndex):
                self._keep(data)
                if not is_image_config(parsed.config.media_type):
                    raise ImageError(
                        Text("{name} is no image that can run", name=reference), got=parsed.config.media_type
                    )
                return make_image(data, self._config(reference, parsed), str(reference), limits=self.limits)
            chosen = select(parsed, platform)
            data = self._known(chosen.digest, chosen.size) or self._manifest(_at(reference, chosen.digest))
            parsed = parse_manifest(data, str(reference), digest=chosen.digest, limits=self.limits)
        raise ImageError(
            Text("an index of images nests too deep"), got=reference, want=f"at most {self.limits.index_depth}"
        )

    def _manifest(self, reference: Reference) -> bytes:
        self._check_online(reference)
        data = self.registry().manifest(reference).data
        self._keep(data)
        return data

    def _config(self, reference: Reference, manifest: Manifest) -> bytes:
        blob = manifest.config
        known = self._known(blob.digest, blob.size)
        if known is not None:
            return known
        if blob.size > self.limits.config:
            raise ImageError(Text("the config of {name} is too large", name=reference), got=blob.size)
        self._check_online(reference)
        taken = bytearray()

        def fetch() -> None:
            taken.clear()
            self.registry().download(reference, blob, taken.extend, taken.clear)
            with self.store.files.ingest(blob.size) as ingest:
                ingest.write(taken)
                ingest.commit(blob.digest, blob.size)

        _twice(fetch)
        return bytes(taken)

    def _known(self, digest: Digest, size: int) -> bytes | None:
        """A document that was kept, verified."""
        if digest.algorithm != "sha256":
            raise ImageError(Text("images by {algorithm} cannot be a base", algorithm=digest.algorithm), got=digest)
        file = self.store.files.open(digest.hex, size)
        if file is None:
            return None
        with file:
            data = file.read(self.limits.manifest + 1)
        return data if Digest.sha256(data) == digest else None

    def _keep(self, data: bytes) -> Digest:
        with self.store.files.ingest(len(data)) as ingest:
            ingest.write(data)
            return ingest.commit()[0]

    def _check_online(self, reference: Reference) -> None:
        if self.offline:
            raise LockError(
                Text("the base {name} is not whole here, and nothing is fetched offline", name=reference),
                hints=[Text("run once with a network: trainload build fetches all that is locked")],
            )


def _twice(work: Callable[[], object]) -> None:
    """Wrong bytes are asked for once more, on another connection (THREATS R01)."""
    try:
        work()
    except DamagedError:
        work()


def document(image: Image, name: str) -> BaseDocument:
    """A base image as the plan sees it. Raises :class:`ImageError` for a layer of an unknown kind."""
    layers = tuple(
        ImageLayerRecipe(str(layer.digest), layer.size, str(diff_id), _media_type(layer))
        for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True)
    )
    history = image.config.history
    fits = sum(not entry.empty for entry in history) == len(layers)
    told = [
        {
            key: value
            for key, value in (
                ("created", entry.created),
                ("created_by", entry.created_by),
                ("comment", entry.comment),
                ("empty_layer", entry.empty),
            )
            if value
        }
        for entry in history
    ]
    return BaseDocument(name, str(image.digest), layers, image.config.runtime, tuple(told) if fits else ())


def _media_type(layer: Descriptor) -> str:
    """Docker's kinds of layers in OCI's words: the bytes are the same (image-spec media-types.md)."""
    kind = layer.media_type
    if kind in (LAYER, LAYER_GZIP, LAYER_ZSTD):
        return kind
    if kind.startswith("application/vnd.docker.image.rootfs.") or ".nondistributable." in kind:
        if kind.endswith("gzip"):
            return LAYER_GZIP
        return LAYER_ZSTD if kind.endswith("zstd") else LAYER
    raise ImageError(Text("a layer of the base is of an unknown kind"), got=kind, want=LAYER_GZIP)


def _at(reference: Reference, digest: Digest) -> Reference:
    return Reference(reference.domain, reference.path, None, digest)
