"""Imports the modules of a zip archive that is only in memory: nothing is written before a folder is known.

Its text is sent to the far interpreter and executed there, so it stands alone.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import io
import sys
import zipfile
from collections.abc import Sequence
from types import ModuleType


class Bundle(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """The archive as a place to import from, before all others."""

    def __init__(self, data: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            self._files = {name: archive.read(name).decode() for name in archive.namelist()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if self._name(fullname) is None:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=self.is_package(fullname))

    def is_package(self, fullname: str) -> bool:
        return (self._name(fullname) or "").endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:
        name = self._name(fullname)
        if name is None:
            raise ImportError(fullname)
        return self._files[name]

    def _name(self, fullname: str) -> str | None:
        path = fullname.replace(".", "/")
        return next((name for name in (path + "/__init__.py", path + ".py") if name in self._files), None)


def load(data: bytes) -> None:
    """Make the modules of the archive ``data`` importable."""
    sys.meta_path.insert(0, Bundle(data))
