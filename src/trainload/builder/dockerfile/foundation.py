"""What a stage stands on: nothing, another stage, an image by the digest in the lock, or our own composed base."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import BinaryIO

from trainload.builder.bases import document
from trainload.builder.dockerfile.bench import Bench
from trainload.builder.makers import Code
from trainload.builder.workshop import BaseLayers, MadeLayer, Workshop
from trainload.dockerfile.config import FROM_SCRATCH, inherited
from trainload.dockerfile.model import SCRATCH
from trainload.errors import FetchError, ImageError, LockError, Place, RegistryError, StoreError, Text
from trainload.image.model import Image
from trainload.lock.answers import base_of, blob, of_base
from trainload.plan.base import bare
from trainload.plan.base import base_of as base_recipe
from trainload.plan.model import BaseDocument, Kind, Plan, PlannedLayer, RuntimeConfig
from trainload.platform import Platform
from trainload.project.model import CodeListing
from trainload.reference import DOCKER_HUB, Reference
from trainload.values import dataclass, replace

_WHY = Text("the Dockerfile's FROM")
_TITLE = 120


@dataclass(frozen=True, slots=True)
class Foundation:
    """The lowest layers of a stage."""

    layers: tuple[MadeLayer, ...]
    config: RuntimeConfig
    shop: Workshop
    """Gets the layers that are not here."""
    base: BaseDocument | None = None


def lay(bench: Bench, name: str, platform: Platform, place: Place) -> Foundation:
    """The foundation ``name``, which is no stage. Raises :class:`ImageError`, :class:`LockError` with the line."""
    if name == SCRATCH:
        return Foundation((), FROM_SCRATCH, bench.shop)
    if name.startswith("apt:"):
        return _composed(bench, name, platform)
    try:
        return _image(bench, name, platform)
    except (ImageError, LockError, RegistryError, FetchError) as error:
        error.place = error.place or place
        raise


def _image(bench: Bench, name: str, platform: Platform) -> Foundation:
    reference = Reference.parse(name).completed()
    image = _ours(bench, name, reference, platform) or _theirs(bench, name, reference, platform)
    told = document(image, name)
    shop = replace(bench.shop, base=BaseLayers(reference, partial(bench.bases.layer, reference)))
    planned = [
        PlannedLayer(Kind.BASE, _title(told, number), layer, layer.size, _WHY)
        for number, layer in enumerate(told.layers)
    ]
    return Foundation(shop.of_base(planned), inherited(told.config), shop, told)


def _title(told: BaseDocument, number: int) -> str:
    said = [str(entry.get("created_by", "")) for entry in told.history if not entry.get("empty_layer")]
    return " ".join(said[number].split())[:_TITLE] if number < len(said) else told.layers[number].diff_id


def _ours(bench: Bench, name: str, reference: Reference, platform: Platform) -> Image | None:
    """An image of that name in our own store, which goes before Docker Hub, as with Docker's own images."""
    if reference.domain != DOCKER_HUB or reference.digest is not None or f"FROM {name}" in bench.answers.known:
        return None
    try:
        return bench.shop.store.image(bench.shop.store.resolve(name), platform)
    except (StoreError, ImageError):
        return None


def _theirs(bench: Bench, name: str, reference: Reference, platform: Platform) -> Image:
    question = f"FROM {name}"
    arch = platform.architecture
    known = bench.answers.get(question)
    if known is None or arch not in known:
        if known is None and bench.answers.frozen:
            bench.answers.put(question, {})
        digest, images = bench.bases.pin(reference, [platform])
        image = images[platform]
        config = image.manifest.config
        entry = {
            "manifest": {"digest": str(image.digest), "size": len(image.manifest_bytes)},
            "config": {"digest": str(config.digest), "size": config.size},
        }
        known = bench.answers.put(question, {**(known or {}), "digest": str(digest), arch: entry})
    answer = known[arch]
    if not isinstance(answer, dict):
        raise LockError(Text("an answer of the lock is broken"), place=Place(bench.answers.file, question))
    blobs = (blob(answer, key, bench.answers.file, question) for key in ("manifest", "config"))
    return bench.bases.image(reference, *blobs)


def _composed(bench: Bench, name: str, platform: Platform) -> Foundation:
    from trainload.resolve.distribution import resolve_distribution

    question, arch = f"FROM {name} {platform.architecture}", platform.architecture

    def resolve() -> dict[str, object]:
        services = bench.services().distribution(())
        base = resolve_distribution(name, profile="dev", system=(), architectures=(arch,), services=services)
        return dict(of_base(base))

    base = base_of(bench.answers.ask(question, resolve), bench.answers.file, question)
    recipe = bare(base_recipe(base, platform))
    title = f"{recipe.distribution} {recipe.suite} {recipe.profile}"
    size = sum(package.file.size or 0 for package in recipe.packages)
    planned = PlannedLayer(Kind.BASE, title, recipe, size, _WHY)
    config = replace(FROM_SCRATCH, env={**FROM_SCRATCH.env, "LANG": "C.UTF-8"}, command=("bash",))
    whole = Plan("base", platform, (planned,), config)
    return Foundation(bench.shop.make(whole, _NO_CODE), config, bench.shop)


def _no_code(path: str) -> BinaryIO:
    raise AssertionError(path)


_NO_CODE = Code(CodeListing(()), _no_code)


def diff_ids(layers: Sequence[MadeLayer]) -> tuple[str, ...]:
    return tuple(str(made.layer.diff_id) for made in layers)
