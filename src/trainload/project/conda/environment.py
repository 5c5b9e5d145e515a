"""``environment.yml`` as conda's own tools write it; what another tool would do differently is refused by name.

The format: https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html (THREATS F13).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trainload.errors import ConfigError, Place, Problems, Text
from trainload.project.conda import yaml
from trainload.project.document import LIMIT, decode
from trainload.project.model import CondaFile
from trainload.project.own import import_folder
from trainload.project.requirements import Requirements, logical_lines, read_lines
from trainload.tree import Tree

_KEYS = ("name", "channels", "dependencies", "variables", "prefix")
_JINJA = re.compile(r"\{\{|\{%|\{#")
_SELECTOR = re.compile(r"#\s*\[\s*(not\s+)?(win|win32|win64|unix|linux|linux32|linux64|osx|arm64|aarch64|x86|x86_64"
                       r"|ppc64le|py|py\d+|py2k|py3k|np|emscripten)\b[^\]]*\]", re.ASCII)  # fmt: skip
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_CHANNEL = r"[^\s:\[\]=<>!~,'\"]+(?:/(?:noarch|linux-64|linux-aarch64|osx-64|osx-arm64|win-64))?"
_SPEC = re.compile(
    rf"(?:{_CHANNEL}::)?{_NAME}\s*(?:\[[^\[\]]*\]|(?:===?|=|[<>!~]=|[<>]|\s)\s*[A-Za-z0-9.*+!_<>=~|,\s-]+)?"
    r"(?:\s*\[[^\[\]]*\])?",
    re.ASCII,
)
_PLACE = re.compile(r"(https?|file|ftp|git\+\w+)://|^[./~]|\.(conda|tar\.bz2)$", re.ASCII)
_TOKEN = re.compile(r"://[^/]*@|/t/[^/]+(?:/|$)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OURS = frozenset({"PATH", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "LD_PRELOAD"})


def read_environment(
    tree: Tree, path: str, environ: Mapping[str, str], *, allow_index_options: bool = False
) -> CondaFile:
    """The environment that the file asks for. Raises :class:`ConfigError`, every mistake with its line."""
    found = parse_environment(tree.read(path, limit=LIMIT), path)
    pip = read_lines(tree, path, found.pip, environ, allow_index_options=allow_index_options)
    return _with_pip(found.file, pip, tree)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The file alone, nothing it includes."""

    file: CondaFile
    """Without a pip section."""
    pip: tuple[tuple[int, str], ...]
    """The section's lines, with their numbers."""
    nodefaults: bool
    """It says that no other channels count."""


def parse_environment(data: bytes, path: str) -> Parsed:
    """Raises :class:`ConfigError`, every mistake with its line."""
    text = decode(data, path)
    reader = _Reader(path)
    reader.check_text(text)
    reader.problems.check()
    top = yaml.parse(text, path)
    if not isinstance(top, yaml.Mapping):
        raise ConfigError(
            Text("the file describes no environment"), place=Place(path), want="name, channels and dependencies"
        )
    found = reader.read(top)
    reader.problems.check()
    return Parsed(found, tuple(reader.pip), reader.nodefaults)


def _with_pip(found: CondaFile, pip: Requirements, tree: Tree) -> CondaFile:
    from dataclasses import replace

    return replace(
        found,
        pip=tuple(line.text for line in pip.lines if not line.constraint),
        constraints=tuple(line.text for line in pip.lines if line.constraint),
        included=tuple(pip.included),
        find_links=tuple(pip.find_links),
        index_options=tuple(pip.index_options),
        paths=tuple(dict.fromkeys(import_folder(tree, project) for project in pip.projects)),
        repositories=tuple(dict.fromkeys(pip.repositories)),
    )


def includes(tree: Tree, path: str, file: str) -> bool:
    """Whether the environment at ``path`` takes the requirements file ``file`` in, at a glance."""
    entry = tree.find(path)
    if entry is None or entry.size > LIMIT:
        return False
    text = tree.read(path, limit=LIMIT).decode("utf-8", "replace")
    return re.search(rf"(?:-r|--requirement)[ =]*(?:\./)?{re.escape(file)}\b", text) is not None


@dataclass(slots=True)
class _Reader:
    file: str
    problems: Problems = field(default_factory=Problems)
    pip: list[tuple[int, str]] = field(default_factory=list)
    nodefaults: bool = False

    def wrong(
        self,
        text: Text,
        line: int | None,
        *,
        got: str | None = None,
        want: str | None = None,
        hint: Text | None = None,
    ) -> None:
        self.problems.add(
            ConfigError(
                text, place=Place(self.file, line=line), got=got, want=want, hints=[] if hint is None else [hint]
            )
        )

    def check_text(self, text: str) -> None:
        """What only templates have: no conda reads them in an environment."""
        for number, line in enumerate(text.split("\n"), 1):
            selector = _SELECTOR.search(line)
            if _JINJA.search(line.partition("#")[0]):
                self.wrong(Text("templates (Jinja) are not filled in"), number, got=line.strip()[:80],
                           hint=Text("write the value out"))  # fmt: skip
            elif selector is not None:
                self.wrong(
                    Text("selectors are not applied: conda would take the line on every platform"), number,
                    got=selector[0][:80], hint=Text("remove the comment, or the line"),
                )  # fmt: skip

    def read(self, top: yaml.Mapping) -> CondaFile:
        for key, line in top.lines.items():
            if key not in _KEYS:
                self.wrong(Text("there is no such key"), line, got=key[:80], want=", ".join(_KEYS))
        name = top.pairs.get("name")
        return CondaFile(
            path=self.file,
            name=name.text if isinstance(name, yaml.Scalar) and not name.is_null else "",
            channels=tuple(self.channels(top.pairs.get("channels"))),
            specs=tuple(dict.fromkeys(self.dependencies(top.pairs.get("dependencies")))),
            variables=tuple(sorted(self.variables(top.pairs.get("variables")))),
        )

    def items(self, node: yaml.Node | None, key: str) -> tuple[yaml.Node, ...]:
        if node is None or (isinstance(node, yaml.Scalar) and node.is_null):
            return ()
        if isinstance(node, yaml.Sequence):
            return node.items
        self.wrong(Text("{key} is not a list", key=key), node.line)
        return ()

    def channels(self, node: yaml.Node | None) -> Iterator[str]:
        for item in self.items(node, "channels"):
            text = item.text.strip() if isinstance(item, yaml.Scalar) else ""
            if not text or any(character.isspace() for character in text):
                self.wrong(
                    Text("this is not a channel"), item.line, want="a name such as conda-forge, or an address"
                )
            elif _TOKEN.search(text):  # THREATS C09: it would end up in the lock, and in messages
                self.wrong(
                    Text("the channel's address carries a password or token"), item.line,
                    hint=Text("write it without; give the whole address in TRAINLOAD_MIRRORS_CONDA"),
                )  # fmt: skip
            elif text == "nodefaults":
                self.nodefaults = True
            else:
                yield text

    def dependencies(self, node: yaml.Node | None) -> Iterator[str]:
        for item in self.items(node, "dependencies"):
            if isinstance(item, yaml.Mapping):
                self.section(item)
            elif not isinstance(item, yaml.Scalar) or item.is_null:
                self.wrong(Text("this is not a dependency"), item.line, want="a package such as numpy=1.26")
            elif spec := self.spec(item):
                yield spec

    def spec(self, item: yaml.Scalar) -> str | None:
        text = " ".join(item.text.split())
        if _PLACE.search(text):
            self.wrong(Text("packages by address or path are not taken"), item.line, got=_shown(text),
                       hint=Text("name the package and its channel: channel::name=version"))  # fmt: skip
        elif not _SPEC.fullmatch(text):
            self.wrong(Text("this is not a dependency"), item.line, got=_shown(text),
                       want="a package such as numpy=1.26 or conda-forge::numpy>=1.26")  # fmt: skip
        else:
            return text
        return None

    def section(self, node: yaml.Mapping) -> None:
        for key, value in node.pairs.items():
            if key != "pip":
                self.wrong(Text("there is no such section"), node.lines[key], got=key[:80], want="pip")
                continue
            for item in self.items(value, "pip"):
                if isinstance(item, yaml.Scalar) and not item.is_null:
                    # as in a requirements file, a comment of its own may follow in a quoted line
                    self.pip.extend((item.line, line) for _, line in logical_lines(item.text))
                else:
                    self.wrong(Text("this is not a requirement"), item.line, want="a line such as torch==2.9")

    def variables(self, node: yaml.Node | None) -> Iterator[tuple[str, str]]:
        if node is None or (isinstance(node, yaml.Scalar) and node.is_null):
            return
        if not isinstance(node, yaml.Mapping):
            self.wrong(Text("{key} is not a table", key="variables"), node.line)
            return
        for name, value in node.pairs.items():
            line = node.lines[name]
            if not isinstance(value, yaml.Scalar) or "\0" in value.text or not _VARIABLE.fullmatch(name):
                self.wrong(Text("this is not an environment variable"), line, got=name[:80], want="NAME: value")
            elif name in _OURS:
                self.wrong(Text("{name} is set by Trainload itself", name=name), line)
            else:
                yield name, value.text


def _shown(text: str) -> str:
    return _TOKEN.sub("://…@", text)[:80]
