"""Documents of images are read exactly or refused, with the key path of what is wrong (THREATS R03–R09)."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError
from trainload.image.model import CONFIG, DOCKER_MANIFEST, INDEX, LAYER_GZIP, MANIFEST, Image, ImageIndex, Manifest
from trainload.image.parse import make_image, parse_config, parse_manifest, select
from trainload.image.strict_json import parse_object
from trainload.limits import DEFAULT
from trainload.platform import Platform

D = "sha256:" + "1" * 64
Json = dict[str, Any]


def descriptor(**changed: object) -> Json:
    return {"mediaType": LAYER_GZIP, "digest": D, "size": 10, **changed}


def manifest(**changed: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(mediaType=CONFIG),
        "layers": [descriptor()],
        **changed,
    }
    return canonical_json({key: value for key, value in document.items() if value is not None})


def config(**changed: object) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [D]}
    return canonical_json({"os": "linux", "architecture": "arm64", "rootfs": rootfs, **changed})


def index(children: list[Json]) -> bytes:
    return canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})


def image_of(config_bytes: bytes, layers: int = 1) -> Image:
    described = descriptor(mediaType=CONFIG, digest=str(Digest.sha256(config_bytes)), size=len(config_bytes))
    return make_image(manifest(config=described, layers=[descriptor()] * layers), config_bytes, "x")


def refused(data: bytes, *, digest: Digest | None = None, media_type: str | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        parse_manifest(data, "m.json", digest=digest, media_type=media_type)
    return str(caught.value)


def test_a_manifest_is_read_whole_and_unknown_fields_do_no_harm() -> None:
    found = parse_manifest(manifest(annotations={"a": "b"}, later=[{}]), "x")
    assert isinstance(found, Manifest)
    assert (found.media_type, found.layers[0].size, found.annotations) == (MANIFEST, 10, {"a": "b"})


def test_a_config_is_read_whole() -> None:
    inner: Json = {
        "User": "1000", "Env": ["A=b=c", "A=d", "E"], "Cmd": ["x"], "Labels": {"l": "v"}, "Volumes": {"/v": {}},
        "ExposedPorts": {"80/tcp": {}}, "Entrypoint": None, "WorkingDir": "/w", "StopSignal": "SIGINT",
    }  # fmt: skip
    found = parse_config(config(config=inner, history=[{"created_by": "x", "empty_layer": True}]), "c")
    assert found.platform == Platform("linux", "arm64")
    assert found.runtime.env == {"A": "d", "E": ""}
    assert (found.runtime.command, found.runtime.entrypoint, found.runtime.user) == (("x",), (), "1000")
    assert (found.runtime.volumes, found.runtime.ports, found.runtime.stop_signal) == (
        ("/v",),
        ("80/tcp",),
        "SIGINT",
    )
    assert found.history[0].empty


def test_R03_a_manifest_with_another_digest_is_refused() -> None:
    assert "not the one that was asked for" in refused(manifest(), digest=Digest.parse(D))


def test_R04_every_sign_of_what_a_document_is_must_agree() -> None:
    assert "mediaType" in refused(manifest(), media_type=DOCKER_MANIFEST)
    assert "both layers and manifests" in refused(manifest(manifests=[descriptor()]))
    assert "its media type" in refused(manifest(mediaType=INDEX))
    assert "its media type" in refused(index([]).replace(INDEX.encode(), MANIFEST.encode()))
    assert "application/x" in refused(manifest(mediaType="application/x"))
    assert isinstance(parse_manifest(manifest(mediaType=None), "x"), Manifest)
    untyped = canonical_json({"schemaVersion": 2, "manifests": []})
    assert isinstance(parse_manifest(untyped, "x", media_type=INDEX), ImageIndex)


NOT_I_JSON = {
    "twice": b'{"schemaVersion":2,"schemaVersion":2}',
    "twice inside": b'{"a":{"b":1,"b":1}}',
    "NaN": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "huge integer": b'{"a":9007199254740993}',
    "huge real": b'{"a":1e400}',
    "long number": b'{"a":' + b"9" * 100_000 + b"}",
    "latin-1": b'{"a":"\xe9"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "surrogate": rb'{"a":"\ud800"}',
    "surrogate key": rb'{"\udfff":1}',
    "list": b"[]",
    "nothing": b"",
    "cut": b'{"a":',
    "two": b"{}{}",
}


@pytest.mark.parametrize("data", NOT_I_JSON.values(), ids=NOT_I_JSON)
def test_R05_what_is_not_i_json_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="cannot be trusted"):
        parse_object(data, "x")


@pytest.mark.parametrize("depth", [DEFAULT.nesting, 100_000])
def test_R05_nesting_is_bounded_and_refused_at_once(depth: int) -> None:
    began = time.process_time()
    with pytest.raises(ImageError, match="nesting too deep|cannot be trusted"):
        parse_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}", "x")
    assert time.process_time() - began < 3  # a third of it on an idle machine
    inside = DEFAULT.nesting - 1
    assert parse_object(b'{"a":' + b"[" * inside + b"]" * inside + b"}", "x")


def test_R05_size_is_bounded() -> None:
    fits = b'{"a":"' + b"x" * (100 - 8) + b'"}'
    assert len(fits) == 100
    assert parse_object(fits, "x", limit=100)
    with pytest.raises(ImageError, match="more than 99 bytes"):
        parse_object(fits, "x", limit=99)


@pytest.mark.parametrize("size", [-1, True, 1.5, "10", None, 2**53 + 2])
def test_R05_a_size_is_a_number_of_bytes(size: object) -> None:
    assert refused(manifest(layers=[descriptor(size=size)]))


def test_R05_the_key_path_of_what_is_wrong_is_told() -> None:
    assert "m.json: layers[1].size" in refused(manifest(layers=[descriptor(), descriptor(size=-1)]))


def test_R06_schema_1_is_refused() -> None:
    assert "schema 1" in refused(b'{"schemaVersion":1,"fsLayers":[],"history":[]}')
    assert refused(manifest(schemaVersion="2"))
    assert refused(manifest(schemaVersion=None))


def test_R06_config_and_manifest_must_belong_together() -> None:
    data = config()
    assert image_of(data).config.diff_ids == (Digest.parse(D),)
    for layers in (0, 2):
        with pytest.raises(ImageError, match="does not list the layers"):
            image_of(data, layers)
    with pytest.raises(ImageError, match="not the one the manifest names"):
        make_image(manifest(), data, "x")


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../x", "sha256:" + "A" * 64, "sha256:" + "1" * 63, "md5:" + "1" * 32, "1" * 64, "", None, 5],
)
def test_R07_a_digest_is_exact_before_any_path_is_made(digest: object) -> None:
    assert "sha256:<64" in refused(manifest(layers=[descriptor(digest=digest)])) or digest in (None, 5)
    assert refused(manifest(config=descriptor(digest=digest)))


def test_R08_data_in_a_descriptor_must_be_its_bytes() -> None:
    held = b"abc"
    good = descriptor(digest=str(Digest.sha256(held)), size=3, data=base64.b64encode(held).decode())
    assert isinstance(parse_manifest(manifest(layers=[good]), "x"), Manifest)
    for wrong in ({"data": "YWJk"}, {"size": 4}, {"data": "!"}, {"data": "YWJ\nj"}):
        assert "layers[0].data" in refused(manifest(layers=[{**good, **wrong}]))


def test_R09_the_children_of_an_index_are_bounded() -> None:
    most = [descriptor(mediaType=MANIFEST)] * DEFAULT.index_children
    assert isinstance(parse_manifest(index(most), "x"), ImageIndex)
    assert "at most 1000" in refused(index([*most, most[0]]))


def test_an_image_is_selected_for_the_target_and_others_are_named() -> None:
    children = [
        descriptor(mediaType=MANIFEST, size=n, platform={"os": "linux", "architecture": architecture})
        for n, architecture in enumerate(("amd64", "arm64", "s390x"))
    ]
    found = parse_manifest(index(children), "x")
    assert isinstance(found, ImageIndex)
    assert select(found, Platform("linux", "arm64")).size == 1
    with pytest.raises(ImageError, match="linux/amd64, linux/arm64, linux/s390x"):
        select(found, Platform("linux", "riscv64"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rootfs": {"type": "other", "diff_ids": []}}, {"rootfs": None}, {"os": None}, {"config": []},
        {"config": {"Env": "A=b"}}, {"config": {"Env": [1]}}, {"config": {"Labels": {"a": 1}}},
        {"config": {"Cmd": ["a\0b"]}}, {"history": {}}, {"history": [{"empty_layer": "no"}]},
    ],
)  # fmt: skip
def test_L13_a_config_of_the_wrong_shape_is_refused(wrong: Json) -> None:
    with pytest.raises(ImageError):
        parse_config(config(**wrong), "c")
