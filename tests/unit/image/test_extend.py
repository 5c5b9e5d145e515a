"""A layer on top of an image that somebody made: everything below stays as it stands."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from trainload.errors import LayerError
from trainload.image.extend import on_top
from trainload.image.model import History
from trainload.layers.writer import LayerWriter
from trainload.store.store import Store
from trainload.testing.images import make


def test_what_is_below_stays_and_what_was_done_is_written_down(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with store.writing():
        image = make(store, "x", {"a": b"1"}, {"b": b"2"})
        other = make(store, "y", {"c": b"3"})
    layer = other.manifest.layers[0]
    from trainload.image.model import Layer

    new = on_top(image, Layer(layer, other.config.diff_ids[0], 0), History("by hand", "us", "2026-01-01T00:00:00Z"),
                 {"key": "value"})  # fmt: skip
    assert new.manifest.layers[:2] == image.manifest.layers and new.manifest.layers[2].digest == layer.digest
    assert new.config.diff_ids == (*image.config.diff_ids, other.config.diff_ids[0])
    assert new.config.history[-1].created_by == "by hand" and new.manifest.annotations["key"] == "value"
    assert json.loads(new.config_bytes)["config"] == json.loads(image.config_bytes)["config"]


def test_a_whiteout_is_asked_for_by_its_own_name_only() -> None:
    out = io.BytesIO()
    with LayerWriter(out) as layer:
        layer.directory("a")
        layer.whiteout("a/b")
        with pytest.raises(LayerError):
            layer.file("a/.wh.c", b"")
        with pytest.raises(LayerError):
            layer.whiteout("../x")
        layer.close()
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert [(member.name, member.size, member.isreg()) for member in archive][1:] == [("a/.wh.b", 0, True)]
