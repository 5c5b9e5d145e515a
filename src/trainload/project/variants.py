"""``[tool.trainload.variants.NAME]``: the project with some keys set otherwise, one variant on top of another.

The rule, the same for every key: what stands in a variant goes on top of what it inherits from, at last the
project's own table. Arrays add, tables of names add name by name, everything else replaces. Of the arrays those
replace that are one whole: a command line, and the answers to "which" (``command``, ``entrypoint``, ``include``,
``platforms``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trainload.errors import ConfigError, Place, Problems, Text
from trainload.project.kinds import shown
from trainload.values import dataclass

INHERITS = "inherits"
_WHOLE = frozenset({"command", "entrypoint", "include", "platforms"})
_OUTSIDE = ("variant", "matrix.", "hosts")
"""Keys that say something of the project as a whole."""
_NAME_WANT = "a name of lower-case letters, digits and single -"

Values = Mapping[str, tuple[object, Text]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant as it is written."""

    inherits: str | None
    values: Values


def is_name(text: object) -> bool:
    """Whether a variant may be called so: the name becomes part of a file's name and of an image's tag."""
    parts = text.split("-") if isinstance(text, str) and len(text) <= 60 else [""]
    return all(part.isascii() and part.isalnum() and part == part.lower() for part in parts)


def read_variants(
    table: object, file: str, prefix: str, read: Callable[[object, str], Values], problems: Problems
) -> dict[str, Variant]:
    """Every variant of ``table``. ``read`` reads the keys of one, below a prefix; ``problems`` takes mistakes."""
    if table is None:
        return {}
    if not isinstance(table, Mapping):
        problems.add(ConfigError("the variants are not a table", place=Place(file, prefix), got=shown(table)))
        return {}
    found: dict[str, Variant] = {}
    for name, content in table.items():
        place = Place(file, f"{prefix}.{name}")
        if not is_name(name):
            problems.add(
                ConfigError("a variant cannot be called so", place=place, got=shown(name), want=_NAME_WANT)
            )
        elif not isinstance(content, Mapping):
            problems.add(ConfigError("a variant is a table", place=place, got=shown(content)))
        else:
            keys = {key: value for key, value in content.items() if key != INHERITS}
            values = read(keys, f"{prefix}.{name}.")
            for path in values:
                if path.startswith(_OUTSIDE):
                    at = Place(file, f"{prefix}.{name}.{path}")
                    problems.add(ConfigError("a variant cannot set this: it is the project's", place=at))
            found[name] = Variant(content.get(INHERITS), values)
    _check(found, file, prefix, problems)
    return found


def _check(variants: Mapping[str, Variant], file: str, prefix: str, problems: Problems) -> None:
    """Every variant inherits from one that is there, and none from itself."""
    for name, variant in variants.items():
        place = Place(file, f"{prefix}.{name}.{INHERITS}")
        seen, one = [name], variant
        while one.inherits is not None:
            above = one.inherits
            if above not in variants:
                if one is variant:
                    problems.add(no_such(above, variants, place))
                break
            if above in seen:
                if above == name:
                    circle = " → ".join([*seen, above])
                    problems.add(
                        ConfigError("variants inherit from each other in a circle", place=place, got=circle)
                    )
                break
            seen.append(above)
            one = variants[above]


def no_such(name: object, variants: Mapping[str, Variant], place: Place) -> ConfigError:
    """What to say of a variant that is not there."""
    return ConfigError(
        Text("there is no variant {name}", name=name if isinstance(name, str) else shown(name)),
        place=place,
        want=", ".join(sorted(variants)) or "a table [tool.trainload.variants.NAME]",
    )


def line_of(name: str, variants: Mapping[str, Variant]) -> tuple[str, ...]:
    """A variant and what it inherits from, the nearest first."""
    names = [name]
    while (above := variants[names[-1]].inherits) is not None:
        names.append(above)
    return tuple(names)


def on_top(values: Values, name: str, variants: Mapping[str, Variant]) -> dict[str, tuple[object, Text]]:
    """The project's own ``values`` with those of the variant and of all it inherits from."""
    made = dict(values)
    for one in reversed(line_of(name, variants)):
        for path, (value, reason) in variants[one].values.items():
            made[path] = (_joined(path, made[path][0], value), reason) if path in made else (value, reason)
    return made


def _joined(path: str, below: object, value: object) -> object:
    if isinstance(value, Mapping) and isinstance(below, Mapping):
        return {**below, **value}
    if isinstance(value, tuple) and isinstance(below, tuple) and path not in _WHOLE:
        return tuple(dict.fromkeys((*below, *value)))
    return value
