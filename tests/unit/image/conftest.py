"""A store for tests of images that need real bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")
