"""What runs when nothing else is said: the entry script, and why it is that one."""

from __future__ import annotations

import re

from trainload.errors import Text
from trainload.limits import KiB
from trainload.project.keys import COMMAND
from trainload.project.metadata import FILE, Metadata
from trainload.project.model import Chosen, Origin
from trainload.tree import EntryKind, Tree

_USUAL = ("train.py", "main.py", "__main__.py")
_GUARD = re.compile(rb"^if[ \t(]+__name__[ \t]*==[ \t]*['\"]__main__['\"]", re.MULTILINE)
_LARGEST = 256 * KiB
_MOST_SCRIPTS = 50
_ENTRY = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)", re.ASCII)

Found = tuple[Chosen[tuple[str, ...]], tuple[Text, ...]]


def find_command(tree: Tree, metadata: Metadata) -> Found:
    """The command and warnings. With no candidate, or several, Python's prompt and a warning that says so."""
    entries = list(tree.walk(lambda _: False))
    files = {entry.path for entry in entries if entry.kind is EntryKind.FILE and entry.path.endswith(".py")}
    for name in _USUAL[:2]:
        if name in files:
            return _script(name, Text("{file} is here", file=name))
    if metadata.scripts and len(metadata.scripts) == 1:
        return _entry_point(*next(iter(metadata.scripts.items())))
    if _USUAL[2] in files:
        return _script(_USUAL[2], Text("{file} is here", file=_USUAL[2]))
    packages = [
        entry.path for entry in entries
        if entry.kind is EntryKind.FOLDER and entry.path.isidentifier() and tree.find(f"{entry.path}/__main__.py")
    ]  # fmt: skip
    if len(packages) == 1:
        reason = Text("{file} is here", file=f"{packages[0]}/__main__.py")
        return Chosen(("python", "-m", packages[0]), Origin.DETECTED, reason), ()
    return _only_script(tree, files, packages, metadata)


def _only_script(tree: Tree, files: set[str], packages: list[str], metadata: Metadata) -> Found:
    scripts = sorted(files - {"setup.py", "conftest.py"})
    guarded = [
        name for name in scripts[:_MOST_SCRIPTS]
        if (entry := tree.find(name)) and entry.size <= _LARGEST and _GUARD.search(tree.read(name, limit=_LARGEST))
    ]  # fmt: skip
    if len(guarded) == 1:
        return _script(guarded[0], Text("{file} is the only script that asks for __main__", file=guarded[0]))
    if len(scripts) == 1:
        return _script(scripts[0], Text("{file} is the only script", file=scripts[0]))
    candidates = [*guarded, *(f"{name}/__main__.py" for name in packages), *(metadata.scripts or ())]
    prompt = Chosen(COMMAND.default, Origin.DEFAULT, Text("no script stands out, so Python's prompt"))
    if candidates:
        return prompt, (
            Text(
                'several scripts could be meant: {files}; set command = ["python", "…"]',
                files=", ".join(candidates),
            ),
        )
    return prompt, (Text('no script was found to run; set command = ["python", "…"]'),)


def _script(name: str, reason: Text) -> Found:
    return Chosen(("python", name), Origin.DETECTED, reason), ()


def _entry_point(name: str, value: str) -> Found:
    """The project is not installed but lies at the workdir, so the entry point is called as its script would."""
    match = _ENTRY.fullmatch(value.strip())
    if match is None:
        return Chosen(COMMAND.default, Origin.DEFAULT, Text("no script stands out, so Python's prompt")), (
            Text("project.scripts.{name} in {file} is not module:function", name=name, file=FILE),
        )
    call = f"import sys; from {match[1]} import {match[2].partition('.')[0]}; sys.exit({match[2]}())"
    reason = Text("{name} is the only entry of project.scripts in {file}", name=name, file=FILE)
    return Chosen(("python", "-c", call), Origin.DETECTED, reason), ()
