"""From the paths that differ to what a user did: packages, code, other files, noise. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trainload.capture import conda, debian, python
from trainload.capture.model import Recognised
from trainload.capture.noise import is_made_by_installing, is_noise
from trainload.layers.tarread import MemberKind
from trainload.run.changed import Changed, Container, How

_MOST = 500
"""Files that are compared; more of them are no edits by hand."""
_VENV_SCRIPTS = ("opt/venv/bin/", "usr/local/bin/")


def look(container: Container) -> Recognised:
    """What the changes of ``container`` mean; what must be read for that is asked of it."""
    changes = container.changes()
    found = container.read(tuple(wanted(changes)))
    texts = {path: one.data for path, one in found.items() if one.data is not None}
    seen = recognise(changes, texts, container.workdir.strip("/"))
    workdir = container.workdir.strip("/")
    code = {path.removeprefix(f"{workdir}/"): how for path, how in _real(
        container, [(f"{workdir}/{path}", how) for path, how in seen.code])}  # fmt: skip
    return replace(seen, code=tuple(code.items()), elsewhere=_real(container, seen.elsewhere))


def wanted(changes: Sequence[Changed]) -> Iterable[str]:
    """Paths whose content tells what happened."""
    return (*python.wanted(changes), *debian.wanted(changes), *conda.wanted(changes))


def recognise(changes: Sequence[Changed], texts: Mapping[str, bytes], workdir: str) -> Recognised:
    """``texts``: the content of what :func:`wanted` asked for, as far as it is there; ``workdir``: as the paths."""
    leaves = _leaves(changes, workdir)
    system = debian.packages(leaves, texts)
    owned = debian.files(texts) | conda.files(leaves, texts)
    own = [change for change in leaves if change.path not in owned]
    dists = python.distributions(own, texts)
    installed = python.files(own, texts)
    removed = any(one.version is None or one.before is not None for one in dists)
    code: list[tuple[str, How]] = []
    elsewhere: list[tuple[str, How]] = []
    noise = 0
    for change in leaves:
        path = change.path
        inside = workdir and path.startswith(f"{workdir}/")
        if is_noise(path[len(workdir) + 1 :] if inside else path):
            noise += 1
        elif path in owned or path in installed or python.is_metadata(path):
            continue
        elif inside:
            code.append((path[len(workdir) + 1 :], change.how))
        elif (system and is_made_by_installing(path)) or (removed and _of_python(change)):
            noise += 1
        else:
            elsewhere.append((path, change.how))
    return Recognised(
        dists, system, tuple(code), tuple(elsewhere), noise, conda.packages(leaves), owned | installed
    )


def _real(container: Container, paths: Sequence[tuple[str, How]]) -> tuple[tuple[str, How], ...]:
    """``paths`` without folders, and without files that were only touched: engines name those, too."""
    there = [path for path, how in paths if how is not How.DELETED]
    if len(there) > _MOST:
        return tuple(paths)
    now = container.read(there)
    before = container.before([path for path, how in paths if how is How.CHANGED])
    return tuple(
        (path, how)
        for path, how in paths
        if how is How.DELETED
        or (path in now and now[path].kind is not MemberKind.DIRECTORY and now[path] != before.get(path))
    )


def _leaves(changes: Sequence[Changed], workdir: str) -> list[Changed]:
    """Without folders that are there only because something in them changed.

    Of the code, those stay in which everything was deleted: each may be a file now.
    """
    above: set[str] = set()
    for change in changes:
        if change.how is How.DELETED and change.path.startswith(f"{workdir}/"):
            continue
        parent = change.path.rpartition("/")[0]
        while parent and parent not in above:
            above.add(parent)
            parent = parent.rpartition("/")[0]
    above |= {workdir}
    return [change for change in changes if change.path not in above or change.how is How.DELETED]


def _of_python(change: Changed) -> bool:
    """What an uninstalled version took with it; its list of files is gone, too."""
    return change.how is How.DELETED and ("-packages/" in change.path or change.path.startswith(_VENV_SCRIPTS))
