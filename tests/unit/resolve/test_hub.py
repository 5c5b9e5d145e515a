"""Weights of a hub become a lock: revisions, listings, small files, tokens, refusals."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from trainload.errors import LockError, TrainloadError
from trainload.lock.model import HubPath, Lock, Url, Weights
from trainload.lock.toml import dumps, loads
from trainload.project.weights import HubSource, LocalSource, UrlSource, Wanted
from trainload.resolve.cache import FolderCache
from trainload.resolve.hub import Hub, find_endpoints
from trainload.resolve.local import LocalFiles
from trainload.resolve.weights import Shelf, lock_weights
from trainload.store.store import Store
from trainload.system.http import Http, Retry
from trainload.system.tree import DiskTree
from trainload.testing import values
from trainload.testing.hub import MemoryHub, blob
from trainload.testing.server import FaultServer, Reply

BIG = random.Random(7).randbytes(40_000)
FILES = {"config.json": b'{"a": 1}', "model.safetensors": BIG, "sub/vocab.txt": b"a\nb\n", "x.bin": BIG[:5000]}
MODEL = Wanted(HubSource("models", "org/tiny"))
Ask = Callable[..., tuple[Weights, ...]]


@pytest.fixture
def hub() -> Iterator[MemoryHub]:
    with MemoryHub(token="hf_hush") as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store")
    with opened.writing():
        yield opened


@pytest.fixture
def lock(hub: MemoryHub, store: Store, tmp_path: Path) -> Ask:
    (tmp_path / "project").mkdir()

    def ask(
        *wanted: Wanted,
        previous: Lock | None = None,
        anew: bool = False,
        mirrors: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> tuple[Weights, ...]:
        http = Http(stall_timeout=30, connect_timeout=30, sleep=lambda _: None, retry=Retry(tries=2), proxies={})
        given = {"HF_ENDPOINT": hub.url} if environ is None else environ
        found = Hub(http, lambda: find_endpoints(mirrors, given, client=tmp_path / "none"))
        local = LocalFiles(DiskTree(tmp_path / "project"), tmp_path, FolderCache(tmp_path / "memory"))
        shelf = Shelf(found, http, store.files, local)
        return lock_weights(wanted or (MODEL,), previous, lambda _: anew, shelf)

    return ask


def with_weights(weights: tuple[Weights, ...]) -> Lock:
    from dataclasses import replace

    return replace(values.lock(), weights=weights)


def test_a_branch_becomes_a_commit_and_every_file_a_sha256(hub: MemoryHub, lock: Ask) -> None:
    commit = hub.push("org/tiny", FILES)
    (made,) = lock()
    assert (made.source, made.commit) == ("hf://org/tiny@main", commit)
    assert [one.path for one in made.files] == sorted(FILES)
    for one in made.files:
        data = FILES[one.path]
        assert one.file.sha256 == hashlib.sha256(data).hexdigest() and one.file.size == len(data)
        assert one.file.location == HubPath("models", "org/tiny", commit, one.path)
        assert one.blob == ("" if len(data) >= 1024 else blob(data))
    assert hub.cdn.requests == [], "large files are not fetched to be locked"


def test_the_lock_file_holds_it_and_names_no_host(hub: MemoryHub, lock: Ask) -> None:
    hub.push("org/tiny", FILES)
    made = with_weights(lock(environ={"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_hush"}))
    data = dumps(made)
    assert loads(data, "lock") == made and dumps(loads(data, "lock")) == data
    part = data[data.index(b"[[tool.trainload.weights]]") :]
    assert b"127.0.0.1" not in part and b"hf_hush" not in data


def test_a_branch_that_moved_is_followed_only_when_asked(hub: MemoryHub, lock: Ask) -> None:
    old = hub.push("org/tiny", FILES)
    first = lock()
    new = hub.push("org/tiny", {**FILES, "config.json": b"{}"})
    asked = len(hub.server.requests)
    assert lock(previous=with_weights(first)) == first and first[0].commit == old
    assert len(hub.server.requests) == asked, "what is locked needs no network"
    (moved,) = lock(previous=with_weights(first), anew=True)
    assert moved.commit == new
    fetched = [request.path for request in hub.server.requests[asked:] if "/resolve/" in request.path]
    assert fetched == [f"/org/tiny/resolve/{new}/config.json"], "only what changed is fetched"


def test_tags_commits_and_datasets(hub: MemoryHub, lock: Ask) -> None:
    commit = hub.push("org/tiny", FILES, revision="v1.0")
    data = hub.push("org/digits", {"a.csv": b"1,2"}, kind="datasets")
    sources = [HubSource("models", "org/tiny", "v1.0"), HubSource("models", "org/tiny", commit)]
    made = lock(*map(Wanted, sources), Wanted(HubSource("datasets", "org/digits")))
    assert [one.commit for one in made] == [commit, commit, data]
    assert made[2].files[0].file.location == HubPath("datasets", "org/digits", data, "a.csv")


def test_include_and_exclude_choose_and_nothing_left_is_an_error(hub: MemoryHub, lock: Ask) -> None:
    hub.push("org/tiny", FILES)
    (made,) = lock(Wanted(HubSource("models", "org/tiny"), ("*.json", "*.txt"), ("sub/*",)))
    assert [one.path for one in made.files] == ["config.json"]
    with pytest.raises(LockError, match="has no file that is asked for") as caught:
        lock(Wanted(HubSource("models", "org/tiny"), ("*.gguf",)))
    assert "model.safetensors" in str(caught.value.got)


def test_the_token_goes_to_the_hub_itself_only(hub: MemoryHub, lock: Ask) -> None:
    hub.push("org/tiny", FILES, gated=True)
    with FaultServer() as mirror:
        lock(mirrors=(mirror.url,), environ={"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_hush"})
        assert mirror.requests and not [one for one in mirror.requests if "authorization" in one.headers]
    assert all(one.headers.get("authorization") == "Bearer hf_hush" for one in hub.server.requests)


def test_the_token_of_the_hubs_own_client_is_found(hub: MemoryHub, lock: Ask, tmp_path: Path) -> None:
    hub.push("org/tiny", FILES, gated=True)
    (tmp_path / "cache" / "huggingface").mkdir(parents=True)
    (tmp_path / "cache" / "huggingface" / "token").write_text("hf_hush\n")
    environ = {"HF_ENDPOINT": hub.url, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert lock(environ=environ)
    with pytest.raises(TrainloadError, match="not shown without a token"):
        lock(environ={**environ, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"})


@pytest.mark.parametrize(
    ("token", "granted", "told"),
    [
        ("", True, "is not shown without a token"),
        ("hf_other", True, "granted access"),
        ("hf_hush", False, "is given only to those who were granted access"),
    ],
)
def test_a_gated_model_says_what_to_do(hub: MemoryHub, lock: Ask, token: str, told: str, *, granted: bool) -> None:
    hub.granted = granted
    hub.push("org/tiny", FILES, gated=True)
    with pytest.raises(TrainloadError, match=told) as caught:
        lock(environ={"HF_ENDPOINT": hub.url, **({"HF_TOKEN": token} if token else {})})
    assert "HF_TOKEN" in str(caught.value) and "hf_hush" not in str(caught.value)


def test_what_is_not_there_is_said_plainly(hub: MemoryHub, lock: Ask) -> None:
    hub.push("org/tiny", FILES)
    with pytest.raises(TrainloadError, match="no such branch, tag or commit"):
        lock(Wanted(HubSource("models", "org/tiny", "v9")))
    with pytest.raises(TrainloadError, match="no such repository"):
        lock(Wanted(HubSource("models", "org/none")))
    with pytest.raises(LockError, match="which hub hf:// means is not known") as caught:
        lock(environ={})
    assert any("HF_ENDPOINT" in str(hint) for hint in caught.value.hints)


def test_a_mirror_is_asked_first_and_the_hub_when_it_fails(hub: MemoryHub, lock: Ask) -> None:
    hub.push("org/tiny", FILES)
    with MemoryHub() as mirror:
        mirror.push("org/tiny", FILES)
        mirrored = lock(mirrors=(mirror.url + "/",))
        assert hub.server.requests == []
        usual = lock()
        assert mirrored == usual, "the lock is the same, whoever served it"
    assert lock(mirrors=("http://127.0.0.1:9",)) == usual


def test_a_small_file_of_other_bytes_is_not_locked(hub: MemoryHub, lock: Ask) -> None:
    commit = hub.push("org/tiny", FILES)
    hub.server.serve(f"/org/tiny/resolve/{commit}/config.json", b'{"a": 2}')
    with pytest.raises(TrainloadError, match="config.json is not the file that the hub names"):
        lock()


def test_answers_that_no_hub_gives_are_refused(hub: MemoryHub, lock: Ask) -> None:
    commit = hub.push("org/tiny", FILES)
    hub.server.serve(f"/api/models/org/tiny/tree/{commit}", b'[{"type": "file", "path": "../x", "oid": "1"}]')
    with pytest.raises(LockError, match="cannot be understood"):
        lock()
    hub.server.serve("/api/models/org/tiny/revision/main", b'{"sha": "no"}')
    with pytest.raises(LockError, match="cannot be understood"):
        lock()


def test_the_hubs_client_on_this_machine_knows_the_hub(tmp_path: Path) -> None:
    client = tmp_path / "constants.py"
    client.write_text('_HF_DEFAULT_ENDPOINT = "https://hub.example"\n')
    assert find_endpoints((), {}, client=client).urls == ("https://hub.example",)
    set_ = {"HF_ENDPOINT": "https://mirror.example/"}
    assert find_endpoints(("https://near.example/",), set_, client=client).urls == (
        "https://near.example", "https://mirror.example",
    )  # fmt: skip


def test_an_address_is_locked_with_its_size_and_only_with_its_bytes(lock: Ask) -> None:
    sha256 = hashlib.sha256(BIG).hexdigest()
    with FaultServer() as server:
        told, silent = server.serve("/a.pt", BIG), server.serve("/b.pt", Reply(BIG, chunked=True))
        for url in (told, silent):
            (made,) = lock(Wanted(UrlSource(url, sha256)))
            assert made.files[0].file.size == len(BIG) and made.files[0].file.location == Url(url)
        with pytest.raises(TrainloadError, match="b.pt is not the file that is asked for"):
            lock(Wanted(UrlSource(silent, "0" * 64)))


def test_local_files_are_locked_by_their_bytes(lock: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "project" / "models" / "best"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(BIG)
    (folder / "notes.txt").write_text("hm")
    (made,) = lock(Wanted(LocalSource("models/best"), exclude=("*.txt",)))
    assert [one.path for one in made.files] == ["models/best/model.safetensors"]
    assert made.files[0].file.sha256 == hashlib.sha256(BIG).hexdigest()
    (folder / ".env").write_text("TOKEN=x")
    with pytest.raises(TrainloadError, match=r"best/\.env looks like a secret"):
        lock(Wanted(LocalSource("models/best")))
    assert len(lock(Wanted(LocalSource("models/best"), exclude=(".env",)))[0].files) == 2
    (folder / ".env").unlink()
    (folder / "link").symlink_to("notes.txt")
    with pytest.raises(TrainloadError, match="link is no file"):
        lock(Wanted(LocalSource("models/best")))
    with pytest.raises(TrainloadError, match="models/none is not there"):
        lock(Wanted(LocalSource("models/none")))
