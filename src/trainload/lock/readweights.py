"""Reads ``[[tool.trainload.weights]]`` of a lock: files of hubs, addresses and the project, each by its sha256."""

from __future__ import annotations

from trainload.errors import Text
from trainload.lock.document import Table
from trainload.lock.grammar import COMMIT, HEX, INSIDE
from trainload.lock.model import File, HubPath, InProject, Location, Url, WeightFile, Weights
from trainload.project.weights import HubSource, LocalSource, Source, UrlSource, parse_source


def read_weights(own: Table) -> tuple[Weights, ...]:
    """Every entry, in order; what is wrong goes into the table's problems."""
    return tuple(found for table in own.tables("weights") if (found := read_entry(table)) is not None)


def read_entry(table: Table) -> Weights | None:
    """One entry; None where it cannot be understood, which its problems tell."""
    table.only(("source", "commit", "include", "exclude", "files"))
    text = table.text("source")
    source = parse_source(text, locked=True)
    if source is None:
        table.wrong("source", "has a wrong value", got=text[:200], want="hf://…, an address or a path")
        return None
    commit = table.text("commit", COMMIT, want="40 hexadecimal digits") if isinstance(source, HubSource) else ""
    files = tuple(sorted(_file(item, source, commit) for item in table.tables("files")))
    if not files:
        table.wrong("files", "names no file")
    paths = [one.path for one in files]
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        table.wrong("files", Text("names {file} twice", file=path))
    return Weights(text, files, commit, table.texts("include"), table.texts("exclude"))


def _file(table: Table, source: Source, commit: str) -> WeightFile:
    table.only(("path", "size", "sha256", "blob"))
    path = table.text("path", INSIDE, want="a path without . and ..")
    blob = table.optional_text("blob", COMMIT, want="40 hexadecimal digits") or ""
    file = File(
        name=path.rpartition("/")[2],
        sha256=table.text("sha256", HEX, want="64 hexadecimal digits"),
        size=table.optional_number("size"),
        location=location(source, commit, path),
    )
    return WeightFile(path, file, blob)


def location(source: Source, commit: str, path: str) -> Location:
    """Where the file ``path`` of an entry lies."""
    match source:
        case HubSource(kind, repository):
            return HubPath(kind, repository, commit, path)
        case UrlSource(url):
            return Url(url)
        case LocalSource():
            return InProject(path)
