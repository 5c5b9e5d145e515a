"""Golden texts of the project stage; `UPDATE_GOLDEN=1 ./dev test tests/unit/project` writes them anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "project"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a text with ``tests/golden/project/NAME``."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        assert text + "\n" == path.read_text(encoding="utf-8")

    return compare
