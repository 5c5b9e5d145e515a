"""Images by name and digest, recipes, gc and verify, on a store of small images."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from trainload.digest import Digest, canonical_json
from trainload.errors import ImageError, StoreError
from trainload.image.assemble import assemble, make_index
from trainload.image.assemble import document as document_of
from trainload.image.model import INDEX, LAYER_GZIP, LAYER_ZSTD, MANIFEST, Descriptor, ImageIndex, Layer
from trainload.image.parse import parse_manifest
from trainload.platform import Platform
from trainload.store.collect import Keep, Rubbish
from trainload.store.layout import VERSION
from trainload.store.store import Store
from trainload.store.trouble import DamagedError, MissingError
from trainload.testing.images import layer_bytes, make, plan_of, put_layer
from trainload.testing.verifier import images, snapshot, violations

KEY = Digest.sha256(b"key")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


def test_I10_opening_and_reading_makes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    assert store.images() == ()
    assert store.recipes.find(KEY) is None
    assert store.files.find("0" * 64) is None
    assert store.gc(dry_run=True).pieces == ()
    assert store.verify(full=True).findings == ()
    with pytest.raises(MissingError):
        store.resolve("digits")
    assert not store.home.exists()


def test_I10_reading_a_store_changes_nothing_in_it(store: Store) -> None:
    image = make(store, "digits", {"a": b"1"})
    store.recipes.record(KEY, put_layer(store, *layer_bytes({"b": b"2"})))
    store.close()

    def everything() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in sorted(store.home.rglob("*"))}

    before = everything()
    reader = Store.open(store.home)
    assert reader.recipes.find(KEY) is not None
    assert reader.image(reader.resolve("digits")) == image
    assert len(reader.images()) == 1
    reader.verify(full=True)
    reader.gc(dry_run=True)
    assert everything() == before


def test_an_image_is_found_by_name_digest_and_first_digits(store: Store) -> None:
    image = make(store, "digits", {"a": b"1"}, names=("digits", "digits:v1"))
    digest = image.digest
    spellings = (
        "digits", "digits:v1", "docker.io/library/digits:v1", str(digest), digest.hex, digest.short,
        digest.hex[:4], f"digits@{digest}",
    )  # fmt: skip
    assert {store.resolve(text) for text in spellings} == {digest}
    assert store.image(digest) == image
    for wrong in ("digit", "digits:latest", "digits:v2", digest.hex[:3], "0" * 64):
        with pytest.raises(MissingError, match="no image"):
            store.resolve(wrong)


def test_a_name_close_to_one_that_exists_is_told(store: Store) -> None:
    make(store, "tiny-gpt:v1", {"a": b"1"})
    with pytest.raises(MissingError, match="did you mean tiny-gpt:v1"):
        store.resolve("tiny-gtp:v1")


def test_a_new_build_takes_the_name_and_the_old_image_stays_listed(store: Store) -> None:
    old = make(store, "digits", {"a": b"1"})
    new = make(store, "digits", {"a": b"2"})
    assert store.resolve("digits") == new.digest
    assert store.resolve(old.digest.short) == old.digest
    assert [(one.names, one.digest) for one in store.images()] == [(("digits",), new.digest), ((), old.digest)]
    make(store, "digits", {"a": b"1"})
    assert [one.names for one in store.images()] == [("digits",), ()]


def test_the_order_of_builds_does_not_show(tmp_path: Path) -> None:
    found = set()
    for order in ("ab", "ba"):
        store = Store.open(tmp_path / order)
        for name in order:
            make(store, name, {name: b""})
        found.add((tmp_path / order / "index.json").read_bytes())
    assert len(found) == 1


def test_tag_and_rmi(store: Store) -> None:
    image = make(store, "digits", {"a": b"1"})
    assert store.tag(image.digest.short, "registry.example:5000/team/digits:v1") == image.digest
    with pytest.raises(StoreError, match="several names"):
        store.untag(image.digest.short)
    assert not store.untag("digits").gone
    assert images(store.home) == {"registry.example:5000/team/digits:v1": str(image.digest)}
    assert store.untag(image.digest.short).gone
    assert store.images() == ()
    with pytest.raises(MissingError):
        store.untag("digits")
    for wrong in ("Digits", f"a@{image.digest}"):
        make(store, "digits", {"a": b"1"})
        with pytest.raises(ImageError):
            store.tag("digits", wrong)


def test_L04_an_image_whose_layer_is_missing_is_not_committed(store: Store) -> None:
    image = make(Store.open(store.home.parent / "other"), "digits", {"a": b"1"})
    with pytest.raises(MissingError, match=image.manifest.layers[0].digest.short):
        store.commit_image(image, ["digits"])
    assert store.images() == ()


def test_an_index_of_platforms_is_one_image(store: Store) -> None:
    image = make(store, "digits", {"a": b"1"}, names=())
    store.commit_index(make_index([image]), ["digits"])
    assert store.image(store.resolve("digits")) == image
    assert {one.names for one in store.images()} == {("digits",), ()}
    store.gc()
    assert store.image(store.resolve("digits")) == image


def test_a_recipe_finds_its_layer_until_the_layer_is_gone_or_changed(store: Store) -> None:
    layer = put_layer(store, *layer_bytes({"a": b"1"}))
    store.recipes.record(KEY, layer)
    assert store.recipes.find(KEY) == layer
    assert store.recipes.find(Digest.sha256(b"other")) is None
    path = store.path(layer.descriptor.digest)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"X")
    assert store.recipes.find(KEY) is None
    put_layer(store, *layer_bytes({"a": b"1"}))
    assert store.recipes.find(KEY) == layer


def test_recipes_know_how_long_a_layer_is_unpacked(store: Store) -> None:
    layer, other = put_layer(store, *layer_bytes({"a": b"1"})), put_layer(store, *layer_bytes({"b": b"2"}))
    store.recipes.record(KEY, layer)
    store.recipes.path(Digest.sha256(b"torn")).write_bytes(layer.descriptor.digest.hex.encode())
    wanted = [layer.descriptor.digest, other.descriptor.digest]
    assert store.recipes.unpacked(wanted) == {layer.descriptor.digest: layer.unpacked}
    assert store.recipes.unpacked([]) == {}


@pytest.mark.parametrize("torn", [b"", b"\0" * 300, b"{", b"{}", b'{"version":2}'])
def test_fault2_a_torn_recipe_is_no_recipe(store: Store, torn: bytes) -> None:
    layer = put_layer(store, *layer_bytes({"a": b"1"}))
    store.recipes.record(KEY, layer)
    store.recipes.path(KEY).write_bytes(torn)
    assert store.recipes.find(KEY) is None
    store.recipes.record(KEY, layer)
    assert store.recipes.find(KEY) == layer


def test_a_recipe_under_another_name_is_no_recipe(store: Store) -> None:
    layer = put_layer(store, *layer_bytes({"a": b"1"}))
    store.recipes.record(KEY, layer)
    other = Digest.sha256(b"other")
    store.recipes.path(KEY).rename(store.recipes.path(other))
    assert store.recipes.find(other) is None


def test_gc_of_everything_keeps_named_images_only(store: Store) -> None:
    kept = make(store, "digits", {"a": b"1"}, {"b": b"2"})
    store.recipes.record(KEY, put_layer(store, *layer_bytes({"b": b"2"})))
    store.close()
    clean = snapshot(store.home)
    make(store, "old", {"c": b"3"}, names=())
    store.recipes.record(Digest.sha256(b"k2"), put_layer(store, *layer_bytes({"d": b"4"})))
    with store.files.ingest() as ingest:
        ingest.write(b"a wheel")
        ingest.commit()
    (store.rootfs / "layers").mkdir()
    for diff_id in (kept.config.diff_ids[0].hex, "0" * 64):
        (store.rootfs / "layers" / f"{diff_id}-0" / "fs").mkdir(parents=True)
    (store.rootfs / "flat" / f"{'0' * 64}-0").mkdir(parents=True)
    (store.rootfs / "runs" / "abc").mkdir(parents=True)
    store.facts.learn(KEY)
    store.repositories.links.add_manifest("a/b", Descriptor(MANIFEST, Digest.sha256(b"gone"), 4), root=False)
    (store.home / "tmp" / "dead-1").write_bytes(b"left over")
    (store.home / "locks" / "work-x").touch()
    store.close()
    before = snapshot(store.home)
    everything = Keep(files=False)
    planned = store.gc(everything, dry_run=True)
    assert snapshot(store.home) == before
    done = store.gc(everything)
    assert {piece.path for piece in planned.pieces} == {piece.path for piece in done.pieces}
    assert planned.images == done.images != ()
    assert {piece.kind for piece in done.pieces} == set(Rubbish) - {Rubbish.IMAGE, Rubbish.DAMAGED}
    assert snapshot(store.home) == clean
    assert [path.name for path in (store.rootfs / "layers").iterdir()] == [f"{kept.config.diff_ids[0].hex}-0"]
    assert list((store.rootfs / "flat").iterdir()) == []
    assert (store.rootfs / "runs" / "abc").exists()
    assert violations(store.home, clean=True) == []
    assert store.gc().pieces == ()


def test_gc_can_keep_the_cache_and_unnamed_images(store: Store) -> None:
    old = make(store, "old", {"c": b"3"}, names=())
    store.recipes.record(KEY, put_layer(store, *layer_bytes({"d": b"4"})))
    with store.files.ingest() as ingest:
        ingest.write(b"a wheel")
        digest, _ = ingest.commit()
    store.close()
    store.facts.learn(KEY)
    store.gc(Keep(cache=True, unnamed=True))
    assert store.facts.known(KEY)
    assert store.image(old.digest) == old
    assert store.recipes.find(KEY) is not None
    assert store.files.find(digest.hex) is not None


def test_I5_gc_leaves_what_another_store_object_holds(store: Store) -> None:
    other = Store.open(store.home)
    with store.writing():
        layer = put_layer(store, *layer_bytes({"a": b"1"}))
        with store.ingest() as ingest:
            ingest.write(b"on its way")
            other.gc()
            digest, _ = ingest.commit()
        store.recipes.record(KEY, layer)
        other.gc()
        assert store.has(digest)
        assert store.recipes.find(KEY) == layer
    other.gc()
    assert not store.has(digest)


def test_I5_who_holds_an_image_holds_its_layers(store: Store) -> None:
    image = make(store, "digits", {"a": b"1"})
    store.close()
    with store.writing():
        assert store.hold(image.digest)
        other = Store.open(store.home)
        other.untag("digits")
        other.gc()
        assert store.has(image.manifest.layers[0].digest)
        assert store.image(image.digest) == image


def test_gc_removes_nothing_when_an_image_cannot_be_read(store: Store) -> None:
    image = make(store, "digits", {"a": b"1"})
    make(store, "old", {"c": b"3"}, names=())
    store.close()
    path = store.path(image.digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    before = snapshot(store.home)
    with pytest.raises(DamagedError):
        store.gc()
    assert snapshot(store.home) == before


BROKEN_INDEX = {
    "empty": b"",
    "cut": b'{"schemaVersion":2,"manifests":[',
    "no list": b'{"schemaVersion":2,"manifests":{}}',
    "another version": b'{"schemaVersion":1,"manifests":[]}',
    "hostile digest": canonical_json(
        {"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": "sha256:../../x", "size": 1}]}
    ),
    "zeros": b"\0" * 200,
}


@pytest.mark.parametrize("content", BROKEN_INDEX.values(), ids=BROKEN_INDEX)
def test_L02_a_broken_index_is_refused_with_what_to_do_and_left_alone(store: Store, content: bytes) -> None:
    make(store, "digits", {"a": b"1"})
    store.close()
    (store.home / "index.json").write_bytes(content)
    before = snapshot(store.home)
    reader = Store.open(store.home)
    with pytest.raises(StoreError, match="cannot be read") as caught:
        reader.images()
    assert "move" in str(caught.value)
    for change in (lambda: reader.tag("digits", "x"), lambda: reader.untag("digits"), reader.gc):
        with pytest.raises(StoreError, match="cannot be read"):
            change()
    assert snapshot(store.home) == before


@pytest.mark.parametrize("content", [None, b"", b'{"imageLayoutVersion":"2.0.0"}', b"[]"])
def test_L05_another_layout_is_refused(store: Store, content: bytes | None) -> None:
    make(store, "digits", {"a": b"1"})
    store.close()
    path = store.home / "oci-layout"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(StoreError, match="not an OCI image layout"):
        Store.open(store.home)


def test_a_missing_index_is_not_an_empty_store(store: Store) -> None:
    make(store, "digits", {"a": b"1"})
    store.close()
    (store.home / "index.json").unlink()
    with pytest.raises(StoreError):
        Store.open(store.home).images()


def test_fault17_a_store_of_a_newer_trainload_is_refused_and_not_touched(store: Store) -> None:
    make(store, "digits", {"a": b"1"})
    store.close()
    (store.home / "trainload.json").write_text(json.dumps({"version": VERSION + 1}))
    before = snapshot(store.home)
    with pytest.raises(StoreError, match="newer Trainload"):
        Store.open(store.home)
    with pytest.raises(StoreError, match="newer Trainload"):
        store.put(b"x")
    assert snapshot(store.home) == before


def test_a_layout_of_another_tool_is_read_and_its_fields_are_kept(store: Store, tmp_path: Path) -> None:
    image = make(store, "digits", {"a": b"1"})
    store.close()
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    foreign = tmp_path / "x"
    (foreign / "blobs").mkdir(parents=True)
    shutil.copytree(store.home / "blobs" / "sha256", foreign / "blobs" / "sha256")
    shutil.copy(store.home / "oci-layout", foreign)
    index = json.loads((store.home / "index.json").read_bytes())
    index["manifests"][0]["annotations"]["other"] = "kept"
    (foreign / "index.json").write_text(json.dumps({**index, "annotations": {"tool": "x"}}, indent=2))
    other = Store.open(foreign)
    assert other.image(other.resolve("digits")) == image
    other.tag("digits", "digits:v2")
    found = json.loads((foreign / "index.json").read_bytes())
    assert found["annotations"]["tool"] == "x"
    assert [entry["annotations"]["other"] for entry in found["manifests"]] == ["kept", "kept"]


def test_verify_names_what_is_wrong_and_whom_it_hurts(store: Store) -> None:
    image = make(store, "digits", {"a": b"1"}, {"b": b"2"})
    make(store, "other", {"a": b"1"})
    store.close()
    first, second = (store.path(layer.digest) for layer in image.manifest.layers)
    first.unlink()
    data = bytearray(second.read_bytes())
    data[-9] ^= 1
    second.chmod(0o644)
    second.write_bytes(data)
    os.utime(second, ns=(10**9, 10**9))
    quick = store.verify()
    assert [str(finding.text) for finding in quick.findings] == [
        f"the blob {image.manifest.layers[0].digest.short} is missing"
    ]
    assert set(quick.findings[0].images) == {"digits", "other"}
    full = store.verify(full=True, repair=True)
    assert [finding.images for finding in full.findings] == [quick.findings[0].images, ("digits",)]
    assert not second.exists()


def test_I11_every_flipped_bit_is_found(store: Store) -> None:
    image = make(store, "digits", {"a": b"1" * 100})
    store.close()
    for path in sorted((store.home / "blobs" / "sha256").iterdir()):
        good = path.read_bytes()
        path.chmod(0o644)
        for position in range(0, len(good) * 8, 97):
            flipped = bytearray(good)
            flipped[position // 8] ^= 1 << position % 8
            path.write_bytes(flipped)
            os.utime(path, ns=(10**9, 10**9))
            assert store.verify(full=True).findings, (path, position)
        path.write_bytes(good)
        path.chmod(0o444)
    assert store.image(image.digest) == image


def test_fault16_every_flipped_bit_outside_the_blobs_is_found_too(store: Store) -> None:
    make(store, "digits", {"a": b"1"})
    store.recipes.record(KEY, put_layer(store, *layer_bytes({"a": b"1"})))
    with store.files.ingest() as ingest:
        ingest.write(b"a wheel")
        ingest.commit()
    store.close()
    paths = [store.home / name for name in ("index.json", "oci-layout", "trainload.json")]
    paths += [store.recipes.path(KEY), *(store.home / "files" / "sha256").iterdir()]
    for path in paths:
        good = path.read_bytes()
        path.chmod(0o644)
        for position in range(0, len(good) * 8, 5):
            flipped = bytearray(good)
            flipped[position // 8] ^= 1 << position % 8
            path.write_bytes(flipped)
            try:
                found = bool(Store.open(store.home).verify(full=True).findings)
            except StoreError:
                found = True
            assert found, (path, position)
        path.write_bytes(good)
    assert store.verify(full=True).findings == ()


def test_repair_removes_damaged_caches_and_signs_the_index_again(store: Store) -> None:
    make(store, "digits", {"a": b"1"})
    store.recipes.record(KEY, put_layer(store, *layer_bytes({"a": b"1"})))
    store.close()
    store.recipes.path(KEY).write_bytes(b"x")
    index = json.loads((store.home / "index.json").read_bytes())
    (store.home / "index.json").write_text(json.dumps(index | {"annotations": {}}, indent=1))
    assert [str(finding.text) for finding in store.verify(repair=True).findings] == [
        "the list of images was written by another tool, or is damaged: check the names",
        "a recipe is damaged",
    ]
    assert store.verify(full=True).findings == ()


@pytest.mark.parametrize("kind", [LAYER_GZIP, LAYER_ZSTD])
def test_L14_a_layer_whose_compression_is_broken_is_found(store: Store, kind: str) -> None:
    layer = put_layer(store, *layer_bytes({"a": b"1"}))
    broken = store.put(b"\x1f\x8b broken")
    descriptor = Descriptor(kind, broken, len(b"\x1f\x8b broken"))
    wrong = assemble(plan_of("digits", ("x",)), [Layer(descriptor, layer.diff_id, 10)])
    store.commit_image(wrong, ["digits"])
    assert "does not unpack" in str(store.verify(full=True).findings[0].text)


def test_R09_an_index_nested_too_deep_is_refused(store: Store) -> None:
    inner = make(store, "digits", {"a": b"1"}, names=())
    index = make_index([inner])
    for _ in range(4):
        store.commit_index(index, ["deep"])
        child = document_of(index.descriptor)
        child["platform"] = {"os": "linux", "architecture": Platform.host().architecture}
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
        outer = parse_manifest(canonical_json(document), "x")
        assert isinstance(outer, ImageIndex)
        index = outer
    with pytest.raises(ImageError, match="nests too deep"):
        store.image(store.resolve("deep"))
    assert "nests too deep" in str(store.verify().findings[0].text)


def test_L14_a_layer_that_does_not_unpack_to_its_diff_id_is_found(store: Store) -> None:
    blob, _ = layer_bytes({"a": b"1"})
    wrong = assemble(plan_of("digits", ("x",)), [put_layer(store, blob, Digest.sha256(b"another tar"))])
    store.commit_image(wrong, ["digits"])
    assert store.verify().findings == ()
    assert "does not unpack" in str(store.verify(full=True).findings[0].text)


def test_one_work_is_done_by_one_thread_and_waiting_is_told(store: Store) -> None:
    told: list[str] = []
    with store.lock("layer"):
        with store.lock("another", lambda: told.append("another")):
            pass
        assert told == []
    with store.lock("layer", lambda: told.append("again")):
        pass
    assert told == []
    store.close()
    assert violations(store.home, clean=True) == []
