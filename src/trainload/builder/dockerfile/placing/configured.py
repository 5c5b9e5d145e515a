"""What the ``pip.conf`` files of an image say (pip: Configuration): options of every call of pip."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from configparser import Error, RawConfigParser
from dataclasses import replace

from trainload.builder.dockerfile.ground import Ground
from trainload.dockerfile.steps import InstallPython
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understand.pip import is_yes, link_of
from trainload.errors import Text

_SYSTEM = ("etc/xdg/pip/pip.conf", "etc/pip.conf")
_PLAIN = frozenset(
    {
        "timeout", "default-timeout", "retries", "no-cache-dir", "cache-dir", "no-input", "quiet",
        "disable-pip-version-check", "root-user-action", "progress-bar", "verbose", "prefer-binary", "no-color",
        "no-warn-script-location", "compile", "no-compile", "no-python-version-warning", "log",
    }
)  # fmt: skip
"""Which change how it is told or fetched, and nothing of what is installed."""


def configure(step: InstallPython, ground: Ground, home: str, prefix: str) -> InstallPython:
    """``step`` with what the image's files say where it says nothing itself; ``prefix``: of the Python that runs.

    Raises :class:`Beyond` for an option that is not known.
    """
    if step.tool[0] == "uv":
        for file in ("etc/uv/uv.toml", f"{home}/.config/uv/uv.toml"):
            if ground.find(file) is not None:
                raise _changes(file)
        return step
    said: dict[str, str] = {}
    for file in (*_SYSTEM, f"{home}/.pip/pip.conf", f"{home}/.config/pip/pip.conf", f"{prefix}/pip.conf"):
        said |= _read(file, ground)
    return _with(step, said)


def _read(file: str, ground: Ground) -> Mapping[str, str]:
    data = ground.read(file)
    if data is None:
        if ground.find(file) is not None:
            raise _changes(file)
        return {}
    parser = RawConfigParser()
    try:
        parser.read_string(data.decode("utf-8"))
    except (Error, UnicodeDecodeError):
        raise _changes(file) from None
    found = {}
    for section in ("global", "install"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            key = name.lower().replace("_", "-").removeprefix("--")
            if key not in _PLAIN and key not in _READERS:
                raise _changes(file)
            found[key] = value
    return found


def _with(step: InstallPython, said: Mapping[str, str]) -> InstallPython:
    for key in (key for key in said if key in _READERS):
        step = _READERS[key](step, said[key])
    return step


def _index(step: InstallPython, value: str) -> InstallPython:
    return step if step.index is not None else replace(step, index=_address(value))


def _extra(step: InstallPython, value: str) -> InstallPython:
    return replace(step, extra_indexes=tuple(dict.fromkeys((*map(_address, value.split()), *step.extra_indexes))))


def _links(step: InstallPython, value: str) -> InstallPython:
    return replace(step, find_links=(*(link_of(link, "/") for link in value.split()), *step.find_links))


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s@]+", value):
        raise Beyond(Text("the index {address}", address=re.sub(r"//[^/]*@", "//…@", value)))
    return value


_READERS: Mapping[str, Callable[[InstallPython, str], InstallPython]] = {
    "index-url": _index,
    "extra-index-url": _extra,
    "find-links": _links,
    "trusted-host": lambda step, value: replace(step, trusted=(*value.split(), *step.trusted)),
    "no-index": lambda step, value: replace(step, no_index=step.no_index or is_yes(value)),
    "pre": lambda step, value: replace(step, prereleases=step.prereleases or is_yes(value)),
    "break-system-packages": lambda step, value: replace(step, system=step.system or is_yes(value)),
}


def _changes(file: str) -> Beyond:
    return Beyond(Text("{file} of the image changes what is installed", file=f"/{file}"))
