"""``pylock.trainload.toml``: ``loads`` and ``dumps`` of a :class:`Lock`."""

from __future__ import annotations

from trainload.lock.read import loads
from trainload.lock.write import dumps

FILE_NAME = "pylock.trainload.toml"
"""PEP 751 § File Name: ``pylock.<name>.toml``."""

__all__ = ["FILE_NAME", "dumps", "loads"]
