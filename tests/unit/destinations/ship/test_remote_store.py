"""The far side is not believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from trainload.address import Address
from trainload.destinations.cargo import Part
from trainload.destinations.ship.remote_store import RemoteStore
from trainload.destinations.ship.there import There
from trainload.destinations.ship.troubles import told
from trainload.digest import Digest
from trainload.errors import HostError
from trainload.events import SILENT
from trainload.image.model import Descriptor
from trainload.runner import wire

ONE = Part(Descriptor("", Digest.sha256(b"1"), 1), "one")
OTHER = str(Digest.sha256(b"2"))
OPEN = {"done": "open", "folder": "/s", "there": False}


class Far:
    """A far side that says what it is told to, whatever it is asked."""

    mark = "mark"
    address = Address("h")

    def __init__(self, *says: dict[str, Any]) -> None:
        self._lines: Iterator[bytes] = iter([wire.line(self.mark, one).strip() for one in says])
        self.session = self
        self.asked: list[Any] = []

    def become_runner(self, *, runs: bool) -> None:
        assert not runs, "a store carries nothing that runs"

    def read_line(self) -> bytes:
        for line in self._lines:
            return line
        raise HostError("gone", retryable=True)

    def write(self, data: bytes) -> None:
        self.asked.append(json.loads(data[5:]))

    def finish(self, *, hurry: bool) -> None:
        return None


def opened(*says: dict[str, Any]) -> RemoteStore:
    store = RemoteStore(cast("There", Far(OPEN, *says)), SILENT)
    store.open(None, writing=True)
    return store


@pytest.mark.parametrize(
    "answer",
    [
        {"have": [OTHER], "partial": {}, "free": 0},
        {"have": [], "partial": {OTHER: [1, ""]}, "free": 0},
        {"have": [], "partial": {str(ONE.blob.digest): [2, ""]}, "free": 0},
    ],
)
def test_S05_who_has_what_was_not_asked_for_is_refused(answer: dict[str, Any]) -> None:
    with opened({"done": "look", **answer}) as store, pytest.raises(HostError, match="what it was not sent"):
        store.look([ONE])


@pytest.mark.parametrize(
    "answer",
    [
        {"image": OTHER, "names": ["a:1"], "blobs": {str(ONE.blob.digest): 1}},
        {"image": str(ONE.blob.digest), "names": ["a:1"], "blobs": {}},
        {"image": str(ONE.blob.digest), "names": ["a:1"], "blobs": {str(ONE.blob.digest): 2}},
        {"image": str(ONE.blob.digest), "names": ["b:1"], "blobs": {str(ONE.blob.digest): 1}},
    ],
)
def test_S05_another_image_than_was_sent_is_refused(answer: dict[str, Any]) -> None:
    with opened({"done": "commit", **answer}) as store, pytest.raises(HostError, match="what it was not sent"):
        store.commit(ONE.blob, ["a:1"], [ONE.blob])


def test_a_connection_that_ends_is_told_as_such() -> None:
    with opened() as store, pytest.raises(HostError, match="gone"):
        store.look([ONE])


@pytest.mark.parametrize("code", ["full", "forbidden", "owner", "not a store", "newer", "version", "locks", "index",
                                  "bytes", "missing", "system"])  # fmt: skip
def test_S06_every_trouble_has_words(code: str) -> None:
    error = told({"trouble": code, "said": "x", "path": "/s/tmp"}, "h:/s", Address("h"), 5)
    assert "h" in str(error.text)
    assert str(error.place) == "h:/s/tmp" if error.place else False
    assert error.hints or code == "system"
