"""Locked files by their exact bytes: W32, D13, F09, mirrors, offline, already there."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainload.errors import FetchError, ManyErrors
from trainload.events import Began, Ended, Event, How, Moved
from trainload.lock.model import ArchivePath, File, Found, Url
from trainload.resolve.fetch import Fetcher, mirrored
from trainload.resolve.places import Places, credentials
from trainload.store.files import FileCache
from trainload.store.store import Store
from trainload.system.http import Http, Retry, origin
from trainload.testing.server import FaultServer, Reply

BODY = os.urandom(300_000)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store")
    with opened.writing():
        yield opened


@dataclass
class Heard:
    events: list[Event] = field(default_factory=list)

    def report(self, event: Event, /) -> None:
        self.events.append(event)

    def ends(self) -> list[tuple[str, How]]:
        return [(event.label, event.how) for event in self.events if isinstance(event, Ended)]


def http() -> Http:
    return Http(stall_timeout=30, connect_timeout=30, sleep=lambda seconds: None, retry=Retry(tries=2), proxies={})


def fetcher(
    store: Store, places: Places | None = None, *, heard: Heard | None = None, offline: bool = False
) -> Fetcher:
    return Fetcher(store.files, http(), places or Places(), offline=offline, reporter=heard or Heard())


def locked(url: str, body: bytes = BODY, size: int | None = -1) -> File:
    sha256 = hashlib.sha256(body).hexdigest()
    return File("a-1.0-py3-none-any.whl", sha256, len(body) if size == -1 else size, Url(url))


def kept(store: Store) -> list[str]:
    """Every file of the store that holds fetched bytes, also half ones."""
    folders = [store.home / "files", store.home / "tmp"]
    return sorted(
        str(path) for folder in folders for path in folder.rglob("*") if path.is_file() and path.stat().st_size
    )


def test_a_locked_file_is_fetched_once(server: FaultServer, store: Store) -> None:
    heard = Heard()
    one = fetcher(store, heard=heard)
    file = locked(server.serve("/packages/a.whl", BODY))
    for _ in range(2):
        with one.open(file) as opened:
            assert opened.read() == BODY
            assert opened.seek(0) == 0
    assert len(server.requests) == 1
    assert heard.events[0] == Began(SHA, file.name, len(BODY))
    assert Moved(SHA, len(BODY)) in heard.events
    assert heard.ends() == [(file.name, How.FETCHED)]


def test_a_file_of_unknown_size_is_fetched(server: FaultServer, store: Store) -> None:
    with fetcher(store).open(locked(server.serve("/a.whl", BODY), size=None)) as opened:
        assert opened.read() == BODY


@pytest.mark.parametrize("size", [len(BODY), None])
def test_W32_other_bytes_than_locked_are_refused_and_not_kept(
    server: FaultServer, store: Store, size: int | None
) -> None:
    other = os.urandom(len(BODY))
    heard = Heard()
    url = server.serve("/a.whl", other)
    with pytest.raises(FetchError) as caught:
        fetcher(store, heard=heard).open(File("a-1.0-py3-none-any.whl", SHA, size, Url(url)))
    text = str(caught.value)
    assert "a-1.0-py3-none-any.whl is not the file that was locked" in text
    assert f"sha256:{hashlib.sha256(other).hexdigest()}" in text and f"sha256:{SHA}" in text and url in text
    assert heard.ends() == [("a-1.0-py3-none-any.whl", How.FAILED)]
    assert kept(store) == []


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"x"])
def test_W32_a_file_of_another_size_is_refused_and_not_kept(server: FaultServer, store: Store, body: bytes) -> None:
    with pytest.raises(FetchError, match=r"another size|more than it may|could not be fetched"):
        fetcher(store).open(locked(server.serve("/a.whl", body)))
    assert kept(store) == []


def test_D13_a_package_with_other_bytes_is_refused_and_not_kept(server: FaultServer, store: Store) -> None:
    url = server.serve("/pool/t/tini.deb", os.urandom(len(BODY)))
    file = File("tini.deb", SHA, len(BODY), ArchivePath("debian", "pool/t/tini.deb"))
    with pytest.raises(FetchError, match=r"tini\.deb is not the file that was locked"):
        fetcher(store, Places(archive_urls=lambda location: [url])).open(file)
    assert kept(store) == []


def test_an_archive_file_comes_from_the_first_address_that_has_it(server: FaultServer, store: Store) -> None:
    server.serve("/two/pool/tini.deb", BODY)
    file = File("tini.deb", SHA, len(BODY), ArchivePath("debian", "pool/tini.deb"))

    def urls(location: ArchivePath) -> list[str]:
        return [f"{server.url}/{mirror}/{location.path}" for mirror in ("one", "two")]

    with fetcher(store, Places(archive_urls=urls)).open(file) as opened:
        assert opened.read() == BODY


def test_a_file_without_any_address_is_told(store: Store) -> None:
    with pytest.raises(FetchError, match=r"no address of tini\.deb is known"):
        fetcher(store).open(File("tini.deb", SHA, 1, ArchivePath("debian", "pool/tini.deb")))


def test_a_mirror_is_asked_first_and_the_lock_keeps_the_canonical_address(
    server: FaultServer, store: Store
) -> None:
    server.serve("/pypi/packages/ab/a.whl", BODY)
    file = locked(f"{server.url}/packages/ab/a.whl")
    with fetcher(store, Places(mirrors=(f"{server.url}/pypi/simple/",))).open(file) as opened:
        assert opened.read() == BODY
    assert [request.path for request in server.requests] == ["/pypi/packages/ab/a.whl"]


@pytest.mark.parametrize(
    "reply", [Reply(status=404), Reply(status=503), Reply(os.urandom(len(BODY))), Reply(BODY, cut=5)]
)
def test_a_mirror_that_fails_or_lies_is_passed_over(server: FaultServer, store: Store, reply: Reply) -> None:
    server.serve("/pypi/packages/ab/a.whl", reply)
    file = locked(server.serve("/packages/ab/a.whl", BODY))
    with fetcher(store, Places(mirrors=(f"{server.url}/pypi/simple",))).open(file) as opened:
        assert opened.read() == BODY


def test_a_mirror_that_does_not_answer_is_asked_last_from_then_on(store: Store) -> None:
    with FaultServer() as bad, FaultServer() as good:
        bodies = [os.urandom(1000) for _ in range(3)]
        files = []
        for index, body in enumerate(bodies):
            bad.serve(f"/packages/{index}/a.whl", Reply(status=503))
            files.append(locked(good.serve(f"/packages/{index}/a.whl", body), body))
        one = fetcher(store, Places(mirrors=(f"{bad.url}/simple",)))
        for file in files:
            one.open(file).close()
        assert len({request.path for request in bad.requests}) == 1


def test_where_mirrors_keep_a_file() -> None:
    url = "https://files.example/packages/ab/cd/ef/a-1.0-py3-none-any.whl"
    assert mirrored(url, "https://m.example/simple") == "https://m.example/packages/ab/cd/ef/a-1.0-py3-none-any.whl"
    assert mirrored(url, "https://m.example/pypi/web/simple/") == (
        "https://m.example/pypi/web/packages/ab/cd/ef/a-1.0-py3-none-any.whl"
    )
    assert mirrored("https://files.example/whl/cpu/torch.whl", "https://m.example/simple") is None


def test_F09_a_file_that_was_withdrawn_is_told_with_what_to_do(server: FaultServer, store: Store) -> None:
    with pytest.raises(FetchError) as caught:
        fetcher(store).open(locked(f"{server.url}/packages/gone.whl"))
    assert "no longer where it was locked" in str(caught.value) and "HTTP 404" in str(caught.value)
    assert "trainload lock --upgrade" in str(caught.value)


def test_F09_a_withdrawn_file_we_have_is_still_used_by_its_hash(server: FaultServer, store: Store) -> None:
    url = server.serve("/packages/a.whl", BODY)
    fetcher(store).open(locked(url)).close()
    server.serve("/packages/a.whl", Reply(status=410))
    with fetcher(store).open(locked(url)) as opened:
        assert opened.read() == BODY


def test_offline_works_with_a_warm_cache_and_says_what_is_missing(server: FaultServer, store: Store) -> None:
    file = locked(server.serve("/a.whl", BODY))
    with pytest.raises(FetchError, match="nothing is fetched offline"):
        fetcher(store, offline=True).open(file)
    assert server.requests == []
    fetcher(store).open(file).close()
    with fetcher(store, offline=True).open(file) as opened:
        assert opened.read() == BODY


def test_prefetch_tells_what_is_already_there(server: FaultServer, store: Store) -> None:
    here = locked(server.serve("/a.whl", BODY))
    other = os.urandom(5000)
    new = File(
        "b-1.0-py3-none-any.whl", hashlib.sha256(other).hexdigest(), 5000, Url(server.serve("/b.whl", other))
    )
    fetcher(store).open(here).close()
    heard = Heard()
    one = fetcher(store, heard=heard)
    assert one.missing([here, new]) == (new,)
    one.prefetch([new, here, new])
    assert sorted(heard.ends()) == [(here.name, How.PRESENT), (new.name, How.FETCHED)]
    assert one.missing([here, new]) == ()


def test_prefetch_tells_every_file_that_fails_and_keeps_the_others(server: FaultServer, store: Store) -> None:
    good = locked(server.serve("/a.whl", BODY))
    bad = [File(f"{name}.whl", name * 64, 10, Url(f"{server.url}/{name}.whl")) for name in "bc"]
    with pytest.raises(ManyErrors) as caught:
        fetcher(store).prefetch([bad[0], good, bad[1]])
    assert "b.whl" in str(caught.value) and "c.whl" in str(caught.value)
    assert fetcher(store).missing([good]) == ()


def test_who_opens_a_file_that_cannot_be_had_does_not_try_again(server: FaultServer, store: Store) -> None:
    bad = File("b.whl", "b" * 64, 10, Url(f"{server.url}/b.whl"))
    one = fetcher(store)
    with pytest.raises(FetchError, match="no longer where it was locked"):
        one.prefetch([bad])
    asked = len(server.requests)
    with pytest.raises(FetchError, match="no longer where it was locked"):
        one.open(bad)
    assert len(server.requests) == asked


def test_a_file_that_a_maker_fetched_is_not_told_once_more(server: FaultServer, store: Store) -> None:
    file = locked(server.serve("/a.whl", BODY))
    heard = Heard()
    one = fetcher(store, heard=heard)
    one.open(file).close()
    one.prefetch([file])
    assert heard.ends() == [(file.name, How.FETCHED)]


def test_fault_12_an_interrupt_ends_the_other_downloads_and_keeps_nothing(
    server: FaultServer, store: Store
) -> None:
    slow = os.urandom(8 << 20)
    files = [locked(server.serve(f"/{n}.whl", slow + bytes([n])), slow + bytes([n])) for n in range(4)]

    class Interrupting:
        def report(self, event: Event, /) -> None:
            if isinstance(event, Moved):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Fetcher(store.files, http(), Places(), reporter=Interrupting()).prefetch(files)
    assert kept(store) == []


def test_a_cut_download_is_resumed(server: FaultServer, store: Store) -> None:
    file = locked(server.serve("/a.whl", Reply(BODY, etag='"1"', cut=200_000), Reply(BODY, etag='"1"')))
    with fetcher(store).open(file) as opened:
        assert opened.read() == BODY
    assert server.requests[1].headers["range"].startswith("bytes=")


def found(folder: Path, body: bytes = BODY) -> File:
    folder.mkdir(exist_ok=True)
    (folder / "a-1.0-py3-none-any.whl").write_bytes(body)
    return File("a-1.0-py3-none-any.whl", SHA, len(BODY), Found("a-1.0-py3-none-any.whl"))


def test_a_file_of_a_find_links_folder_is_used_where_it_lies(store: Store, tmp_path: Path) -> None:
    file = found(tmp_path / "wheels")
    heard = Heard()
    one = fetcher(store, Places(folders=(tmp_path / "nowhere", tmp_path / "wheels")), heard=heard)
    one.prefetch([file])
    with one.open(file) as opened:
        assert opened.read() == BODY
    assert heard.ends() == [(file.name, How.PRESENT)]
    assert kept(store) == []


def test_W32_a_find_links_file_that_changed_is_refused(store: Store, tmp_path: Path) -> None:
    file = found(tmp_path / "wheels", b"other")
    with pytest.raises(FetchError, match="is not the file that was locked") as caught:
        fetcher(store, Places(folders=(tmp_path / "wheels",))).open(file)
    assert SHA in str(caught.value) and hashlib.sha256(b"other").hexdigest() in str(caught.value)


def test_a_find_links_file_that_changes_between_two_uses_is_noticed(store: Store, tmp_path: Path) -> None:
    file = found(tmp_path / "wheels")
    one = fetcher(store, Places(folders=(tmp_path / "wheels",)))
    one.open(file).close()
    (tmp_path / "wheels" / file.name).write_bytes(BODY[::-1])
    with pytest.raises(FetchError, match="is not the file that was locked"):
        one.open(file)


def test_another_folder_may_have_the_right_file(store: Store, tmp_path: Path) -> None:
    found(tmp_path / "old", b"other")
    file = found(tmp_path / "new")
    fetcher(store, Places(folders=(tmp_path / "old", tmp_path / "new"))).open(file).close()


def test_a_find_links_file_that_is_gone_is_told_with_the_folders(store: Store, tmp_path: Path) -> None:
    file = File("a.whl", SHA, None, Found("a.whl"))
    with pytest.raises(FetchError, match="lies in none of the find-links folders") as caught:
        fetcher(store, Places(folders=(tmp_path / "wheels",))).open(file)
    assert "wheels" in str(caught.value)


def test_D8_credentials_go_to_the_index_they_belong_to_only(server: FaultServer, store: Store) -> None:
    with FaultServer() as other:
        known = credentials(
            [server.url.replace("//", "//user:pa%40ss@") + "/simple", "https://plain.example/simple"]
        )
        assert list(known) == [origin(server.url)]
        one = fetcher(store, Places(credentials=known))
        one.open(locked(server.serve("/a.whl", BODY))).close()
        body = b"other"
        one.open(locked(other.serve("/b.whl", body), body)).close()
        assert server.requests[0].headers["authorization"] == "Basic dXNlcjpwYUBzcw=="
        assert "authorization" not in other.requests[0].headers


def test_the_cache_is_the_stores(store: Store) -> None:
    assert isinstance(store.files, FileCache)


def test_what_nobody_answers_for_is_told_once_and_the_rest_is_not_tried(store: Store) -> None:
    with FaultServer() as gone:
        url = gone.url
    pauses: list[float] = []
    one = Fetcher(store.files, replace(http(), sleep=pauses.append), Places(mirrors=(f"{url}/simple",)))
    files = [locked(f"{url}/packages/{number}.whl", os.urandom(9)) for number in range(40)]
    with pytest.raises(FetchError, match="could not be fetched") as caught:
        one.prefetch(files)
    assert not isinstance(caught.value, ManyErrors)
    assert len(pauses) <= 2 * 4  # two addresses of the four that were under way at once
    with pytest.raises(FetchError), one.open(files[-1]):
        pass
    assert len(pauses) <= 2 * 4


def test_a_server_that_is_gone_does_not_keep_others_from_being_asked(server: FaultServer, store: Store) -> None:
    with FaultServer() as gone:
        bad = locked(f"{gone.url}/packages/b.whl", b"other")
    good = locked(server.serve("/a.whl", BODY))
    with pytest.raises(FetchError):
        fetcher(store).prefetch([bad, good])
    assert fetcher(store).missing([good, bad]) == (bad,)


def test_once_there_is_a_network_again_it_is_asked_again(store: Store, tmp_path: Path) -> None:
    one = fetcher(store)
    (tmp_path / "b.whl").write_bytes(BODY)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as taken:
        port = taken.server_address[1]
    with pytest.raises(FetchError):
        one.prefetch([locked(f"http://127.0.0.1:{port}/a.whl", b"first")])
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as back:
        threading.Thread(target=back.serve_forever, daemon=True).start()
        one.prefetch([locked(f"http://127.0.0.1:{port}/b.whl")])
        back.shutdown()


@pytest.mark.parametrize(("port", "told"), [("9", "the proxy cannot be reached"), (None, "the proxy refuses")])
def test_a_proxy_that_is_not_there_is_told_apart_from_one_that_refuses(port: str | None, told: str) -> None:
    with FaultServer() as proxy:
        address = f"http://127.0.0.1:{port}" if port else proxy.url
        with pytest.raises(FetchError) as caught:
            replace(http(), proxies={"https": address}).get("https://index.example/", limit=9)
    assert told in str(caught.value.got)
