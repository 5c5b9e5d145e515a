"""Requirements files, as far as pip and uv agree on them; what is not bytes by hash is refused (THREATS F08).

The format: https://pip.pypa.io/en/stable/reference/requirements-file-format/. Trainload reads it to know which
files and options decide the lock, and to refuse what cannot be carried elsewhere; uv resolves it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from trainload import nesting
from trainload.errors import ConfigError, Place, Problems, Text, TrainloadError
from trainload.limits import MiB
from trainload.project.document import decode
from trainload.project.model import GitRequirement, OwnProject
from trainload.project.own import own_project, requirements_of
from trainload.project.vcs import git_requirement
from trainload.tree import Tree
from trainload.values import dataclass, field

LIMIT = 4 * MiB
"""Bytes of one requirements file; 10^4 locked packages with hashes are about 2 MB."""
MOST_FILES = 100
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_COMMENT = re.compile(r"(?:^|[ \t])#.*$")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PLAIN = re.compile(
    rf"{_NAME}[ \t]*(?:\[[A-Za-z0-9._, \t-]*\])?[ \t]*"
    r"(?:\([^()]*\)|(?:(?:===|[=<>!~]=|[<>])[ \t]*[A-Za-z0-9.*+!_-]+[ \t]*(?:,[ \t]*|$))*)[ \t]*",
    re.ASCII,
)
_OPTION = re.compile(r"(--[a-z][a-z-]*|-[a-z])(?:[ \t]*=[ \t]*|[ \t]+|(?<=^-[a-z])|$)(.*)", re.ASCII)
_HASH = re.compile(r"[ \t]--hash(?:=|[ \t]+)(\S+)")
_PER_REQUIREMENT = re.compile(r"[ \t](--[a-z-]+)")
_INDEX = {"-i", "--index-url", "--pypi-url", "--extra-index-url", "--no-index", "--trusted-host"}
_HARMLESS = {"--pre", "--prefer-binary", "--require-hashes", "--only-binary"}


@dataclass(frozen=True, slots=True)
class Line:
    """One requirement or option, continued lines joined, without its comment."""

    file: str
    number: int
    text: str
    constraint: bool


@dataclass(slots=True)
class Requirements:
    """What some requirements files say together."""

    lines: list[Line] = field(default_factory=list)
    included: list[str] = field(default_factory=list)
    find_links: list[str] = field(default_factory=list)
    index_options: list[str] = field(default_factory=list)
    projects: list[OwnProject] = field(default_factory=list)
    """Of the folder itself; what they require is among ``lines``."""
    repositories: list[GitRequirement] = field(default_factory=list)


def read_requirements(
    tree: Tree, files: tuple[str, ...], environ: Mapping[str, str], *, allow_index_options: bool = False
) -> Requirements:
    """``files`` and all they include. Raises :class:`ConfigError`, every mistake at once with file and line."""
    reader = _Reader(tree, environ, allow_index_options)
    for file in files:
        reader.read(file, constraint=False)
    reader.problems.check()
    reader.found.included = sorted(set(reader.found.included) - set(files))
    return reader.found


def read_lines(
    tree: Tree,
    file: str,
    lines: Sequence[tuple[int, str]],
    environ: Mapping[str, str],
    *,
    allow_index_options: bool = False,
) -> Requirements:
    """As :func:`read_requirements`, of lines (number and text) that stand in another kind of ``file``.

    They are installed in its folder: projects inside (``-e .``) and repositories of git count, too.
    """
    reader = _Reader(tree, environ, allow_index_options, installing=posixpath.dirname(file))
    for number, text in lines:
        try:
            for included, constraint in reader.line(Line(file, number, text, constraint=False)):
                reader.read(included, constraint=constraint, named=Place(file, line=number))
        except ConfigError as error:
            reader.problems.add(error)
    reader.problems.check()
    reader.found.included = sorted(set(reader.found.included))
    return reader.found


@dataclass(slots=True)
class _Reader:
    tree: Tree
    environ: Mapping[str, str]
    allow_index_options: bool
    found: Requirements = field(default_factory=Requirements)
    problems: Problems = field(default_factory=Problems)
    seen: set[tuple[str, bool]] = field(default_factory=set)
    installing: str | None = None
    """The folder in which the lines are installed; None: only what an index has counts."""

    def read(self, root: str, *, constraint: bool, named: Place | None = None) -> None:
        """``named``: where another kind of file names it."""
        waiting = [(root, constraint, named or Place(root))]
        while waiting:
            file, constraint, place = waiting.pop(0)
            if (file, constraint) in self.seen:
                continue
            self.seen.add((file, constraint))
            if len(self.seen) > MOST_FILES:
                self.problems.add(
                    ConfigError(
                        Text("requirements files include too many others"),
                        place=Place(root), want=f"at most {MOST_FILES}",
                    )
                )  # fmt: skip
                return
            try:
                text = decode(self.tree.read(file, limit=LIMIT), file)
            except TrainloadError as error:
                if error.place == Place(file) and place.file != file and not self.tree.find(file):
                    error = ConfigError(Text("{file} does not exist", file=file), place=place)
                self.problems.add(error)
                continue
            for number, logical in logical_lines(text):
                try:
                    line = Line(file, number, logical, constraint)
                    waiting.extend((*found, Place(file, line=number)) for found in self.line(line))
                except ConfigError as error:
                    self.problems.add(error)

    def line(self, line: Line) -> Iterator[tuple[str, bool]]:
        line = Line(line.file, line.number, self.expanded(line), line.constraint)
        if line.text.startswith("-"):
            return iter(self.option(line))
        if self.beyond_an_index(line, line.text, editable=False):
            return iter(())
        check_requirement(line.text, Place(line.file, line=line.number))
        self.found.lines.append(line)
        return iter(())

    def beyond_an_index(self, line: Line, text: str, *, editable: bool) -> bool:
        """Whether ``text`` is a project of the folder or a repository, which are taken then."""
        if self.installing is None or line.constraint:
            return False
        place = Place(line.file, line=line.number)
        repository = git_requirement(text, place)
        if repository is not None:
            self.found.repositories.append(repository)
            return True
        project = own_project(text, self.installing, place, editable=editable)
        if project is None or project in self.found.projects:
            return project is not None
        self.found.projects.append(project)
        for file, number, requirement in requirements_of(self.tree, project, place):
            one = Line(file, number, requirement, constraint=False)
            if not self.beyond_an_index(one, requirement, editable=False):
                check_requirement(requirement, Place(file, line=number))
                self.found.lines.append(one)
        return True

    def expanded(self, line: Line) -> str:
        names: list[str] = _VARIABLE.findall(line.text)
        if names and not line.text.startswith("-") and "://" not in line.text:
            raise ConfigError(
                Text("variables are filled in only in URLs and options, as uv does it"),
                place=Place(line.file, line=line.number),
                got=f"${{{names[0]}}}",
            )
        missing = [name for name in names if name not in self.environ]
        if missing:
            raise ConfigError(
                Text("the environment variable {name} is not set", name=missing[0]),
                place=Place(line.file, line=line.number),
            )
        return _VARIABLE.sub(lambda match: self.environ[match[1]], line.text)

    def option(self, line: Line) -> list[tuple[str, bool]]:
        place = Place(line.file, line=line.number)
        match = _OPTION.fullmatch(line.text)
        name, value = (match[1], match[2].strip().strip("\"'")) if match else (line.text, "")
        if name in ("-r", "--requirement", "-c", "--constraint"):
            file = beside(line.file, value, place)
            self.found.included.append(file)
            return [(file, line.constraint or name in ("-c", "--constraint"))]
        if name in ("-f", "--find-links"):
            self.found.find_links.append(folder_beside(line.file, value, place))
        elif name in _INDEX:
            self.index_option(name, value, place)
        elif name in ("-e", "--editable"):
            if self.beyond_an_index(line, value, editable=True):
                return []
            raise _editable(value, place)
        elif name == "--no-binary":
            raise ConfigError(
                Text("what has a wheel is not built: that would run its code on this machine while locking"),
                place=place,
                got=f"{name} {value}"[:80],
                hints=[Text("remove the line; a package that has only its source is built in the sandbox anyway")],
            )
        elif name in _HARMLESS:
            self.found.lines.append(line)
        else:
            raise ConfigError(Text("this option is not understood"), place=place, got=name)
        return []

    def index_option(self, name: str, value: str, place: Place) -> None:
        if not self.allow_index_options:
            raise ConfigError(
                Text("a requirements file may not choose the package index: whoever owns it chooses the packages"),
                place=place,
                got=name,
                hints=[
                    Text("set index or extra-index in [tool.trainload] and remove the line"),
                    Text("or set allow-index-options = true"),
                ],
            )
        self.found.index_options.append(f"{name} {value}".strip())


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of every line that says something; a trailing ``\\`` continues it."""
    start = 0
    parts: list[str] = []
    for number, raw in enumerate([*re.split(r"\r\n|\r|\n", text), ""], 1):
        start = start if parts else number
        comment = raw.lstrip().startswith("#")
        if raw.endswith("\\") and not comment:
            parts.append(raw[:-1])
            continue
        if not comment or not parts:  # a comment line inside a continued one ends it, as in pip
            parts.append(raw)
        line = _COMMENT.sub("", "".join(parts)).strip()
        parts = []
        if line:
            yield start, line


def check_requirement(text: str, place: Place) -> None:
    """Refuse what cannot be locked by hash or is no requirement. Raises :class:`ConfigError`."""
    hashes = [value.partition(":")[0] for value in _HASH.findall(text)]
    weak = [name for name in hashes if name not in ("sha256", "sha384", "sha512")]
    if weak:
        raise ConfigError(Text("this hash proves nothing"), place=place, got=weak[0], want="sha256")
    bare = _HASH.sub("", text).strip()
    other = _PER_REQUIREMENT.search(bare)
    if other:
        raise ConfigError(Text("this option of a requirement is not understood"), place=place, got=other[1])
    if re.match(rf"{_NAME}[ \t]*(?:\[[^\]]*\])?[ \t]*@", bare) or "://" in bare.partition(";")[0]:
        _check_url(bare, place)
    elif re.match(r"[./~\\]|[A-Za-z]:[\\/]", bare) or bare.partition(";")[0].rstrip().endswith(
        (".whl", ".tar.gz", ".zip")
    ):
        raise _local(bare, place)
    elif not _PLAIN.fullmatch(bare):
        _check_thoroughly(bare, place)


def _check_url(bare: str, place: Place) -> None:
    url = re.sub(r"^[^@]*@[ \t]*", "", bare) if not re.match(r"[a-z+]+://", bare) else bare
    scheme = url.partition(":")[0].lower()
    if scheme == "file" or "://" not in url:
        raise _local(bare, place)
    if scheme.startswith(("git", "hg", "svn", "bzr")):
        raise ConfigError(
            Text("a version control URL has no hash of what it delivers"),
            place=place,
            got=scheme,
            hints=[Text("build a wheel of it once and put it into a find-links folder")],
        )
    if scheme != "https":
        raise ConfigError(Text("this URL is not fetched"), place=place, got=scheme, want="https")
    if not url.partition(";")[0].partition("#")[0].partition("?")[0].rstrip().endswith(".whl"):
        raise ConfigError(
            Text("this URL is not that of a wheel"),
            place=place,
            got=url[:80],
            hints=[Text("write name==version: a source is taken from the index or a find-links folder")],
        )
    if re.match(r"https://[^/]*@", url):
        raise ConfigError(
            Text("the URL carries credentials, which would end up in the lock"),
            place=place,
            hints=[Text("put them into a netrc file")],
        )


def _check_thoroughly(bare: str, place: Place) -> None:
    from packaging.requirements import InvalidRequirement

    try:
        nesting.requirement(bare)
    except InvalidRequirement as error:
        raise ConfigError(
            Text("this is not a requirement"), place=place, got=bare[:80], want="name, or name==1.2 (PEP 508)"
        ) from error


def _local(got: str, place: Place) -> ConfigError:
    return ConfigError(
        Text("a path of this machine means nothing elsewhere"),
        place=place,
        got=got[:80],
        hints=[Text("put the wheel into a folder, name it in find-links, and write name==version here")],
    )


def _editable(value: str, place: Place) -> ConfigError:
    if value in (".", "./"):
        hint = Text("remove the line: the project's own files go into the image anyway")
    else:
        hint = Text("build a wheel of it and put it into a find-links folder")
    return ConfigError(
        Text("an editable install cannot go into an image"), place=place, got=f"-e {value}"[:80], hints=[hint]
    )


def beside(file: str, value: str, place: Place) -> str:
    """The path that ``value`` in ``file`` means, inside the project. Raises :class:`ConfigError`."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(file), value.replace("\\", "/")))
    if (
        not value
        or "://" in value
        or path.startswith(("../", "/"))
        or path in ("..", ".")
        or re.match(r"[A-Za-z]:", path)
    ):
        raise ConfigError(
            Text("an included file must lie inside the project"), place=place, got=value[:80] or "nothing"
        )
    return path


def folder_beside(file: str, value: str, place: Place) -> str:
    """A find-links folder, relative to the project; it may lie outside, for only names and hashes are kept."""
    if not value or "://" in value or value.startswith(("/", "~", "file:")) or re.match(r"[A-Za-z]:", value):
        raise ConfigError(
            Text("find-links must be a folder given relative to the file that names it"),
            place=place,
            got=value[:80] or "nothing",
            hints=[Text("name a folder of this machine only in TRAINLOAD_FIND_LINKS")],
        )
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), value.replace("\\", "/")))
