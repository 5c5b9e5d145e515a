"""Which wheel came of which build: a record that is right or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.store.built import BuiltWheel
from trainload.store.collect import Keep
from trainload.store.store import Store

KEY, NAME = Digest.sha256(b"inputs"), "a-1.0-py3-none-any.whl"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


def put(store: Store, data: bytes = b"wheel") -> BuiltWheel:
    with store.files.ingest() as blob:
        blob.write(data)
        digest, size = blob.commit()
    return store.built.record(KEY, NAME, digest, size)


def test_what_was_built_is_found_again(store: Store) -> None:
    assert store.built.find(KEY) is None
    made = put(store)
    store.close()
    assert Store.open(store.home).built.find(KEY) == made == BuiltWheel(NAME, Digest.sha256(b"wheel"), 5)


def test_the_last_one_built_of_the_same_inputs_counts(store: Store) -> None:
    put(store)
    other = put(store, b"other bytes")
    assert store.built.find(KEY) == other


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"name": 1}', b"\xff"])
def test_a_torn_record_is_none(store: Store, damage: bytes) -> None:
    put(store)
    store.built.path(KEY).write_bytes(damage)
    assert store.built.find(KEY) is None


def test_fault_16_a_changed_record_is_none(store: Store) -> None:
    put(store)
    record = store.built.path(KEY)
    record.write_bytes(record.read_bytes().replace(b"a-1.0", b"b-1.0"))
    assert store.built.find(KEY) is None


def test_a_record_whose_wheel_is_gone_or_damaged_is_none(store: Store) -> None:
    made = put(store)
    file = store.files.find(made.digest.hex)
    assert file is not None
    file.chmod(0o644)
    file.write_bytes(b"wheeL")
    assert store.built.find(KEY) is None
    file.unlink(missing_ok=True)
    assert store.built.find(KEY) is None


def test_gc_keeps_wheels_and_their_records_with_the_files_and_takes_them_with_them(store: Store) -> None:
    made = put(store)
    store.close()
    store.gc()
    assert store.built.find(KEY) == made
    store.gc(Keep(files=False))
    assert store.built.find(KEY) is None and not store.built.path(KEY).exists()
