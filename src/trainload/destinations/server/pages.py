"""Long lists in pages (distribution-spec § Listing Tags, § Listing Referrers). Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from urllib.parse import urlencode

from trainload.destinations.server.messages import Request, refuse

LONGEST = 10_000
"""Names in one answer, also when a client asks for more or all: some 1.3 MB."""


def page(request: Request, names: Sequence[str]) -> tuple[Sequence[str], dict[str, str]]:
    """The part of the sorted ``names`` that ``n`` and ``last`` ask for, and a ``Link`` header if more follow.

    Raises :class:`Refusal` for an ``n`` that is no number.
    """
    count, last = request.parameter("n"), request.parameter("last")
    if count is not None and not re.fullmatch(r"[0-9]{1,9}", count, re.ASCII):
        raise refuse(400, "UNSUPPORTED", f"n={count[:40]} is not a number of results")
    start = bisect_right(names, last) if last else 0
    most = min(int(count), LONGEST) if count is not None else LONGEST
    part = names[start : start + most]
    if not part or start + most >= len(names):
        return part, {}
    return part, next_link(request.path, {"n": str(most), "last": part[-1]})


def next_link(path: str, query: dict[str, str]) -> dict[str, str]:
    """Where the next page is (RFC 8288)."""
    return {"Link": f'<{path}?{urlencode(query)}>; rel="next"'}
