"""The prefix a package was built with becomes the one it lies in (THREATS C06).

As conda and rattler do it: every occurrence in a text file; in a binary file inside its NUL-terminated string,
which keeps its length, so that nothing else in the file moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trainload.errors import LayerError, Place, Text

_LONGEST = 1 << 20
"""Bytes of a string in a binary file; a compiler's longest are some hundred kilobytes."""


def in_text(data: bytes, placeholder: bytes, prefix: bytes) -> bytes:
    """``data`` with every ``placeholder`` replaced."""
    return data.replace(placeholder, prefix)


def in_binary(chunks: Iterable[bytes], placeholder: bytes, prefix: bytes, place: Place) -> Iterator[bytes]:
    """The same number of bytes, strings with the placeholder shortened and filled up with NULs.

    Raises :class:`LayerError` where the prefix is the longer one, and for a string without an end.
    """
    if len(prefix) > len(placeholder):
        raise LayerError(
            Text("the prefix {prefix} does not fit into the place the package has for it", prefix=prefix.decode()),
            place=place, got=f"{len(placeholder)} bytes", want=f"at least {len(prefix)}",
        )  # fmt: skip
    held = b""
    for chunk in chunks:
        held += chunk
        done, held = _settle(held, placeholder, prefix, last=False)
        if len(held) > _LONGEST:
            raise LayerError("a string with the placeholder does not end", place=place)
        if done:
            yield done
    yield _settle(held, placeholder, prefix, last=True)[0]


def _settle(data: bytes, placeholder: bytes, prefix: bytes, *, last: bool) -> tuple[bytes, bytes]:
    """(bytes that are done, bytes that wait for more)."""
    out: list[bytes] = []
    at = 0
    while (start := data.find(placeholder, at)) >= 0:
        end = data.find(b"\0", start)
        if end < 0:
            if not last:
                out.append(data[at:start])
                return b"".join(out), data[start:]
            end = len(data)
        string = data[start:end].replace(placeholder, prefix)
        out += [data[at:start], string, bytes(end - start - len(string))]
        at = end
    keep = 0 if last else min(len(placeholder) - 1, len(data) - at)
    out.append(data[at : len(data) - keep])
    return b"".join(out), data[len(data) - keep :]
