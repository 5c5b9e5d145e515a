"""Archives nobody should write: each is refused with its reason, and the store stays as it was, to the byte."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from trainload.destinations.intake import Wanted
from trainload.destinations.load import load
from trainload.digest import Digest, canonical_json
from trainload.errors import LayerError, TrainloadError
from trainload.events import SILENT
from trainload.image.model import Image
from trainload.limits import DEFAULT, Limits
from trainload.store.store import Store
from trainload.testing.archives import docker_files, files_of, loaded, refusal, saved, tarred
from trainload.testing.images import layer_bytes, make
from trainload.testing.tars import TarEntry, hardlink, symlink, tar
from trainload.testing.verifier import snapshot

Files = dict[str, bytes]


def entries(files: Mapping[str, bytes]) -> list[TarEntry]:
    return [TarEntry(name, data) for name, data in files.items()]


def blob(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def another_config(files: Files, image: Image, change: Callable[[dict[str, object]], object]) -> Files:
    """The archive with a changed config, and a manifest and index that name it."""
    config = json.loads(image.config_bytes)
    change(config)
    return another_manifest(files, image, lambda manifest: manifest.update(config=put(files, config)))


def another_manifest(files: Files, image: Image, change: Callable[[dict[str, object]], object]) -> Files:
    manifest = json.loads(image.manifest_bytes)
    change(manifest)
    files.pop("manifest.json")
    descriptor = put(files, manifest) | {"mediaType": manifest["mediaType"]}
    return {**files, "index.json": canonical_json({"schemaVersion": 2, "manifests": [descriptor]})}


def put(
    files: Files, document: object, media_type: str = "application/vnd.oci.image.config.v1+json"
) -> dict[str, object]:
    data = canonical_json(document)
    digest = Digest.sha256(data)
    files[blob(digest)] = data
    return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "blobs/../../evil", "a\nb", "x" * 300])
def test_a_name_that_leads_out_is_refused(far: Store, image: Image, store: Store, name: str) -> None:
    data = tar(*entries(files_of(saved(store, "digits"))), TarEntry(name, b"x"))
    assert "name" in str(refusal(far, data))


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("/etc/passwd", "a link that leads out of the archive"),
        ("../../../etc/passwd", "a link that leads out of the archive"),
        ("../nowhere/layer.tar", "does not hold a file that it names"),
        ("../layer1/layer.tar", "lead in a circle"),
    ],
)
def test_a_layer_that_is_a_link_elsewhere_is_refused(
    far: Store, image: Image, store: Store, link: str, reason: str
) -> None:
    files = docker_files(image, store)
    del files["layer1/layer.tar"]
    assert reason in str(refusal(far, tar(*entries(files), symlink("layer1/layer.tar", link))))


def test_L01_a_blob_of_a_layout_that_is_a_link_is_refused(far: Store, image: Image, store: Store) -> None:
    files = files_of(saved(store, "digits"))
    name = blob(image.manifest.layers[0].digest)
    data = files.pop(name)
    assert "is a link" in str(refusal(far, tar(*entries(files), TarEntry("x", data), symlink(name, "../../x"))))
    files |= {name: data}
    index = files.pop("index.json")
    assert "is a link" in str(refusal(far, tar(*entries(files), TarEntry("i", index), symlink("index.json", "i"))))


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_L01_what_is_no_file_is_refused(far: Store, image: Image, store: Store, kind: bytes) -> None:
    data = tar(*entries(files_of(saved(store, "digits"))), TarEntry("blobs/sha256/pipe", kind=kind))
    assert "no file" in str(refusal(far, data))


def test_L08_a_name_that_comes_twice_is_refused(far: Store, image: Image, store: Store) -> None:
    files = files_of(saved(store, "digits"))
    assert "twice" in str(refusal(far, tar(*entries(files), TarEntry("./index.json", b"{}"))))
    assert "twice" in str(refusal(far, tar(*entries(files), symlink("index.json", "x"))))
    assert "twice" in str(refusal(far, tar(*entries(files), hardlink("index.json", "oci-layout"))))


@pytest.mark.parametrize(
    "index", [b"", b"{", b"[]", b'{"schemaVersion": 2, "manifests": {}}', b"\xff", b'{"a": 1, "a": 2}', b"null"]
)
def test_L02_an_index_that_cannot_be_read_is_refused(far: Store, image: Image, store: Store, index: bytes) -> None:
    files = {**files_of(saved(store, "digits")), "index.json": index}
    error = refusal(far, tarred(files))
    assert "the list of images in the layout cannot be read" in str(error)
    assert error.hints


def test_L02_a_huge_index_or_list_is_refused(far: Store, image: Image, store: Store) -> None:
    files = {**files_of(saved(store, "digits")), "index.json": b" " * (DEFAULT.manifest + 1)}
    assert "too large" in str(refusal(far, tarred(files)))
    files = {**docker_files(image, store), "manifest.json": b"[" + b" " * DEFAULT.manifest + b"]"}
    assert "too large" in str(refusal(far, tarred(files)))


def test_L03_a_blob_that_is_not_what_its_name_says_is_refused(far: Store, image: Image, store: Store) -> None:
    whole = files_of(saved(store, "digits"))
    for name in [name for name in whole if name.startswith("blobs/")]:
        changed = bytearray(whole[name])
        changed[-1] ^= 1
        assert "damaged" in str(refusal(far, tarred({**whole, name: bytes(changed)})))
        assert "damaged" in str(refusal(far, tarred({**whole, name: whole[name] + b"x"})))


def test_L03_it_is_refused_also_where_the_store_has_the_right_one(image: Image, store: Store) -> None:
    whole = files_of(saved(store, "digits"))
    name = blob(image.manifest.layers[0].digest)
    changed = bytes(len(whole[name]))
    assert "damaged" in str(refusal(store, tarred({**whole, name: changed})))


def test_L03_a_config_of_docker_that_is_not_what_its_name_says_is_refused(
    far: Store, image: Image, store: Store
) -> None:
    files = docker_files(image, store)
    name = f"{image.manifest.config.digest.hex}.json"
    assert "what its name says" in str(refusal(far, tarred({**files, name: files[name] + b" "})))


def test_L04_every_blob_is_needed(far: Store, image: Image, store: Store) -> None:
    whole = files_of(saved(store, "digits"))
    for name in [name for name in whole if name.startswith("blobs/")]:
        error = refusal(far, tarred({key: data for key, data in whole.items() if key != name}))
        assert f"sha256:{name.rpartition('/')[2]}" in str(error)


@pytest.mark.parametrize("layout", [b'{"imageLayoutVersion": "2.0.0"}', b"{}", b"x"])
def test_L05_a_layout_of_another_version_is_refused(far: Store, image: Image, store: Store, layout: bytes) -> None:
    files = {**files_of(saved(store, "digits")), "oci-layout": layout}
    assert "oci-layout" in str(refusal(far, tarred(files)))


def test_L14_a_layer_that_does_not_unpack_to_its_diff_id_is_refused(far: Store, image: Image, store: Store) -> None:
    def swap(config: dict[str, object]) -> None:
        config["rootfs"]["diff_ids"].reverse()  # type: ignore[index]

    files = another_config(files_of(saved(store, "digits")), image, swap)
    assert "does not hold what the image says" in str(refusal(far, tarred(files)))
    files = docker_files(image, store)
    files["layer0/layer.tar"], files["layer1/layer.tar"] = files["layer1/layer.tar"], files["layer0/layer.tar"]
    assert "does not hold what the image says" in str(refusal(far, tarred(files)))


def test_L14_an_honest_image_does_not_cover_for_one_that_lies(far: Store, image: Image, store: Store) -> None:
    """Both have the same layers; whichever is read last, the lie is found."""
    honest = files_of(saved(store, "digits"))
    first = json.loads(honest["index.json"])["manifests"]

    def swap(config: dict[str, object]) -> None:
        config["rootfs"]["diff_ids"].reverse()  # type: ignore[index]

    both = another_config(dict(honest), image, swap)
    second = json.loads(both["index.json"])["manifests"]
    for order in (first + second, second + first):
        index = canonical_json({"schemaVersion": 2, "manifests": order})
        assert "different things of one blob" in str(refusal(far, tarred({**both, "index.json": index})))


@pytest.mark.parametrize("damage", [lambda x: x[:-9], lambda x: x + b"junk", lambda x: x[:-8] + b"12345678"])
def test_L14_gzip_that_is_cut_off_or_goes_on_is_refused(
    far: Store, image: Image, store: Store, damage: Callable[[bytes], bytes]
) -> None:
    files = docker_files(image, store, packed=True)
    files["layer1/layer.tar"] = damage(files["layer1/layer.tar"])
    assert "layer" in str(refusal(far, tarred(files))) or "compressed" in str(refusal(far, tarred(files)))


def test_L14_layers_of_many_gzip_members_are_taken(far: Store, image: Image, store: Store) -> None:
    files = docker_files(image, store)
    whole = files["layer1/layer.tar"]
    files["layer1/layer.tar"] = gzip.compress(whole[:1000]) + gzip.compress(whole[1000:])
    loaded(far, tarred(files))
    assert far.verify(full=True).findings == ()


def test_L15_a_layer_that_unpacks_to_more_than_allowed_is_refused(far: Store, store: Store) -> None:
    with store.writing():
        zeros = make(store, "zeros", {"z": bytes(3_000_000)})
    data = saved(store, "zeros")
    size = len(gzip.decompress(store.path(zeros.manifest.layers[0].digest).read_bytes()))
    before = snapshot(far.home)
    with pytest.raises(LayerError, match="unpacks to too much"):
        load(far, io.BytesIO(data), "x.tar", Wanted(limits=Limits(unpacked=size - 1)), SILENT)
    assert snapshot(far.home) == before
    load(far, io.BytesIO(data), "x.tar", Wanted(limits=Limits(unpacked=size)), SILENT)
    assert far.image(far.resolve("zeros")) == zeros


def test_R06_other_numbers_of_layers_are_refused(far: Store, image: Image, store: Store) -> None:
    def shorten(config: dict[str, object]) -> None:
        config["rootfs"]["diff_ids"].pop()  # type: ignore[index]

    files = another_config(files_of(saved(store, "digits")), image, shorten)
    assert "does not list the layers" in str(refusal(far, tarred(files)))
    files = docker_files(image, store)
    listed = json.loads(files["manifest.json"])
    listed[0]["Layers"].pop()
    assert "does not list the layers" in str(
        refusal(far, tarred({**files, "manifest.json": canonical_json(listed)}))
    )


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../x", "sha256:" + "A" * 64, "sha256:abc", "md5:" + "0" * 32, "", "sha256:" + "0" * 63 + "\n"],
)
def test_R07_digests_that_are_none_are_refused(far: Store, image: Image, store: Store, digest: str) -> None:
    def change(manifest: dict[str, object]) -> None:
        manifest["layers"][0]["digest"] = digest  # type: ignore[index]

    files = another_manifest(files_of(saved(store, "digits")), image, change)
    assert "sha256:<64 hexadecimal digits>" in str(refusal(far, tarred(files)))


def test_R04_R08_documents_that_contradict_themselves_are_refused(far: Store, image: Image, store: Store) -> None:
    both = another_manifest(files_of(saved(store, "digits")), image, lambda m: m.update(manifests=[]))
    assert "an image manifest or an index" in str(refusal(far, tarred(both)))

    def carry(manifest: dict[str, object]) -> None:
        manifest["config"]["data"] = "e30="  # type: ignore[index]

    data = another_manifest(files_of(saved(store, "digits")), image, carry)
    assert "descriptor's digest and size" in str(refusal(far, tarred(data)))


def test_a_blob_of_another_size_than_its_descriptor_says_is_refused(far: Store, image: Image, store: Store) -> None:
    def grow(manifest: dict[str, object]) -> None:
        manifest["layers"][0]["size"] += 1  # type: ignore[index]

    files = another_manifest(files_of(saved(store, "digits")), image, grow)
    assert "another size" in str(refusal(far, tarred(files)))


def test_R09_an_index_nested_too_deep_or_too_wide_is_refused_at_once(
    far: Store, image: Image, store: Store
) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    files = files_of(saved(store, "digits"))
    files.pop("manifest.json")
    deep: dict[str, object] = {"schemaVersion": 2, "mediaType": kind, "manifests": []}
    for _ in range(DEFAULT.index_depth + 1):
        child = put(files, deep, kind)
        deep = {"schemaVersion": 2, "mediaType": kind, "manifests": [child] * DEFAULT.index_children}
    assert "nests too deep" in str(refusal(far, tarred({**files, "index.json": canonical_json(deep)})))
    child = json.loads(files["index.json"])["manifests"][0]
    wide = {"schemaVersion": 2, "mediaType": kind, "manifests": [child] * (DEFAULT.index_children + 1)}
    assert "at most 1000 images" in str(refusal(far, tarred({**files, "index.json": canonical_json(wide)})))


@pytest.mark.parametrize(
    "listed",
    [b"{}", b"null", b"[1]", b'[{"Config": 1}]', b'[{"Config": "x"}]', b"[", b'[{"Config": "../../etc/passwd"}]',
     b'[{"Config": "a", "Config": "b"}]', b'], "x": [', b'[{"Config": "manifest.json", "Layers": []}]'],
)  # fmt: skip
def test_lists_of_docker_that_are_malformed_are_refused(
    far: Store, image: Image, store: Store, listed: bytes
) -> None:
    refusal(far, tarred({**docker_files(image, store), "manifest.json": listed}))


def test_an_archive_cut_off_anywhere_is_refused(far: Store, image: Image, store: Store) -> None:
    data = saved(store, "digits")
    chance = random.Random(7)
    end = len(data) - 512  # of the two zero blocks that end a tar one is enough
    for at in [0, 1, 511, 512, end - 1, end - 512, *chance.sample(range(end), 40)]:
        refusal(far, data[:at])


def test_one_wrong_byte_is_refused_or_makes_no_difference(
    far: Store, image: Image, store: Store, tmp_path: Path
) -> None:
    data = saved(store, "digits")
    chance = random.Random(11)
    taken = 0
    for number in range(60):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        before = snapshot(far.home)
        try:
            loaded(far, bytes(changed))
        except TrainloadError:
            assert snapshot(far.home) == before
        else:  # a byte that nobody reads, or one of a name
            taken += 1
            assert [one.image for one in far.images()] == [image]
            far = Store.open(tmp_path / str(number))
            with far.writing():
                pass
    assert taken < 50


@pytest.mark.parametrize("junk", [b"x", bytes(511) + b"x", tar(TarEntry("again", b"1"))])
def test_bytes_after_the_end_are_refused(far: Store, image: Image, store: Store, junk: bytes) -> None:
    assert "goes on after its end mark" in str(refusal(far, saved(store, "digits") + junk))
    assert "compressed data" in str(refusal(far, gzip.compress(saved(store, "digits")) + b"junk"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no end mark"),
        (b"hello world" * 100, "checksum"),
        (layer_bytes({"etc/passwd": b"root"})[0], "holds no image"),
        (tar(TarEntry("repositories", b"{}")), "Docker 1.9"),
        (gzip.compress(bytes(200 << 20), 9), "expands too far"),
    ],
)
def test_what_is_no_archive_of_images_is_told(far: Store, data: bytes, reason: str) -> None:
    assert reason in str(refusal(far, data))
