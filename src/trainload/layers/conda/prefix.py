"""The prefix a package was built with becomes the one it lies in (THREATS C06).

As conda and rattler do it: every occurrence in a text file; in a binary file inside its NUL-terminated string,
which keeps its length, so that nothing else in the file moves. Strings may be wide (UTF-16, UTF-32). A first line
that Linux would cut off names its program in another way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial

from trainload.errors import LayerError, Place, Text

_LONGEST = 1 << 20
"""Bytes of a string in a binary file; a compiler's longest are some hundred kilobytes."""
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_SHEBANG = 127
"""Bytes of a first line that Linux reads (execve(2), before 5.1)."""
_FIRST = re.compile(r"#! *(?P<path>/(?:\\ |[^ \n\r\t])*)(?P<rest>.*)")
_PYTHON = re.compile(r"python(?:\d+(?:\.\d+)?)?")


def in_text(data: bytes, placeholder: str, prefix: str) -> bytes:
    """``data`` with every ``placeholder`` replaced."""
    first = b""
    if data.startswith(b"#!"):
        end = data.find(b"\n")
        line, data = (data, b"") if end < 0 else (data[:end], data[end:])
        first = _short(line.decode("utf-8", "replace").replace(placeholder, prefix)).encode()
    for encoding in _ENCODINGS:
        data = data.replace(placeholder.encode(encoding), prefix.encode(encoding))
    return first + data


def _short(line: str) -> str:
    """A first line that can be executed (rattler: convert_shebang_to_env; conda: replace_long_shebang)."""
    match = _FIRST.fullmatch(line)
    if match is None or len(line.encode()) <= _SHEBANG:
        return line
    name = match["path"].rpartition("/")[2]
    if _PYTHON.fullmatch(name):
        return f"#!/bin/sh\n'''exec' \"{match['path']}\"{match['rest']} \"$0\" \"$@\" #'''"
    return f"#!/usr/bin/env {name}{match['rest']}"


def in_binary(chunks: Iterable[bytes], placeholder: str, prefix: str, place: Place) -> Iterator[bytes]:
    """The same number of bytes, strings with the placeholder shortened and filled up with NULs.

    Raises :class:`LayerError` where the prefix is the longer one, and for a string without an end.
    """
    if len(prefix.encode()) > len(placeholder.encode()):
        raise LayerError(
            Text("the prefix {prefix} does not fit into the place the package has for it", prefix=prefix),
            place=place, got=f"{len(placeholder)} bytes", want=f"at least {len(prefix)}",
        )  # fmt: skip
    for encoding in _ENCODINGS:
        chunks = _replaced(chunks, placeholder.encode(encoding), prefix.encode(encoding), place, encoding)
    return iter(chunks)


def _replaced(
    chunks: Iterable[bytes], placeholder: bytes, prefix: bytes, place: Place, encoding: str
) -> Iterator[bytes]:
    settle = partial(_settle, placeholder=placeholder, prefix=prefix, end_mark="\0".encode(encoding))
    held = b""
    for chunk in chunks:
        held += chunk
        done, held = settle(held, last=False)
        if len(held) > _LONGEST:
            raise LayerError("a string with the placeholder does not end", place=place)
        if done:
            yield done
    yield settle(held, last=True)[0]


def _settle(data: bytes, *, placeholder: bytes, prefix: bytes, end_mark: bytes, last: bool) -> tuple[bytes, bytes]:
    """(bytes that are done, bytes that wait for more)."""
    out: list[bytes] = []
    at = 0
    while (start := data.find(placeholder, at)) >= 0:
        end = data.find(end_mark, start + len(placeholder))
        if end < 0:
            if not last:
                out.append(data[at:start])
                return b"".join(out), data[start:]
            end = len(data)
        end = min(end + len(end_mark), len(data))  # a wide placeholder's last byte may be the mark's first
        string = data[start:end].replace(placeholder, prefix)
        out += [data[at:start], string, bytes(end - start - len(string))]
        at = end
    keep = 0 if last else min(len(placeholder) - 1, len(data) - at)
    out.append(data[at : len(data) - keep])
    return b"".join(out), data[len(data) - keep :]
