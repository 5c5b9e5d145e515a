"""``mkdir``, ``ln -s``, ``chmod``, ``chown``, ``rm -rf`` of caches and ``echo … > file`` on a draft (coreutils)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from trainload.builder.dockerfile.placing.accounts import group_id, user_ids
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.dockerfile.steps import (
    ChangeMode,
    ChangeOwner,
    Clear,
    Edit,
    EditFile,
    Link,
    MakeFolder,
    Remove,
    WriteFile,
)
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.plan.placed import PlacedEntry
from trainload.values import replace

_CLAUSE = re.compile(r"(?P<who>[ugoa]*)(?P<changes>(?:[+=-][rwxX]+)+)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_UMASK = 0o022


def make_folder(step: MakeFolder, draft: Draft) -> None:
    path = step.path.strip("/")
    if step.parents:
        made = [part for part in path.split("/") if part]
        for count in range(1, len(made)):
            _folder("/".join(made[:count]), draft, None)
    elif draft.find(draft.parent(path)) is not None:
        raise Beyond(Text("{path}, which is there already", path=step.path))
    _folder(path, draft, step.mode)


def _folder(path: str, draft: Draft, mode: int | None) -> None:
    real = draft.real(path)
    found = draft.find(real)
    if found is None:
        draft.parent(real)
        above = draft.find(real.rpartition("/")[0])
        inherited = above is not None and above.mode & 0o2000
        bits, gid = (0o755 if mode is None else mode), 0
        if inherited and above is not None:
            bits, gid = bits | 0o2000, above.gid
        draft.put(PlacedEntry(real, "directory", bits, 0, gid))
    elif found.kind != "directory":
        raise Beyond(Text("{path}, which is there already", path=f"/{path}"))


def link(step: Link, draft: Draft) -> None:
    """Raises :class:`Beyond` where ``ln`` would fail, or a program is not found."""
    if step.finder:
        step = replace(step, target=_found(step, draft), finder="")
    path = step.path.strip("/")
    found = draft.find(draft.real(path))
    into = found is not None and found.kind == "directory"
    if into and step.not_into and (known := draft.find(draft.parent(path))) is not None and known.kind == "symlink":
        into = False
    if into:
        path = f"{path}/{posixpath.basename(step.target.rstrip('/'))}"
    real = draft.parent(path)
    there = draft.find(real)
    if there is not None and (not step.force or there.kind == "directory"):
        raise Beyond(Text("{path}, which is there already", path=f"/{path}"))
    draft.put(PlacedEntry(real, "symlink", 0o777, target=step.target))


def _found(step: Link, draft: Draft) -> str:
    """What ``which`` says: a path as ``PATH`` has it."""
    needed = "which" if step.finder == "which" else ""
    found = {name: search(name, step.search, draft) for name in (step.target, needed) if name}
    for name, path in found.items():
        if path is None:
            raise Beyond(Text("the image has no {program}", program=name))
    return found[step.target] or ""


def search(name: str, path: str, draft: Draft) -> str | None:
    """Where ``name`` is found in ``path``, which is a ``PATH``."""
    for folder in path.split(":"):
        if not folder.startswith("/"):
            raise Beyond(Text("the path {path}", path=path))
        here = f"{folder.rstrip('/')}/{name}"
        entry = draft.find(draft.real(here.strip("/")))
        if entry is not None and entry.kind == "file" and entry.mode & 0o111:
            return here
    return None


def change_mode(step: ChangeMode, draft: Draft) -> None:
    for path in step.paths:
        for name, entry in _each(path, draft, recursive=step.recursive):
            if entry.kind != "symlink":
                draft.look(name, mode=mode_of(step.mode, entry.mode, is_folder=entry.kind == "directory"))


def change_owner(step: ChangeOwner, draft: Draft) -> None:
    user, colon, group = step.owner.partition(":")
    uid, own = user_ids(user, draft) if user else (None, None)
    gid = group_id(group, draft) if group else own if colon and user else None
    for path in step.paths:
        for name, entry in _each(path, draft, recursive=step.recursive):
            draft.look(name, uid=uid, gid=gid)
            if entry.kind == "file" and entry.mode & 0o6000:
                raise Beyond(Text("{path}, whose mode chown changes", path=f"/{name}"))


def clear(step: Clear, draft: Draft) -> None:
    for folder in step.contents:
        real = draft.real(folder.strip("/"))
        if draft.find(real) is None:
            continue
        for name in draft.names(real):
            if not name.startswith("."):
                draft.remove(f"{real}/{name}")
    for folder in step.folders:
        if draft.find(draft.real(posixpath.dirname(folder))) is not None:
            here = draft.parent(folder)
            if draft.find(here) is not None:
                draft.remove(here)


def remove(step: Remove, draft: Draft) -> None:
    """Raises :class:`Beyond` where ``rm`` would fail."""
    for path in step.paths:
        if step.force and draft.find(draft.real(posixpath.dirname(path))) is None:
            continue
        here = draft.parent(path)
        found = draft.find(here)
        if found is None and not step.force:
            raise Beyond(Text("{path}, which is not there", path=path))
        if found is not None and found.kind == "directory" and not step.recursive:
            raise Beyond(Text("{path}, which is a {kind}", path=path, kind=found.kind))
        if found is not None:
            draft.remove(here)


def write_file(step: WriteFile, draft: Draft) -> None:
    real = draft.real(step.path.strip("/"))
    draft.parent(real)
    found = draft.find(real)
    if found is not None and found.kind != "file":
        raise Beyond(Text("{path}, which is there already", path=step.path))
    before = (draft.text(real) or "") if step.append and found is not None else ""
    draft.write(real, before + step.content)


def edit_file(step: EditFile, draft: Draft) -> None:
    """Raises :class:`Beyond` where ``sed -i`` would fail, or read other signs than we do."""
    if all(draft.find(draft.real(f"{folder}/sed")) is None for folder in ("usr/bin", "bin")):
        raise Beyond(Text("the image has no {program}", program="sed"))
    real = draft.parent(step.path)
    found, text = draft.find(real), draft.text(real)
    if found is None or found.kind != "file" or text is None:
        raise Beyond(Text("{path}, which is not there", path=step.path))
    if not text.isascii() or "\0" in text:
        raise Beyond(Text("{path}, whose signs depend on the locale", path=step.path))
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    for edit in step.edits:
        lines = [_edited(edit, line.removesuffix("\n")) + "\n" * line.endswith("\n") for line in lines]
    if "".join(lines) != text:
        draft.write(real, "".join(lines))


def _edited(edit: Edit, line: str) -> str:
    if edit.where is not None and not re.search(edit.where, line, re.DOTALL):
        return line
    return re.sub(edit.pattern, lambda _: edit.new, line, count=0 if edit.every else 1, flags=re.DOTALL)


def mode_of(mode: str, old: int, *, is_folder: bool) -> int:
    """What ``chmod`` makes of a mode; folders keep their set-id bits unless five digits are written."""
    if mode[0].isdigit():
        kept = old & 0o6000 if is_folder and len(mode.lstrip("0")) <= 3 else 0
        return int(mode, 8) | kept
    for clause in mode.split(","):
        match = _CLAUSE.fullmatch(clause)
        assert match is not None
        who = "ugo" if "a" in match["who"] else match["who"]
        for sign, letters in re.findall(r"([+=-])([rwxX]+)", match["changes"]):
            old = _apply(old, who, sign, letters, is_folder=is_folder)
    return old


def _apply(old: int, who: str, sign: str, letters: str, *, is_folder: bool) -> int:
    bits = (4 if "r" in letters else 0) | (2 if "w" in letters else 0)
    if "x" in letters or ("X" in letters and (is_folder or old & 0o111)):
        bits |= 1
    wanted = sum(bits << _SHIFT[one] for one in who or "ugo")
    masked = sum(7 << _SHIFT[one] for one in who or "ugo")
    if not who:
        wanted, masked = wanted & ~_UMASK, masked & ~_UMASK
    if sign == "+":
        return old | wanted
    if not is_folder:  # what is set anew has no set-id bits; folders keep theirs
        masked |= sum(bit for one, bit in (("u", 0o4000), ("g", 0o2000)) if one in (who or "ugo"))
    return old & ~wanted if sign == "-" else (old & ~masked) | wanted


def _each(path: str, draft: Draft, *, recursive: bool) -> Iterator[tuple[str, PlacedEntry]]:
    """What a path means, links followed; with ``-R`` everything below, links not followed."""
    top = draft.parent(path) if recursive else draft.real(path.strip("/"))
    found = draft.find(top)
    if found is None:
        raise Beyond(Text("{path}, which is not there", path=path))
    if recursive and found.kind == "symlink":
        raise Beyond(Text("{path}, which is a {kind}", path=path, kind=found.kind))
    waiting = [(top, found)]
    while waiting:
        name, entry = waiting.pop()
        yield name, entry
        if recursive and entry.kind == "directory":
            below = [(f"{name}/{one}" if name else one) for one in draft.names(name)]
            waiting += [(one, each) for one in below if (each := draft.find(one)) is not None]
