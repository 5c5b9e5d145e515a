"""Projects of the folder itself that a line installs (``-e .``): what they require, where they are imported from.

Their files go into the image anyway, so nothing is built for them. What they require is read where it is written
down; what only running ``setup.py`` tells is refused, with what to write instead.
"""

from __future__ import annotations

import ast
import configparser
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from trainload.errors import ConfigError, Place, Text
from trainload.project.document import LIMIT, decode, read_toml, table_at
from trainload.project.model import OwnProject
from trainload.tree import EntryKind, Tree

_PATH = re.compile(r"(\.{1,2}|\.{0,2}/?[A-Za-z0-9_./-]*/[A-Za-z0-9_./-]*)(?:\[([A-Za-z0-9._, -]+)\])?", re.ASCII)
_EDITABLE = re.compile(r"([A-Za-z0-9_./-]+)(?:\[([A-Za-z0-9._, -]+)\])?", re.ASCII)
_ARCHIVES = (".whl", ".tar.gz", ".zip")


def own_project(text: str, folder: str, place: Place, *, editable: bool) -> OwnProject | None:
    """The project that ``text`` means in ``folder`` (relative to the tree); None: it means something else.

    Raises :class:`ConfigError` for one outside.
    """
    match = (_EDITABLE if editable else _PATH).fullmatch(text.strip())
    if match is None or match[1].endswith(_ARCHIVES):
        return None
    path = posixpath.normpath(posixpath.join(folder, match[1]))
    if path.startswith(("/", "..")):
        raise ConfigError(
            Text("a project that is installed must lie inside the folder that goes into the image"),
            place=place, got=text[:80],
            hints=[Text("copy it into the folder, or put a wheel of it into a find-links folder")],
        )  # fmt: skip
    extras = tuple(sorted(word.strip() for word in (match[2] or "").split(",") if word.strip()))
    return OwnProject("" if path == "." else path, extras)


def requirements_of(tree: Tree, project: OwnProject, place: Place) -> list[tuple[str, int, str]]:
    """(file, line, requirement) of each. Raises :class:`ConfigError` where they are not written down."""
    file, requires, extras, name = _requirements(tree, project, place)
    lines = decode(tree.read(file, limit=LIMIT), file).split("\n")

    def line_of(text: str) -> int:
        return next((number for number, line in enumerate(lines, 1) if text in line), 1)

    return [(file, line_of(text), text) for text in _chosen(name, requires, extras, project)]


def _requirements(
    tree: Tree, project: OwnProject, place: Place
) -> tuple[str, list[str], Mapping[str, Sequence[str]], str]:
    """The file, what it requires, that of its extras, and its name."""
    pyproject, setup_cfg, setup = (_file(project, name) for name in ("pyproject.toml", "setup.cfg", "setup.py"))
    present = [file for file in (pyproject, setup_cfg, setup) if tree.find(file) is not None]
    if not present:
        raise ConfigError(
            Text("{path} is no Python project", path=project.path or "."),
            place=place, want="pyproject.toml, setup.cfg or setup.py",
        )  # fmt: skip
    table = table_at(_toml(tree, pyproject), "project")
    dynamic = table.get("dynamic")
    if table and not {"dependencies", "optional-dependencies"} & set(dynamic if isinstance(dynamic, list) else ()):
        optional = table_at(table, "optional-dependencies")
        extras: Mapping[str, Sequence[str]] = {name: _strings(lines) for name, lines in optional.items()}
        return pyproject, _strings(table.get("dependencies")), extras, str(table.get("name", ""))
    found = _of_setup(tree, setup_cfg, setup)
    if found is None or table_at(_toml(tree, pyproject), "tool", "poetry"):
        raise ConfigError(
            Text("what the project in {path} requires is known only to its build", path=project.path or "."),
            place=place, want="dependencies in [project] of pyproject.toml, or install_requires as a plain list",
            hints=[
                Text("write what it requires into the pip section, and remove this line: its files go in anyway")
            ],
        )  # fmt: skip
    requires, extras = found
    return setup if tree.find(setup) is not None else setup_cfg, requires, extras, ""


def import_folder(tree: Tree, project: OwnProject) -> str:
    """Where its packages are imported from, relative to the tree: what ``-e`` writes into a ``.pth`` file."""
    tool = table_at(_toml(tree, _file(project, "pyproject.toml")), "tool", "setuptools")
    named = table_at(tool, "package-dir").get("")
    where = table_at(tool, "packages", "find").get("where")
    if isinstance(where, list) and len(where) == 1:
        named = named or where[0]
    if named is None:
        named = _package_dir(tree, _file(project, "setup.py"))
    if isinstance(named, str) and named.strip("./"):
        return posixpath.normpath(_file(project, named))
    src = _file(project, "src")
    entry = tree.find(src)
    if entry is None or entry.kind is not EntryKind.FOLDER or tree.find(f"{src}/__init__.py") is not None:
        return project.path
    inside = [item.path for item in tree.walk(lambda one: f"{src}/".startswith(f"{one.path}/"))]
    pattern = re.compile(rf"{re.escape(src)}/[A-Za-z_]\w*(\.py)?")
    return src if any(pattern.fullmatch(path) for path in inside) else project.path


def _file(project: OwnProject, name: str) -> str:
    return f"{project.path}/{name}" if project.path else name


def _toml(tree: Tree, file: str) -> Mapping[str, object]:
    return read_toml(tree, file) if tree.find(file) is not None else {}


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _chosen(
    name: str, requires: Sequence[str], extras: Mapping[str, Sequence[str]], project: OwnProject
) -> Iterator[str]:
    """With those of the extras; an extra may name others of the same project."""
    yield from requires
    known = {_normal(extra): lines for extra, lines in extras.items()}
    waiting, seen = [_normal(extra) for extra in project.extras], set[str]()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for line in known.get(extra, ()):
            more = re.match(r"([A-Za-z0-9._-]+)\s*\[([^\]]*)\]", line)
            if more is not None and name and _normal(more[1]) == _normal(name):
                waiting += [_normal(word) for word in more[2].split(",")]
            else:
                yield line


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


_Setup = tuple[list[str], dict[str, list[str]]]


def _of_setup(tree: Tree, setup_cfg: str, setup: str) -> _Setup | None:
    """What ``setup.py`` and ``setup.cfg`` have as plain values; None: something else decides."""
    if tree.find(setup_cfg) is None and tree.find(setup) is None:
        return None
    requires: list[str] | None = None
    extras: dict[str, list[str]] = {}
    if tree.find(setup_cfg) is not None:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(decode(tree.read(setup_cfg, limit=LIMIT), setup_cfg))
        except configparser.Error:
            return None
        text = parser.get("options", "install_requires", fallback=None)
        if text is not None:
            requires = _lines(text)
            if any(line.startswith("file:") for line in requires):
                return None
        if parser.has_section("options.extras_require"):
            extras = {name: _lines(text) for name, text in parser.items("options.extras_require")}
    call = _setup_call(tree, setup)
    if call is not None:
        if any(keyword.arg is None for keyword in call.keywords):
            return None
        said = {keyword.arg: keyword.value for keyword in call.keywords}
        try:
            if "install_requires" in said:
                requires = _listed(ast.literal_eval(said["install_requires"]))
            if "extras_require" in said:
                table = ast.literal_eval(said["extras_require"])
                extras = {str(name): _listed(lines) for name, lines in dict(table).items()}
        except (ValueError, TypeError):
            return None
    elif tree.find(setup) is not None:
        return None
    return requires or [], extras


def _listed(value: object) -> list[str]:
    """setuptools takes a list, a tuple, or lines of text. Raises :class:`TypeError`."""
    if isinstance(value, str):
        return _lines(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return list(value)
    raise TypeError(value)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def _setup_call(tree: Tree, setup: str) -> ast.Call | None:
    """The one call of ``setup`` in it."""
    if tree.find(setup) is None:
        return None
    try:
        module = ast.parse(decode(tree.read(setup, limit=LIMIT), setup))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = [
        node for node in ast.walk(module)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setup", "setuptools.setup")
    ]  # fmt: skip
    return calls[0] if len(calls) == 1 else None


def _package_dir(tree: Tree, setup: str) -> str | None:
    call = _setup_call(tree, setup)
    value = (
        next((one.value for one in call.keywords if one.arg == "package_dir"), None) if call is not None else None
    )
    try:
        found = ast.literal_eval(value) if value is not None else None
    except (ValueError, TypeError):
        return None
    folder = found.get("") if isinstance(found, dict) else None
    return folder if isinstance(folder, str) else None
