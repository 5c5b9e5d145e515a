"""One way in for every blob: whole and durable under its digest, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import StoreError
from trainload.store.content import CHUNK
from trainload.store.ingest import SEALED
from trainload.store.store import Store
from trainload.store.trouble import DamagedError, MissingError
from trainload.testing.verifier import snapshot, violations

DATA = b"some bytes"
DIGEST = Digest.sha256(DATA)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


def test_bytes_come_back_under_their_digest_sealed_and_read_only(store: Store) -> None:
    with store.writing(), store.ingest(len(DATA)) as ingest:
        assert ingest.write(DATA[:4]) == 4
        ingest.write(DATA[4:])
        assert ingest.commit(DIGEST, len(DATA)) == (DIGEST, len(DATA))
    state = store.path(DIGEST).lstat()
    assert (stat.S_IMODE(state.st_mode), state.st_mtime_ns) == (0o444, SEALED)
    assert store.read(DIGEST) == DATA
    assert store.has(DIGEST, len(DATA))
    assert not store.has(DIGEST, 1)
    assert violations(store.home, clean=True) == []


@pytest.mark.parametrize("pieces", [[CHUNK], [CHUNK - 1, 1, 1], [1] * 10, [CHUNK * 3 + 5, 7], []])
def test_the_digest_does_not_depend_on_the_pieces(store: Store, pieces: list[int]) -> None:
    whole = os.urandom(sum(pieces))
    with store.ingest() as ingest:
        start = 0
        for piece in pieces:
            ingest.write(memoryview(whole)[start : start + piece])
            start += piece
        assert ingest.size == len(whole)
        assert ingest.commit() == (Digest.sha256(whole), len(whole))
    assert store.path(Digest.sha256(whole)).read_bytes() == whole


def test_a_restarted_transfer_counts_from_its_first_byte(store: Store) -> None:
    with store.ingest() as ingest:
        ingest.write(b"x" * (CHUNK + 1))
        ingest.restart()
        ingest.write(DATA)
        ingest.commit(DIGEST, len(DATA))
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize(("want", "size"), [(Digest.sha256(b"other"), None), (None, 3), (DIGEST, 11)])
def test_R01_other_bytes_than_promised_are_not_kept(store: Store, want: Digest | None, size: int | None) -> None:
    with store.writing():
        before = snapshot(store.home)
        with pytest.raises(DamagedError, match="not the ones that were promised"), store.ingest() as ingest:
            ingest.write(DATA)
            ingest.commit(want, size)
        assert list((store.home / "tmp").iterdir()) == []
    assert snapshot(store.home) == before
    assert not store.has(DIGEST)


def test_nothing_remains_of_what_was_not_committed(store: Store) -> None:
    with store.writing(), pytest.raises(KeyboardInterrupt), store.ingest() as ingest:
        ingest.write(DATA)
        raise KeyboardInterrupt
    assert violations(store.home, clean=True) == []


def test_the_same_bytes_twice_are_one_file_which_is_not_written_again(store: Store) -> None:
    store.put(DATA)
    inode = store.path(DIGEST).stat().st_ino
    store.put(DATA)
    assert store.path(DIGEST).stat().st_ino == inode


def replace_with(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_L01_a_blob_that_is_not_a_regular_file_is_refused_and_never_read(store: Store, kind: str) -> None:
    store.put(DATA)
    replace_with(store.path(DIGEST), kind)
    for read in (store.read, store.blob_file):
        with pytest.raises(DamagedError, match="not a regular file"):
            read(DIGEST)
    assert not store.has(DIGEST)
    assert not store.hold(DIGEST)
    assert any("is" in str(finding.text) for finding in store.verify().findings)


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256", "tmp", "recipes", "leases", "locks", "files/sha256"])
def test_L01_a_folder_of_the_store_that_is_a_link_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    store.put(DATA)
    store.close()
    elsewhere = tmp_path / "elsewhere"
    (store.home / name).rename(elsewhere)
    (store.home / name).symlink_to(elsewhere)
    with pytest.raises(StoreError, match="not a real folder"):
        Store.open(store.home)


def test_L03_a_blob_that_was_written_to_is_found_and_healed(store: Store) -> None:
    with store.writing():
        store.put(DATA)
        path = store.path(DIGEST)
        path.chmod(0o644)
        path.write_bytes(b"other byte")
        with pytest.raises(DamagedError, match="damaged"):
            store.read(DIGEST)
        assert not store.hold(DIGEST)
        assert not store.has(DIGEST)
        store.put(DATA)
        assert store.hold(DIGEST)
    assert violations(store.home) == []


def test_L03_committing_heals_a_blob_that_was_written_to(store: Store) -> None:
    store.put(DATA)
    store.path(DIGEST).chmod(0o644)
    store.path(DIGEST).write_bytes(b"other byte")
    store.put(DATA)
    assert store.read(DIGEST) == DATA


def test_a_copied_store_is_hashed_once_and_used(store: Store) -> None:
    store.put(DATA)
    os.utime(store.path(DIGEST))
    assert store.hold(DIGEST)
    assert store.path(DIGEST).stat().st_mtime_ns == SEALED


def test_L04_a_missing_blob_is_named(store: Store) -> None:
    with pytest.raises(MissingError, match=DIGEST.short):
        store.read(DIGEST)


def test_a_blob_larger_than_the_limit_is_not_read(store: Store) -> None:
    store.put(DATA)
    assert store.read(DIGEST, len(DATA)) == DATA
    with pytest.raises(StoreError, match="larger than it may be"):
        store.read(DIGEST, len(DATA) - 1)


def test_fetched_files_are_found_by_hash_and_size(store: Store) -> None:
    assert store.files.find(DIGEST.hex, len(DATA)) is None
    with store.files.ingest(len(DATA)) as ingest:
        ingest.write(DATA)
        ingest.commit(DIGEST, len(DATA))
    assert store.files.find(DIGEST.hex, len(DATA)) == store.home / "files" / "sha256" / DIGEST.hex
    assert store.files.find(DIGEST.hex, 1) is None
    with store.files.open(DIGEST.hex) or pytest.fail("not found") as file:
        assert file.read() == DATA


def test_W32_a_fetched_file_that_was_changed_is_not_used(store: Store) -> None:
    with store.files.ingest() as ingest:
        ingest.write(DATA)
        ingest.commit()
    path = store.home / "files" / "sha256" / DIGEST.hex
    path.chmod(0o644)
    path.write_bytes(b"other byte")
    assert store.files.find(DIGEST.hex, len(DATA)) is None
    assert not path.exists()
