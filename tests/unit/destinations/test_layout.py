"""A folder with images: read as if anyone had written it, written whole, added to without losing what is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trainload.destinations.arrivals import Arriving
from trainload.destinations.departure import choose
from trainload.destinations.intake import Wanted
from trainload.destinations.layout import import_layout
from trainload.destinations.layout_export import Exported, export_layout
from trainload.errors import TrainloadError
from trainload.events import SILENT
from trainload.image.model import Image
from trainload.store.ingest import SEALED
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.verifier import images, snapshot, violations


def exported(store: Store, folder: Path, *names: str) -> Exported:
    return export_layout(store, choose(store, names), folder)


def imported(store: Store, folder: Path, *names: str) -> list[Arriving]:
    return list(import_layout(store, folder, Wanted(names), SILENT))


def refusal(store: Store, folder: Path, *names: str) -> str:
    """Why the layout is refused; store and layout are as they were."""
    before = snapshot(store.home)
    with pytest.raises(TrainloadError) as caught:
        imported(store, folder, *names)
    assert snapshot(store.home) == before
    assert violations(store.home, clean=True) == []
    return str(caught.value)


def every_file(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def layout(store: Store, image: Image, tmp_path: Path) -> Path:
    exported(store, tmp_path / "layout", "digits", "team/digits:v1")
    return tmp_path / "layout"


def test_what_is_exported_is_imported_with_every_digest_and_name(
    store: Store, far: Store, image: Image, layout: Path
) -> None:
    [arrived] = imported(far, layout)
    assert arrived.names == ("digits", "team/digits:v1")
    assert far.image(image.digest) == image
    assert images(far.home) == images(store.home)
    assert violations(far.home, clean=True) == []


def test_a_layout_is_made_of_its_three_parts_and_nothing_else(layout: Path, image: Image) -> None:
    blobs = {image.digest, image.manifest.config.digest, *(layer.digest for layer in image.manifest.layers)}
    assert every_file(layout).keys() == {"oci-layout", "index.json", *(f"blobs/sha256/{d.hex}" for d in blobs)}
    assert violations(layout) == [
        f"I1 {path} can be written to" for path in sorted((layout / "blobs/sha256").iterdir())
    ]


def test_the_store_has_copies_not_the_folders_files(far: Store, layout: Path) -> None:
    imported(far, layout)
    for path in (layout / "blobs/sha256").iterdir():
        assert path.stat().st_nlink == 1
        path.write_bytes(b"changed afterwards")
    assert far.verify(full=True).findings == ()


def test_an_image_is_added_to_a_layout_and_only_what_is_missing_is_written(store: Store, layout: Path) -> None:
    with store.writing():
        other = make(store, "other", {"a": b"1"}, {"c": b"3"})
    index = json.loads((layout / "index.json").read_bytes())
    index["annotations"] = {"kept": "yes"}
    (layout / "index.json").write_text(json.dumps(index))
    done = exported(store, layout, "other")
    assert done.present == other.manifest.layers[0].size
    now = json.loads((layout / "index.json").read_bytes())
    assert now["annotations"] == {"kept": "yes"}
    assert now["manifests"][: len(index["manifests"])] == index["manifests"]
    assert images(layout).keys() == {"digits", "team/digits:v1", "other"}
    again = every_file(layout)
    assert exported(store, layout, "other").written == 0
    assert every_file(layout) == again


def test_a_name_in_the_layout_moves_to_the_image_that_is_exported_under_it(store: Store, layout: Path) -> None:
    with store.writing():
        other = make(store, "digits", {"c": b"3"})
    exported(store, layout, "digits")
    assert images(layout)["digits"] == str(other.digest)
    assert len(json.loads((layout / "index.json").read_bytes())["manifests"]) == 2


def test_a_damaged_blob_of_the_layout_is_written_anew(store: Store, far: Store, layout: Path, image: Image) -> None:
    path = layout / "blobs/sha256" / image.manifest.layers[0].digest.hex
    path.write_bytes(bytes(path.stat().st_size))
    exported(store, layout, "digits")
    imported(far, layout)


def test_a_folder_that_holds_something_else_is_left_alone(store: Store, image: Image, tmp_path: Path) -> None:
    folder = tmp_path / "home-of-someone"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    for target in (folder, folder / "thesis.tex", store.home):
        before = every_file(tmp_path)
        with pytest.raises(TrainloadError):
            exported(store, target, "digits")
        assert every_file(tmp_path) == before
    assert not (folder / "blobs").exists()


def test_an_export_that_fails_leaves_no_trace(store: Store, image: Image, tmp_path: Path) -> None:
    last = store.path(image.manifest.layers[1].digest)
    size = last.stat().st_size
    last.chmod(0o644)
    last.write_bytes(bytes(size))
    os.utime(last, ns=(SEALED, SEALED))  # found only when it is read, after others were written
    with pytest.raises(TrainloadError, match="damaged"):
        exported(store, tmp_path / "new" / "layout", "digits")
    assert not (tmp_path / "new").exists()


def test_L01_nothing_is_written_through_links(store: Store, image: Image, layout: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    name = layout / "blobs/sha256" / image.manifest.layers[0].digest.hex
    name.unlink()
    name.symlink_to(victim)
    with pytest.raises(TrainloadError, match="is a link"):
        exported(store, layout, "digits")
    shutil.rmtree(layout / "blobs")
    (tmp_path / "elsewhere" / "sha256").mkdir(parents=True)
    (layout / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrainloadError, match="is a link"):
        exported(store, layout, "digits")
    assert victim.read_text() == "mine"
    assert list((tmp_path / "elsewhere" / "sha256").iterdir()) == []


def test_L01_blobs_that_are_links_or_pipes_are_refused(
    far: Store, image: Image, layout: Path, tmp_path: Path
) -> None:
    name = layout / "blobs/sha256" / image.manifest.layers[0].digest.hex
    elsewhere = tmp_path / "secret"
    name.rename(elsewhere)
    makers: list[Callable[[], None]] = [lambda: name.symlink_to(elsewhere), lambda: os.mkfifo(name), name.mkdir]
    for make_it in makers:
        make_it()
        assert "regular file" in refusal(far, layout)
        name.rmdir() if name.is_dir() and not name.is_symlink() else name.unlink()
    os.link(elsewhere, name)
    (layout / "blobs").rename(tmp_path / "blobs")
    (layout / "blobs").symlink_to(tmp_path / "blobs")
    assert "missing" in refusal(far, layout)


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_L01_documents_that_are_links_are_refused(far: Store, layout: Path, tmp_path: Path, name: str) -> None:
    (layout / name).rename(tmp_path / name)
    (layout / name).symlink_to(tmp_path / name)
    assert "links are not followed" in refusal(far, layout)


@pytest.mark.parametrize("index", ["", "{", "[]", '{"schemaVersion": 2}', '{"schemaVersion": 2, "manifests": 1}'])
def test_L02_an_index_that_cannot_be_read_is_refused_and_left(far: Store, layout: Path, index: str) -> None:
    (layout / "index.json").write_text(index)
    assert "the list of images in the layout cannot be read" in refusal(far, layout)
    assert (layout / "index.json").read_text() == index
    (layout / "index.json").unlink()
    assert "the list of images in the layout cannot be read" in refusal(far, layout)


def test_L03_blobs_that_are_not_what_their_names_say_are_refused(far: Store, layout: Path) -> None:
    for path in sorted((layout / "blobs/sha256").iterdir()):
        whole = path.read_bytes()
        for wrong in (bytes(len(whole)), whole + b"x", whole[:-1], b""):
            path.write_bytes(wrong)
            assert path.name in refusal(far, layout)
        path.write_bytes(whole)
    imported(far, layout)


def test_L04_missing_blobs_are_named(far: Store, layout: Path) -> None:
    for path in sorted((layout / "blobs/sha256").iterdir()):
        whole = path.read_bytes()
        path.unlink()
        assert f"sha256:{path.name}" in refusal(far, layout)
        path.write_bytes(whole)


@pytest.mark.parametrize("content", [None, "{}", '{"imageLayoutVersion": "2.0.0"}', "x"])
def test_L05_a_folder_that_is_no_layout_we_know_is_refused(far: Store, layout: Path, content: str | None) -> None:
    if content is None:
        (layout / "oci-layout").unlink()
    else:
        (layout / "oci-layout").write_text(content)
    assert "oci-layout" in refusal(far, layout)


def test_a_file_or_nothing_at_all_is_no_layout(far: Store, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"")
    assert "trainload load" in refusal(far, tmp_path / "x.tar")
    assert "there is no folder" in refusal(far, tmp_path / "nowhere")


def test_an_imported_image_can_be_named(far: Store, layout: Path, image: Image) -> None:
    imported(far, layout, "mine:1")
    assert far.resolve("mine:1") == image.digest
    assert images(far.home).keys() == {"mine:1"}
