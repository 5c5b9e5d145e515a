"""Layers that lie in a registry: which is made of what, as repositories say, and their bytes when they are needed.

Believed are the entries of cache repositories (``registry/entries.py``) and, where an image is pushed to, the
images that are there: their manifests name the recipe of each layer. Neither can be verified without the bytes, so
what was believed is remembered by who said it: a repository that lies does so only to those who chose it
(docs/adr/0025).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from trainload.builder.workshop import Known
from trainload.destinations.blobs import Blobs
from trainload.destinations.cargo import Part
from trainload.destinations.remote import remote_image
from trainload.destinations.together import QUESTIONS, Stop, together
from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError, RegistryError, Text
from trainload.events import Level, Reporter, Said
from trainload.image.model import DOCKER_LAYER_GZIP, LAYER_GZIP, RECIPE, UNRECORDED, Descriptor, Layer
from trainload.limits import DEFAULT, Limits
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.registry.entries import Entries, is_entry
from trainload.store.store import Store
from trainload.values import dataclass, field, replace

_TAGS = 100
"""Tags looked at when the one that is pushed to is new; the first of a registry's list."""
_IMAGES = 3
"""Images then asked for their layers: neighbours of one repository mostly share them."""
_USUAL_TAGS = ("latest", "main")

T = TypeVar("T")
Recipes = dict[Digest, Layer]


@dataclass(slots=True)
class Elsewhere:
    """What registries know; a :class:`trainload.builder.workshop.Shared`. Call it inside ``store.writing()``."""

    store: Store
    client: Client
    """One that does not wait long: without an answer everything is simply made."""
    caches: tuple[Reference, ...]
    """Repositories with entries."""
    images: tuple[Reference, ...]
    """What will be pushed to."""
    platform: Platform
    reporter: Reporter
    offline: bool = False
    limits: Limits = DEFAULT
    _told: dict[Reference, list[Recipes]] = field(default_factory=dict)
    _answers: dict[Digest, Known | None] = field(default_factory=dict)
    _silent: set[Reference] = field(default_factory=set)
    """Caches that could not be read."""

    def find(self, keys: Sequence[Digest], /) -> dict[Digest, Known]:
        """What is known of these recipes."""
        found = {key: known for key in keys if (known := self._remembered(key)) is not None}
        left = [key for key in keys if key not in found and key not in self._answers]
        if left and not self.offline:
            asked = self._ask(left)
            self._answers.update({key: asked.get(key) for key in left})
        answers = {key: known for key in keys if key not in found and (known := self._answers.get(key)) is not None}
        return {**found, **answers}

    def get_along(self, statement: Digest, layers: Sequence[Digest], /) -> bool:
        """Whether somebody found ``statement`` to hold, or an image has all these ``layers`` (none: not asked)."""
        if any(self.store.facts.known(_by(statement, source)) for source in self._sources):
            return True
        if self.offline:
            return False
        for image in self.images:
            if layers and any(set(layers) <= recipes.keys() for recipes in self._recipes(image)):
                self.store.facts.learn(_by(statement, _repository(image)))
                return True
        for cache in self.caches:
            if self._question(cache, lambda entries: entries.holds(statement)):
                self.store.facts.learn(_by(statement, cache))
                return True
        return False

    def fetch(self, key: Digest, known: Known, title: str, stopped: threading.Event, /) -> Layer | None:
        """The layer's blob into the store, its digest and diff_id verified; None, and told, when that fails."""
        layer = known.layer
        try:
            blobs = Blobs(self.store, self.client, self.reporter, Stop(stopped))
            blobs.bring(known.said_by, Part(layer.descriptor, title))
        except RegistryError as error:
            if stopped.is_set():
                raise
            self._warn(
                Text("{title} could not be fetched, so it is made here: {reason}", title=title, reason=error)
            )
            return None
        self.store.whereabouts.learn(known.said_by, [layer.descriptor.digest])
        got = self.store.unpacked(layer.descriptor, self.limits.unpacked)
        if got is None or got[0] != layer.diff_id:
            self._warn(
                Text(
                    "{name} says of {title} what is not so: its layer unpacks to something else; it is made here",
                    name=known.said_by.name, title=title,
                )
            )  # fmt: skip
            return None
        layer = replace(layer, unpacked=got[1])
        self.store.recipes.record(_by(key, known.said_by), layer)
        return layer

    @property
    def _sources(self) -> tuple[Reference, ...]:
        return tuple(dict.fromkeys([*map(_repository, self.images), *self.caches]))

    def _remembered(self, key: Digest) -> Known | None:
        """A layer that was fetched before, from somebody who is still believed."""
        for source in self._sources:
            layer = self.store.recipes.find(_by(key, source))
            if layer is not None:
                return Known(layer, source, here=True)
        return None

    def _ask(self, keys: Sequence[Digest]) -> dict[Digest, Known]:
        """Images first: one question tells of all their layers. What is said counts if the layer is there."""
        said: dict[Digest, Known] = {}
        for image in self.images:
            for recipes in self._recipes(image):
                where = _repository(image)
                said |= {
                    key: Known(recipes[key], where, here=False) for key in keys if key in recipes.keys() - said
                }
        for cache in self.caches:
            left = [key for key in keys if key not in said]
            layers = together(partial(self._entry, cache), left, Stop(), QUESTIONS)
            found = {key: layer for key, layer in zip(left, layers, strict=True) if layer is not None}
            said |= {key: Known(layer, cache, here=False) for key, layer in found.items()}
        there = together(self._is_there, list(said.values()), Stop(), QUESTIONS)
        return {key: known for (key, known), is_there in zip(said.items(), there, strict=True) if is_there}

    def _entry(self, cache: Reference, key: Digest) -> Layer | None:
        layer = self._question(cache, lambda entries: entries.find(key))
        return _ours(layer) if layer is not None else None

    def _is_there(self, known: Known) -> bool:
        try:
            return self.client.has(known.said_by, known.layer.descriptor)
        except RegistryError:
            return False

    def _question(self, cache: Reference, ask: Callable[[Entries], T]) -> T | None:
        """What a cache answers; one that cannot be read is told of once, and asked no more."""
        if cache in self._silent:
            return None
        try:
            return ask(Entries(self.client, cache))
        except RegistryError as error:
            if cache not in self._silent:
                self._silent.add(cache)
                self._warn(Text("the cache {name} cannot be read: {reason}", name=cache.name, reason=error))
            return None

    def _recipes(self, target: Reference) -> list[Recipes]:
        """What the images at ``target`` say of their layers; when they cannot be read, the push will tell."""
        if target not in self._told:
            self._told[target] = []
            with suppress(RegistryError):
                for image in self._neighbours(target):
                    with suppress(ImageError):  # an artifact, or for other platforms
                        self._told[target].append(self._layers(image))
        return self._told[target]

    def _neighbours(self, target: Reference) -> list[Reference]:
        """The image that the tag names; of a new tag, a few others of its repository."""
        found = self.client.find(target, pushing=True)
        if found is not None:
            return [replace(target, tag=None, digest=found.digest)]
        tags = [tag for tag in self.client.tags(target, _TAGS) if not is_entry(tag)]
        chosen = [tag for tag in _USUAL_TAGS if tag in tags]
        chosen += [tag for tag in reversed(tags) if tag not in chosen]
        named = [self.client.find(target.with_tag(tag), pushing=True) for tag in chosen[:_IMAGES]]
        return [replace(target, tag=None, digest=one.digest) for one in named if one is not None]

    def _layers(self, image: Reference) -> Recipes:
        made = remote_image(self.client, image, self.platform)
        recipes: Recipes = {}
        for descriptor, diff_id in zip(made.manifest.layers, made.config.diff_ids, strict=True):
            layer, key = _ours(Layer(descriptor, diff_id, 0)), descriptor.annotations.get(RECIPE)
            if layer is not None and key is not None and UNRECORDED not in descriptor.annotations:
                recipes[Digest.parse(key)] = layer
        return recipes

    def _warn(self, text: Text) -> None:
        self.reporter.report(Said(text, Level.WARNING))


def _by(statement: Digest, source: Reference) -> Digest:
    """A statement that is only somebody's word."""
    return Digest.sha256(canonical_json({"said": str(statement), "by": f"{source.domain}/{source.path}"}))


def _repository(reference: Reference) -> Reference:
    return replace(reference, tag=None, digest=None)


def _ours(layer: Layer) -> Layer | None:
    """The layer as we would have made it, so that the image has the same bytes; None for what we never make."""
    descriptor = layer.descriptor
    if descriptor.media_type not in (LAYER_GZIP, DOCKER_LAYER_GZIP) or descriptor.digest.algorithm != "sha256":
        return None
    return replace(layer, descriptor=Descriptor(LAYER_GZIP, descriptor.digest, descriptor.size))
