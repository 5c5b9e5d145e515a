"""A file that is poured into its place: gone on from at any byte and any address, verified, no copy kept."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from trainload.errors import FetchError
from trainload.events import SILENT
from trainload.lock.model import File, HubPath
from trainload.resolve.failures import WrongBytesError
from trainload.resolve.fetch import Fetcher
from trainload.resolve.places import Places
from trainload.store.store import Store
from trainload.system.http import Http, Retry
from trainload.testing.server import FaultServer, Reply

BODY = random.Random(5).randbytes(300_000)
FILE = File("m.safetensors", hashlib.sha256(BODY).hexdigest(), len(BODY), HubPath("models", "a/b", "0" * 40, "m"))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store")
    with opened.writing():
        yield opened


def fetcher(store: Store, urls: Sequence[str], *, tries: int = 3, offline: bool = False) -> Fetcher:
    http = Http(stall_timeout=30, connect_timeout=30, sleep=lambda _: None, retry=Retry(tries=tries), proxies={})
    places = Places(hub_urls=lambda _: urls, headers=lambda url: {"Authorization": "Bearer hush"})
    return Fetcher(store.files, http, places, reporter=SILENT, offline=offline)


def poured(made: Fetcher) -> bytes:
    out = bytearray()
    made.pour(FILE, out.extend)
    return bytes(out)


@pytest.mark.parametrize("cut", [0, 1, 65_536, 299_999])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_at_any_byte_is_gone_on_from(server: FaultServer, store: Store, cut: int, *, ranges: bool) -> None:
    url = server.serve("/m", Reply(BODY, cut=cut, etag='"x"'), Reply(BODY, ranges=ranges, etag='"x"'))
    assert poured(fetcher(store, [url])) == BODY
    assert not list((store.home / "files" / "sha256").glob("*")), "no copy is kept"
    if cut and ranges:
        assert server.asked("/m")[1].headers["range"] == f"bytes={cut}-"


def test_another_address_goes_on_where_the_first_one_stopped(server: FaultServer, store: Store) -> None:
    first = server.serve("/first", Reply(BODY, cut=100_000), Reply(b"", 404))
    second = server.serve("/second", BODY)
    assert poured(fetcher(store, [first, second])) == BODY
    assert server.asked("/second")[0].headers["range"] == "bytes=100000-"


def test_wrong_bytes_are_told_and_the_next_call_asks_elsewhere(server: FaultServer, store: Store) -> None:
    wrong = server.serve("/wrong", BODY[:-1] + bytes([BODY[-1] ^ 1]))
    right = server.serve("/right", BODY)
    made = fetcher(store, [wrong, right])
    with pytest.raises(WrongBytesError) as caught:
        poured(made)
    assert caught.value.others and "/wrong" in str(caught.value.got)
    assert poured(made) == BODY
    with pytest.raises(WrongBytesError) as last:
        poured(fetcher(store, [wrong]))
    assert not last.value.others


def test_two_halves_that_are_not_of_one_file_are_found_out(server: FaultServer, store: Store) -> None:
    other = random.Random(6).randbytes(len(BODY))
    first = server.serve("/first", Reply(other, cut=100_000), Reply(b"", 404))
    second = server.serve("/second", BODY)
    with pytest.raises(WrongBytesError):
        poured(fetcher(store, [first, second]))


def test_a_file_that_is_here_asks_nobody(server: FaultServer, store: Store) -> None:
    with store.files.ingest(len(BODY)) as ingest:
        ingest.write(BODY)
        ingest.commit()
    assert poured(fetcher(store, [server.url + "/none"], offline=True)) == BODY
    assert server.requests == []


def test_offline_and_gone_are_said(server: FaultServer, store: Store) -> None:
    with pytest.raises(FetchError, match="nothing is fetched offline"):
        poured(fetcher(store, [server.url + "/none"], offline=True))
    with pytest.raises(FetchError, match="no longer where it was locked"):
        poured(fetcher(store, [server.url + "/none"]))


def test_a_redirect_to_another_origin_takes_no_token_along(server: FaultServer, store: Store) -> None:
    with FaultServer() as cdn:
        place = cdn.serve("/blob", BODY)
        url = server.serve("/m", Reply(b"", 302, {"Location": place}))
        assert poured(fetcher(store, [url])) == BODY
        assert server.asked("/m")[0].headers["authorization"] == "Bearer hush"
        assert "authorization" not in cdn.asked("/blob")[0].headers
