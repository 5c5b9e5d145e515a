"""Pages of links for uv: every file has a hash there, or what stands in for one until the file was read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from trainload.resolve.linked import copy_page, with_hashes, write_page

SHA256 = "ab" * 32


def links(page: Path) -> dict[str, str]:
    """Text → attributes as they are written."""
    return {text: said for said, text in re.findall(r"<a (.*?)>(.*?)</a>", page.read_text())}


def test_a_copy_has_whole_addresses_and_says_what_the_page_said(tmp_path: Path) -> None:
    page = (
        f'<html><A HREF="one-1.0.whl#sha256={SHA256}" data-requires-python="&gt;=3.9">one</a>'
        '<a href="../other/two%2B1.whl" data-yanked onclick="evil()">two<br>\n</a>'
        '<a href="https://far.example/three.whl?a=1&amp;b=2#egg=abc">&lt;three&gt;</a>'
        '<a href="four.whl#md5=00ff">four</a><a name="nowhere">no link</a></html>'
    )
    stand_ins = copy_page(tmp_path / "p.html", page.encode(), "https://host.example/wheels/")
    found = links(tmp_path / "p.html")
    assert set(found) == {"one", "two", "&lt;three&gt;", "four"}
    assert found["one"] == (
        f'data-requires-python="&gt;=3.9" href="https://host.example/wheels/one-1.0.whl#sha256={SHA256}"'
    )
    assert 'data-yanked=""' in found["two"] and "onclick" not in found["two"]
    assert 'href="https://host.example/other/two%2B1.whl#sha256=' in found["two"]
    assert 'href="https://far.example/three.whl?a=1&amp;b=2#sha256=' in found["&lt;three&gt;"]
    assert found["four"] == 'href="https://host.example/wheels/four.whl#md5=00ff"'
    given = {one for text in ("two", "&lt;three&gt;") for one in re.findall("sha256=([0-9a-f]{64})", found[text])}
    assert stand_ins == given and len(given) == 2


def test_a_copy_follows_the_pages_own_base(tmp_path: Path) -> None:
    page = '<base href="/files/"><base href="/never/"><a href="a.whl">a</a>'
    copy_page(tmp_path / "p.html", page.encode(), "https://host.example/simple/a/")
    assert 'href="https://host.example/files/a.whl#' in links(tmp_path / "p.html")["a"]


def test_only_files_that_were_chosen_are_read_and_their_hashes_take_the_place(tmp_path: Path) -> None:
    chosen, other = tmp_path / "ä +1.whl", tmp_path / "other.whl"
    write_page(tmp_path / "p.html", [chosen, other])
    said = re.findall("sha256=([0-9a-f]{64})", (tmp_path / "p.html").read_text())
    assert len(set(said)) == 2
    answer = f'hashes = {{ sha256 = "{said[0]}" }}, {{ sha256 = "{SHA256}" }}'.encode()
    read: list[Path] = []

    def sha256(path: Path) -> str:
        read.append(path)
        return hashlib.sha256(b"content").hexdigest()

    want = answer.replace(said[0].encode(), hashlib.sha256(b"content").hexdigest().encode())
    assert with_hashes(answer, [chosen, other], sha256) == want
    assert read == [chosen]
