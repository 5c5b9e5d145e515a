"""Prefix replacement: as conda does it, in chunks of any size (THREATS C06)."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from trainload.errors import Place
from trainload.layers.conda.prefix import in_binary, in_text

PLACE = Place("x.conda", "lib/x")
OLD, NEW = b"/old/placeholder/that/is/long", b"/opt/conda"


def conda(data: bytes) -> bytes:
    """conda's own rule (conda.core.portability.binary_replace)."""

    def replaced(match: re.Match[bytes]) -> bytes:
        occurrences = match.group().count(OLD)
        padding = (len(OLD) - len(NEW)) * occurrences
        return match.group().replace(OLD, NEW) + b"\0" * padding

    return re.sub(re.escape(OLD) + b"([^\0]*?)\0", replaced, data)


def test_a_string_keeps_its_length_and_its_end() -> None:
    data = b"\x7fELF" + OLD + b"/lib:" + OLD + b"/bin\0after\0" + OLD
    done = b"".join(in_binary([data], OLD, NEW, PLACE))
    assert len(done) == len(data)
    assert done.startswith(b"\x7fELF/opt/conda/lib:/opt/conda/bin\0\0")
    assert b"after\0/opt/conda" in done
    assert in_text(b"a" + OLD + b"b" + OLD, OLD, NEW) == b"a/opt/condab/opt/conda"


PIECES = st.lists(st.sampled_from([OLD, OLD[:7], b"\0", b"/x", b"\0\0", b"tail" * 20]), max_size=30)


@given(PIECES, st.lists(st.integers(1, 200), max_size=40))
def test_law_chunks_do_not_matter_and_the_result_is_condas(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces) + b"\0"
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(data[at : at + cut])
        at += cut
    chunks.append(data[at:])
    done = b"".join(in_binary(chunks, OLD, NEW, PLACE))
    assert done == b"".join(in_binary([data], OLD, NEW, PLACE)) == conda(data)
    assert OLD not in done
