"""Pushing to registries that refuse, cut and forget: the right image there, or no tag (THREATS R13, R18, R19)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.destinations.conftest import Scene

from trainload.destinations.cargo import from_store
from trainload.destinations.copy import copy, from_registry
from trainload.destinations.deliver import Delivery
from trainload.destinations.push import Pushed, push
from trainload.digest import Digest
from trainload.errors import RegistryError, StoreError, TrainloadError
from trainload.image.model import DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Descriptor, Image
from trainload.reference import Reference
from trainload.testing.faults import FaultRegistry
from trainload.testing.images import make
from trainload.testing.registry import Asked, Reply

UPLOADS = "/blobs/uploads/"


def target(scene: Scene, text: str = "new/app:v1") -> Reference:
    return Reference.parse(f"{scene.registry.host}/{text}")


def send(scene: Scene, *names: str, **settings: Any) -> Pushed:  # noqa: ANN401  # as push takes them
    references = [target(scene, name) for name in names or ("new/app:v1",)]
    cargo = from_store(scene.origin, scene.image.digest)
    return push(scene.origin, scene.client(), cargo, references, **settings)


def assert_there(scene: Scene, name: str = "new/app", tag: str = "v1") -> None:
    repository = scene.registry.memory.repository(name)
    assert repository.manifests[repository.tags[tag]][0] == scene.image.manifest_bytes
    for blob in (scene.image.manifest.config, *scene.image.manifest.layers):
        assert Digest.sha256(repository.blobs[str(blob.digest)]) == blob.digest


def assert_no_tag(scene: Scene) -> None:
    assert scene.registry.memory.repository("new/app").tags == {}


def big(scene: Scene) -> Descriptor:
    return scene.image.manifest.layers[0]


def big_only(scene: Scene) -> str:
    """A pattern for the requests that carry the big layer: the sessions of others are other numbers."""
    return f"digest=sha256%3A{big(scene).digest.hex}"


@pytest.fixture(autouse=True)
def nothing_is_known(scene: Scene) -> None:
    """Of earlier tests: whereabouts would mount what should be sent."""
    folder = scene.origin.home / "whereabouts"
    for path in folder.iterdir() if folder.is_dir() else ():
        path.unlink()


def test_blobs_come_before_the_manifest_and_the_second_push_asks_once(scene: Scene) -> None:
    pushed = send(scene)
    assert pushed.sent == pushed.size == scene.image.size
    assert_there(scene)
    puts = [one.target for one in scene.registry.requests("PUT")]
    assert puts[-1].endswith("/manifests/v1")
    assert not any("/manifests/" in one for one in puts[:-1])
    scene.registry.asked.clear()
    assert send(scene).sent == 0
    assert [one.method for one in scene.registry.asked if one.target != "/v2/"] == ["HEAD"]


def ten_layers(scene: Scene, code: bytes) -> Image:
    with scene.origin.writing():
        return make(scene.origin, "ten", *({f"of {number}": b"1"} for number in range(9)), {"code": code})


@pytest.mark.parametrize("here", [True, False])
def test_what_the_image_under_the_tag_has_is_not_asked_for(scene: Scene, *, here: bool) -> None:
    old, new = ten_layers(scene, b"1"), ten_layers(scene, b"2")
    client, name = scene.client(), target(scene)
    push(scene.origin, client, from_store(scene.origin, old.digest), [name])
    scene.registry.asked.clear()
    cargo = from_store(scene.origin, new.digest)
    if here:
        push(scene.origin, client, cargo, [name])
    else:  # as for an image that another machine pushed: its manifest is fetched
        Delivery(client, cargo, [name]).run()
    assert scene.registry.memory.repository("new/app").tags["v1"] == str(new.digest)
    asked = [one.target for one in scene.registry.requests("HEAD", "/blobs/")]
    fresh = (new.manifest.config, new.manifest.layers[-1])
    assert sorted(set(asked)) == sorted(f"/v2/new/app/blobs/{blob.digest}" for blob in fresh)
    assert len(scene.registry.requests("GET", f"/manifests/{old.digest}")) == (0 if here else 1)


def test_what_the_registry_lost_of_the_image_under_the_tag_is_sent_again(scene: Scene) -> None:
    old, new = ten_layers(scene, b"1"), ten_layers(scene, b"2")
    push(scene.origin, scene.client(), from_store(scene.origin, old.digest), [target(scene)])
    repository = scene.registry.memory.repository("new/app")
    lost = str(old.manifest.layers[3].digest)
    del repository.blobs[lost]
    pushed = push(scene.origin, scene.client(), from_store(scene.origin, new.digest), [target(scene)])
    assert repository.tags["v1"] == str(new.digest) and lost in repository.blobs
    assert pushed.deliveries[0].sent >= old.manifest.layers[3].size


def test_several_tags_cost_one_upload(scene: Scene) -> None:
    send(scene, "new/app:v1", "new/app:latest")
    assert_there(scene)
    assert_there(scene, tag="latest")
    assert len(scene.registry.requests("POST", UPLOADS)) == 3


def test_what_another_repository_has_is_mounted(scene: Scene) -> None:
    send(scene, "new/app:v1")
    pushed = send(scene, "other/app:v2")
    assert pushed.deliveries[0].mounted == scene.image.size - len(scene.image.manifest_bytes)
    assert_there(scene, "other/app", "v2")
    assert "from=new%2Fapp" in scene.registry.requests("POST", "mount=")[0].target


def test_R19_a_mount_answered_with_a_session_is_sent_there(scene: Scene) -> None:
    send(scene, "new/app:v1")
    scene.registry.memory.mounts = False
    scene.registry.asked.clear()
    pushed = send(scene, "other/app:v2")
    assert pushed.deliveries[0].mounted == 0
    assert_there(scene, "other/app", "v2")
    assert len(scene.registry.requests("POST", UPLOADS)) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_R19_a_mount_that_is_refused_is_sent(scene: Scene, status: int) -> None:
    send(scene, "new/app:v1")
    scene.registry.fail("POST", "mount=", status=status, times=-1)
    send(scene, "other/app:v2")
    assert_there(scene, "other/app", "v2")


def test_a_dry_run_sends_nothing_and_says_how_much(scene: Scene) -> None:
    pushed = send(scene, dry_run=True)
    assert pushed.sent == scene.image.size
    assert {part.blob.digest for part in pushed.deliveries[0].missing} >= {big(scene).digest}
    assert scene.registry.requests("POST|PUT|PATCH") == []


@pytest.mark.parametrize("taken", [0, 1, 1_500_000, -1])
@pytest.mark.parametrize("how", ["end", "reset"])
def test_fault_8_an_upload_cut_at_any_byte_goes_on_where_it_was(scene: Scene, taken: int, how: str) -> None:
    at = taken if taken >= 0 else big(scene).size - 1
    scene.registry.fail("PUT", big_only(scene), take=at, reset=how == "reset")
    send(scene)
    assert_there(scene)
    sent = [int(one.headers.get("content-length", 0)) for one in scene.registry.requests("PATCH")]
    # a reset may take away what had arrived; "0-0" means nothing or one byte, so that one is begun anew
    assert at == 1 or sent in ([], [big(scene).size - at])


def test_fault_8_a_chunk_that_is_cut_goes_on_too(scene: Scene) -> None:
    scene.registry.fail("PUT", big_only(scene), take=1_000_000)
    scene.registry.fail("PATCH", UPLOADS, take=500_000)
    send(scene)
    assert_there(scene)


def test_fault_8_a_line_that_always_dies_gives_up(scene: Scene) -> None:
    scene.registry.fail("PUT", big_only(scene), take=0, times=-1)
    scene.registry.fail("PATCH", UPLOADS, take=0, times=-1)
    with pytest.raises(RegistryError) as caught:
        send(scene)
    assert caught.value.retryable
    assert_no_tag(scene)


def test_R19_a_session_that_is_lost_is_begun_again(scene: Scene) -> None:
    scene.registry.fail("PUT", big_only(scene), take=1_000_000)
    scene.registry.fail("GET", UPLOADS, lost=True)
    send(scene)
    assert_there(scene)
    assert scene.registry.requests("PATCH") == []


def test_R19_a_session_that_is_not_known_at_the_put_is_begun_again(scene: Scene) -> None:
    scene.registry.fail("PUT", big_only(scene), lost=True)
    send(scene)
    assert_there(scene)


def test_R19_a_chunk_out_of_place_is_sent_from_where_the_registry_is(scene: Scene) -> None:
    scene.registry.fail("PUT", big_only(scene), take=1_000_000)
    scene.registry.fail("PATCH", UPLOADS, status=416)
    send(scene)
    assert_there(scene)


def test_R19_a_registry_that_loses_chunks_and_lies_is_found_out(scene: Scene) -> None:
    scene.registry.fail("PUT", big_only(scene), take=1_000_000)
    scene.registry.fail("PATCH", UPLOADS, status=201, headers={"Location": "/v2/x"}, times=-1)
    with pytest.raises(RegistryError):
        send(scene)
    assert_no_tag(scene)


def test_R19_a_blob_taken_under_another_digest_is_refused(scene: Scene) -> None:
    wrong = str(Digest.sha256(b"else"))
    scene.registry.fail("PUT", big_only(scene), headers={"Docker-Content-Digest": wrong}, times=-1)
    with pytest.raises(RegistryError, match="another digest"):
        send(scene)
    assert_no_tag(scene)


def test_R19_a_blob_that_is_not_there_after_all_is_told(scene: Scene) -> None:
    scene.registry.fail("PUT", big_only(scene), status=201, times=-1)
    with pytest.raises(RegistryError, match="took .* and does not have it"):
        send(scene)
    assert_no_tag(scene)


def test_R19_a_manifest_taken_under_another_digest_is_refused(scene: Scene) -> None:
    wrong = str(Digest.sha256(b"else"))
    scene.registry.fail("PUT", "/manifests/", headers={"Docker-Content-Digest": wrong}, times=-1)
    with pytest.raises(RegistryError, match="another digest"):
        send(scene)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/v2/new/app/blobs/uploads/x",
        "http://10.0.0.1/upload",
        "https://storage.example/upload",
        "//storage.example/upload",
        "file:///tmp/x",
        "/v2/x y",
        "",
    ],
)
def test_R13_an_upload_is_not_sent_to_another_place(scene: Scene, location: str) -> None:
    scene.registry.fail("POST", UPLOADS, headers={"Location": location}, times=-1)
    with pytest.raises(RegistryError, match="another place"):
        send(scene)
    assert scene.registry.requests("PUT") == []
    assert_no_tag(scene)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD"])
def test_fault_7_trouble_that_passes_is_waited_for(scene: Scene, status: int, method: str) -> None:
    scene.registry.fail(method, "/v2/new", status=status, times=2)
    send(scene)
    assert_there(scene)


def test_fault_7_retry_after_is_honoured_for_uploads(scene: Scene) -> None:
    scene.registry.fail("PUT", UPLOADS, status=429, headers={"Retry-After": "9"})
    send(scene)
    assert 9.0 in scene.pauses


@pytest.mark.parametrize("how", [{"status": 403}, {"status": 413}, {"status": 400}])
def test_R18_a_refusal_is_told_and_moves_no_tag(scene: Scene, how: Mapping[str, Any]) -> None:
    scene.registry.fail("PUT", UPLOADS, times=-1, **how)
    with pytest.raises(RegistryError, match=f"HTTP {how['status']}"):
        send(scene)
    assert_no_tag(scene)


def test_a_registry_of_dockers_types_gets_them_with_a_word(scene: Scene) -> None:
    scene.registry.memory.media_types = frozenset({DOCKER_MANIFEST})
    pushed = send(scene)
    repository = scene.registry.memory.repository("new/app")
    data, kind = repository.manifests[repository.tags["v1"]]
    assert kind == DOCKER_MANIFEST
    assert pushed.deliveries[0].digest == Digest.sha256(data) != scene.image.digest
    document = json.loads(data)
    assert {layer["mediaType"] for layer in document["layers"]} == {DOCKER_LAYER_GZIP}
    assert [layer["digest"] for layer in document["layers"]] == [str(x.digest) for x in scene.image.manifest.layers]


def test_L04_a_partial_image_is_never_pushed(scene: Scene, tmp_path: Path) -> None:
    from trainload.store.store import Store

    store = Store.open(tmp_path / "partial")
    image = make(store, "app", {"a": b"1"}, {"b": b"2"})
    store.close()
    store.path(image.manifest.layers[1].digest).unlink()
    with pytest.raises(StoreError, match="not complete") as caught:
        from_store(store, image.digest)
    assert image.manifest.layers[1].digest.short in str(caught.value)


def test_L01_L03_a_blob_that_was_changed_here_is_not_pushed(scene: Scene, tmp_path: Path) -> None:
    from trainload.store.store import Store

    store = Store.open(tmp_path / "changed")
    image = make(store, "app", {"a": b"1"}, {"b": b"2"})
    store.close()
    path = store.path(image.manifest.layers[0].digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(StoreError, match="not complete"):
        from_store(store, image.digest)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(TrainloadError):
        from_store(store, image.digest)


def test_a_name_without_registry_is_refused_before_anything(scene: Scene) -> None:
    cargo = from_store(scene.origin, scene.image.digest)
    with pytest.raises(RegistryError, match="names no registry"):
        push(scene.origin, scene.client(), cargo, [Reference.parse("app:v1")])


def test_a_copy_streams_from_one_registry_to_another(scene: Scene) -> None:
    with FaultRegistry() as far:
        client = scene.client()
        place = Reference.parse(f"{far.host}/team/copy:v9")
        done = copy(client, from_registry(client, scene.name), [place])
        assert done[0].digest == scene.image.digest
        repository = far.memory.repository("team/copy")
        assert repository.manifests[repository.tags["v9"]][0] == scene.image.manifest_bytes
        again = copy(client, from_registry(client, scene.name), [place])
        assert again[0].sent == 0


def test_a_copy_inside_one_registry_is_mounted(scene: Scene) -> None:
    client = scene.client()
    done = copy(client, from_registry(client, scene.name), [target(scene)])
    assert done[0].mounted == scene.image.size - len(scene.image.manifest_bytes)
    assert_there(scene)


def test_fault_8_a_copy_survives_cuts_on_both_sides(scene: Scene) -> None:
    with FaultRegistry() as far:
        scene.registry.fail("GET", str(big(scene).digest), cut=1_100_000, length=big(scene).size)
        far.fail("PUT", UPLOADS, take=700_000, skip=0)
        client = scene.client()
        copy(client, from_registry(client, scene.name), [Reference.parse(f"{far.host}/team/copy:v9")])
        assert Digest.sha256(far.memory.repository("team/copy").blobs[str(big(scene).digest)]) == big(scene).digest


def test_R01_a_copy_of_wrong_bytes_is_not_finished(scene: Scene) -> None:
    scene.registry.fail("GET", str(big(scene).digest), flip=2_000_000, times=-1)
    with FaultRegistry() as far:
        client = scene.client()
        with pytest.raises(RegistryError, match="not sent on"):
            copy(client, from_registry(client, scene.name), [Reference.parse(f"{far.host}/team/copy:v9")])
        assert far.memory.repository("team/copy").tags == {}
        assert str(big(scene).digest) not in far.memory.repository("team/copy").blobs


def test_fault_7_a_token_that_expires_while_we_push_is_renewed(scene: Scene) -> None:
    memory = scene.registry.memory
    memory.demand = f'Bearer realm="{scene.registry.url}/token",service="s"'
    memory.accepts = {"Bearer good"}
    scene.registry.fail("PUT", big_only(scene), status=401, headers={"WWW-Authenticate": memory.demand})
    scene.registry.fail("PUT", "/manifests/", status=401, headers={"WWW-Authenticate": memory.demand})
    memory.token = tokens("good", "better", "best")
    memory.accepts |= {"Bearer better", "Bearer best"}
    send(scene)
    assert_there(scene)


def tokens(*given: str) -> Callable[[Asked], Reply]:
    left = list(given)
    return lambda asked: Reply(200, {}, b'{"token":"%s"}' % (left.pop(0) if len(left) > 1 else left[0]).encode())
