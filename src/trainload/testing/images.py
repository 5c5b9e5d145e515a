"""Small complete images made of bytes, for tests of the store, of destinations and of engines."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainload.digest import Digest
from trainload.errors import Text
from trainload.image.assemble import assemble, assemble_mount, make_bundle
from trainload.image.model import LAYER_GZIP, Descriptor, Image, Layer
from trainload.plan.model import CodeRecipe, Kind, Plan, PlannedLayer, PlannedMount, RuntimeConfig
from trainload.platform import Platform
from trainload.store.store import Store


def layer_bytes(files: Mapping[str, bytes], *, mode: int = 0o644) -> tuple[bytes, Digest]:
    """A gzipped tar with ``files``, and its diff_id."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), 6, mtime=0), Digest.sha256(raw.getvalue())


def put_layer(store: Store, blob: bytes, diff_id: Digest) -> Layer:
    """Commit a layer's bytes."""
    with store.ingest(len(blob)) as ingest:
        ingest.write(blob)
        digest, size = ingest.commit()
    return Layer(Descriptor(LAYER_GZIP, digest, size), diff_id, len(gzip.decompress(blob)))


def plan_of(name: str, titles: tuple[str, ...], command: tuple[str, ...] = ("/hello",)) -> Plan:
    """A plan whose layers have these titles; their recipes are told apart by them."""
    layers = tuple(PlannedLayer(Kind.CODE, title, _recipe(title), None, Text("for a test")) for title in titles)
    config = RuntimeConfig("1000", "/", command, (), {"PATH": "/bin"}, {})
    return Plan(name, Platform.host(), layers, config)


def make_with_weights(
    store: Store, plan: Plan, layers: Sequence[Layer], path: str, weights: Mapping[str, bytes]
) -> tuple[Image, Image]:
    """Commit the image of ``plan``, into which an artifact with the files ``weights`` is mounted at ``path``."""
    mount = PlannedMount("weights", path, plan_of("weights", ("weights",)).layers)
    artifact = assemble_mount(mount, plan.platform, [put_layer(store, *layer_bytes(weights))])
    image = assemble(replace(plan, mounts=(mount,)), layers, None, [artifact])
    store.commit_image(artifact)
    store.commit_image(image)
    store.commit_index(make_bundle(image, [artifact]), (plan.name,))
    return image, artifact


def _recipe(title: str) -> CodeRecipe:
    return CodeRecipe("/", 0, hashlib.sha256(title.encode()).hexdigest())


def make(store: Store, name: str, *contents: Mapping[str, bytes], names: tuple[str, ...] | None = None) -> Image:
    """Build and commit an image of one layer per content; ``names``: other than its own."""
    layers = [put_layer(store, *layer_bytes(content)) for content in contents]
    titles = tuple(f"layer {number}" for number in range(len(layers)))
    image = assemble(plan_of(name, titles), layers)
    store.commit_image(image, (name,) if names is None else names)
    return image
