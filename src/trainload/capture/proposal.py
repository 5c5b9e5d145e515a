"""What is to be done in the project about what was recognised: a complete value before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trainload.capture import requirements
from trainload.capture.configuration import with_system
from trainload.capture.files import Sides, take
from trainload.capture.model import Edit, Proposal, Recognised, SystemPackage
from trainload.capture.secret import secret_name
from trainload.errors import ConfigError, Place, Text
from trainload.layers.tarread import MemberKind
from trainload.limits import MiB
from trainload.project.config import OWN, PYPROJECT, Sources
from trainload.project.document import LIMIT
from trainload.project.model import (
    CondaFile,
    CondaLockFile,
    DockerfileInput,
    NoDependencies,
    Project,
    PylockFile,
    PyprojectDependencies,
    RequirementFiles,
    UvLock,
)
from trainload.project.requirements import LIMIT as REQUIREMENTS_LIMIT
from trainload.project.requirements import Line, read_requirements
from trainload.project.secrets import looks_secret
from trainload.run.changed import LARGEST, Container, Found, How
from trainload.tree import Above, EntryKind, Tree

TAKEN = "captured"
"""Folder of the project for files that lie outside its working directory in the image."""
_REQUIREMENTS = "requirements.txt"


@dataclass(frozen=True, slots=True)
class Here:
    """The project as it is now."""

    tree: Tree
    project: Project
    sources: Sources
    environ: Mapping[str, str]
    above: Above
    """What git says of the folder from outside."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user says about it."""

    pin: bool = True
    """``==`` instead of ``>=``."""
    skip: frozenset[str] = frozenset()
    """Packages by name, files by path, that are left as they are."""
    take: tuple[str, ...] = ()
    """Absolute paths outside the working directory that are copied into the project."""


def propose(found: Recognised, container: Container, here: Here, choice: Choice) -> Proposal:
    """Raises :class:`ConfigError` for a project whose files cannot be changed so."""
    found = _without(found, choice.skip)
    system = _system(found.system, here)
    python = _python(found, here, choice)
    code = _code(found, container, here, {edit.path for edit in (*system.edits, *python.edits)})
    return Proposal(
        edits=(*python.edits, *system.edits, *code.edits, *_taken(choice.take, container, here)),
        commands=python.commands,
        notes=(*python.notes, *system.notes, *_conda(found)),
        conflicts=code.conflicts,
        left_out=code.left_out,
    )


def _without(found: Recognised, skip: frozenset[str]) -> Recognised:
    return replace(
        found,
        python=tuple(one for one in found.python if one.name not in skip),
        system=tuple(one for one in found.system if one.name not in skip),
        code=tuple((path, how) for path, how in found.code if path not in skip),
    )


def _text(here: Here, file: str, limit: int = LIMIT) -> str:
    """A file's text with its own line ends, empty when it is not there."""
    return here.tree.read(file, limit=limit).decode("utf-8") if here.tree.find(file) else ""


def _edit(here: Here, file: str, new: str) -> tuple[Edit, ...]:
    old = _here(here.tree, [file]).get(file)
    data = new.encode()
    if old is not None and old.data == data:
        return ()
    return (Edit(file, old, Found(MemberKind.FILE, 0o644 if old is None else old.mode, len(data), data)),)


def _system(packages: Sequence[SystemPackage], here: Here) -> Proposal:
    now = here.project.settings.system.value
    add = [one.name for one in packages if one.how is How.ADDED and one.asked and one.name not in now]
    gone = [one.name for one in packages if one.how is How.DELETED]
    remove = [name for name in gone if name in now]
    notes = [
        Text("{name} was removed, and comes back with the base image", name=name)
        for name in gone
        if name not in now
    ]
    newer = [one.name for one in packages if one.how is How.CHANGED]
    if newer:
        command = f"trainload lock --upgrade {newer[0]}"
        notes.append(Text("upgraded: {names}; the lock decides their versions: {command}", names=", ".join(newer),
                          command=command))  # fmt: skip
    if not add and not remove:
        return Proposal(notes=tuple(notes))
    file = here.sources.file or (PYPROJECT if here.tree.find(PYPROJECT) else OWN)
    text = with_system(_text(here, file), "" if file == OWN else "tool.trainload", add, remove)
    return Proposal(_edit(here, file, text), notes=tuple(notes))


def _conda(found: Recognised) -> Iterable[Text]:
    added = [name for name, how in found.conda if how is How.ADDED]
    gone = [name for name, how in found.conda if how is How.DELETED]
    if added:
        yield Text("conda installed {names}: what you asked for of it belongs into environment.yml",
                   names=", ".join(added))  # fmt: skip
    if gone:
        yield Text("conda removed {names}", names=", ".join(gone))


def _python(found: Recognised, here: Here, choice: Choice) -> Proposal:
    asked, notes = requirements.wanted(found.python, pin=choice.pin)
    dependencies = here.project.settings.dependencies.value
    if not asked.set and not asked.removed:
        return Proposal(notes=notes)
    match dependencies:
        case RequirementFiles():
            edits, more = _in_files(asked, dependencies, here)
            return Proposal(edits, notes=(*notes, *more))
        case PyprojectDependencies():
            text = _text(here, PYPROJECT)
            return Proposal(_edit(here, PYPROJECT, requirements.in_pyproject(text, asked)), notes=notes)
        case UvLock():
            return Proposal(commands=tuple(_uv(asked)), notes=notes)
        case PylockFile() | CondaLockFile():
            template = "{file} decides the packages: the tool that made it has to change it"
            return Proposal(notes=(*notes, Text(template, file=dependencies.path)))
        case DockerfileInput():
            return Proposal(notes=(*notes, Text("{file} says what goes in: add it there", file=dependencies.path)))
        case CondaFile():
            lines = ", ".join(f"{name}{value}" for name, value in sorted(asked.set.items()))
            note = Text("write it into the pip section of {file}: {lines}", file=dependencies.path, lines=lines)
            return Proposal(notes=(*notes, *((note,) if lines else ())))
        case NoDependencies():
            text = requirements.added(_text(here, _REQUIREMENTS, REQUIREMENTS_LIMIT), asked.set)
            return Proposal(_edit(here, _REQUIREMENTS, text), notes=notes)


def _uv(asked: requirements.Wanted) -> Iterable[str]:
    import shlex

    if asked.set:
        yield shlex.join(["uv", "add", *(f"{name}{value}" for name, value in sorted(asked.set.items()))])
    if asked.removed:
        yield shlex.join(["uv", "remove", *sorted(asked.removed)])


def _in_files(
    asked: requirements.Wanted, dependencies: RequirementFiles, here: Here
) -> tuple[tuple[Edit, ...], list[Text]]:
    """Where a package is named already, there; else at the end of the first file."""
    read = read_requirements(here.tree, dependencies.files, here.environ, allow_index_options=True)
    places: dict[str, Line] = {}
    notes: list[Text] = []
    for line in read.lines:
        for name in requirements.names([line.text.partition(" --hash")[0]]) & (asked.set.keys() | asked.removed):
            if line.constraint:
                text = "{name} is bounded in {file}, line {number}, too: {line}"
                notes.append(Text(text, name=name, file=line.file, number=line.number, line=line.text))
            elif name not in places:
                places[name] = line
    notes += [
        Text("{name} was removed, but the project does not name it: another package needs it", name=name)
        for name in sorted(asked.removed - places.keys())
    ]
    first = dependencies.files[0]
    edits: list[Edit] = []
    for file in dict.fromkeys([first, *(line.file for line in places.values())]):
        mine = {name: line.number for name, line in places.items() if line.file == file}
        here_too = {
            name: value
            for name, value in asked.set.items()
            if name in mine or (file == first and name not in places)
        }
        part = requirements.Wanted(here_too, asked.removed & mine.keys())
        text = _text(here, file, REQUIREMENTS_LIMIT)
        edits += _edit(here, file, requirements.in_file(text, part, file, mine))
    return tuple(edits), notes


def _code(found: Recognised, container: Container, here: Here, written: set[str]) -> Proposal:
    """``written``: files that are changed for another reason; the container's own version of them is not taken."""
    code = [(path, how) for path, how in found.code if path not in written]
    code += [(path, How.DELETED) for path in (*_in_the_way(code, here.tree), *_below(code, container, here.tree))]
    start = container.workdir.strip("/")
    inside = {f"{start}/{path}": path for path, _ in code}
    now = {inside[path]: one for path, one in container.read(tuple(inside)).items()}
    before = {inside[path]: one for path, one in container.before(tuple(inside)).items()}
    sides = Sides(now, before, _here(here.tree, [path for path, _ in code]))
    taken = take(code, sides, here.tree, here.project, here.above)
    return Proposal(taken.edits, conflicts=taken.conflicts, left_out=taken.left_out)


def _in_the_way(code: Sequence[tuple[str, How]], tree: Tree) -> list[str]:
    """Files of the project where the container has folders now: no engine names what a folder replaced."""
    known = {path for path, _ in code}
    above: dict[str, None] = {}
    for path, how in code:
        parts = path.split("/")[:-1] if how is not How.DELETED else ()
        above |= dict.fromkeys("/".join(parts[: count + 1]) for count in range(len(parts)))
    found = ((path, tree.find(path)) for path in above if path not in known)
    return [path for path, entry in found if entry is not None and entry.kind in (EntryKind.FILE, EntryKind.LINK)]


def _below(code: Sequence[tuple[str, How]], container: Container, tree: Tree) -> list[str]:
    """The project's files in folders that are gone, or are files now: engines name the folder alone."""
    folders = {
        path for path, _ in code if (entry := tree.find(path)) is not None and entry.kind is EntryKind.FOLDER
    }
    start = container.workdir.strip("/")
    now = container.read([f"{start}/{path}" for path in folders])
    gone = {
        path for path in folders
        if (one := now.get(f"{start}/{path}")) is None or one.kind is not MemberKind.DIRECTORY
    }  # fmt: skip
    if not gone:
        return []
    known = {path for path, _ in code}
    tops = {path.partition("/")[0] for path in gone}
    found = (
        entry.path for entry in tree.walk(lambda entry: entry.path.partition("/")[0] in tops)
        if entry.kind in (EntryKind.FILE, EntryKind.LINK)
    )  # fmt: skip
    return [path for path in found if path not in known and any(path.startswith(f"{folder}/") for folder in gone)]


def _taken(paths: Sequence[str], container: Container, here: Here) -> tuple[Edit, ...]:
    edits: list[Edit] = []
    found = container.read([path.strip("/") for path in paths])
    for path in paths:
        one = found.get(path.strip("/"))
        if one is None or one.kind is not MemberKind.FILE or one.data is None or ".." in path.split("/"):
            raise ConfigError(
                Text("this is no file of the container that can be taken"), place=Place(path),
                want=f"a regular file of at most {LARGEST // MiB} MiB",
            )  # fmt: skip
        kind = secret_name(path.strip("/")) or looks_secret(one.data)
        if kind is not None:
            raise ConfigError(
                Text("this looks like a secret, which is never captured"), place=Place(path), got=kind
            )
        name = f"{TAKEN}/{path.strip('/')}"
        new = replace(one, mode=0o755 if one.mode & 0o100 else 0o644)
        old = _here(here.tree, [name]).get(name)
        if old != new:
            edits.append(Edit(name, old, new))
    return tuple(edits)


def _here(tree: Tree, paths: Iterable[str]) -> dict[str, Found]:
    """What the project has at ``paths``."""
    found: dict[str, Found] = {}
    for path in paths:
        entry = tree.find(path)
        if entry is None or entry.kind is EntryKind.OTHER:
            continue
        if entry.kind is EntryKind.LINK:
            found[path] = Found(MemberKind.SYMLINK, 0o777, target=entry.target or "")
        elif entry.kind is EntryKind.FOLDER:
            found[path] = Found(MemberKind.DIRECTORY, 0o755)
        else:
            data = tree.read(path, limit=LARGEST) if entry.size <= LARGEST else None
            mode = 0o755 if entry.mode & 0o100 else 0o644
            found[path] = Found(MemberKind.FILE, mode, entry.size, data)
    return found
