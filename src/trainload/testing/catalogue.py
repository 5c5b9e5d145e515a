"""What must be translated, found by reading the source; ``python -m trainload.testing.catalogue`` updates the .po.

A template is a literal: the first argument of ``Text`` and of every error (also by way of a function's
parameter), a hint, what is wanted, the label of a task, a help text or a verb's docstring under ``cli``, a
head of a table. Click's own texts are read from click's source.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import string
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from trainload.project.keys import KEYS

SOURCE = Path(__file__).parents[1]
PO = SOURCE / "locale" / "zh_CN" / "LC_MESSAGES" / "trainload.po"
MO = PO.with_suffix(".mo")

_LABELLED = {"Began": 1, "Ended": 1, "Task": 2}  # event → index of its label
_TRANSLATING = frozenset({"Text", "template", "tr", "translate", "text", "label"})


@dataclass(frozen=True, slots=True)
class Msgid:
    """A template; ``plural`` as gettext has it, for click's texts only."""

    text: str
    plural: str | None = None


def places(template: str) -> frozenset[str]:
    """The names of a template's places. Raises ValueError when it is not a template."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


@cache
def wanted() -> Mapping[Msgid, list[str]]:
    """Every msgid with the files that use it: paths below ``src/trainload``, or ``click``."""
    found: dict[Msgid, list[str]] = {}
    errors = error_classes()
    for path, nodes in _modules().items():
        if path.is_relative_to(SOURCE / "testing"):
            continue  # fakes speak to tests only
        name = path.relative_to(SOURCE).as_posix()
        for text in _templates(nodes, errors, cli=name.startswith("cli/")):
            found.setdefault(Msgid(text), []).append(name)
    for key in KEYS:
        found.setdefault(Msgid(key.kind.want), []).append("project/keys.py")
    for msgid in _of_click():
        found.setdefault(msgid, []).append("click")
    return found


def error_classes() -> frozenset[str]:
    """Names of all classes that derive from TrainloadError."""
    bases = {
        node.name: [_name(base) for base in node.bases]
        for nodes in _modules().values()
        for node in nodes
        if isinstance(node, ast.ClassDef)
    }
    known = {"TrainloadError"}
    while more := {name for name, parents in bases.items() if known & set(parents)} - known:
        known |= more
    return frozenset(known)


@cache
def _modules() -> Mapping[Path, tuple[ast.AST, ...]]:
    """Every module of the source with all its nodes: parsed and walked once, asked often."""
    return {
        path: tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8")))) for path in sorted(SOURCE.rglob("*.py"))
    }


def _templates(nodes: Sequence[ast.AST], errors: frozenset[str], *, cli: bool) -> Iterator[str]:
    yield from _through_functions(nodes, errors)
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from _of_call(node, errors, cli=cli)
        elif cli and isinstance(node, ast.FunctionDef) and any(_is_verb(d) for d in node.decorator_list):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield inspect.cleandoc(text)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            yield from _of_verbs(node.value) if _target(node) == "VERBS" else _of_table(node.value)
        elif isinstance(node, ast.ClassDef) and node.name == "How":
            yield from (v.value for s in node.body if isinstance(s, ast.Assign) for v in _literals(s.value))


def _of_call(call: ast.Call, errors: frozenset[str], *, cli: bool) -> Iterator[str]:
    name = _name(call.func)
    if call.args and (name in errors or name == "Text" or (cli and name in _TRANSLATING)):
        yield from (node.value for node in _literals(call.args[0]))
    if name in _LABELLED and len(call.args) > _LABELLED[name]:
        yield from (node.value for node in _literals(call.args[_LABELLED[name]]))
    if cli and name == "table" and call.args:
        yield from (node.value for node in _literals(call.args[0]))
    for keyword in call.keywords:
        if keyword.arg == "want":
            yield from (node.value for node in _literals(keyword.value) if " " in node.value)  # prose
        if keyword.arg == "hints" or (cli and keyword.arg in ("help", "epilog")):
            yield from (node.value for node in _literals(keyword.value))


def _of_table(table: ast.Dict) -> Iterator[str]:
    """A dictionary of templates: all its values are texts, and some have places."""
    each = [[literal.value for literal in _literals(value)] for value in table.values]
    texts = [text for given in each for text in given]
    if all(len(given) == 1 for given in each) and any(re.search(r"\{[a-z]+\}", text) for text in texts):
        yield from texts


def _through_functions(nodes: Sequence[ast.AST], errors: frozenset[str]) -> Iterator[str]:
    """Literals that reach a Text or an error by way of a function's parameter or a variable in it."""
    takers: dict[str, tuple[int, str]] = {}
    reaching = errors | {"Text"}
    for function in nodes:
        if not isinstance(function, ast.FunctionDef):
            continue
        parameters = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        for name in _reaching(function, reaching):
            if name in parameters:
                takers[function.name] = (parameters.index(name) - (parameters[0] in ("self", "cls")), name)
            else:
                yield from _assigned(function, name)
    for call in nodes if takers else ():
        if isinstance(call, ast.Call) and _name(call.func) in takers:
            index, name = takers[_name(call.func)]
            given = [*call.args[index : index + 1], *(k.value for k in call.keywords if k.arg == name)]
            yield from (literal.value for argument in given for literal in _literals(argument))


def _reaching(function: ast.FunctionDef, names: frozenset[str]) -> set[str]:
    """Variables that stand first in a call of one of ``names``, a Text or an error, in ``function``."""
    return {
        node.args[0].id
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and _name(node.func) in names
        and node.args
        and isinstance(node.args[0], ast.Name)
    }


def _assigned(function: ast.FunctionDef, name: str) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and _target(node) == name:
            yield from (literal.value for literal in _literals(node.value))


def _of_verbs(value: ast.Dict) -> Iterator[str]:
    """Section names and the second item of each verb's pair in ``cli/main.py``."""
    for section, verbs in zip(value.keys, value.values, strict=True):
        if section is not None:
            yield from (node.value for node in _literals(section))
        if isinstance(verbs, ast.Dict):
            for entry in verbs.values:
                if isinstance(entry, ast.Tuple):
                    yield from (node.value for node in _literals(entry.elts[1]))


@dataclass(frozen=True, slots=True)
class _Literal:
    value: str


def _literals(node: ast.expr) -> Iterator[_Literal]:
    """String constants of an expression: itself, both sides of a condition, the items of a list."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield _Literal(node.value)
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.List | ast.Tuple):
        for item in node.elts:
            yield from _literals(item)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    return _name(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def _is_verb(decorator: ast.expr) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return _name(function) in ("command", "group")


def _of_click() -> Iterator[Msgid]:
    spec = importlib.util.find_spec("click")
    assert spec is not None and spec.submodule_search_locations is not None
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or _name(node.func) not in ("_", "gettext", "ngettext"):
                continue
            texts = [literal.value for argument in node.args[:2] for literal in _literals(argument)]
            if texts:
                yield Msgid(*texts) if _name(node.func) == "ngettext" else Msgid(texts[0])


def faults(translations: Mapping[Msgid, str | tuple[str, ...]]) -> list[str]:
    """What is missing or wrong: one sentence per msgid."""
    found: list[str] = []
    for msgid, files in wanted().items():
        given = translations.get(msgid, "")
        sentences = (given,) if isinstance(given, str) else given
        if not all(sentences) or not sentences:
            found.append(f"{files[0]}: no translation of {msgid.text!r}")
        elif any(places(sentence) != places(msgid.plural or msgid.text) for sentence in sentences):
            found.append(f"{files[0]}: other places in the translation of {msgid.text!r}: {sentences}")
    return found


def read_po() -> dict[Msgid, str | tuple[str, ...]]:
    """The .po as msgid → translation."""
    from babel.messages.pofile import read_po as read

    with PO.open("rb") as file:
        catalog = read(file, locale="zh_CN")
    found: dict[Msgid, str | tuple[str, ...]] = {}
    for message in catalog:
        if message.id:
            msgid = Msgid(message.id) if isinstance(message.id, str) else Msgid(*message.id)
            given = message.string or ""
            found[msgid] = given if isinstance(given, str) else tuple(given)
    return found


def update() -> list[str]:
    """Rewrite the .po (what is gone goes, what is new comes empty) and compile it; what is still missing."""
    from babel.messages.catalog import Catalog
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import write_po

    known = read_po() if PO.exists() else {}
    day = datetime(2026, 1, 1, tzinfo=UTC)  # the same bytes on every day
    catalog = Catalog(
        locale="zh_CN", project="Trainload", domain="trainload", fuzzy=False, charset="utf-8",
        creation_date=day, revision_date=day,
    )  # fmt: skip
    for msgid, files in sorted(wanted().items(), key=lambda item: (item[1][0], item[0].text)):
        name = msgid.text if msgid.plural is None else (msgid.text, msgid.plural)
        # one place per message: a file that uses it; line numbers would change every day
        catalog.add(name, known.get(msgid, ""), locations=[(files[0], 0)])
    catalog.header_comment = "# Chinese (Simplified) texts of Trainload; ./dev texts keeps this file complete."
    with PO.open("wb") as file:
        write_po(file, catalog, width=116, include_lineno=False)
    text = re.sub(rb'"(?:POT-Creation-Date|PO-Revision-Date|Generated-By): .*\\n"\n', b"", PO.read_bytes())
    PO.write_bytes(text)
    with MO.open("wb") as file:
        write_mo(file, catalog)
    return faults(read_po())


if __name__ == "__main__":
    missing = update()
    sys.stderr.write("".join(f"{line}\n" for line in missing))
    sys.exit(1 if missing else 0)
