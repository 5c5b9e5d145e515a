"""An image over a base image: its history and layers first, as they are; its name and digest as annotations."""

from __future__ import annotations

import pytest

from trainload.builder.bases import document
from trainload.digest import Digest
from trainload.errors import ImageError, Text
from trainload.image.assemble import assemble
from trainload.image.model import BASE_DIGEST, BASE_NAME, LAYER, LAYER_GZIP, LAYER_ZSTD, Descriptor, Layer
from trainload.image.parse import make_image
from trainload.plan.model import CodeRecipe, Kind, Plan, PlannedLayer, RuntimeConfig
from trainload.platform import Platform
from trainload.testing.bases import image as made_image
from trainload.testing.tars import TarEntry

HISTORY: list[dict[str, object]] = [
    {"created": "2024-05-14T00:28:27Z", "created_by": "ADD file:1 in / ", "comment": "buildkit"},
    {"created": "2024-05-14T00:28:28Z", "created_by": 'CMD ["bash"]', "empty_layer": True},
    {"created_by": "RUN pip install"},
]
CONFIG = {"Env": ["PATH=/bin"], "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGINT"}


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker schema 2"])
def test_layers_history_and_config_of_the_base_come_first_in_ocis_words(docker: bool) -> None:
    made = made_image((TarEntry("a"),), (TarEntry("b"),), config=CONFIG, history=HISTORY, docker=docker)
    config = next(data for data in made.blobs.values() if data.startswith(b"{"))
    below = document(make_image(made.manifest, config, "base"), "python:3.11-slim")
    assert [layer.media_type for layer in below.layers] == [LAYER_GZIP, LAYER_GZIP]
    code = PlannedLayer(Kind.CODE, "code", CodeRecipe("/app", 1000, "c" * 64), 3, Text("for a test"))
    planned = tuple(
        PlannedLayer(Kind.BASE, "base", recipe, recipe.size, Text("for a test")) for recipe in below.layers
    )
    layers = [
        Layer(Descriptor(one.media_type, Digest.parse(one.digest), one.size), Digest.parse(one.diff_id), 0)
        for one in below.layers
    ]
    own = Layer(Descriptor(LAYER_GZIP, Digest.sha256(b"own"), 3), Digest.sha256(b"tar"), 9)
    runtime = RuntimeConfig(
        "1000", "/app", ("x",), (), {}, {}, below.config.stop_signal, below.config.volumes, below.config.ports
    )
    built = assemble(Plan("x", Platform(), (*planned, code), runtime, base=below), [*layers, own])
    assert [entry.created_by for entry in built.config.history] == [
        "ADD file:1 in / ", 'CMD ["bash"]', "RUN pip install", "code · 3 B",
    ]  # fmt: skip
    assert [(entry.created, entry.comment) for entry in built.config.history[:2]] == [
        ("2024-05-14T00:28:27Z", "buildkit"), ("2024-05-14T00:28:28Z", ""),
    ]  # fmt: skip
    assert [entry.empty for entry in built.config.history] == [False, True, False, False]
    assert built.config.diff_ids == tuple(layer.diff_id for layer in [*layers, own])
    assert [layer.digest for layer in built.manifest.layers][:2] == [layer.descriptor.digest for layer in layers]
    assert built.manifest.annotations == {BASE_NAME: "python:3.11-slim", BASE_DIGEST: str(made.digest)}
    again = built.config.runtime
    assert (again.volumes, again.ports, again.stop_signal) == (("/data",), ("80/tcp",), "SIGINT")


def test_a_history_that_does_not_fit_the_layers_is_left_out() -> None:
    made = made_image((TarEntry("a"),), history=[{"created_by": "one"}, {"created_by": "two"}])
    config = next(data for data in made.blobs.values() if data.startswith(b"{"))
    assert document(make_image(made.manifest, config, "base"), "x").history == ()


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        (LAYER, LAYER), (LAYER_ZSTD, LAYER_ZSTD), ("application/vnd.docker.image.rootfs.diff.tar", LAYER),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", LAYER_GZIP),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", LAYER_GZIP),
        ("application/vnd.in-toto+json", None),
    ],
)  # fmt: skip
def test_kinds_of_layers_are_told_in_ocis_words_or_refused(kind: str, want: str | None) -> None:
    made = made_image((TarEntry("a"),))
    config = next(data for data in made.blobs.values() if data.startswith(b"{"))
    whole = make_image(made.manifest.replace(LAYER_GZIP.encode(), kind.encode()), config, "base")
    if want is None:
        with pytest.raises(ImageError, match="of an unknown kind"):
            document(whole, "x")
    else:
        assert document(whole, "x").layers[0].media_type == want
