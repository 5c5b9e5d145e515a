"""Hosts as users write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainload.address import Address
from trainload.errors import UsageError


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("gpu", Address("gpu")),
        ("me@gpu1.example", Address("gpu1.example", "me")),
        ("me@gpu1.example:2222", Address("gpu1.example", "me", 2222)),
        ("[::1]:22", Address("::1", None, 22)),
        ("me@[fe80::1]", Address("fe80::1", "me")),
    ],
)
def test_an_address_is_read_and_written_the_same_way(text: str, want: Address) -> None:
    assert Address.parse(text) == want
    assert str(want) == text


@pytest.mark.parametrize(
    "text",
    [
        "-oProxyCommand=id", "me@-oProxyCommand=id", "a b", "$(id)", "a;id", "`id`", "a\nb", "%h", "me@%h", "",
        "@a", "a@", "a:0", "a:65536", "a:", "a:x", "a/b", "a@b@c", "-", "a'b", 'a"b', "a|b", "ssh://a", "[::1", "é",
        "-l@a", "a\\b", "*",
    ],
)  # fmt: skip
def test_S01_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)


@given(st.text(max_size=40))
def test_S01_nothing_that_passes_can_be_an_option_or_be_expanded(text: str) -> None:
    try:
        address = Address.parse(text)
    except UsageError:
        return
    for word in (address.host, address.login):
        assert not word.startswith("-")
        assert not set(word) & set(" \t\n%$`'\"\\;|&<>(){}*?!#~")
