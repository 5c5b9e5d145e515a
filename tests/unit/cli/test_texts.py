from __future__ import annotations

import gettext

from trainload.cli.texts import DOMAIN, FOLDER, Catalogue, choose
from trainload.errors import Text
from trainload.testing.catalogue import Msgid, places, read_po, wanted


def test_the_mo_is_the_po_compiled() -> None:
    compiled = gettext.translation(DOMAIN, FOLDER, ["zh_CN"])
    for msgid, given in read_po().items():
        if isinstance(given, str):
            assert compiled.gettext(msgid.text) == given or not given, "run ./dev texts"
        else:
            assert compiled.ngettext(msgid.text, msgid.plural or "", 2) == given[0], "run ./dev texts"


def test_what_must_be_translated_is_found_in_the_source() -> None:
    known = wanted()
    assert "cli/main.py" in known[Msgid("Make the image.")]
    assert "system/http.py" in known[Msgid("{url} could not be fetched")]
    assert "click" in known[Msgid("No such option {name!r}.")]


def test_no_template_ends_with_a_full_stop_unless_it_is_help() -> None:
    wrong = [
        msgid.text
        for msgid, files in wanted().items()
        if msgid.text.endswith(".")
        and not msgid.text.endswith(" ..")
        and not all(file == "click" or file.startswith("cli/") for file in files)
    ]
    assert wrong == []


def test_every_template_can_be_filled() -> None:
    for msgid in wanted():
        for name in places(msgid.text):
            assert name, f"{msgid.text!r} has a place without a name"


def test_the_language_is_the_flags_then_the_locales() -> None:
    assert choose({"LANG": "zh_CN.UTF-8"}) == "zh"
    assert choose({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}) == "en"
    assert choose({"LANGUAGE": "zh:en", "LANG": "de_DE.UTF-8"}) == "zh"
    assert choose({}) == "en"
    assert choose({"LANG": "zh_CN"}, ["--lang", "en", "plan"]) == "en"
    assert choose({}, ["plan", "--lang=zh"]) == "zh"
    assert choose({}, ["run", "--", "--lang", "zh"]) == "en"


def test_a_text_inside_a_text_is_translated_too() -> None:
    zh = Catalogue.load("zh")
    inner = Text("did you mean {words}?", words="plan")
    assert zh.text(Text("{message}", message=inner)) == "你是不是想输入 plan？"
