"""Manifests, indexes and configs from bytes anyone may have written: read exactly or refused (THREATS R03–R09)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from trainload.digest import Digest
from trainload.errors import ImageError, Place, Text
from trainload.image.model import (
    CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Config,
    Descriptor,
    History,
    Image,
    ImageIndex,
    Manifest,
)  # fmt: skip
from trainload.image.strict_json import parse_object
from trainload.limits import DEFAULT, Limits
from trainload.plan.model import HealthConfig, RuntimeConfig
from trainload.platform import Platform
from trainload.values import dataclass

_MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
_INDEXES = (INDEX, DOCKER_INDEX)
_LARGEST_SIZE = 2**53


@dataclass(frozen=True, slots=True)
class Node:
    """A value inside a document and its key path; reads it with a type or refuses it with the path."""

    value: object
    where: str
    path: str = ""

    def get(self, key: str) -> Node:
        """The member ``key`` of an object; its value is None when absent."""
        inner = self.object().get(key)
        return Node(inner, self.where, f"{self.path}.{key}" if self.path else key)

    def refuse(self, want: str) -> ImageError:
        got = repr(self.value)
        return ImageError(
            Text("this image document is not what the image specification allows"),
            place=Place(self.where, self.path or None),
            got=got if len(got) <= 200 else got[:200] + "…",
            want=want,
        )

    def object(self) -> Mapping[str, object]:
        if not isinstance(self.value, dict):
            raise self.refuse("an object")
        return self.value

    def text(self, default: str | None = None) -> str:
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str) or "\0" in self.value:
            raise self.refuse("a string")
        return self.value

    def optional(self) -> str | None:
        return None if self.value is None else self.text()

    def integer(self) -> int:
        if type(self.value) is not int or not 0 <= self.value <= _LARGEST_SIZE:
            raise self.refuse("a number of bytes")
        return self.value

    def items(self) -> tuple[Node, ...]:
        if self.value is None:
            return ()
        if not isinstance(self.value, list):
            raise self.refuse("a list")
        return tuple(Node(item, self.where, f"{self.path}[{n}]") for n, item in enumerate(self.value))

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def strings(self) -> dict[str, str]:
        """An object whose values are all strings."""
        if self.value is None:
            return {}
        return {key: self.get(key).text() for key in self.object()}

    def digest(self) -> Digest:
        try:
            return Digest.parse(self.text())
        except ImageError:
            raise self.refuse("sha256:<64 hexadecimal digits>") from None


def parse_manifest(
    data: bytes,
    where: str,
    *,
    digest: Digest | None = None,
    media_type: str | None = None,
    limits: Limits = DEFAULT,
) -> Manifest | ImageIndex:
    """The manifest or index in ``data``; ``where`` names it in errors.

    ``digest``: what was asked for. ``media_type``: what the descriptor or the Content-Type said. Raises
    :class:`ImageError`.
    """
    if digest is not None and not digest.matches(data):
        raise ImageError(
            Text("a manifest is not the one that was asked for"),
            place=Place(where), got=Digest.of(data, digest.algorithm), want=digest,
        )  # fmt: skip
    document = Node(parse_object(data, where, limit=limits.manifest, nesting=limits.nesting), where)
    version = document.get("schemaVersion")
    if version.value != 2 or type(version.value) is not int:
        raise version.refuse("2; images of schema 1 cannot be verified, push them again with a newer tool")
    kind = _media_type(document, media_type)
    if kind in _INDEXES:
        return _index(document, data, kind, limits)
    return Manifest(
        media_type=kind,
        config=parse_descriptor(document.get("config")),
        layers=tuple(parse_descriptor(layer) for layer in document.get("layers").items()),
        annotations=document.get("annotations").strings(),
        artifact_type=document.get("artifactType").text(""),
        subject=_subject(document),
    )


def parse_descriptor(node: Node) -> Descriptor:
    """A descriptor (descriptor.md). Raises :class:`ImageError`."""
    platform = node.get("platform")
    found = Descriptor(
        media_type=node.get("mediaType").text(),
        digest=node.get("digest").digest(),
        size=node.get("size").integer(),
        annotations=node.get("annotations").strings(),
        urls=node.get("urls").texts(),
        platform=None if platform.value is None else _platform(platform),
        artifact_type=node.get("artifactType").optional(),
    )
    data = node.get("data")
    if data.value is not None:
        _check_data(data, found)
    return found


def parse_config(data: bytes, where: str, *, limits: Limits = DEFAULT) -> Config:
    """An image config (config.md). Raises :class:`ImageError`."""
    document = Node(parse_object(data, where, limit=limits.config, nesting=limits.nesting), where)
    rootfs = document.get("rootfs")
    if rootfs.get("type").value != "layers":
        raise rootfs.get("type").refuse("layers")
    inner = document.get("config")
    config = inner if inner.value is not None else Node({}, where, "config")
    return Config(
        platform=_platform(document),
        created=document.get("created").optional(),
        runtime=_runtime(config, document.get("author").text("")),
        diff_ids=tuple(item.digest() for item in rootfs.get("diff_ids").items()),
        history=tuple(_history(item) for item in document.get("history").items()),
    )


def make_image(manifest_bytes: bytes, config_bytes: bytes, where: str, *, limits: Limits = DEFAULT) -> Image:
    """An image from its two documents, which must belong together (THREATS R06). Raises :class:`ImageError`."""
    manifest = parse_manifest(manifest_bytes, where, limits=limits)
    if isinstance(manifest, ImageIndex):
        raise ImageError(Text("an index was given where an image is needed"), place=Place(where))
    if not manifest.config.digest.matches(config_bytes) or len(config_bytes) != manifest.config.size:
        raise ImageError(
            Text("the config is not the one the manifest names"),
            place=Place(where, "config"), got=Digest.of(config_bytes, manifest.config.digest.algorithm),
            want=manifest.config.digest,
        )  # fmt: skip
    config = parse_config(config_bytes, where, limits=limits)
    if len(config.diff_ids) != len(manifest.layers):
        raise ImageError(
            Text("the config does not list the layers of the manifest"),
            place=Place(where, "rootfs.diff_ids"), got=len(config.diff_ids), want=len(manifest.layers),
        )  # fmt: skip
    return Image(manifest_bytes, config_bytes, manifest, config)


def select(index: ImageIndex, platform: Platform) -> Descriptor:
    """The image for ``platform``. Raises :class:`ImageError` that lists what there is."""
    for descriptor in index.manifests:
        if descriptor.platform == platform:
            return descriptor
    known = sorted({str(item.platform) for item in index.manifests if item.platform})
    raise ImageError(
        Text("the image is not made for {platform}", platform=platform), got=", ".join(known) or "no platform"
    )


def is_image_config(media_type: str) -> bool:
    """Whether a manifest with this config is an image that can run, not another kind of artifact."""
    return media_type in (CONFIG, "application/vnd.docker.container.image.v1+json")


def _media_type(document: Node, outer: str | None) -> str:
    """What the document is; every sign must agree (R04, CVE-2021-41190)."""
    inner = document.get("mediaType").optional()
    if inner is not None and outer is not None and inner != outer:
        raise document.get("mediaType").refuse(outer)
    has_layers = "layers" in document.object() or "config" in document.object()
    has_manifests = "manifests" in document.object()
    if has_layers and has_manifests:
        raise Node("both layers and manifests", document.where).refuse("an image manifest or an index")
    kind = inner or outer or (INDEX if has_manifests else MANIFEST)
    if kind not in _MANIFESTS + _INDEXES:
        raise Node(kind, document.where, "mediaType").refuse(f"{MANIFEST} or {INDEX}")
    if (kind in _INDEXES) != has_manifests:
        raise Node(kind, document.where, "mediaType").refuse("a document of its media type")
    return kind


def _index(document: Node, data: bytes, kind: str, limits: Limits) -> ImageIndex:
    children = document.get("manifests")
    if not isinstance(children.value, list):
        raise children.refuse("a list")
    if len(children.value) > limits.index_children:
        raise Node(len(children.value), document.where, "manifests").refuse(
            f"at most {limits.index_children} images"
        )
    manifests = tuple(parse_descriptor(item) for item in children.items())
    return ImageIndex(
        data,
        kind,
        manifests,
        annotations=document.get("annotations").strings(),
        artifact_type=document.get("artifactType").text(""),
        subject=_subject(document),
    )


def _subject(document: Node) -> Descriptor | None:
    """What this document is about, when it is attached to another one (manifest.md § subject)."""
    subject = document.get("subject")
    return None if subject.value is None else parse_descriptor(subject)


def _check_data(data: Node, descriptor: Descriptor) -> None:
    try:
        held = base64.b64decode(data.text(), validate=True)
    except (binascii.Error, ValueError):
        raise data.refuse("base64") from None
    if len(held) != descriptor.size or not descriptor.digest.matches(held):
        raise data.refuse("the bytes of the descriptor's digest and size")


def _platform(node: Node) -> Platform:
    return Platform(node.get("os").text(), node.get("architecture").text())


def _runtime(config: Node, author: str) -> RuntimeConfig:
    env: dict[str, str] = {}
    for item in config.get("Env").texts():
        name, _, value = item.partition("=")
        env[name] = value
    return RuntimeConfig(
        user=config.get("User").text(""),
        workdir=config.get("WorkingDir").text(""),
        command=config.get("Cmd").texts(),
        entrypoint=config.get("Entrypoint").texts(),
        env=env,
        labels=config.get("Labels").strings(),
        stop_signal=config.get("StopSignal").optional(),
        volumes=_keys(config.get("Volumes")),
        ports=_keys(config.get("ExposedPorts")),
        health=_health(config.get("Healthcheck")),
        shell=config.get("Shell").texts(),
        onbuild=config.get("OnBuild").texts(),
        author=author,
    )


def _health(node: Node) -> HealthConfig | None:
    """Docker's part of the config (config.md leaves it open)."""
    if not isinstance(node.value, dict) or not node.get("Test").items():
        return None
    times = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
    numbers = (node.get(name) for name in times)
    return HealthConfig(node.get("Test").texts(), *(0 if one.value is None else one.integer() for one in numbers))


def _history(node: Node) -> History:
    empty = node.get("empty_layer")
    if empty.value not in (None, True, False):
        raise empty.refuse("true or false")
    return History(
        created_by=node.get("created_by").text(""),
        comment=node.get("comment").text(""),
        created=node.get("created").optional(),
        empty=empty.value is True,
    )


def _keys(node: Node) -> tuple[str, ...]:
    return () if node.value is None else tuple(sorted(node.object()))
