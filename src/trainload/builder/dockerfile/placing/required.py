"""Requirements files of an image: names of packages, and where to look (pip: Requirements File Format)."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainload import nesting
from trainload.builder.dockerfile.ground import Ground
from trainload.charset import as_pip_reads
from trainload.dockerfile.installs import Project
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understand.pip import check_requirement, project_of
from trainload.errors import Text
from trainload.project.requirements import logical_lines

_ADDRESS = re.compile(r"https?://[^\s@]+")
_HASH = re.compile(r"\s--hash(?:=|\s+)(\S+)")
_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(slots=True)
class Read:
    """What requirements files say together."""

    workdir: str = "/"
    texts: tuple[str, ...] = ()
    """The requirements of each, with those of the files it includes; hashes left out."""
    index: str | None = None
    extra_indexes: list[str] = field(default_factory=list)
    find_links: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    no_index: bool = False
    prereleases: bool = False
    hashes: dict[str, set[str]] = field(default_factory=dict)
    """Project → sha256 that its file may have."""
    needs_hashes: bool = False
    """Every file has to be among ``hashes`` (pip: hash-checking mode)."""
    projects: list[Project] = field(default_factory=list)
    included: list[str] = field(default_factory=list)
    """Files of bounds that a file names (``-c``)."""
    is_uv: bool = False
    """Who reads them takes a ``pyproject.toml``, too."""


def read_files(paths: Sequence[str], ground: Ground, workdir: str = "/", *, is_uv: bool = False) -> Read:
    """Files that lie below; ``workdir``: where folders begin that they name.

    Raises :class:`Beyond` for more than requirements and where to look for them.
    """
    found = Read(workdir, is_uv=is_uv)
    found.texts = tuple("\n".join(_lines(path, ground, (), found)) for path in paths)
    if found.needs_hashes:
        _check_hashes(found)
    return found


def _option(line: str, folder: str, found: Read) -> bool:
    """An option of a whole file (pip: Requirements File Format § Global options)."""
    match = re.fullmatch(r"(--?[a-z-]+)(?:[ =]+(\S+))?", line)
    match match.groups() if match else ():
        case ("--no-index", None):
            found.no_index = True
        case ("--pre", None):
            found.prereleases = True
        case ("--require-hashes", None):
            found.needs_hashes = True
        case ("--prefer-binary", None):
            pass
        case ("--trusted-host", str(host)):
            found.trusted.append(host)
        case ("-i" | "--index-url", str(address)) if _ADDRESS.fullmatch(address):
            found.index = address
        case ("--extra-index-url", str(address)) if _ADDRESS.fullmatch(address):
            found.extra_indexes.append(address)
        case ("-f" | "--find-links", str(link)) if _ADDRESS.fullmatch(link) or link.startswith("/"):
            found.find_links.append(link)
        case ("-c" | "--constraint", str(file)) if "://" not in file:
            found.included.append(posixpath.normpath(f"{folder}/{file}"))
        case _:
            return False
    return True


def _lines(path: str, ground: Ground, above: tuple[str, ...], found: Read) -> list[str]:
    data = ground.read(path)
    if data is None or path in above:
        raise Beyond(Text("the file {path}, which is not there", path=path))
    folder, _, name = path.rpartition("/")
    if found.is_uv and name == "pyproject.toml":
        return _dependencies(path, data)
    lines = []
    text = as_pip_reads(data)
    if text is None:
        raise Beyond(Text("the file {path}, which is not UTF-8", path=path))
    for _, line in logical_lines(text):
        include = re.fullmatch(r"(?:-r|--requirement)[ =]*(\S+)", line)
        if include is not None and "://" not in include[1]:
            lines += _lines(f"{folder}/{include[1]}", ground, (*above, path), found)
        elif line.startswith("-") and _option(line, folder, found):
            continue
        else:
            lines += _requirement(path, line, found)
    return lines


def _dependencies(path: str, data: bytes) -> list[str]:
    """What a project says it needs (uv: requirements.in, setup.py and pyproject.toml may be sources)."""
    text = data.decode("utf-8", "replace")
    try:
        if nesting.too_deep_toml(text):
            raise ValueError
        document = tomllib.loads(text)
        project, sources = document["project"], document.get("tool", {}).get("uv", {}).get("sources")
        lines = [str(line) for line in project.get("dependencies", [])]
        dynamic = "dependencies" in project.get("dynamic", [])
    except (ValueError, LookupError, AttributeError, TypeError):
        raise Beyond(Text("{path}, which is not as usual", path=path)) from None
    if dynamic or sources:
        raise Beyond(Text("{path}, whose dependencies are not all in it", path=path))
    for line in lines:
        check_requirement(line)
    return lines


def _requirement(path: str, line: str, found: Read) -> list[str]:
    """A line that names a package, without its hashes."""
    wrong = Beyond(Text("{path} has {line}", path=path, line=line))
    bare = _HASH.sub("", line).strip()
    project = re.fullmatch(r"(?:(-e|--editable)[ =]+)?([./]\S*)", bare)
    if project is not None:
        found.projects.append(project_of(project[2], found.workdir, editable=project[1] is not None))
        return []
    if bare.startswith("-") or " --" in bare or "${" in bare:
        raise wrong
    try:
        check_requirement(bare)
    except Beyond:
        raise wrong from None
    given = [_SHA256.fullmatch(text) for text in _HASH.findall(line)]
    if given:
        if not any(given):
            raise wrong
        found.needs_hashes = True
        known = found.hashes.setdefault(name_of(bare), set())
        known.update(match[1].lower() for match in given if match is not None)
    return [bare]


def _check_hashes(found: Read) -> None:
    """pip takes only versions that are pinned, each with a hash."""
    for line in "\n".join(found.texts).splitlines():
        if name_of(line) not in found.hashes or ("==" not in line and "://" not in line):
            raise Beyond(Text("{line}, which has no hash where others have one", line=line))


def name_of(line: str) -> str:
    """The project that a requirement names, normalised (PEP 503)."""
    if "://" in line and "@" not in line.partition("://")[0]:
        line = line.partition("#")[0].rpartition("/")[2].partition("-")[0]
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", line.strip(), maxsplit=1)[0]).lower()
