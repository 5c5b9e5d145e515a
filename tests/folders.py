"""Folders of tests that work with whole images: gone when the file that made them has passed.

pytest removes a test's own folder (``tmp_path``), and those of fixtures only at the end of the run: with whole
distributions and engines in them that would be tens of GB.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def folders_of_the_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Torn down after every other fixture of the file; what failed keeps its folders."""
    before = request.session.testsfailed
    yield
    if request.session.testsfailed == before:
        for folder in tmp_path_factory.getbasetemp().iterdir():
            if not folder.is_symlink():  # to the newest of a name
                shutil.rmtree(folder, ignore_errors=True)
