"""What was set, and where: flags, ``TRAINLOAD_*`` variables, and ``[tool.trainload]`` or ``trainload.toml``.

:class:`Sources` holds every value already parsed; :meth:`Sources.choose` gives the strongest one with its
origin and reason. All mistakes of all sources are told together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, cast

from trainload.errors import ConfigError, Place, Problems, Text, UsageError, printable
from trainload.project.document import read_toml, table_at
from trainload.project.keys import BY_PATH, KEYS, TABLES, VARIANT, Key
from trainload.project.kinds import Wrong, shown
from trainload.project.model import Chosen, Origin
from trainload.project.variants import Variant, line_of, no_such, on_top, read_variants
from trainload.tree import EntryKind, Tree
from trainload.values import dataclass, field

T = TypeVar("T")

PYPROJECT = "pyproject.toml"
OWN = "trainload.toml"
VARIANTS = "variants"
_COMMAND_LINE = "command line"
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY)(?:_|$)",
    re.I,
)
_CREDENTIALS = re.compile(r"^(https?://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Sources:
    """Parsed values by origin: key path → (value, reason)."""

    values: Mapping[Origin, Mapping[str, tuple[object, Text]]]
    file: str | None
    """The file that holds the configuration, if any."""
    pyproject: Mapping[str, object]
    """The whole ``pyproject.toml``, empty when there is none."""
    warnings: tuple[Text, ...]
    variants: Mapping[str, Variant] = field(default_factory=dict)
    """Those the project has, by name."""
    own: Mapping[str, tuple[object, Text]] = field(default_factory=dict)
    """What the file sets for the project as a whole, without any variant."""
    line: tuple[str, ...] = ()
    """The variant that is meant and what it inherits from, the nearest first; empty: none."""

    def choose(self, key: Key[T], detected: Chosen[T] | None = None, default: Text | None = None) -> Chosen[T]:
        """The value of ``key``: flag, environment, file, what was ``detected``, or the default."""
        for origin in (Origin.FLAG, Origin.ENVIRONMENT, Origin.FILE):
            if key.path in self.values[origin]:
                value, reason = self.values[origin][key.path]
                return Chosen(cast(T, value), origin, reason)
        return detected or Chosen(key.default, Origin.DEFAULT, default or Text("the default"))

    def has(self, *keys: Key[T]) -> bool:
        return any(key.path in values for key in keys for values in self.values.values())


def read_sources(tree: Tree, flags: Mapping[str, object], environ: Mapping[str, str]) -> Sources:
    """Raises :class:`ConfigError` (or several at once) naming file or variable, key path, got and want."""
    problems = Problems()
    pyproject = _document(tree, PYPROJECT, problems)
    own = _document(tree, OWN, problems)
    inside = table_at(pyproject, "tool").get("trainload")
    if own and inside is not None:
        problems.add(_two_files())
    file = OWN if tree.find(OWN) else PYPROJECT if inside is not None else None
    prefix = "tool.trainload." if file == PYPROJECT else ""
    content = own or inside or {}
    whole = (
        {key: value for key, value in content.items() if key != VARIANTS}
        if isinstance(content, Mapping)
        else content
    )
    values = {
        Origin.FLAG: _flags(flags, problems),
        Origin.ENVIRONMENT: _variables(environ, problems),
        Origin.FILE: _file(whole, file or OWN, prefix, problems),
    }
    table = content.get(VARIANTS) if isinstance(content, Mapping) else None
    variants = read_variants(
        table, file or OWN, prefix + VARIANTS, lambda keys, at: _file(keys, file or OWN, at, problems), problems
    )
    problems.check()
    own = values[Origin.FILE]
    name = _variant(values, variants, file or OWN)
    if name is not None:
        values[Origin.FILE] = on_top(values[Origin.FILE], name, variants)
    warnings = (*_permissions(tree, file), *_secrets(values))
    line = line_of(name, variants) if name is not None else ()
    return Sources(values, file, pyproject, warnings, variants, own, line)


def _variant(
    values: Mapping[Origin, Mapping[str, tuple[object, Text]]], variants: Mapping[str, Variant], file: str
) -> str | None:
    """The one that is meant. Raises :class:`ConfigError` for one that is not there."""
    places = {
        Origin.FLAG: Place(_COMMAND_LINE, "--variant"),
        Origin.ENVIRONMENT: Place("environment", VARIANT.variable),
    }
    for origin in (Origin.FLAG, Origin.ENVIRONMENT, Origin.FILE):
        if VARIANT.path in values[origin]:
            name = str(values[origin][VARIANT.path][0])
            if name not in variants:
                raise no_such(name, variants, places.get(origin, Place(file, VARIANT.path)))
            return name
    return None


def read_given(flags: Mapping[str, object], environ: Mapping[str, str]) -> Sources:
    """As :func:`read_sources` where no project is asked."""
    problems = Problems()
    values = {Origin.FLAG: _flags(flags, problems), Origin.ENVIRONMENT: _variables(environ, problems)}
    problems.check()
    return Sources({**values, Origin.FILE: {}}, None, {}, ())


def _document(tree: Tree, file: str, problems: Problems) -> Mapping[str, object]:
    entry = tree.find(file)
    if entry is None:
        return {}
    try:
        return read_toml(tree, file)
    except ConfigError as error:
        problems.add(error)
        return {}


def _two_files() -> ConfigError:
    return ConfigError(
        Text("both {own} and [tool.trainload] in {pyproject} configure this project", own=OWN, pyproject=PYPROJECT),
        place=Place(OWN),
        want="one of them",
        hints=[Text("move the keys of one into the other and remove it")],
    )


def _flags(flags: Mapping[str, object], problems: Problems) -> dict[str, tuple[object, Text]]:
    given = {path: value for path, value in flags.items() if value is not None}
    found: dict[str, tuple[object, Text]] = {}
    for path, value in given.items():
        place = Place(_COMMAND_LINE, "--" + path.rpartition(".")[2])
        _parse(BY_PATH[path], value, (place, Text("given on the command line")), found, problems)
    return found


def _variables(environ: Mapping[str, str], problems: Problems) -> dict[str, tuple[object, Text]]:
    found: dict[str, tuple[object, Text]] = {}
    for key in KEYS:
        name = key.variable
        value = environ.get(name) if name else None
        if value and key.kind.split is not None:
            reason = Text("{variable} in the environment", variable=name)
            _parse(key, key.kind.split(value), (Place("environment", name), reason), found, problems)
    return found


def _file(table: object, file: str, prefix: str, problems: Problems) -> dict[str, tuple[object, Text]]:
    found: dict[str, tuple[object, Text]] = {}
    if not isinstance(table, Mapping):
        problems.add(
            ConfigError(
                Text("the configuration is not a table"), place=Place(file, prefix.rstrip(".")), got=shown(table)
            )
        )
        return found
    for path, value in _flat(table):
        place = Place(file, prefix + path)
        key = BY_PATH.get(path)
        if key is not None:
            _parse(key, value, (place, Text("{key} in {file}", key=prefix + path, file=file)), found, problems)
        elif path in TABLES:
            problems.add(
                ConfigError(Text("this key is a table"), place=place, got=shown(value), want=f"[{prefix}{path}]")
            )
        else:
            problems.add(_unknown(path, place))
    return found


def _flat(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Key paths as the table of keys spells them: one level of tables is opened, as ``run`` is one."""
    for name, value in table.items():
        if name in TABLES and isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", below) for inner, below in value.items())
        else:
            yield name, value


def _unknown(path: str, place: Place) -> ConfigError:
    from difflib import get_close_matches

    plain = path.replace("_", "-").lower()
    names = [*BY_PATH, *sorted(TABLES)]
    table, dot, last = plain.rpartition(".")
    beside = [name for name in names if name.startswith(f"{table}.")] if dot and table in TABLES else []
    near = [plain] if plain in names else get_close_matches(plain, beside or names, n=1, cutoff=0.6)
    near = near or [name for name in beside if name.rpartition(".")[2].startswith(last)][:1]
    if not near:  # `memory` or `port` at the top is meant for `run.memory`, `run.ports`
        ends = {name.rpartition(".")[2]: name for name in reversed(names)}
        near = [ends[end] for end in get_close_matches(last, ends, n=1, cutoff=0.75)]
    known = Text("the keys are {keys}", keys=", ".join(beside or names))
    hint = Text("did you mean {key}?", key=near[0]) if near else known
    return ConfigError(Text("there is no such key"), place=place, hints=[hint])


def _parse(
    key: Key[object],
    value: object,
    where: tuple[Place, Text],
    found: dict[str, tuple[object, Text]],
    problems: Problems,
) -> None:
    place, reason = where
    try:
        found[key.path] = (key.kind.read(value), reason)
    except Wrong as error:
        for fault in error.faults:
            at = Place(place.file, f"{place.inside}{fault.inside}")
            got = _CREDENTIALS.sub(r"\1…@", fault.got.strip('"')) if "://" in fault.got else fault.got
            wrong = ConfigError(Text("this value cannot be used"), place=at, got=got, want=fault.want)
            if place.file == _COMMAND_LINE:
                wrong.exit_code = UsageError.exit_code
            problems.add(wrong)


def _permissions(tree: Tree, file: str | None) -> Iterator[Text]:
    """THREATS F14: who else can write the configuration decides what runs here."""
    entry = tree.find(file) if file else None
    if entry is None or entry.kind is not EntryKind.FILE:
        return
    if entry.mode & 0o002 or (entry.mode & 0o020 and not entry.private_group):
        yield Text(
            "{file} can be written by other users of this machine (mode {mode}); chmod go-w {file}",
            file=entry.path, mode=f"{entry.mode:04o}",
        )  # fmt: skip
    if entry.foreign:
        yield Text("{file} belongs to another user, who decides what runs here", file=entry.path)


def secret_variables(pairs: Iterable[tuple[str, str]], file: str) -> Iterator[Text]:
    """THREATS F12: variables of another file that goes into the image; told by name, never by value."""
    from trainload.project.secrets import looks_secret

    for name, value in pairs:
        if value and (_SECRET_NAME.search(name) or looks_secret(value.encode())):
            yield Text(
                "{name} in {file} looks like a secret, and everyone who has the image can read it; "
                "give it when the project runs",
                name=printable(name), file=file,
            )  # fmt: skip


def _secrets(values: Mapping[Origin, Mapping[str, tuple[object, Text]]]) -> Iterator[Text]:
    """THREATS F12: told by name, never by value."""
    from trainload.project.secrets import looks_secret

    for found in values.values():
        env, _ = found.get("env", ({}, None))
        for name, value in env.items() if isinstance(env, Mapping) else ():
            if value and (_SECRET_NAME.search(name) or looks_secret(str(value).encode())):
                yield Text(
                    "env.{name} looks like a secret, and everyone who has the image can read it; "
                    "give it when the project runs",
                    name=printable(name),
                )
        for path, (value, _) in found.items():
            urls = value if isinstance(value, tuple) else (value,)
            if any(isinstance(url, str) and _CREDENTIALS.match(url) for url in urls):
                yield Text("{key} holds credentials; give them by TRAINLOAD_* variables or a netrc file", key=path)
