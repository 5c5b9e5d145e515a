"""Compiled Python files of packages stay valid: layers have no times, and bytecode names that of its source.

A ``.pyc`` holds the time and size of its source (importlib, PEP 552); with another time Python compiles anew at
every start. Where both agree in the package, the time becomes the layer's; nothing else of it changes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from trainload.layers.conda.package import Placed

_HEAD = struct.Struct("<4sIII")
_CACHED = re.compile(r"((?:.*/)?)__pycache__/([^/]+)\.cpython-\d+t?(?:\.opt-[12])?\.pyc")


def stamped(placed: Mapping[str, Placed], bytecode: Placed, data: bytes) -> bytes:
    """``data`` of ``bytecode`` as it is beside a source whose time is 0."""
    match = _CACHED.fullmatch(bytecode.entry.path)
    source = placed.get(f"{match[1]}{match[2]}.py") if match is not None else None
    if source is None or len(data) < _HEAD.size:
        return data
    magic, flags, time, size = _HEAD.unpack_from(data)
    member = source.member
    if flags != 0 or (time, size) != (member.mtime & 0xFFFFFFFF, member.size & 0xFFFFFFFF):
        return data
    return _HEAD.pack(magic, flags, 0, size) + data[_HEAD.size :]
