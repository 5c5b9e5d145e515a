"""Pages of plain links that pip is told to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.builder.dockerfile.placing.plain import copied
from trainload.limits import DEFAULT
from trainload.system.http import Http
from trainload.testing.server import FaultServer, Reply

PAGE = b'<a href="x-1-py3-none-any.whl">x</a>' * 200
HTML = {"Content-Type": "text/html"}


@pytest.mark.parametrize(
    "reply", [Reply(PAGE, headers=HTML, cut=100), Reply(PAGE, headers=HTML, cut=100, chunked=True)]
)
def test_a_page_that_does_not_come_whole_is_left_to_uv(tmp_path: Path, reply: Reply) -> None:
    with FaultServer() as server:
        address = server.serve("/links/", reply)
        assert copied([address], Http(proxies={}), tmp_path).links == (address,)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_is_too_large_is_left_to_uv(tmp_path: Path) -> None:
    with FaultServer() as server:
        large = server.serve("/large/", Reply(b"<p>" + bytes(DEFAULT.document), headers=HTML))
        usual = server.serve("/usual/", Reply(PAGE, headers=HTML))
        assert copied([large, usual], Http(proxies={}), tmp_path).links == (
            large,
            (tmp_path / "page1.html").as_uri(),
        )
