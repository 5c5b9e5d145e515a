"""A file through its rules: what they find, and the file mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainload.errors import ConfigError, Place, Problems, Text, TrainloadError
from trainload.lint.ignore import ignored
from trainload.lint.kinds import kind_of
from trainload.lint.model import Edit, Finding, Flaw, Kind, Rule, Surroundings
from trainload.lint.nodes import Node
from trainload.lint.source import PLAIN, YAML, Source, apart

_PASSES = 30
"""A mend can make room for another one; each pass mends at least one finding, or the last one was it."""


def check(
    name: str, text: str, around: Surroundings | None = None, rules: Sequence[Rule[Any]] | None = None
) -> tuple[Finding, ...]:
    """What is wrong with the file, by line; ``rules``: by others than those of the table.

    Raises :class:`ConfigError` when it is no file of a kind we know.
    """
    from trainload.lint.table import RULES

    kind = kind_of(text)
    if kind is None:
        raise ConfigError(
            Text("this is neither a Dockerfile, nor a compose file, nor a Kubernetes manifest"), place=Place(name)
        )
    source = _source(kind, text)
    held = [rule for rule in (RULES if rules is None else rules) if rule.kind is kind]
    found = _found(held, _document(kind, name, source), source, around or Surroundings())
    return tuple(
        sorted((Finding(rule, name, flaw, source.part(flaw.line, flaw.last)) for rule, flaw in found),
               key=lambda one: (one.flaw.line, one.rule))
    )  # fmt: skip


def _source(kind: Kind | None, text: str) -> Source:
    return Source.of(text, PLAIN if kind is Kind.DOCKERFILE else YAML)


def _found(
    rules: Iterable[Rule[Any]], document: object, source: Source, around: Surroundings
) -> Iterator[tuple[str, Flaw]]:
    for rule in rules:
        for flaw in rule.find(document, around):
            if not ignored(source, flaw, rule.id):
                yield rule.id, flaw


def _document(kind: Kind, name: str, source: Source) -> object:
    if kind is Kind.DOCKERFILE:
        from trainload.lint.dockerfile.document import read_dockerfile

        return read_dockerfile(name, source)
    from trainload.lint import nodes

    documents = nodes.read(source.text, name)
    if kind is Kind.COMPOSE:
        from trainload.lint.compose.document import Compose

        _shaped(name, documents[0])
        return Compose(name, source, documents[0])
    from trainload.lint.kubernetes.document import Manifests

    return Manifests(name, source, documents)


def _shaped(name: str, root: Node) -> None:
    """Rules overlook what is no service: that must not look like a file without fault. Raises the problems."""
    problems = Problems()
    pair = root.pair("services")
    if pair is not None and (pair[1].items is not None or pair[1].value is not None):
        problems.add(ConfigError("services is a table of names", place=Place(name, line=pair[0].line)))
    for service, key, value in pair[1].children() if pair is not None else ():
        if value.pairs is None:
            problems.add(
                ConfigError(
                    Text("the service {name} is not a table", name=service), place=Place(name, line=key.line)
                )
            )
    problems.check()


def kubernetes_documents(name: str, text: str) -> tuple[Node, ...]:
    """The documents of a neighbour; none when it cannot be read, which is its own trouble."""
    from trainload.lint import nodes

    if kind_of(text) is not Kind.KUBERNETES:
        return ()
    try:
        return nodes.read(text, name)
    except TrainloadError:
        return ()


@dataclass(frozen=True, slots=True)
class Mended:
    """A file after its mends."""

    text: str
    done: tuple[Finding, ...]
    left: tuple[Finding, ...]
    """What nobody but the author can mend, or what was not asked for."""
    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Lines for other files: ``.dockerignore``."""


def mended(
    name: str, text: str, around: Surroundings | None = None, *, risky: bool = False, only: Sequence[str] = (),
    rules: Sequence[Rule[Any]] | None = None,
) -> Mended:  # fmt: skip
    """The file with every mend applied; ``risky``: also those that change what the image holds or needs.

    ``only``: of these rules; none: of all.
    """
    kind = kind_of(text)

    def read(new: str) -> tuple[Finding, ...]:
        return check(name, new, around, rules)

    work = _Work(text, read(text))
    tried: set[tuple[str, str]] = set()
    for _ in range(_PASSES):
        wanted = [one for one in work.found if (not only or one.rule in only) and _sign(one) not in tried]
        chosen = _chosen(wanted, work.added, risky=risky)
        if not chosen:
            break
        tried |= {_sign(one) for one in chosen}
        if not work.applied(chosen, kind, read):
            for one in chosen:  # what does not fit together fits alone, or is left to the author
                if one in work.found:
                    work.applied([one], kind, read)
                else:
                    tried.discard(_sign(one))  # it stands on other lines now: the next pass has it
    left = tuple(one for one in work.found if not _only_elsewhere(one, work.added))
    return Mended(work.text, tuple(work.done), left, {file: tuple(lines) for file, lines in work.added.items()})


@dataclass(slots=True)
class _Work:
    """A file between two passes."""

    text: str
    found: tuple[Finding, ...]
    done: list[Finding] = field(default_factory=list)
    added: dict[str, list[str]] = field(default_factory=dict)

    def applied(
        self, chosen: Sequence[Finding], kind: Kind | None, read: Callable[[str], tuple[Finding, ...]]
    ) -> bool:
        """Whether the file with ``chosen`` mended can be read; if not, it stays as it was."""
        edits = [edit for one in chosen for edit in one.flaw.mend]
        new = _source(kind, self.text).edited(edit for edit in edits if not edit.file).text
        try:
            found = read(new)
        except TrainloadError:
            return False
        for edit in edits:
            if edit.file:
                self.added.setdefault(edit.file, []).extend(edit.lines)
        self.text, self.found = new, found
        self.done += chosen
        return True


def _chosen(found: Iterable[Finding], added: Mapping[str, list[str]], *, risky: bool) -> list[Finding]:
    """The mends of one pass: none touches a line of another one."""
    chosen: list[Finding] = []
    taken: list[Edit] = []
    for one in found:
        wanted = one.flaw.mend
        if not wanted or not (one.flaw.sure or risky) or _only_elsewhere(one, added):
            continue
        if apart(taken, [edit for edit in wanted if not edit.file]):
            chosen.append(one)
            taken += [edit for edit in wanted if not edit.file]
    return chosen


def _sign(one: Finding) -> tuple[str, str]:
    """Tells a finding that comes back after its mend: it is left then, instead of being mended for ever."""
    return one.rule, "\n".join((str(one.flaw.why), *one.lines, *(line for e in one.flaw.mend for line in e.lines)))


def _only_elsewhere(one: Finding, added: Mapping[str, list[str]]) -> bool:
    """Whether it is mended already, by lines in another file that this one does not show."""
    mend = one.flaw.mend
    return bool(mend) and all(edit.file and set(edit.lines) <= set(added.get(edit.file, ())) for edit in mend)
