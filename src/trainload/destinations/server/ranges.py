"""Parts of blobs: which one a client wants (RFC 9110 § 14) and which one it sends (distribution-spec). Pure."""

from __future__ import annotations

import re

from trainload.destinations.server.messages import refuse

_WANTED = re.compile(r"bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.ASCII)
_SENT = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and number of bytes of a ``Range`` header; None for the whole blob.

    Several ranges in one request get the whole blob, as RFC 9110 § 14.2 allows. Raises :class:`Refusal` (416) for a
    range that ends before it begins or begins behind the end.
    """
    match = _WANTED.fullmatch(header.strip()) if header else None
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        length = min(int(match[2]), size)
        start = size - length
    else:
        start = int(match[1])
        length = (min(int(match[2]), size - 1) if match[2] else size - 1) - start + 1
    if length <= 0 or start >= size:
        raise refuse(416, "SIZE_INVALID", "there are no such bytes in this blob", Content_Range=f"bytes */{size}")
    return start, length


def check_chunk(header: str | None, length: int | None, so_far: int) -> None:
    """Whether a chunk may follow the ``so_far`` bytes that are here (distribution-spec § Pushing a blob in chunks).

    Without a ``Content-Range`` the bytes are simply the next ones. Raises :class:`Refusal`: 416 for a chunk that
    does not follow, 400 for one that is not what its own header says.
    """
    if header is None:
        return
    match = _SENT.fullmatch(header.strip())
    if match is None:
        raise refuse(400, "BLOB_UPLOAD_INVALID", f"{header[:100]} is not a range", "FIRST-LAST")
    start, last = int(match[1]), int(match[2])
    if start != so_far or last < start:
        raise refuse(
            416, "BLOB_UPLOAD_INVALID", f"the next byte is {so_far}, not {start}", Range=received_range(so_far)
        )
    if length is not None and length != last - start + 1:
        raise refuse(400, "SIZE_INVALID", f"{last - start + 1} bytes were announced and {length} are being sent")


def received_range(so_far: int) -> str:
    """The ``Range`` of an upload: positions, so that nothing and one byte look the same, as everywhere."""
    return f"0-{max(0, so_far - 1)}"
