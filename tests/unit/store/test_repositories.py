"""The store as a registry sees it: what each repository shows, what pushes keep, and what gc makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainload.digest import Digest, canonical_json
from trainload.errors import StoreError
from trainload.image.model import CONFIG, INDEX, LAYER, MANIFEST, UNDISTRIBUTED, Descriptor
from trainload.store.collect import Keep
from trainload.store.links import Links
from trainload.store.repositories import LackingError, NeededError, repository_of
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.verifier import images, violations

OTHER = "application/vnd.example.list+json"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


def blob(store: Store, repository: str, data: bytes, algorithm: str = "sha256") -> Descriptor:
    """A blob as an upload leaves it."""
    digest = store.put(data, algorithm)
    assert store.repositories.add_blob(repository, digest)
    return Descriptor(LAYER, digest, len(data))


def document(*, config: Descriptor, layers: tuple[Descriptor, ...] = (), **more: object) -> dict[str, object]:
    def plain(one: Descriptor) -> dict[str, object]:
        return {"mediaType": one.media_type, "digest": str(one.digest), "size": one.size}

    return {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": plain(config),
        "layers": [plain(one) for one in layers],
        **{key: plain(value) if isinstance(value, Descriptor) else value for key, value in more.items()},
    }  # fmt: skip


def push(
    store: Store, repository: str, value: dict[str, object], *tags: str, algorithm: str = "sha256"
) -> Descriptor:
    """A manifest as a PUT leaves it; the lease of its bytes ends with this."""
    data = canonical_json(value)
    with_lease = Store.open(store.home)
    descriptor = Descriptor(str(value["mediaType"]), with_lease.put(data, algorithm), len(data))
    store.repositories.push(repository, descriptor, tags)
    with_lease.close()
    return descriptor


def image(store: Store, repository: str, text: str, *tags: str, **more: object) -> Descriptor:
    """A small image with one layer."""
    config = Descriptor(CONFIG, blob(store, repository, f'{{"{text}":1}}'.encode()).digest, len(text) + 6)
    return push(
        store, repository, document(config=config, layers=(blob(store, repository, text.encode()),), **more), *tags
    )


def index(store: Store, repository: str, children: tuple[Descriptor, ...], *tags: str) -> Descriptor:
    entries = [{"mediaType": one.media_type, "digest": str(one.digest), "size": one.size} for one in children]
    return push(store, repository, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, *tags)


def gc(store: Store, *, pushed: bool = True, cache: bool = False, unnamed: bool = False) -> None:
    """What uploads hold in this process is given back first, as the server's leases are when it is done."""
    store.close()
    store.gc(Keep(pushed=pushed, cache=cache, unnamed=unnamed))
    assert violations(store.home) == []


@pytest.mark.parametrize(
    ("written", "one"),
    [
        ("library/python", "python"),
        ("docker.io/library/python", "python"),
        ("team/digits", "team/digits"),
        ("ghcr.io/a/b", "ghcr.io/a/b"),
        ("a_b.c/d", "a_b.c/d"),
        ("0" * 64, "0" * 64),
    ],
)
def test_a_repository_has_one_name_however_it_is_asked_for(written: str, one: str) -> None:
    assert repository_of(written) == one
    assert repository_of(one) == one


def test_named_images_are_shown_under_their_repository_and_a_missing_tag_is_read_as_latest(store: Store) -> None:
    plain = make(store, "digits", {"a": b"1"})
    tagged = make(store, "team/digits:v1", {"a": b"2"})
    make(store, "python:3.11", {"a": b"3"})
    seen = store.repositories
    assert seen.all() == ("digits", "python", "team/digits")
    assert seen.tags("digits") == ("latest",)
    assert seen.tagged("digits", "latest") == plain.descriptor
    assert seen.manifest("team/digits", tagged.digest) == tagged.descriptor
    assert seen.has_blob("team/digits", tagged.manifest.layers[0].digest)
    assert seen.tagged(repository_of("library/python"), "3.11") is not None


def test_a_tag_that_is_called_latest_comes_before_a_missing_one(store: Store) -> None:
    make(store, "digits", {"a": b"1"})
    real = make(store, "digits:latest", {"a": b"2"})
    assert store.repositories.tagged("digits", "latest") == real.descriptor
    assert store.repositories.tags("digits") == ("latest",)


def test_each_repository_shows_its_own(store: Store) -> None:
    mine = image(store, "a/mine", "mine", "v1")
    assert store.repositories.manifest("a/yours", mine.digest) is None
    assert not store.repositories.has_blob("a/yours", Digest.sha256(b"mine"))
    assert store.repositories.known("a/mine") and not store.repositories.known("a/yours")
    assert not store.repositories.known("a")  # only a beginning of names


def test_deleting_a_blob_in_one_repository_leaves_it_in_another(store: Store) -> None:
    shared = blob(store, "one", b"shared").digest
    blob(store, "two", b"shared")
    assert store.repositories.remove_blob("one", shared)
    assert not store.repositories.has_blob("one", shared)
    assert not store.repositories.remove_blob("one", shared)
    gc(store)
    assert store.repositories.has_blob("two", shared) and store.has(shared)


def test_what_an_image_needs_cannot_be_deleted_before_it(store: Store) -> None:
    child = image(store, "a", "child")
    parent = index(store, "a", (child,), "v1")
    with pytest.raises(NeededError) as refused:
        store.repositories.remove_blob("a", Digest.sha256(b"child"))
    assert refused.value.by == child.digest
    with pytest.raises(NeededError):
        store.repositories.remove_manifest("a", child.digest)
    assert store.repositories.remove_manifest("a", parent.digest)
    assert store.repositories.remove_manifest("a", child.digest)
    assert store.repositories.tags("a") == ()
    assert images(store.home) == {}


def test_I3_a_manifest_is_refused_until_everything_it_needs_was_pushed_to_its_repository(store: Store) -> None:
    config, layer = blob(store, "a", b"{}"), blob(store, "b", b"layer")
    elsewhere = document(config=config, layers=(layer,))
    with pytest.raises(LackingError) as refused:
        push(store, "a", elsewhere, "v1")
    assert [one.digest for one in refused.value.lacking] == [layer.digest]
    wrong_size = document(config=Descriptor(CONFIG, config.digest, 3))
    with pytest.raises(LackingError):
        push(store, "a", wrong_size, "v1")
    assert images(store.home) == {}
    assert store.repositories.tags("a") == ()


def test_layers_that_only_their_owner_hands_out_need_not_be_there(store: Store) -> None:
    away = Descriptor(UNDISTRIBUTED[1], Digest.sha256(b"windows"), 9)
    pushed = push(store, "a", document(config=blob(store, "a", b"{}"), layers=(away,)), "v1")
    gc(store)
    assert store.verify(full=True).findings == ()
    assert store.repositories.tagged("a", "v1") == pushed


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_is_pushed_is_an_image_of_the_store(store: Store, algorithm: str) -> None:
    config = blob(
        store, "a/b", b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}', algorithm
    )
    value = document(config=Descriptor(CONFIG, config.digest, config.size))
    pushed = push(store, "a/b", value, "v1", algorithm=algorithm)
    assert images(store.home) == {"a/b:v1": str(pushed.digest)}
    (listed,) = store.images()
    assert (listed.names, listed.reason) == (("a/b:v1",), None)
    gc(store)
    assert store.verify(full=True).findings == ()
    assert json.loads(store.read(pushed.digest)) == value


def test_gc_keeps_what_was_pushed_by_digest_and_loose_blobs_until_told_otherwise(store: Store) -> None:
    by_digest, loose = image(store, "a", "by digest"), blob(store, "a", b"loose")
    gc(store)
    assert store.repositories.manifest("a", by_digest.digest) == by_digest
    assert store.repositories.has_blob("a", loose.digest)
    gc(store, pushed=False)
    assert not store.has(by_digest.digest) and not store.has(loose.digest)
    assert not store.repositories.known("a")
    assert list((store.home / "repositories").iterdir()) == []


def test_an_image_whose_tag_moved_on_goes_with_the_next_gc_and_can_be_pulled_until_then(store: Store) -> None:
    old = image(store, "a", "old", "v1")
    new = image(store, "a", "new", "v1")
    assert store.repositories.manifest("a", old.digest) == old
    gc(store, unnamed=True)
    assert store.repositories.manifest("a", old.digest) == old
    gc(store)
    assert store.repositories.manifest("a", old.digest) is None
    assert store.repositories.tagged("a", "v1") == new
    assert not store.has(Digest.sha256(b"old"))


def test_a_deleted_tag_leaves_the_manifest_and_a_deleted_manifest_leaves_no_tag(store: Store) -> None:
    pushed = image(store, "a", "x", "v1", "v2")
    assert store.repositories.untag("a", "v1")
    assert not store.repositories.untag("a", "v1")
    assert store.repositories.tags("a") == ("v2",)
    assert store.repositories.manifest("a", pushed.digest) == pushed
    assert store.repositories.remove_manifest("a", pushed.digest)
    assert store.repositories.tags("a") == ()
    assert store.repositories.manifest("a", pushed.digest) is None
    gc(store)
    assert not store.has(pushed.digest)


def test_images_of_an_index_live_and_go_with_it(store: Store) -> None:
    child = image(store, "a", "child")
    index(store, "a", (child,), "v1")
    gc(store)
    assert store.repositories.manifest("a", child.digest) == child
    store.repositories.untag("a", "v1")
    gc(store)
    assert not store.has(child.digest)


def test_what_is_attached_to_an_image_lives_and_goes_with_it(store: Store) -> None:
    subject = image(store, "a", "subject", "v1")
    signature = image(store, "a", "signature", subject=subject, artifactType=OTHER)
    of_that = image(store, "a", "signature of the signature", subject=signature)
    gc(store)
    (found,) = store.repositories.referrers("a", subject.digest)
    assert (found.descriptor, found.document.artifact_type) == (signature, OTHER)
    assert [one.descriptor for one in store.repositories.referrers("a", signature.digest)] == [of_that]
    store.repositories.untag("a", "v1")
    gc(store)
    assert not any(store.has(one.digest) for one in (subject, signature, of_that))


def test_what_is_attached_to_an_image_that_is_not_here_yet_waits_for_it(store: Store) -> None:
    nowhere = Descriptor(MANIFEST, Digest.sha256(b"to come"), 100)
    early = image(store, "a", "early", subject=nowhere)
    gc(store)
    assert [one.descriptor for one in store.repositories.referrers("a", nowhere.digest)] == [early]


def test_fault16_a_damaged_link_is_no_link(store: Store) -> None:
    pushed = image(store, "a", "x")
    (link,) = store.repositories.links.manifests("a")
    link.path.write_bytes(b'{"mediaTy')
    assert store.repositories.manifest("a", pushed.digest) is None
    store.gc()


@pytest.mark.parametrize("name", ["", "..", "a/../b", "_manifests", "a//b", "/etc", "a/_blobs"])
def test_R07_a_name_never_leads_out_of_the_folder_of_repositories(store: Store, name: str) -> None:
    with pytest.raises(StoreError):
        Links(store.layout).manifests(name)


def test_I10_looking_at_repositories_writes_nothing(tmp_path: Path) -> None:
    reader = Store.open(tmp_path / "none")
    assert reader.repositories.all() == ()
    assert not reader.repositories.known("a")
    assert reader.repositories.referrers("a", Digest.sha256(b"")) == ()
    assert not (tmp_path / "none").exists()


def test_another_process_is_seen_at_once(store: Store) -> None:
    """Views are remembered; a change from outside must not be missed, however soon it comes."""
    other = Store.open(store.home)
    for number in range(20):
        pushed = image(other, "a", f"image {number}", "v1")
        assert store.repositories.tagged("a", "v1") == pushed
        assert store.repositories.untag("a", "v1")
        assert other.repositories.tagged("a", "v1") is None
    other.close()
