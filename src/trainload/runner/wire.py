r"""What is said between the two sides of an ssh connection.

To the far side: frames of a kind, a length and that many bytes. ssh brings them whole or not at all.

Back: lines that begin with a mark which the near side made up. A login shell may print what it likes before,
between and after them (banners, ``.bashrc``, a job of the user's): a line without the mark, or with a wrong
checksum, is not ours (THREATS S07).
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import IO, Any

VERSION = 1
"""Of these words; the runner travels along, so both sides always have the same one, and say so."""
JSON = 0
DATA = 1
LARGEST = 1 << 20
"""Bytes of one frame; a list of more blobs than that holds is asked for in parts."""
_HEAD = struct.Struct(">BI")


class Gone(Exception):
    """The near side is not there any more, or speaks another language."""


def frame(kind: int, data: bytes) -> bytes:
    """A frame for the far side."""
    return _HEAD.pack(kind, len(data)) + data


def request(**what: object) -> bytes:
    """A frame that asks for something."""
    return frame(JSON, json.dumps(what).encode())


def read_frame(source: IO[bytes]) -> tuple[int, bytes]:
    """The next frame's kind and bytes. Raises :class:`Gone`."""
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise Gone("the end")
    kind, length = _HEAD.unpack(head)
    if kind not in (JSON, DATA) or length > LARGEST:
        raise Gone("not a frame")
    data = source.read(length)
    if len(data) < length:
        raise Gone("in the middle of a frame")
    return kind, data


def line(mark: str, value: object) -> bytes:
    """``value`` for the near side; it stands on a line of its own, whatever was printed before."""
    text = json.dumps(value)
    return f"\n{mark} {zlib.crc32(text.encode()):08x} {text}\n".encode()


def read_line(mark: str, raw: bytes) -> Any:  # noqa: ANN401 - a document
    """What a line says; None for one that is not ours."""
    words = raw.decode("utf-8", "replace").rstrip("\r\n").split(" ", 2)
    if len(words) != 3 or words[0] != mark or words[1] != f"{zlib.crc32(words[2].encode()):08x}":
        return None
    try:
        return json.loads(words[2])
    except ValueError:
        return None
