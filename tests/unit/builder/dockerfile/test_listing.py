"""What a layer has, told by its writer or by reading it; and a path that is looked for alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainload.builder.dockerfile.ground import Ground, keep_listing
from trainload.builder.dockerfile.listing import Listing, Seen, statement
from trainload.builder.dockerfile.survey import survey
from trainload.image.model import LAYER_GZIP, Descriptor, Layer
from trainload.layers.foreign import look
from trainload.layers.tar import Header
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import LayerWriter, Owner, Stream
from trainload.limits import DEFAULT
from trainload.run.unpack import LayerBlob, unpack
from trainload.store.store import Store
from trainload.testing.images import put_layer

NAMES = st.sampled_from(["a", "b", "a/b", "a/b/c", "b/x", "a/c", "a b", "a-b", "a/b.c", "ü", "\udcff"])
ENTRIES = st.dictionaries(NAMES, st.sampled_from(["folder", "file", "link", "gone"]), max_size=6)


class Noted:
    """A sink that is told what is in the layer."""

    def __init__(self) -> None:
        self.noted: list[Header] = []
        self.out = io.BytesIO()

    def write(self, data: bytes, /) -> object:
        return self.out.write(data)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path)
    with store.writing():
        yield store


def written(store: Store, entries: dict[str, str], texts: dict[str, bytes] | None = None) -> tuple[Layer, Noted]:
    layer, sink = listed(entries, texts)
    return put_layer(store, sink.out.getvalue(), layer.diff_id), sink


def listed(entries: dict[str, str], texts: dict[str, bytes] | None = None) -> tuple[Layer, Noted]:
    """A layer with ``entries``, as far as a layer can have them; nobody has its bytes."""
    sink = Noted()
    files = {path for path, kind in entries.items() if kind in ("file", "link")}
    with LayerWriter(sink) as out:
        for path, kind in sorted(entries.items()):
            if any(path.startswith(f"{one}/") for one in files):
                continue
            if kind == "folder":
                out.directory(path, mode=0o750, owner=Owner(3, 4))
            elif kind == "file":
                out.file(path, (texts or {}).get(path, path.encode("utf-8", "surrogateescape")), mode=0o4755)
            elif kind == "link":
                out.symlink(path, "/somewhere\udcfe")
            else:
                out.whiteout(path)
        done = out.close()
    return Layer(Descriptor(LAYER_GZIP, done.diff_id, 0), done.diff_id, done.unpacked), sink


def test_a_writer_tells_what_reading_the_layer_tells(store: Store) -> None:
    sink = Noted()
    with LayerWriter(sink) as out:
        out.directory("opt", mode=0o1777, owner=Owner(5, 6))
        out.file("opt/é\udcff\n", Stream(3, iter([b"abc"])), mode=0o6755)
        out.hardlink("opt/h", "opt/é\udcff\n", mode=0o6755)
        out.symlink("opt/l", "../x y")
        out.whiteout("opt/gone")
        out.whiteout("top")
        done = out.close()
    told = Listing.written(sink.noted)
    assert told.hides == {"opt/gone", "top"}
    assert told.find("opt/é\udcff\n") == Seen(MemberKind.FILE, 0o6755, Owner(), 3)
    assert told.find("opt/h") == Seen(MemberKind.HARDLINK, 0o6755, Owner(), 0, "opt/é\udcff\n")
    assert (told.takes("top/below"), told.takes("opt/gone"), told.takes("opt")) == (True, True, False)
    assert Listing.unpacked(told.packed()) == told
    assert len(told.nodes) == len(sink.noted) - 2
    assert done.entries == len(sink.noted)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(ENTRIES, min_size=1, max_size=4))
def test_a_path_alone_is_found_as_in_the_whole(layers: list[dict[str, str]], store: Store) -> None:
    made = [listed(one) for one in layers]
    listings = {layer.diff_id: Listing.written(sink.noted) for layer, sink in made}
    ground = Ground(store, tuple(layer for layer, _ in made), listings=listings)
    asked: dict[str, Seen | None] = {path: ground.at(path) for path in ("", *{p for one in layers for p in one})}
    assert {path: ground.nodes.get(path) for path in asked} == asked


def test_what_was_told_is_seen_as_what_was_read(store: Store) -> None:
    layers: tuple[dict[str, str], ...] = (
        {"a": "folder", "a/b": "folder", "a/b/c": "file", "b": "file"}, {"a/b": "gone", "b": "gone"}, {"a": "link"},
    )  # fmt: skip
    made = [written(store, one) for one in layers]
    told = Ground(store, tuple(layer for layer, _ in made))
    for layer, sink in made:
        keep_listing(store, told.listings, None, layer.diff_id, sink.noted)
    for layer, _ in made:
        store.facts.path(statement(layer.diff_id)).unlink()
    for count in range(len(made) + 1):
        lower = told.layers[:count]
        assert Ground(store, lower, listings=told.listings).nodes == Ground(store, lower).nodes
    assert told.nodes == {"a": Seen(MemberKind.SYMLINK, 0o777, Owner(), 0, "/somewhere\udcfe", 2)}


def test_one_reading_gives_what_two_would(store: Store) -> None:
    texts = {
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "etc/os-release": b"ID=debian\xff\n",
        "etc/apt.conf": b"x", "bin/pip": b"#!/bin/python\n", "requirements.txt": b"torch\n",
        "bin/python3.11": b"\x003.11.2\x00",
        "x/site-packages/a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n\nlong\n", "etc/large": bytes(300 << 10),
    }  # fmt: skip
    layer, _ = written(store, dict.fromkeys(texts, "file"), texts)
    survey([layer], store, DEFAULT)
    with store.blob_file(layer.descriptor.digest) as blob:
        alone = look.look(blob, layer.diff_id, "x")
    assert store.facts.said(look.statement(layer.diff_id)) == alone.to_json()
    ground = Ground(store, (layer,))
    kept = ground._listing(layer).texts
    assert dict(kept) == {
        path: texts[path] for path in ("etc/passwd", "etc/apt.conf", "bin/pip", "requirements.txt")
    }
    assert {path: ground.read(path) for path in texts} == texts
    store.path(layer.descriptor.digest).unlink()  # what was asked for once is kept
    assert Ground(store, (layer,)).read("etc/os-release") == texts["etc/os-release"]


def test_a_layer_that_lies_unpacked_tells_what_reading_it_tells(store: Store, tmp_path: Path) -> None:
    texts = {
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "etc/os-release": b"ID=debian\xff\n", "etc/é\udcff": b"1",
        "bin/pip": b"#!/bin/python\n", "bin/python3.11": b"\x00" * 300_000 + b"3.11.2\x00", "etc/empty": b"",
        "x/site-packages/a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n\nlong\n", "etc/large": bytes(300 << 10),
        "var/lib/dpkg/status": b"Package: a\n" * 50_000, "lib/x86_64-linux-gnu/libc.so.6": b"no version",
    }  # fmt: skip
    kinds = {**dict.fromkeys(texts, "file"), "usr": "folder", "bin/sh": "link", "etc/gone": "gone", "tmp": "gone"}
    layer, sink = written(store, kinds, texts)
    blob = store.path(layer.descriptor.digest)
    [unpacked] = unpack([LayerBlob(blob, layer.diff_id, 0)], tmp_path / "rootfs")
    survey([layer], store, DEFAULT)
    read = [store.facts.said(each(layer.diff_id)) for each in (statement, look.statement)]
    for each in (statement, look.statement):
        store.facts.path(each(layer.diff_id)).unlink()
    told = Ground(store, (layer,))
    keep_listing(store, told.listings, lambda _: unpacked.folder, layer.diff_id, sink.noted)
    assert [store.facts.said(each(layer.diff_id)) for each in (statement, look.statement)] == read
    for each in (statement, look.statement):
        store.facts.path(each(layer.diff_id)).unlink()
    (unpacked.folder / "etc/os-release").write_bytes(b"somebody's")
    keep_listing(store, told.listings, lambda _: unpacked.folder, layer.diff_id, sink.noted)
    assert store.facts.said(look.statement(layer.diff_id)) is None  # it is read from the blob, then
    assert told.read("etc/passwd") == texts["etc/passwd"]


def test_what_a_base_has_and_where_is_one_reading(store: Store) -> None:
    layer, _ = written(
        store, {"etc/passwd": "file", "opt": "folder"}, {"etc/passwd": b"root:x:0:0::/root:/bin/sh\n"}
    )
    assert Ground(store, (layer,)).facts.passwd.startswith("root:x:0")
    store.path(layer.descriptor.digest).unlink()
    assert set(Ground(store, (layer,)).nodes) == {"etc/passwd", "opt"}
