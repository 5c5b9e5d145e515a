"""From a plan and its layers to the image's bytes: pure, and the same everywhere (OCI manifest.md, config.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from trainload.digest import Digest, canonical_json
from trainload.errors import ConfigError, Text
from trainload.image.model import (
    BASE_DIGEST,
    BASE_NAME,
    CONFIG,
    INDEX,
    MANIFEST,
    MOUNTS,
    RECIPE,
    WEIGHTS,
    Config,
    Descriptor,
    Image,
    ImageIndex,
    Layer,
)
from trainload.image.parse import make_image, parse_manifest
from trainload.plan.key import recipe_key
from trainload.plan.model import HealthConfig, Plan, PlannedLayer, PlannedMount, RuntimeConfig
from trainload.platform import Platform
from trainload.values import replace

EPOCH = "1970-01-01T00:00:00Z"
"""An image made of the same bytes is the same image, whenever it is made."""
_TOOL = "trainload"
TITLE = "org.opencontainers.image.title"
_LAST_SECOND = 253_402_300_799
"""Of the year 9999, the last that RFC 3339 can write."""


def assemble(
    plan: Plan, layers: Sequence[Layer], created: str | None = None, mounted: Sequence[Image] = ()
) -> Image:
    """The image of ``plan``, whose layers became ``layers``, in order.

    ``created``: RFC 3339, from SOURCE_DATE_EPOCH (:func:`created_at`); None: the epoch. ``mounted``: the artifacts
    of ``plan.mounts``, in order.
    """
    annotations = {BASE_NAME: plan.base.name, BASE_DIGEST: plan.base.digest} if plan.base else {}
    if mounted:
        told = [
            {"path": f"/{one.path}", "digest": str(made.digest)}
            for one, made in zip(plan.mounts, mounted, strict=True)
        ]
        annotations[MOUNTS] = canonical_json(told).decode()
    return _assembled(plan, layers, created, {"annotations": annotations} if annotations else {})


def assemble_mount(mount: PlannedMount, platform: Platform, layers: Sequence[Layer]) -> Image:
    """Weights as an artifact: an image that nobody runs, so that whatever moves and unpacks images takes it."""
    plan = Plan(mount.title, platform, mount.layers, RuntimeConfig("", "", (), (), {}, {}))
    return _assembled(plan, layers, None, {"artifactType": WEIGHTS, "annotations": {TITLE: mount.title}})


def make_bundle(image: Image, mounted: Sequence[Image]) -> ImageIndex:
    """One name for an image and what is mounted into it; engines see the image only."""
    nowhere = {"platform": {"os": "unknown", "architecture": "unknown"}, "artifactType": WEIGHTS}
    children = [{**document(image.descriptor), "platform": _platform(image.config)}]
    children += [{**document(one.descriptor), **nowhere} for one in {one.digest: one for one in mounted}.values()]
    raw = canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
    index = parse_manifest(raw, "index")
    assert isinstance(index, ImageIndex)
    return index


def _assembled(plan: Plan, layers: Sequence[Layer], created: str | None, more: Mapping[str, object]) -> Image:
    when = created or EPOCH
    config = canonical_json(
        {
            "architecture": plan.platform.architecture,
            "os": plan.platform.os,
            "created": when,
            **({"author": plan.config.author} if plan.config.author else {}),
            "config": runtime_document(plan.config),
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
            "history": _history(plan, layers, when),
        }
    )
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": document(Descriptor(CONFIG, Digest.sha256(config), len(config))),
            "layers": [_layer(planned, layer) for planned, layer in zip(plan.layers, layers, strict=True)],
            **more,
        }
    )
    return make_image(manifest, config, plan.name)


def _history(plan: Plan, layers: Sequence[Layer], when: str) -> list[Mapping[str, object]]:
    """The base's own entries as they are, then one for each layer of ours."""
    own = list(zip(plan.layers, layers, strict=True))
    told: list[Mapping[str, object]] = []
    if plan.base is not None and plan.base.history:
        told.extend(plan.base.history)
        own = own[len(plan.base.layers) :]
    ours = ({"created": when, "created_by": bill(planned, layer), "comment": _TOOL} for planned, layer in own)
    return [*told, *ours]


def make_index(images: Sequence[Image]) -> ImageIndex:
    """One name for images of several platforms, sorted by platform."""
    ordered = sorted(images, key=lambda image: image.config.platform)
    raw = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{**document(image.descriptor), "platform": _platform(image.config)} for image in ordered],
        }
    )
    index = parse_manifest(raw, "index")
    assert isinstance(index, ImageIndex)
    return index


def created_at(epoch: int) -> str:
    """SOURCE_DATE_EPOCH, seconds since 1970 UTC, as the image specification writes times (RFC 3339)."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def created_in(environ: Mapping[str, str]) -> str | None:
    """The image's date: SOURCE_DATE_EPOCH (reproducible-builds.org), if it is set. Raises :class:`ConfigError`."""
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return None
    if not re.fullmatch("[0-9]{1,12}", epoch) or int(epoch) > _LAST_SECOND:
        raise ConfigError(Text("{name} is no date", name="SOURCE_DATE_EPOCH"), got=epoch, want="seconds since 1970")
    return created_at(int(epoch))


def document(descriptor: Descriptor) -> dict[str, object]:
    """A descriptor as it stands in a manifest."""
    made: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    if descriptor.annotations:
        made["annotations"] = dict(descriptor.annotations)
    if descriptor.urls:
        made["urls"] = list(descriptor.urls)
    return made


def bill(planned: PlannedLayer, layer: Layer) -> str:
    """One line of the bill of lading: ``torch 2.13.0+cpu · 192 MB``."""
    return f"{planned.title} · {weight(layer.descriptor.size)}"


def weight(size: int) -> str:
    """Bytes for people, in the decimal units of registries and disks."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.{1 if unit != 'B' and value < 9.95 else 0}f} {unit}"


def runtime_document(config: RuntimeConfig) -> dict[str, object]:
    """The ``config`` part: what is not set is left out, maps are sorted."""
    made: dict[str, object] = {
        "User": config.user,
        "WorkingDir": config.workdir,
        "Env": [f"{name}={value}" for name, value in sorted(config.env.items())],
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
        "Volumes": {folder: {} for folder in config.volumes},
        "ExposedPorts": {port: {} for port in config.ports},
        "Healthcheck": _health(config.health),
        "Shell": list(config.shell),
        "OnBuild": list(config.onbuild),
    }
    return {key: value for key, value in made.items() if value}


def _health(health: HealthConfig | None) -> dict[str, object]:
    if health is None:
        return {}
    made: dict[str, object] = {
        "Test": list(health.test),
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
        "Retries": health.retries,
    }
    return {key: value for key, value in made.items() if value}


def _layer(planned: PlannedLayer, layer: Layer) -> dict[str, object]:
    """Its descriptor, and which inputs it was made of, so that a plan can be compared with an image."""
    annotations = {**layer.descriptor.annotations, RECIPE: str(recipe_key(planned.recipe))}
    return document(replace(layer.descriptor, annotations=annotations))


def _platform(config: Config) -> dict[str, str]:
    return {"os": config.platform.os, "architecture": config.platform.architecture}
