"""Prefix replacement: as conda does it, in chunks of any size (THREATS C06)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainload.errors import Place
from trainload.layers.conda.prefix import in_binary, in_text

PLACE = Place("x.conda", "lib/x")
OLD, NEW = "/old/placeholder/that/is/long", "/opt/conda"
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
QUOTES = "'" * 3


def conda(data: bytes) -> bytes:
    """conda's own rule (conda.core.portability.binary_replace), for one encoding after the other."""
    for encoding in ENCODINGS:
        data = one(data, OLD.encode(encoding), NEW.encode(encoding), "\0".encode(encoding))
    return data


def one(data: bytes, old: bytes, new: bytes, zeros: bytes) -> bytes:
    def replaced(match: re.Match[bytes]) -> bytes:
        padding = (len(old) - len(new)) * match.group().count(old)
        return match.group().replace(old, new) + b"\0" * padding

    until = b"(?:(?!" + re.escape(zeros) + b").)*" + re.escape(zeros)
    return re.sub(re.escape(old) + until, replaced, data, flags=re.DOTALL)


def test_a_string_keeps_its_length_and_its_end() -> None:
    old = OLD.encode()
    data = b"\x7fELF" + old + b"/lib:" + old + b"/bin\0after\0" + old
    done = b"".join(in_binary([data], OLD, NEW, PLACE))
    assert len(done) == len(data)
    assert done.startswith(b"\x7fELF/opt/conda/lib:/opt/conda/bin\0\0")
    assert b"after\0/opt/conda" in done
    assert in_text(b"a" + old + b"b" + old, OLD, NEW) == b"a/opt/condab/opt/conda"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_wide_strings_are_replaced_too(encoding: str) -> None:
    data = f"a\0{OLD}/x:{OLD}\0end\0".encode(encoding)
    done = b"".join(in_binary([data], OLD, NEW, PLACE))
    kept = f"a\0{NEW}/x:{NEW}".encode(encoding)
    assert done.startswith(kept) and done.endswith("\0end\0".encode(encoding)) and len(done) == len(data)
    assert in_text(data, OLD, NEW) == f"a\0{NEW}/x:{NEW}\0end\0".encode(encoding)


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("#!/b/python -E", "#!/p/python -E"),
        (
            f"#!/b/python3.11 {'x' * 120}",
            f'#!/bin/sh\n{QUOTES}exec\' "/p/python3.11" {"x" * 120} "$0" "$@" #{QUOTES}',
        ),
        (f"#! /b/perl  -x{'y' * 120}", f"#!/usr/bin/env perl  -x{'y' * 120}"),
    ],
)
def test_a_first_line_that_linux_would_cut_off_names_its_program_otherwise(line: str, want: str) -> None:
    rest = "\nprint('/b')\n"
    assert in_text((line + rest).encode(), "/b", "/p") == (want + rest.replace("/b", "/p")).encode()


PIECES = st.lists(
    st.sampled_from(
        [*(OLD.encode(each) for each in ENCODINGS), OLD.encode()[:7], b"\0", b"/x", b"\0\0", b"tail" * 20]
    ),
    max_size=30,
)


@given(PIECES, st.lists(st.integers(1, 200), max_size=40))
def test_law_chunks_do_not_matter_and_the_result_is_condas(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces) + b"\0" * 8
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(data[at : at + cut])
        at += cut
    chunks.append(data[at:])
    done = b"".join(in_binary(chunks, OLD, NEW, PLACE))
    assert done == b"".join(in_binary([data], OLD, NEW, PLACE)) == conda(data)
    assert OLD.encode() not in done
