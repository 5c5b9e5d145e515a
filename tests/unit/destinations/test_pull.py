"""Pulling from registries that lie, cut, stall and refuse: the right image, or nothing (THREATS R, faults 7, 8)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.destinations.conftest import Scene

from trainload.destinations.pull import Pull, Pulled
from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError, RegistryError, TrainloadError
from trainload.image.assemble import make_index
from trainload.image.model import INDEX, MANIFEST, Descriptor, Image
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.hosts import Hosts
from trainload.store.store import Store
from trainload.testing.faults import FaultRegistry
from trainload.testing.images import make
from trainload.testing.verifier import snapshot, violations


def pull(scene: Scene, name: Reference | None = None, **settings: object) -> Pulled:
    return Pull(scene.store, scene.client(**settings), name or scene.name).run()


def assert_right(scene: Scene) -> None:
    scene.store.close()
    assert scene.store.resolve(str(scene.name)) == scene.image.digest
    assert violations(scene.home) == []


def refused(scene: Scene, *said: str, kind: type[TrainloadError] = TrainloadError) -> str:
    """The message; nothing was named or kept."""
    before = snapshot(scene.home)
    with pytest.raises(kind) as caught:
        pull(scene)
    scene.store.close()
    message = str(caught.value)
    for words in said:
        assert words in message
    assert snapshot(scene.home) == before
    assert violations(scene.home) == []
    return message


def big(scene: Scene) -> Descriptor:
    return scene.image.manifest.layers[0]


@pytest.fixture(autouse=True)
def an_empty_store(scene: Scene) -> None:
    """So that what a refused pull leaves can be seen."""
    with scene.store.writing():
        pass


def test_an_image_arrives_whole_and_named(scene: Scene) -> None:
    first = pull(scene)
    assert (first.digest, first.present) == (scene.image.digest, 0)
    assert first.fetched == sum(b.size for b in (scene.image.manifest.config, *scene.image.manifest.layers))
    assert_right(scene)
    scene.registry.asked.clear()
    again = pull(scene)
    assert (again.fetched, again.present) == (0, first.fetched)
    assert [one.method for one in scene.registry.asked if one.target != "/v2/"] == ["HEAD"]


@pytest.mark.parametrize("cut", [0, 1, 1_500_000, -1])
@pytest.mark.parametrize("how", ["end", "reset", "stall"])
def test_fault_8_a_layer_cut_at_any_byte_arrives_whole(scene: Scene, cut: int, how: str) -> None:
    at = cut if cut >= 0 else big(scene).size - 1
    scene.registry.fail(
        "GET", str(big(scene).digest), cut=at, length=big(scene).size, reset=how == "reset", stall=how == "stall"
    )
    pull(scene)
    assert_right(scene)
    assert len(scene.registry.requests("GET", str(big(scene).digest))) == 2


def test_R01_wrong_bytes_once_are_asked_for_again(scene: Scene) -> None:
    scene.registry.fail("GET", str(big(scene).digest), flip=1000)
    pull(scene)
    assert_right(scene)


@pytest.mark.parametrize(
    "how", [{"flip": 0}, {"flip": 2_000_000}, {"body": b"short", "length": 5}, {"body": b"x" * 3_500_000}]
)
def test_R01_wrong_bytes_always_are_refused_and_not_kept(scene: Scene, how: Mapping[str, Any]) -> None:
    scene.registry.fail("GET", str(big(scene).digest), times=-1, **how)
    with pytest.raises(RegistryError):
        pull(scene)
    scene.store.close()
    assert not scene.store.path(big(scene).digest).exists()
    assert violations(scene.home) == []
    assert scene.store.names().entries == ()


def test_R01_the_message_says_what_came(scene: Scene) -> None:
    scene.registry.fail("GET", str(big(scene).digest), times=-1, flip=7)
    with pytest.raises(RegistryError, match="other bytes than the image names") as caught:
        pull(scene)
    assert str(big(scene).digest) in str(caught.value)


def test_R02_a_length_that_lies_is_refused(scene: Scene) -> None:
    scene.registry.fail("GET", str(big(scene).digest), times=-1, length=17)
    with pytest.raises(RegistryError, match="another size than it should"):
        pull(scene)
    assert violations(scene.home) == []


def test_R02_a_manifest_without_end_is_refused(scene: Scene) -> None:
    scene.registry.fail("GET", "/manifests/", times=-1, body=b" " * (5 << 20))
    refused(scene, "sends more than it may")


def test_R03_another_manifest_than_the_one_asked_for_is_refused(scene: Scene) -> None:
    other = make(scene.origin, "other", {"x": b"1"})
    scene.registry.fail(
        "GET", "/manifests/", times=-1, body=other.manifest_bytes, headers={"Docker-Content-Digest": ""}
    )
    message = refused(scene, str(scene.image.digest), str(other.digest))
    assert "not the one that was asked for" in message


def test_R03_a_digest_header_that_is_not_the_bodys_is_refused(scene: Scene) -> None:
    wrong = str(Digest.sha256(b"else"))
    scene.registry.fail("GET", "/manifests/", times=-1, headers={"Docker-Content-Digest": wrong})
    refused(scene, wrong, kind=RegistryError)


def test_R04_a_type_that_is_not_the_documents_is_refused(scene: Scene) -> None:
    scene.registry.fail("GET|HEAD", "/manifests/", times=-1, headers={"Content-Type": INDEX})
    refused(scene, INDEX, kind=ImageError)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"schemaVersion":2', b'"schemaVersion":2,"manifests":[]'),
        (b'"schemaVersion":2', b'"schemaVersion":2,"schemaVersion":2'),
        (b'"schemaVersion":2', b'"schemaVersion":1'),
        (b'"schemaVersion":2', b'"schemaVersion":NaN'),
        (b'"size":', b'"size":-'),
        (b"sha256:", b"sha256:../../"),
        (b"sha256:", b"md5:"),
        (b'"schemaVersion":2', b'"schemaVersion":2,"x":' + b"[" * 5000 + b"]" * 5000),
        (b'"schemaVersion":2', b'"schemaVersion":2,"x":"\xff"'),
        (b"{", b"\xef\xbb\xbf{"),
    ],
)
def test_R04_to_R07_a_manifest_that_is_none_is_refused(scene: Scene, old: bytes, new: bytes) -> None:
    bad = scene.image.manifest_bytes.replace(old, new, 1)
    scene.registry.memory.put("team/app", bad, MANIFEST, "v1")
    refused(scene, kind=ImageError)


def test_R06_a_config_for_other_layers_is_refused(scene: Scene) -> None:
    document = json.loads(scene.image.manifest_bytes)
    document["layers"] = document["layers"][:1]
    scene.registry.memory.put("team/app", canonical_json(document), MANIFEST, "v1")
    refused(scene, "does not list the layers", kind=ImageError)


def test_R09_indexes_that_nest_without_end_are_refused(scene: Scene) -> None:
    data, kind = scene.image.manifest_bytes, MANIFEST
    for _ in range(6):
        child = {
            "mediaType": kind, "digest": str(Digest.sha256(data)), "size": len(data),
            "platform": {"os": "linux", "architecture": Platform.host().architecture},
        }  # fmt: skip
        scene.registry.memory.put("team/app", data, kind)
        data, kind = canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}), INDEX
    scene.registry.memory.put("team/app", data, INDEX, "v1")
    refused(scene, "nests too deep", kind=ImageError)
    with pytest.raises(ImageError, match="nests too deep"):
        Pull(scene.store, scene.client(), scene.name).run(all_platforms=True)


def test_R09_an_index_of_too_many_images_is_refused(scene: Scene) -> None:
    child = {"mediaType": MANIFEST, "digest": str(scene.image.digest), "size": 1}
    index = canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child] * 1001})
    scene.registry.memory.put("team/app", index, INDEX, "v1")
    refused(scene, "at most 1000 images", kind=ImageError)


def test_R10_a_foreign_layers_addresses_are_not_followed(scene: Scene) -> None:
    document = json.loads(scene.image.manifest_bytes)
    layer = document["layers"][0]
    layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    with FaultRegistry() as elsewhere:
        layer["urls"] = [f"{elsewhere.url}/layer"]
        scene.registry.memory.put("team/app", canonical_json(document), MANIFEST, "v1")
        del scene.registry.memory.repository("team/app").blobs[layer["digest"]]
        with pytest.raises(RegistryError, match="may not be spread"):
            pull(scene)
        assert elsewhere.asked == []


def test_R12_a_redirect_to_storage_gets_no_credentials(scene: Scene) -> None:
    with FaultRegistry() as storage:
        with scene.origin.blob_file(big(scene).digest) as file:
            digest = storage.memory.put_blob("team/app", file.read())
        target = f"{storage.url}/v2/team/app/blobs/{digest}"
        scene.registry.fail("GET", digest, times=-1, status=307, headers={"Location": target})
        scene.registry.memory.demand, scene.registry.memory.accepts = 'Basic realm="x"', {"Basic dTpw"}
        pull(scene, credentials=Known())
        assert len(storage.asked) == 1
        assert "authorization" not in storage.asked[0].headers
    assert_right(scene)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://storage.example/blob", "unprotected"),
        ("file:///etc/passwd", "unprotected"),
        ("", "forbidden characters"),
        ("/a b", "forbidden characters"),
    ],
)
def test_R12_a_redirect_that_must_not_be_followed_is_not(scene: Scene, location: str, said: str) -> None:
    scene.registry.fail("GET", "/blobs/", times=-1, status=302, headers={"Location": location})
    refused(scene, said, kind=RegistryError)


def test_R12_redirects_without_end_are_refused(scene: Scene) -> None:
    scene.registry.fail(
        "GET", "/blobs/", times=-1, status=302, headers={"Location": f"/v2/x/blobs/{big(scene).digest}"}
    )
    refused(scene, "redirects too often", kind=RegistryError)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
@pytest.mark.parametrize("what", ["/manifests/", "/blobs/"])
def test_R16_an_encoding_nobody_asked_for_is_refused(scene: Scene, encoding: str, what: str) -> None:
    scene.registry.fail("GET", what, times=-1, headers={"Content-Encoding": encoding})
    refused(scene, "content encoding", encoding, kind=RegistryError)
    assert all(one.headers["accept-encoding"] == "identity" for one in scene.registry.asked)


@pytest.mark.parametrize(
    "second",
    [
        {"headers": {"Content-Range": "bytes 5-9/10"}},
        {"headers": {"ETag": '"another"'}},
        {"headers": {"Content-Range": ""}},
    ],
)
def test_R17_a_rest_that_does_not_continue_is_begun_anew(scene: Scene, second: Mapping[str, Any]) -> None:
    digest = str(big(scene).digest)
    scene.registry.fail("GET", digest, cut=1_200_000, length=big(scene).size)
    scene.registry.fail("GET", digest, **second)
    pull(scene)
    assert_right(scene)


def test_R17_a_server_that_ignores_ranges_is_read_from_the_start(scene: Scene) -> None:
    digest = str(big(scene).digest)
    whole = scene.registry.memory.repository("team/app").blobs[digest]
    scene.registry.fail("GET", digest, cut=1_200_000, length=len(whole))
    scene.registry.fail("GET", digest, status=200, body=whole)
    pull(scene)
    assert_right(scene)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("what", ["/manifests/", "/blobs/"])
def test_R18_trouble_that_passes_is_waited_for(scene: Scene, status: int, what: str) -> None:
    scene.registry.fail("GET|HEAD", what, status=status, times=2)
    pull(scene)
    assert_right(scene)
    assert scene.pauses[:1] == [1.0]


def test_R18_retry_after_is_honoured(scene: Scene) -> None:
    scene.registry.fail("HEAD", "/manifests/", status=429, headers={"Retry-After": "7"})
    pull(scene)
    assert scene.pauses == [7.0]


def test_R18_trouble_that_stays_is_told(scene: Scene) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\\u001b[31m down"}]}'
    scene.registry.fail("GET|HEAD", "/manifests/", status=429, times=-1, body=body)
    message = refused(scene, "HTTP 429", kind=RegistryError)
    assert "\x1b" not in message
    assert len(scene.registry.requests("HEAD")) == 5


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 451])
def test_R18_a_refusal_is_not_asked_again(scene: Scene, status: int) -> None:
    scene.registry.fail("GET|HEAD", "/manifests/", status=status, times=-1, body=b"no" * 5000)
    message = refused(scene, f"HTTP {status}", kind=RegistryError)
    assert len(message) < 2000
    assert len(scene.registry.requests("HEAD|GET", "/manifests/")) <= 2


def test_R20_a_tag_that_moves_is_pinned_once(scene: Scene) -> None:
    other = make(scene.origin, "other", {"x": b"1"})
    moved: list[int] = []

    class Moving(type(scene.client())):  # type: ignore[misc]
        def manifest(self, reference: Reference) -> object:
            if not moved:
                moved.append(1)
                scene.publish(scene.registry.memory, other)
            return super().manifest(reference)

    client = Moving(scene.client().http)
    assert Pull(scene.store, client, scene.name).run().digest == scene.image.digest


def test_R20_a_tag_that_moved_to_what_replaced_it_tells_both(scene: Scene) -> None:
    other = make(scene.origin, "other", {"x": b"1"})
    scene.registry.fail("GET", "/manifests/", times=-1, status=404)
    scene.registry.fail(
        "HEAD", "/manifests/v1", skip=1, times=1, headers={"Docker-Content-Digest": str(other.digest)}
    )
    refused(scene, str(scene.image.digest), str(other.digest), "moved while it was read", kind=RegistryError)


class Known:
    """One user everywhere."""

    def find(self, registry: str, scopes: object = ()) -> object:
        from trainload.registry.challenge import Credential

        return Credential("u", "p")


def test_R22_a_mirror_is_asked_first_and_the_registry_when_it_fails(scene: Scene) -> None:
    with FaultRegistry() as mirror:
        hosts = Hosts({scene.registry.host: [mirror.url]})
        pull(scene, hosts=hosts)
        assert mirror.asked
        assert_right(scene)
    assert pull(scene, hosts=hosts).fetched == 0


def test_R22_a_mirrors_wrong_bytes_are_not_kept(scene: Scene) -> None:
    with FaultRegistry() as mirror:
        scene.publish(mirror.memory, scene.image)
        mirror.fail("GET", "/blobs/", times=-1, status=500)
        mirror.fail("GET", "/manifests/", times=-1, flip=20)
        pull(scene, hosts=Hosts({scene.registry.host: [mirror.url]}))
    assert_right(scene)


def two_platforms(scene: Scene) -> tuple[Image, Image]:
    here, there = scene.image, make(scene.origin, "there", {"x": b"arm"})
    config = json.loads(there.config_bytes)
    config["architecture"] = "arm64" if Platform.host().architecture == "amd64" else "amd64"
    raw = canonical_json(config)
    document = json.loads(there.manifest_bytes)
    document["config"] |= {"digest": str(Digest.sha256(raw)), "size": len(raw)}
    from trainload.image.parse import make_image

    other = make_image(canonical_json(document), raw, "there")
    scene.origin.put(raw)
    scene.publish(scene.registry.memory, other, tag="other")
    index = make_index([here, other])
    scene.registry.memory.put("team/app", index.raw, INDEX, "v1")
    return here, other


def test_of_an_index_the_image_for_this_machine_is_taken(scene: Scene) -> None:
    here, other = two_platforms(scene)
    pulled = pull(scene)
    assert pulled.digest == here.digest
    assert pulled.remote != here.digest
    assert not scene.store.has(other.digest)
    chosen = Pull(scene.store, scene.client(), scene.name).run(other.config.platform)
    assert chosen.digest == other.digest
    with pytest.raises(ImageError, match="not made for"):
        Pull(scene.store, scene.client(), scene.name).run(Platform("linux", "riscv64"))


def test_all_platforms_bring_the_index(scene: Scene) -> None:
    here, other = two_platforms(scene)
    pulled = Pull(scene.store, scene.client(), scene.name).run(all_platforms=True)
    assert pulled.digest == pulled.remote
    assert scene.store.image(pulled.digest, other.config.platform).digest == other.digest
    assert scene.store.image(pulled.digest, here.config.platform).digest == here.digest
    scene.store.close()
    assert violations(scene.home) == []


def test_a_name_with_a_digest_is_that_digest(scene: Scene) -> None:
    name = replace(scene.name, tag=None, digest=scene.image.digest)
    assert pull(scene, name).digest == scene.image.digest
    assert scene.store.resolve(str(name)) == scene.image.digest


def test_an_artifact_is_no_image(scene: Scene) -> None:
    document = json.loads(scene.image.manifest_bytes)
    document["config"]["mediaType"] = "application/vnd.example.config.v1+json"
    scene.registry.memory.put("team/app", canonical_json(document), MANIFEST, "v1")
    refused(scene, "no image that can run", kind=ImageError)


def test_two_who_pull_at_once_fetch_each_layer_once(scene: Scene) -> None:
    stores = [Store.open(scene.home) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda store: Pull(store, scene.client(), scene.name).run(), stores))
    for store in stores:
        store.close()
    assert {one.digest for one in done} == {scene.image.digest}
    for layer in scene.image.manifest.layers:
        assert len(scene.registry.requests("GET", str(layer.digest))) == 1
    assert_right(scene)
