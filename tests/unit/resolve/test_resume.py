"""A large download that was ended is gone on from by the next process, and trusted for nothing but its hash."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import FetchError
from trainload.layers.weights import write_weights
from trainload.lock.model import File, Url
from trainload.plan.model import PlacedFile, WeightsRecipe
from trainload.resolve.failures import WrongBytesError
from trainload.resolve.fetch import Fetcher
from trainload.resolve.places import Places
from trainload.store.store import Store
from trainload.system.http import Http, Retry
from trainload.testing.server import FaultServer, Reply
from trainload.testing.verifier import violations

BODY = random.Random(7).randbytes(9_000_000)
CUT = 5_000_000
TAG = '"v1"'


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def locked(url: str) -> File:
    return File("m.safetensors", hashlib.sha256(BODY).hexdigest(), len(BODY), Url(url))


def fetcher(store: Store) -> Fetcher:
    http = Http(stall_timeout=30, connect_timeout=30, sleep=lambda _: None, retry=Retry(tries=1), proxies={})
    return Fetcher(store.files, http, Places())


class Process:
    """What one process does with the store at ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def fetch(self, file: File) -> bytes:
        store = Store.open(self.home)
        with store.writing():
            made = fetcher(store)
            made.prefetch([file])
            with made.open(file) as opened:
                return opened.read()

    def pour(self, file: File) -> Digest:
        """As a build makes the layer of the file; its digest."""
        store = Store.open(self.home)
        recipe = WeightsRecipe((PlacedFile("opt/weights/m", file),))
        with store.writing(), store.ingest(file.size, "layer-m") as ingest:
            write_weights(recipe, fetcher(store), ingest)
            return ingest.commit()[0]

    def left(self) -> list[Path]:
        return sorted(self.home.joinpath("incoming").iterdir())


HOW = pytest.mark.parametrize("how", ["fetch", "pour"])


def asked(server: FaultServer) -> list[tuple[str | None, str | None]]:
    """What each request for it wanted: (Range, If-Range)."""
    return [(one.headers.get("range"), one.headers.get("if-range")) for one in server.asked("/m")]


def begun(server: FaultServer, home: Path, how: str) -> tuple[File, int]:
    """A process whose line was cut; how many bytes the next one asks for first."""
    file = locked(server.serve("/m", Reply(BODY, cut=CUT, etag=TAG), Reply(b"", 404)))
    with pytest.raises(FetchError):
        getattr(Process(home), how)(file)
    part, tag = Process(home).left()
    assert tag.name == f"tag-{file.sha256}" and server.url not in tag.read_text()
    return file, part.stat().st_size


@HOW
def test_the_next_process_asks_for_the_rest_only(server: FaultServer, tmp_path: Path, how: str) -> None:
    file, size = begun(server, tmp_path, how)
    assert CUT - 3_500_000 < size <= CUT + 5_000
    server.serve("/m", Reply(BODY, etag=TAG))
    whole = getattr(Process(tmp_path), how)(file)
    wanted, tag = asked(server)[-1]
    assert tag == TAG and wanted is not None
    assert size - 3_500_000 < int(wanted.removeprefix("bytes=").removesuffix("-")) <= size
    assert whole == (BODY if how == "fetch" else Process(tmp_path / "other").pour(file))
    assert violations(tmp_path, clean=True) == []


@HOW
def test_another_version_comes_whole(server: FaultServer, tmp_path: Path, how: str) -> None:
    file, _ = begun(server, tmp_path, how)
    server.serve("/m", Reply(BODY, etag='"v2"'))
    assert getattr(Process(tmp_path), how)(file)
    assert asked(server)[-1][1] == TAG and len(asked(server)) == 3
    assert violations(tmp_path, clean=True) == []


@HOW
@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_that_went_bad_is_brought_again(
    server: FaultServer, tmp_path: Path, how: str, *, ranges: bool
) -> None:
    file, _ = begun(server, tmp_path, how)
    with Process(tmp_path).left()[0].open("r+b") as part:
        part.seek(2_000_000)
        part.write(os.urandom(1000))
    server.serve("/m", Reply(BODY, etag=TAG, ranges=ranges))
    whole = getattr(Process(tmp_path), how)(file)
    assert whole == (BODY if how == "fetch" else Process(tmp_path / "other").pour(file))
    assert violations(tmp_path, clean=True) == []


@HOW
def test_a_part_of_another_file_is_no_part(server: FaultServer, tmp_path: Path, how: str) -> None:
    other = random.Random(8).randbytes(len(BODY))
    file = locked(server.serve("/m", Reply(other, cut=CUT), Reply(b"", 404)))
    with pytest.raises(FetchError):
        getattr(Process(tmp_path), how)(file)
    server.serve("/m", Reply(BODY))
    if how == "fetch":
        assert Process(tmp_path).fetch(file) == BODY
    else:
        with pytest.raises(WrongBytesError) as caught:
            Process(tmp_path).pour(file)
        assert caught.value.others, "so that the layer is begun again"


def test_a_small_file_leaves_nothing(server: FaultServer, tmp_path: Path) -> None:
    small = BODY[:4_000_000]
    file = File(
        "m",
        hashlib.sha256(small).hexdigest(),
        len(small),
        Url(server.serve("/m", Reply(small, cut=2_000_000), Reply(b"", 404))),
    )
    with pytest.raises(FetchError):
        Process(tmp_path).fetch(file)
    assert violations(tmp_path, clean=True) == []


def test_who_comes_meanwhile_writes_a_file_of_their_own_and_gc_takes_what_nobody_is_at(tmp_path: Path) -> None:
    store, other = Store.open(tmp_path), Store.open(tmp_path)
    with store.writing(), other.writing():
        with store.ingest(len(BODY), "file-x") as first, other.ingest(len(BODY), "file-x") as second:
            first.write(BODY[:CUT])
            second.write(BODY)
            assert second.adopt() == len(BODY) and other.gc().pieces == ()
            assert second.commit()[0] == Digest.sha256(BODY)
        with other.ingest(len(BODY), "file-x") as third:
            assert 0 < third.adopt() <= CUT
            third.write(BODY[third.size :])
            assert third.commit()[0] == Digest.sha256(BODY)
    with store.writing(), store.ingest(len(BODY), "file-x") as again:
        again.write(BODY[:CUT])
    assert [path.name for path in Process(tmp_path).left()] == ["file-x"]
    store.gc()
    assert Process(tmp_path).left() == []


def test_what_differs_from_an_earlier_try_goes_over_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for whole in (BODY, BODY[:3_000_000] + BODY[:1_000_000], BODY[:100]):
        with store.writing():
            with store.ingest(len(BODY), "file-x") as ingest:
                ingest.write(BODY[:CUT])
            with store.ingest(len(BODY), "file-x") as ingest:
                for start in range(0, len(whole), 700_001):
                    ingest.write(whole[start : start + 700_001])
                digest, size = ingest.commit()
        assert (digest, size) == (Digest.sha256(whole), len(whole))
        assert store.path(digest).read_bytes() == whole
