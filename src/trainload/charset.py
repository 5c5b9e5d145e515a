"""Text files that are not UTF-8: what they are likely to be, and how pip reads them."""

from __future__ import annotations

import codecs
import re

from trainload.errors import Text

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
"""Byte order marks; those of UTF-32 begin like those of UTF-16."""
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_CHINESE = re.compile("[\u4e00-\u9fff]")


def as_pip_reads(data: bytes) -> str | None:
    """A requirements file as pip decodes it (pip: ``auto_decode``); None: it would not, in a locale of UTF-8."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], name)
    for line in data.split(b"\n")[:2]:
        if line.startswith(b"#") and (match := _CODING.search(line)):
            return _decoded(data, match[1].decode("ascii"))
    return _decoded(data, "utf-8")


def _decoded(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except (UnicodeDecodeError, LookupError):
        return None


def hint(data: bytes, file: str) -> Text:
    """What to do with a file that was to be UTF-8."""
    name = _likely(data)
    if name is None:
        return Text("save it as UTF-8")
    return Text("it reads as {name}; save it as UTF-8: iconv -f {name} -t UTF-8 {file}", name=name, file=file)


def _likely(data: bytes) -> str | None:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"  # PowerShell's >
    text = _decoded(data, "gb18030")
    return "GB18030" if text is not None and _CHINESE.search(text) else None
