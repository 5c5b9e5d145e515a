"""Weights that a line fetches: ``python -c "…from_pretrained('x')"`` and the hub's own program."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Sequence

from trainload.dockerfile.steps import FetchWeights, PlacedStep
from trainload.dockerfile.understand.options import Table, read
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.values import replace

_PYTHON = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?python(?:3(?:\.[0-9]{1,2})?)?")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_DOWNLOAD = Table(
    flags={"--quiet": "plain", "--no-quiet": "plain", "--resume-download": "plain"},
    valued={
        "--revision": "revision", "--local-dir": "folder", "--repo-type": "kind",
        "--local-dir-use-symlinks": "plain", "--max-workers": "plain", "--include": "include",
        "--exclude": "exclude",
    },
)  # fmt: skip
_MODULES = ("transformers", "diffusers", "sentence_transformers", "huggingface_hub")


def is_download(words: Sequence[str]) -> bool:
    """Whether this fetches from the hub, or runs Python that may."""
    return tuple(words[:2]) in (("huggingface-cli", "download"), ("hf", "download")) or _is_python(words)


def read_download(words: Sequence[str], workdir: str) -> tuple[PlacedStep, ...]:
    """Raises :class:`Beyond`."""
    if _is_python(words):
        return _program(words[0], words[2])
    options = read(words[0], words[2:], _DOWNLOAD)
    repository, *files = options.rest or [""]
    kind, folder = options.one("kind") or "model", options.one("folder")
    if not _REPOSITORY.fullmatch(repository) or kind not in ("model", "dataset"):
        raise Beyond(Text("{command}", command=" ".join(words[:3])))
    include, exclude = options.all("include"), options.all("exclude")
    if (files and (include or exclude)) or any(set(name) & set("*?[") for name in files):
        raise Beyond(Text("{command}", command=" ".join(words[:3])))
    where = posixpath.normpath(posixpath.join(workdir, folder)) if folder is not None else None
    revision = options.one("revision")
    return (FetchWeights(repository, (words[0],), (), revision, (*files, *include), where, kind, exclude),)


def _is_python(words: Sequence[str]) -> bool:
    return len(words) == 3 and _PYTHON.fullmatch(words[0]) is not None and words[1] == "-c"


def _program(python: str, source: str) -> tuple[PlacedStep, ...]:
    """Imports of loaders and calls of ``from_pretrained`` with literal arguments; nothing else may stand there."""
    try:
        tree = ast.parse(source.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Beyond(Text("a Python program")) from None
    loaders: set[str] = set()
    found: list[FetchWeights] = []
    for statement in tree.body:
        match statement:
            case ast.ImportFrom(module=module, names=names, level=0) if module in _MODULES:
                if any(alias.asname for alias in names):
                    raise Beyond(Text("a Python program"))
                loaders |= {alias.name for alias in names}
            case ast.Expr(value=ast.Call() as call) | ast.Assign(value=ast.Call() as call):
                found.append(_call(call, loaders, python))
            case _:
                raise Beyond(Text("a Python program"))
    if not found:
        raise Beyond(Text("a Python program"))
    return tuple(_joined(found))


def _joined(steps: Sequence[FetchWeights]) -> Iterator[FetchWeights]:
    """The loaders of one repository together."""
    for first in {(step.repository, step.revision): step for step in reversed(steps)}.values():
        same = [step for step in steps if (step.repository, step.revision) == (first.repository, first.revision)]
        loaders = tuple(dict.fromkeys(loader for step in same for loader in step.loaders))
        yield replace(first, loaders=loaders if all(step.loaders for step in same) else ())


def _call(call: ast.Call, loaders: set[str], python: str) -> FetchWeights:
    """One loader with one repository."""
    match call:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=loader), attr="from_pretrained"),
            args=[ast.Constant(value=str(repository))],
        ):
            taken: tuple[str, ...] = (loader,)
        case ast.Call(
            func=ast.Name(id="SentenceTransformer" | "snapshot_download" as loader),
            args=[ast.Constant(value=str(repository))],
        ):
            taken = (loader,) if loader == "SentenceTransformer" else ()
        case _:
            raise Beyond(Text("a Python program"))
    if loader not in loaders or not _REPOSITORY.fullmatch(repository):
        raise Beyond(Text("a Python program"))
    return FetchWeights(repository, (python,), taken, _revision(call))


def _revision(call: ast.Call) -> str | None:
    match call.keywords:
        case []:
            return None
        case [ast.keyword(arg="revision", value=ast.Constant(value=str(revision)))]:
            return revision
    raise Beyond(Text("a Python program"))
