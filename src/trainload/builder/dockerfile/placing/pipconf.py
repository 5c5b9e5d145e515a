"""``pip config set`` on a draft: pip reads its file by Python's configparser, and writes it anew."""

from __future__ import annotations

import configparser
import io
import posixpath
import re

from trainload.builder.dockerfile.placing.accounts import home_of
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.builder.dockerfile.placing.files import make_folder, search
from trainload.dockerfile.steps import MakeFolder, SetPip
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text

_VALUES = {
    **dict.fromkeys(("index-url", "extra-index-url", "trusted-host", "find-links"), re.compile(r"\S+(?:\s+\S+)*")),
    **dict.fromkeys(("timeout", "retries"), re.compile(r"[0-9]{1,4}")),
    **dict.fromkeys(
        ("no-cache-dir", "disable-pip-version-check", "break-system-packages", "require-virtualenv", "user"),
        re.compile(r"true|false|yes|no|0|1", re.I),
    ),
}
"""Settings under which pip works: it checks those of all its files before it does anything."""


def set_pip(step: SetPip, draft: Draft) -> None:
    """Raises :class:`Beyond` where pip would fail, or is none."""
    found = search(step.tool, step.search, draft)
    if found is None or "from pip._internal" not in (draft.text(draft.real(found.strip("/"))) or ""):
        raise Beyond(Text("the image has no {program}", program=step.tool))
    home = (step.home or home_of("root", draft)).rstrip("/")
    prefix = posixpath.dirname(posixpath.dirname(found))
    for other in (f"{prefix}/pip.conf", "/etc/xdg/pip/pip.conf", f"{home}/.pip/pip.conf"):
        if draft.find(draft.real(other.strip("/"))) is not None:
            raise Beyond(Text("the image has {path}", path=other))
    own, shared = f"{home}/.config/pip/pip.conf", "/etc/pip.conf"
    parsers = {path: _read(draft.real(path.strip("/")), draft) for path in (own, shared)}
    target = shared if step.whole else own
    parser = parsers[target]
    if not parser.has_section(step.section):
        parser.add_section(step.section)
    parser.set(step.section, step.name, step.value)
    written = io.StringIO()
    parser.write(written)
    make_folder(MakeFolder(posixpath.dirname(target), parents=True), draft)
    real = draft.real(target.strip("/"))
    draft.parent(real)
    draft.write(real, written.getvalue())


def _read(path: str, draft: Draft) -> configparser.RawConfigParser:
    """A file as it is there. Raises :class:`Beyond` for one that pip may refuse."""
    odd = Beyond(Text("{path}, which is not as usual", path=f"/{path}"))
    known = draft.find(path)
    text = draft.text(path)
    if known is not None and (known.kind != "file" or text is None or not text.isascii()):
        raise odd
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text or "")
    except configparser.Error as error:
        raise odd from error
    for section in ("global", "config"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            if name not in _VALUES or not _VALUES[name].fullmatch(value):
                raise odd
    return parser
