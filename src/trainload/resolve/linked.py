"""Wheels that lie on this machine as uv is given them: on a page of links, where each has a hash already.

uv unpacks a wheel without a hash into its cache to hash it, which for PyTorch takes 9 s of processor time and
0.8 GB of disk. So each link carries a stand-in, a digest of the file's path; what is locked is the hash of the
files that were chosen, which are read for it once.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

_AT_ONCE = 4  # hashing leaves the interpreter to others
_SHA256 = re.compile(rb"\b[0-9a-f]{64}\b")


def write_page(page: Path, files: Iterable[Path]) -> None:
    """``page`` with a link to each of ``files``, as an index or ``--find-links`` has it (PEP 503)."""
    lines = [
        f'<a href="file://{quote(os.fsencode(file))}#sha256={_stand_in(file)}">{html.escape(file.name)}</a>'
        for file in files
        if _is_plain(file)
    ]
    body = "\n".join(lines)
    page.write_text(f"<!DOCTYPE html><html><body>\n{body}\n</body></html>\n", encoding="utf-8")


def with_hashes(answer: bytes, files: Sequence[Path], sha256: Callable[[Path], str]) -> bytes:
    """uv's ``answer`` with the hashes of those of ``files`` that it names, instead of what stands in for them."""
    named = set(_SHA256.findall(answer))
    chosen = {key: file for file in files if (key := _stand_in(file).encode()) in named}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        known = dict(zip(chosen, pool.map(lambda file: sha256(file).encode(), chosen.values()), strict=True))
    return _SHA256.sub(lambda match: known.get(match[0], match[0]), answer)


def _stand_in(file: Path) -> str:
    return hashlib.sha256(b"trainload stand-in " + os.fsencode(file)).hexdigest()


def _is_plain(file: Path) -> bool:
    """Whether its name is text: a wheel's is, and a page has no other."""
    try:
        file.name.encode()
    except UnicodeEncodeError:
        return False
    return True
