"""What the ``pip.conf`` files of an image say (pip: Configuration): options of every call of pip."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from configparser import Error, RawConfigParser
from dataclasses import replace

from trainload import nesting
from trainload.builder.dockerfile.ground import Ground
from trainload.dockerfile.installs import InstallPython
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
_OF_PROJECTS = frozenset(
    {
        "add-bounds", "build-backend", "cache-keys", "compile-bytecode", "conflicts", "default-groups",
        "dependency-groups", "dev-dependencies", "environments", "index", "link-mode", "managed", "package",
        "python-preference", "required-environments", "required-version", "sources",
    }
)  # fmt: skip
"""Keys of ``[tool.uv]`` that ``uv pip`` does not hear, and those that are heard here."""


def configure(step: InstallPython, ground: Ground, home: str, prefix: str) -> InstallPython:
    """``step`` with what the image's files say where it says nothing itself; ``prefix``: of the Python that runs.

    Raises :class:`Beyond` for an option that is not known.
    """
    if step.tool[0] == "uv":
        for file in ("etc/uv/uv.toml", f"{home}/.config/uv/uv.toml"):
            if ground.find(file) is not None:
                raise _changes(file)
        return _of_project(step, ground)
    said: dict[str, str] = {}
    for file in (*_SYSTEM, f"{home}/.pip/pip.conf", f"{home}/.config/pip/pip.conf", f"{prefix}/pip.conf"):
        said |= _read(file, ground)
    return _with(step, said)


def _of_project(step: InstallPython, ground: Ground) -> InstallPython:
    """``[tool.uv]`` of the project that uv is called in (docs.astral.sh/uv/concepts/configuration-files)."""
    folder = None if step.folder is None else step.folder.strip("/")
    while folder is not None:
        if ground.find(f"{folder}/uv.toml") is not None:
            raise _changes(f"{folder}/uv.toml".lstrip("/"))
        data = ground.read(f"{folder}/pyproject.toml")
        settings = None if data is None else _settings(f"{folder}/pyproject.toml".lstrip("/"), data)
        if settings is not None:
            for key in settings:
                if key not in _OF_PROJECTS:
                    raise Beyond(Text("the key {key} of [tool.uv]", key=key))
            return with_indexes(step, settings)
        folder = folder.rpartition("/")[0] if folder else None
    return step


def _settings(file: str, data: bytes) -> Mapping[str, object] | None:
    """Those of uv; None: the file has none."""
    text = data.decode("utf-8", "replace")
    try:
        if nesting.too_deep_toml(text):
            raise _changes(file)
        found = tomllib.loads(text).get("tool", {}).get("uv")
    except (ValueError, AttributeError):
        raise _changes(file) from None
    return found if isinstance(found, dict) else None


def with_indexes(step: InstallPython, settings: Mapping[str, object]) -> InstallPython:
    """``step`` with the indexes of ``[tool.uv]``. Raises :class:`Beyond` for one that is no plain address."""
    default, others = step.index, list(step.extra_indexes)
    named = settings.get("index", [])
    for one in named if isinstance(named, list) else []:
        address = _address(str(one.get("url"))) if isinstance(one, dict) else ""
        if isinstance(one, dict) and one.get("default") is True:
            default = default or address
        elif isinstance(one, dict) and one.get("explicit") is not True:
            others.append(address)
    return replace(step, index=default, extra_indexes=tuple(others))


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
