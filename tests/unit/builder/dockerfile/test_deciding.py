"""What the image's apt is shown when it has to decide, and how its answer is read."""

from __future__ import annotations

import pytest

from trainload.builder.dockerfile.placing.deciding import _chosen, _file_name, _texts
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.lock.distribution import stanzas
from trainload.lock.distribution.index import Index, Records
from trainload.resolve.distribution import Offered
from trainload.testing.archive import stanza

WHY = Text("what apt itself has to decide")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://deb.example/debian/dists/bookworm/", "deb.example_debian_dists_bookworm_"),
        ("https://a.example/repos/ubuntu2204/x86_64/", "a.example_repos_ubuntu2204_x86%5f64_"),
        ("http://127.0.0.1:8000/a~b/dists/x/", "127.0.0.1:8000_a%7eb_dists_x_"),
    ],
)
def test_lists_are_called_as_apt_calls_them(address: str, name: str) -> None:
    assert _file_name(address) == name


def offer() -> Offered:
    text = "\n".join([stanza("git", "1:2"), stanza("less", "590", Provides="pager"), stanza("git", "1:3")])
    records = Records("debian", "bookworm", b"".join(stanzas.compact([text.encode()], "here")))
    return Offered(Index([records]), (records,), {})


def test_what_apt_says_it_installs_is_found_in_the_indexes() -> None:
    said = (
        "Reading package lists...\nInst git [1:1] (1:2 Debian:12/stable [amd64])\n"
        "Inst own (1.0 local-deb [all])\n"
        "Inst less (590 Debian:12/stable [amd64])\nConf git (1:2 Debian:12/stable [amd64])\n"
    )
    found = [(one.name, one.version) for one in _chosen(said, offer(), WHY)]
    assert found == [("git", "1:2"), ("less", "590")]


@pytest.mark.parametrize(
    "said", ["Remv less [590]\n", "Inst git (9 x [amd64])\n", "Inst git:i386 (1:2 x [i386])\n"]
)
def test_an_answer_with_more_than_packages_to_install_is_none(said: str) -> None:
    with pytest.raises(Beyond):
        list(_chosen(said, offer(), WHY))


def test_an_index_is_written_as_it_was_read() -> None:
    texts = list(_texts(offer().files[0]))
    assert [text.splitlines()[:2] for text in texts] == [
        ["Package: git", "Version: 1:2"], ["Package: less", "Version: 590"], ["Package: git", "Version: 1:3"],
    ]  # fmt: skip
    assert "Provides: pager\n" in texts[1]
