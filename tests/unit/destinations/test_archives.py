"""Archives: what is saved can be loaded, by us and by the forms of others; the same image, the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from trainload.destinations.compress import compressed
from trainload.destinations.departure import choose
from trainload.destinations.intake import Wanted
from trainload.destinations.load import load
from trainload.destinations.save import pack, write
from trainload.digest import Digest, canonical_json
from trainload.errors import StoreError
from trainload.image.assemble import make_index
from trainload.image.model import LAYER, Image, ImageIndex
from trainload.image.parse import make_image
from trainload.platform import Platform
from trainload.store.ingest import SEALED
from trainload.store.store import Store
from trainload.store.trouble import DamagedError
from trainload.testing.archives import docker_files, files_of, loaded, refusal, saved, tarred
from trainload.testing.images import make
from trainload.testing.tars import TarEntry, hardlink, symlink, tar
from trainload.testing.verifier import images, violations

OTHER = Platform("linux", "arm64" if Platform.host().architecture == "amd64" else "amd64")


def test_what_is_saved_is_loaded_with_every_digest_and_name(store: Store, far: Store, image: Image) -> None:
    arrived = loaded(far, saved(store, "digits", "team/digits:v1"))
    assert [one.names for one in arrived] == [("digits", "team/digits:v1")]
    assert far.image(image.digest) == image
    assert images(far.home) == images(store.home)
    assert violations(far.home, clean=True) == []
    assert far.verify(full=True).findings == ()


def test_the_same_image_is_the_same_archive(store: Store, far: Store, image: Image) -> None:
    first = saved(store, "digits")
    loaded(far, first)
    assert saved(far, "digits") == first == saved(store, "digits")
    for kind in ("gzip", "zstd"):
        once, again = io.BytesIO(), io.BytesIO()
        for out, step in ((once, 7), (again, 4096)):
            with compressed(kind, out) as sink:
                for at in range(0, len(first), step):
                    sink.write(first[at : at + step])
        assert once.getvalue() == again.getvalue()


@pytest.mark.parametrize("pack_it", [gzip.compress, zstd.compress, lzma.compress])
def test_what_compresses_an_archive_is_seen_from_its_bytes(
    store: Store,
    far: Store,
    image: Image,
    pack_it: Any,  # noqa: ANN401
) -> None:
    loaded(far, pack_it(saved(store, "digits")))
    assert far.image(far.resolve("digits")) == image


def test_an_archive_is_a_layout_and_a_docker_archive_in_one(store: Store, image: Image) -> None:
    files = files_of(saved(store, "digits", "team/digits:v1"))
    [entry] = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["docker.io/library/digits:latest", "docker.io/team/digits:v1"]
    assert files[entry["Config"]] == image.config_bytes
    assert [Digest.sha256(files[name]) for name in entry["Layers"]] == [x.digest for x in image.manifest.layers]
    names = [one["annotations"] for one in json.loads(files["index.json"])["manifests"]]
    assert [name["org.opencontainers.image.ref.name"] for name in names] == ["digits", "team/digits:v1"]
    assert names[0]["io.containerd.image.name"] == "docker.io/library/digits:latest"
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_an_image_meant_by_its_digest_has_no_name_in_the_archive(store: Store, far: Store, image: Image) -> None:
    data = saved(store, image.digest.short)
    assert json.loads(files_of(data)["manifest.json"])[0]["RepoTags"] is None
    assert [one.names for one in loaded(far, data)] == [()]
    assert [one.names for one in loaded(far, data, "mine:1", "mine:2")] == [("mine:1", "mine:2")]
    assert far.resolve("mine:2") == image.digest


def test_a_name_is_not_given_to_several_images(store: Store, far: Store, image: Image) -> None:
    with store.writing():
        make(store, "other", {"c": b"3"})
    error = refusal(far, saved(store, "digits", "other"), "mine")
    assert "a name was given, but there are 2 images" in str(error)


def test_layers_the_far_side_has_can_be_left_out(store: Store, far: Store, image: Image) -> None:
    with far.writing():
        make(far, "old", {"a": b"1"})
    base = image.manifest.layers[0].digest
    data = saved(store, "digits", omit={base})
    assert f"blobs/sha256/{base.hex}" not in files_of(data)
    loaded(far, data)
    assert far.image(far.resolve("digits")) == image
    assert violations(far.home, clean=True) == []


def test_L04_an_archive_without_a_blob_is_refused_and_names_it(store: Store, far: Store, image: Image) -> None:
    base = image.manifest.layers[0].digest
    assert str(base) in str(refusal(far, saved(store, "digits", omit={base})))


def test_L04_an_image_that_is_not_whole_is_not_saved(store: Store, image: Image) -> None:
    store.path(image.manifest.layers[1].digest).unlink()
    with pytest.raises(StoreError, match="not complete"):
        saved(store, "digits")


def test_L03_a_damaged_blob_ends_the_archive_without_an_end(store: Store, image: Image) -> None:
    path = store.path(image.manifest.layers[1].digest)
    size = path.stat().st_size
    path.chmod(0o644)
    path.write_bytes(b"x" * size)
    with pytest.raises(StoreError, match="not complete"):
        choose(store, ["digits"])
    os.utime(path, ns=(SEALED, SEALED))  # bytes that rot on the disk do not move the time
    out = io.BytesIO()
    with pytest.raises(DamagedError):
        write(store, pack(choose(store, ["digits"])), out)
    assert not out.getvalue().endswith(bytes(1024))


def test_what_is_there_is_not_written_again(store: Store, image: Image) -> None:
    data = saved(store, "digits")
    before = {path: path.stat().st_ino for path in store.layout.blobs.iterdir()}
    loaded(store, data)
    assert {path: path.stat().st_ino for path in store.layout.blobs.iterdir()} == before


@pytest.mark.parametrize("packed", [False, True])
def test_a_docker_archive_keeps_config_and_layers_as_they_came(
    store: Store, far: Store, image: Image, packed: bool
) -> None:
    [arrived] = loaded(far, tarred(docker_files(image, store, packed=packed)))
    assert arrived.names == ("digits:v3", "team/other:latest")
    got = far.image(far.resolve("digits:v3"))
    assert got.config_bytes == image.config_bytes
    if packed:
        assert [x.digest for x in got.manifest.layers] == [x.digest for x in image.manifest.layers]
    else:
        assert [(x.media_type, x.digest) for x in got.manifest.layers] == [
            (LAYER, d) for d in image.config.diff_ids
        ]
    assert far.verify(full=True).findings == ()


def test_links_inside_a_docker_archive_are_layers_too(store: Store, far: Store, image: Image) -> None:
    files = docker_files(image, store)
    last = files.pop("layer1/layer.tar")
    entries = [TarEntry(name, data) for name, data in files.items()]
    loaded(
        far, tar(*entries, TarEntry("shared/layer.tar", last), symlink("layer1/layer.tar", "../shared/layer.tar"))
    )
    assert far.verify(full=True).findings == ()
    again = tar(*entries, TarEntry("shared.tar", last), hardlink("layer1/layer.tar", "shared.tar"))
    assert loaded(far, again)[0].descriptor.digest == far.resolve("digits:v3")


def several(store: Store) -> tuple[ImageIndex, Image, Image]:
    """One name for two platforms, both in the store."""
    with store.writing():
        here = make(store, "one", {"a": b"1"}, names=())
        config = canonical_json({**json.loads(here.config_bytes), "architecture": OTHER.architecture})
        manifest = json.loads(here.manifest_bytes)
        manifest["config"] |= {"digest": str(Digest.sha256(config)), "size": len(config)}
        there = make_image(canonical_json(manifest), config, "there")
        store.commit_image(there)
        index = make_index([here, there])
        store.commit_index(index, ["both:1"])
    return index, here, there


def test_an_image_of_several_platforms_travels_whole(store: Store, far: Store) -> None:
    index, here, there = several(store)
    data = saved(store, "both:1")
    [entry] = json.loads(files_of(data)["manifest.json"])
    assert entry["Config"].endswith(here.manifest.config.digest.hex)  # Docker 20.10 takes this machine's
    loaded(far, data)
    assert far.resolve("both:1") == index.digest
    assert far.image(index.digest, OTHER) == there
    assert violations(far.home, clean=True) == []


def test_one_platform_is_saved_or_loaded_when_asked(store: Store, far: Store, tmp_path: Path) -> None:
    _, _, there = several(store)
    loaded(far, saved(store, "both:1", platform=OTHER))
    assert far.resolve("both:1") == there.digest
    third = Store.open(tmp_path / "third")
    loaded(third, saved(store, "both:1"), platform=OTHER)
    assert third.resolve("both:1") == there.digest


def test_of_an_index_that_is_not_whole_the_image_that_is_comes_in(store: Store, far: Store) -> None:
    _, _, there = several(store)
    files = files_of(saved(store, "both:1"))
    del files[f"blobs/sha256/{there.manifest.config.digest.hex}"]
    said: list[object] = []

    class Listener:
        def report(self, event: object, /) -> None:
            said.append(event)

    with far.writing():
        load(far, io.BytesIO(tarred(files)), "x.tar", Wanted(), Listener())
    assert far.image(far.resolve("both:1")).config.platform == Platform.host()
    assert "is left behind" in str(said)
    assert violations(far.home, clean=True) == []


def test_names_of_docker_25_are_read(store: Store, far: Store, image: Image) -> None:
    files = files_of(saved(store, "digits"))
    index = json.loads(files["index.json"])
    index["manifests"][0]["annotations"] = {
        "io.containerd.image.name": "docker.io/library/digits:v9",
        "org.opencontainers.image.ref.name": "v9",
    }
    [arrived] = loaded(far, tarred({**files, "index.json": json.dumps(index).encode()}))
    assert arrived.names == ("digits:v9",)
    assert far.resolve("digits:v9") == image.digest


def test_a_name_that_is_none_is_refused(store: Store, far: Store, image: Image) -> None:
    files = files_of(saved(store, "digits"))
    index = json.loads(files["index.json"])
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "\x1b[31mred"}
    error = refusal(far, tarred({**files, "index.json": json.dumps(index).encode()}))
    assert "the list of images in the layout cannot be read" in str(error)
    assert "\x1b" not in str(error)
