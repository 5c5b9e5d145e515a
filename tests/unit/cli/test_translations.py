from __future__ import annotations

from trainload.testing.catalogue import faults, read_po, wanted


def test_every_text_has_a_chinese_translation_with_the_same_places() -> None:
    assert faults(read_po()) == [], "add them to the .po, then run ./dev texts"


def test_the_catalogue_holds_nothing_that_is_gone() -> None:
    assert set(read_po()) - set(wanted()) == set(), "run ./dev texts"
