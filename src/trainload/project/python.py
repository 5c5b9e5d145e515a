"""Which Python and which base: the two are one decision, for each distribution has one Python."""

from __future__ import annotations

import re

from trainload.errors import ConfigError, Place, Text
from trainload.project.config import Sources
from trainload.project.document import decode
from trainload.project.keys import BASE, PYTHON, PYTHON_OF_SUITE
from trainload.project.metadata import FILE, Metadata
from trainload.project.model import Chosen, Origin
from trainload.tree import Tree

VERSION_FILE = ".python-version"
_PREFERRED = ("bookworm", "trixie", "noble", "jammy")
_MINORS = ("3.11", "3.12", "3.13", "3.14", "3.10", "3.9")
_VERSION = re.compile(r"(?:cpython|python)?[-@]?(3\.\d{1,2})(?:\.\d{1,3})?", re.ASCII)


def choose_python(
    tree: Tree, sources: Sources, metadata: Metadata
) -> tuple[Chosen[str | None], Chosen[str], tuple[Text, ...]]:
    """(Python, base, warnings). Raises :class:`ConfigError` when what was asked for contradicts itself."""
    found, warnings = _version_file(tree)
    python = sources.choose(PYTHON, found, Text("the base's own"))
    base = sources.choose(BASE)
    if python.value is not None:
        _check(python, metadata)
        if base.origin is Origin.DEFAULT:
            base = _base_with(python.value)
        return python, base, warnings
    if metadata.requires_python is None:
        return python, base, warnings
    if base.origin is Origin.DEFAULT:
        python, base = _both(metadata.requires_python)
    elif base.value.startswith("apt:"):
        python = _for_base(base.value, metadata.requires_python)
    return python, base, warnings


def satisfies(minor: str, requires: str) -> bool:
    """Some release of ``minor`` is allowed by the specifier ``requires`` (PEP 440)."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(requires)
    except InvalidSpecifier as error:
        raise ConfigError(
            Text("this is not a version specifier"),
            place=Place(FILE, "project.requires-python"), got=requires[:80], want=">=3.11",
        ) from error  # fmt: skip
    return any(allowed.contains(f"{minor}.{patch}") for patch in (0, 5, 10, 99))


def accepted(minor: str, wanted: str | None, requires: str | None) -> bool:
    """Whether an image's Python is one the project takes: the one that is set, else what it requires."""
    return minor == wanted if wanted is not None else requires is None or satisfies(minor, requires)


def fitting(wanted: str | None, requires: str | None) -> str:
    """The Python to bring where the base has none that is accepted. Raises :class:`ConfigError`."""
    return wanted or _any(requires or "")


def _both(requires: str) -> tuple[Chosen[str | None], Chosen[str]]:
    for suite in _PREFERRED:
        if satisfies(PYTHON_OF_SUITE[suite], requires):
            minor = PYTHON_OF_SUITE[suite]
            reason = Text(
                "{suite} has Python {minor}, which requires-python = {requires} allows",
                suite=suite, minor=minor, requires=requires,
            )  # fmt: skip
            return Chosen(minor, Origin.DETECTED, reason), Chosen(f"apt:{suite}", Origin.DETECTED, reason)
    minor = _any(requires)
    reason = Text(
        "no distribution has a Python that requires-python = {requires} allows; {minor} comes standalone",
        requires=requires, minor=minor,
    )  # fmt: skip
    return Chosen(minor, Origin.DETECTED, reason), Chosen(BASE.default, Origin.DEFAULT, Text("the default"))


def _for_base(base: str, requires: str) -> Chosen[str | None]:
    own = PYTHON_OF_SUITE[base[4:]]
    if satisfies(own, requires):
        return Chosen(own, Origin.DETECTED, Text("the Python of {base}", base=base))
    minor = _any(requires)
    return Chosen(
        minor,
        Origin.DETECTED,
        Text(
            "requires-python = {requires} rules out the {own} of {base}; {minor} comes standalone",
            requires=requires, own=own, base=base, minor=minor,
        ),
    )  # fmt: skip


def _any(requires: str) -> str:
    for minor in _MINORS:
        if satisfies(minor, requires):
            return minor
    raise ConfigError(
        Text("no Python that Trainload knows satisfies this"),
        place=Place(FILE, "project.requires-python"), got=requires[:80], want=", ".join(sorted(_MINORS)),
        hints=[Text("set python in [tool.trainload]")],
    )  # fmt: skip


def _base_with(minor: str) -> Chosen[str]:
    for suite in _PREFERRED:
        if PYTHON_OF_SUITE[suite] == minor:
            return Chosen(
                f"apt:{suite}", Origin.DETECTED, Text("{suite} has Python {minor}", suite=suite, minor=minor)
            )
    return Chosen(
        BASE.default, Origin.DEFAULT, Text("the default; Python {minor} comes standalone on top", minor=minor)
    )


def _check(python: Chosen[str | None], metadata: Metadata) -> None:
    if metadata.requires_python and python.value and not satisfies(python.value, metadata.requires_python):
        raise ConfigError(
            Text(
                "Python {python} ({reason}) is not allowed by requires-python",
                python=python.value,
                reason=python.reason,
            ),
            place=Place(FILE, "project.requires-python"),
            got=metadata.requires_python,
            hints=[Text("change one of the two")],
        )


def _version_file(tree: Tree) -> tuple[Chosen[str | None] | None, tuple[Text, ...]]:
    if tree.find(VERSION_FILE) is None:
        return None, ()
    lines = decode(tree.read(VERSION_FILE, limit=4096), VERSION_FILE).split("\n")
    words = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    match = _VERSION.fullmatch(words[0]) if words else None
    if match is None:
        return None, (
            Text(
                "{file} says {got}, which is not a CPython version; it is not used",
                file=VERSION_FILE, got=words[0][:40] if words else "nothing",
            ),
        )  # fmt: skip
    reason = Text("{got} in {file}", got=words[0], file=VERSION_FILE)
    return Chosen(match[1], Origin.DETECTED, reason), ()
