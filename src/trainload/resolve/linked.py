"""Wheels of folders and of plain pages as uv is given them: on a page of links, where each has a hash already.

uv unpacks a wheel without a hash into its cache to hash it, which for PyTorch takes 9 s of processor time and
0.8 GB of disk. So each link carries a stand-in, a digest of the file's path or address; what is locked is the hash
of the files that were chosen, which are read for it once.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urldefrag, urljoin

_AT_ONCE = 4  # hashing leaves the interpreter to others
_SHA256 = re.compile(rb"\b[0-9a-f]{64}\b")
_HASHED = re.compile(r"(md5|sha1|sha224|sha256|sha384|sha512|blake2b)=[0-9a-fA-F]+")
"""What is after an address's ``#`` where the page tells a hash (PEP 503)."""


def write_page(page: Path, files: Iterable[Path]) -> None:
    """``page`` with a link to each of ``files``, as an index or ``--find-links`` has it (PEP 503)."""
    _write(page, [(f"file://{quote(os.fsencode(file))}", file.name, {}) for file in files if _is_plain(file)])


def copy_page(
    page: Path, data: bytes, address: str, through: Callable[[str], str | None] = lambda _: None
) -> frozenset[str]:
    """``page`` with all links of the one that was read at ``address``; what stands in for hashes it has not.

    ``through``: given the address of a file without a hash, another where its metadata is, too (PEP 658).
    """
    reader = _Links()
    reader.feed(data.decode("utf-8", "replace"))
    base = urljoin(address, reader.base)
    links = [(urljoin(base, href), text, more) for href, text, more in reader.found]
    return _write(page, links, through)


def _write(
    page: Path, links: Sequence[_Link], through: Callable[[str], str | None] = lambda _: None
) -> frozenset[str]:
    lines, stand_ins = [], set()
    for address, text, told in links:
        (bare, fragment), more = urldefrag(address), told
        if not _HASHED.fullmatch(fragment):
            fragment = f"sha256={(key := _stand_in(bare.encode()))}"
            stand_ins.add(key)
            if (other := through(bare)) is not None:
                bare, more = other, {**told, "data-dist-info-metadata": "true"}
        attributes = {**more, "href": f"{bare}#{fragment}"}
        said = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
        lines.append(f"<a{said}>{html.escape(text)}</a>")
    body = "\n".join(lines)
    page.write_text(f"<!DOCTYPE html><html><body>\n{body}\n</body></html>\n", encoding="utf-8")
    return frozenset(stand_ins)


def with_hashes(answer: bytes, files: Sequence[Path], sha256: Callable[[Path], str]) -> bytes:
    """uv's ``answer`` with the hashes of those of ``files`` that it names, instead of what stands in for them."""
    named = set(_SHA256.findall(answer))
    chosen = {key: file for file in files if (key := _of_file(file)) in named}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        known = dict(zip(chosen, pool.map(lambda file: sha256(file).encode(), chosen.values()), strict=True))
    return _SHA256.sub(lambda match: known.get(match[0], match[0]), answer)


def _of_file(file: Path) -> bytes:
    return _stand_in(f"file://{quote(os.fsencode(file))}".encode()).encode()


def _stand_in(address: bytes) -> str:
    return hashlib.sha256(b"in place of a hash " + address).hexdigest()


def _is_plain(file: Path) -> bool:
    """Whether its name is text: a wheel's is, and a page has no other."""
    try:
        file.name.encode()
    except UnicodeEncodeError:
        return False
    return True


_Link = tuple[str, str, dict[str, str]]
"""Address, text, and the attributes that say more (PEP 503, 592, 658)."""


class _Links(HTMLParser):
    """The links of a page as they are written."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found: list[_Link] = []
        self._open: dict[str, str] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if tag == "base" and not self.base:
            self.base = known.get("href", "")
        if tag == "a" and known.get("href"):
            self._open, self._text = known, ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open is not None:
            more = {name: value for name, value in self._open.items() if name.startswith("data-")}
            self.found.append((self._open["href"], self._text.strip(), more))
            self._open = None
