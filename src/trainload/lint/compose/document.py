"""A compose file as rules read it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainload.lint.nodes import Node
from trainload.lint.shell import Command, unwrapped
from trainload.lint.source import Source

_DEFAULT = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*:?-([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Variable:
    """One entry of ``environment``."""

    name: str
    value: str
    key: Node
    node: Node
    """The value; of a list's ``NAME=value`` the whole item."""

    @property
    def in_list(self) -> bool:
        return self.key is self.node


@dataclass(frozen=True, slots=True)
class Service:
    """One service."""

    name: str
    key: Node
    node: Node

    @property
    def image(self) -> str:
        """The image with defaults of variables filled in; empty: it is built."""
        node = self.node.get("image")
        return _DEFAULT.sub(r"\1", node.text) if node is not None and node.text else ""

    @property
    def built(self) -> bool:
        return self.node.get("build") is not None

    @property
    def own_code(self) -> bool:
        """It runs code of this folder: built from it, or with it mounted."""
        volumes = self.node.get("volumes")
        texts = volumes.strings() if volumes is not None else ()
        return self.built or any(text.startswith((".:", "./:", "./src:", "${PWD}:", "$PWD:")) for text in texts)

    @property
    def commands(self) -> tuple[Command, ...]:
        words: list[str] = []
        for name in ("entrypoint", "command"):
            node = self.node.get(name)
            if node is None:
                continue
            words += split(node.text) if node.text is not None else node.strings()
        return unwrapped([word.replace("$$", "$") for word in words])

    def variables(self) -> Iterator[Variable]:
        """Of ``environment``."""
        yield from _variables(self.node.get("environment"))

    def build_arguments(self) -> Iterator[Variable]:
        """Of ``build.args``."""
        yield from _variables(self.node.get("build", "args"))

    @property
    def environ(self) -> Mapping[str, str]:
        return {one.name: one.value for one in self.variables()}

    @property
    def shares_network(self) -> bool:
        """With the host or another container: ``localhost`` may be the right place there."""
        mode = self.node.get("network_mode")
        return mode is not None and (mode.text or "").startswith(("host", "service:", "container:"))


def _variables(node: Node | None) -> Iterator[Variable]:
    if node is None:
        return
    for name, key, value in node.children():
        yield Variable(name, value.text or "", key, value)
    for item in node.items or ():
        name, equals, text = (item.text or "").partition("=")
        if equals:
            yield Variable(name, text, item, item)


@dataclass(frozen=True, slots=True)
class Compose:
    """The whole file."""

    name: str
    source: Source
    root: Node

    @property
    def services(self) -> tuple[Service, ...]:
        node = self.root.get("services")
        if node is None:
            return ()
        return tuple(Service(name, key, value) for name, key, value in node.children() if value.pairs is not None)


def split(text: str) -> list[str]:
    """Words of a command in one text, as compose splits it; none when a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError:
        return []
