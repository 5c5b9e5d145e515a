"""The question that a ``pip install`` is for uv, with everything of the image that decides its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.interpreter import Target
from trainload.digest import Digest, canonical_json
from trainload.dockerfile.understand.words import Beyond
from trainload.errors import LockError, Problems, Text
from trainload.lock.found import Installed
from trainload.lock.model import PythonFile
from trainload.lock.select import Target as Fitting
from trainload.lock.select import choose
from trainload.platform import Platform
from trainload.project.model import RequirementFiles
from trainload.project.requirements import logical_lines
from trainload.resolve.fetch import credentials
from trainload.resolve.provided import Provided
from trainload.resolve.question import Question
from trainload.resolve.request import PythonRequest
from trainload.resolve.sizes import fill_sizes
from trainload.resolve.sources import Leave
from trainload.resolve.uv import NeedsBuild
from trainload.system import scratch

_NAMED = 60
"""Characters of what is asked for that a question of the lock tells."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for, and what for."""

    requirements: tuple[str, ...]
    files: tuple[str, ...]
    """Contents of requirements files: a requirement on each line."""
    constraints: tuple[str, ...]
    index: str | None
    extra_indexes: tuple[str, ...]
    prereleases: bool
    dependencies: bool
    upgrade: bool
    is_uv: bool
    target: Target
    platform: Platform
    glibc: tuple[int, int] | None

    @property
    def question(self) -> str:
        """Its name in the lock; everything that decides the answer is in its digest."""
        told = " ".join([*self.requirements, *" ".join(self.files).split()])
        told = told if len(told) <= _NAMED else told[: _NAMED - 1] + "…"
        plain = {
            "asked": {
                **{name: value for name, value in asdict(self).items() if name not in ("target", "platform")}
            },
            "python": self.target.python.version,
            "installed": [[each.name, each.version] for each in self.target.installed],
            "platform": str(self.platform),
        }
        return f"pip install {told} ({self.platform.architecture}, {Digest.sha256(canonical_json(plain)).hex[:12]})"

    @property
    def preferred(self) -> tuple[Installed, ...]:
        """What is kept where it fits: all that is installed, but for what is named to be upgraded."""
        if not self.upgrade:
            return self.target.installed
        named = {_name(line) for line in (*self.requirements, *"\n".join(self.files).splitlines())}
        return tuple(each for each in self.target.installed if each.name not in named)


def read_files(paths: Sequence[str], ground: Ground) -> tuple[str, ...]:
    """The requirements of files that lie below, with those they include. Raises :class:`Beyond`."""
    return tuple("\n".join(_lines(path, ground, ())) for path in paths)


def _lines(path: str, ground: Ground, above: tuple[str, ...]) -> list[str]:
    data = ground.read(path)
    if data is None or path in above:
        raise Beyond(Text("the file {path}, which is not there", path=path))
    lines = []
    for _, line in logical_lines(data.decode("utf-8", "replace")):
        include = re.fullmatch(r"(?:-r|--requirement)[ =]*(\S+)", line)
        if include is not None and "://" not in include[1]:
            folder = path.rpartition("/")[0]
            lines += _lines(f"{folder}/{include[1]}", ground, (*above, path))
        elif line.startswith("-") or "--" in line or "${" in line or not _is_plain(line):
            raise Beyond(Text("{path} has {line}", path=path, line=line))
        else:
            lines.append(line)
    return lines


def _is_plain(line: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(line).url is None
    except InvalidRequirement:
        return False


def _name(line: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", line.strip(), maxsplit=1)[0]).lower()


def ask(asked: Ask, bench: Bench) -> tuple[PythonFile, ...]:
    """What pip would have in the end, sorted by name, as wheels.

    Raises :class:`Beyond` where something has to be built, and where nothing fits: the line says so better itself.
    """
    if asked.glibc is None:
        raise Beyond(Text("an image whose C library is not known"))
    services = bench.services()
    target = Fitting(asked.platform, asked.target.python.version, asked.glibc)
    with scratch.folder("pip") as folder:
        lines = "\n".join([*asked.requirements, *asked.files])
        (folder / "requirements.txt").write_text(lines + "\n", encoding="utf-8")
        (folder / "constraints.txt").write_text("\n".join(asked.constraints) + "\n", encoding="utf-8")
        settings = bench.settings
        indexes = settings.indexes.value
        if asked.index is not None or asked.extra_indexes:
            indexes = (*asked.extra_indexes, asked.index or (indexes[-1] if indexes else ""))
        request = PythonRequest(
            root=bench.root,
            dependencies=RequirementFiles((str(folder / "requirements.txt"),)),
            targets=(target,),
            find_links=settings.find_links.value,
            indexes=indexes,
            mirrors=settings.mirrors.value.pypi,
            constraints=(str(folder / "constraints.txt"),),
            provided=Provided({asked.platform: asked.preferred}),
            options=_options(asked),
        )
        question = Question(request, services.uv, folder / "pylock.resolved.toml", None, alone=True)
        try:
            found = question.settled(Leave())[0]
        except NeedsBuild as error:
            raise Beyond(
                Text("{names}, which would have to be built", names=", ".join(sorted(error.names)))
            ) from error
        except LockError as error:
            if error.retryable:
                raise
            raise Beyond(Text("what nothing fits: {reason}", reason=error.got or error.text)) from error
        if not asked.is_uv:
            sources = question.newer_sources(found)
            if sources:
                raise Beyond(Text("{names}, which would have to be built", names=", ".join(sorted(sources))))
    placed = tuple(package for package in found.packages if package.wheels or package.sdist)  # not what stays
    packages = fill_sizes(placed, services.http, credentials=credentials(indexes))
    problems = Problems()
    chosen = choose(packages, target, problems, sdists=False)
    problems.check()
    return chosen


def _options(asked: Ask) -> tuple[str, ...]:
    """pip takes the best version of all indexes; uv by itself asks no second one for what the first has."""
    found = () if asked.is_uv else ("--index-strategy=unsafe-best-match",)
    found = (*found, "--prerelease=allow") if asked.prereleases else found
    return found if asked.dependencies else (*found, "--no-deps")
