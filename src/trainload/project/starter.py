"""A commented configuration that says what was found, why, and how to change it; ``trainload init`` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainload.errors import Text
from trainload.project.examples import EXAMPLES
from trainload.project.keys import KEYS, TABLES, VARIANT, Key
from trainload.project.model import Chosen, DockerfileInput, Origin, Project, RequirementFiles
from trainload.project.weights import Wanted, as_written

_HEAD = (
    "# What Trainload found here, and why; `trainload plan` shows what comes of it.",
    "# A line with # in front is what holds without it, or an example; remove the # to change it.",
)


@dataclass(frozen=True, slots=True)
class Guess:
    """One decision as the user reads it."""

    key: str
    value: object
    origin: Origin
    reason: Text


Configured = Mapping[str, tuple[object, Text]]
"""What the project's file sets by now: key path → (value, reason)."""


def guesses(project: Project, configured: Configured) -> tuple[Guess, ...]:
    """What holds for each key that can be told in one value, in the table's order."""
    found: list[Guess] = []
    for key in KEYS:
        chosen = _chosen(project, key, configured)
        if chosen is not None:
            found.append(Guess(key.path, _plain(chosen.value), chosen.origin, chosen.reason))
    return tuple(found)


def _chosen(project: Project, key: Key[object], configured: Configured) -> Chosen[object] | None:
    settings = project.settings
    if key.path in configured:
        value, reason = configured[key.path]
        return Chosen(value, Origin.FILE, reason)
    if key.path == "requirements":
        dependencies = settings.dependencies
        if isinstance(dependencies.value, RequirementFiles):
            return Chosen(dependencies.value.files, dependencies.origin, dependencies.reason)
        return None
    if key.path == "dockerfile":
        dependencies = settings.dependencies
        if isinstance(dependencies.value, DockerfileInput):
            return Chosen(dependencies.value.path, dependencies.origin, dependencies.reason)
        return None
    chosen: Chosen[object] | None = getattr(settings, key.path.replace("-", "_"), None)
    return chosen if chosen is not None and chosen.origin is not Origin.FILE else None


def starter(project: Project, configured: Configured, prefix: str, render: Renderer) -> str:
    """The configuration as TOML. ``prefix``: ``tool.trainload`` inside ``pyproject.toml``, or "".

    ``render`` writes one value as TOML. Only values of the project itself are set: flags and the environment are
    of this call and this machine.
    """
    known = {guess.key: guess for guess in guesses(project, configured)}
    lines = [f"[{prefix}]"] if prefix else []
    lines += _HEAD
    for key in KEYS:
        # which variant is meant makes sense only where there is one
        if "." not in key.path and (key is not VARIANT or _is_live(known.get(key.path))):
            lines += ["", *_entry(key, known.get(key.path), key.path, render)]
    for table in sorted(TABLES):
        keys = [key for key in KEYS if key.path.startswith(table + ".")]
        live = any(_is_live(known.get(key.path)) for key in keys)
        header = f"[{prefix}.{table}]" if prefix else f"[{table}]"
        lines += ["", header if live else f"# {header}"]
        for key in keys:
            lines += _entry(key, known.get(key.path), key.path.partition(".")[2], render)
    return "\n".join(lines) + "\n"


class Renderer:
    """Writes values as TOML; tomlkit is loaded only when something is written."""

    def __call__(self, value: object) -> str:
        import tomlkit

        if isinstance(value, Mapping):
            return "{ " + ", ".join(f"{_name(k)} = {self(v)}" for k, v in value.items()) + " }" if value else "{}"
        if isinstance(value, list):
            return "[" + ", ".join(self(item) for item in value) + "]"
        return tomlkit.item(str(value) if isinstance(value, Origin) else value).as_string()


def _name(key: str) -> str:
    import tomlkit

    return tomlkit.key(key).as_string()


def _is_live(guess: Guess | None) -> bool:
    return guess is not None and guess.origin in (Origin.FILE, Origin.DETECTED) and guess.value is not None


def _entry(key: Key[object], guess: Guess | None, name: str, render: Renderer) -> Iterator[str]:
    yield f"# {key.meaning}"
    if guess is not None and _is_live(guess):
        yield f"# Why: {_one_line(str(guess.reason))}."
        yield f"{name} = {render(guess.value)}"
        return
    fallback = _plain(key.default)
    value = EXAMPLES.get(key.path, fallback) if fallback in (None, [], {}) or key.detected else fallback
    yield f"# {name} = {render(value)}"


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _plain(value: object) -> object:
    if isinstance(value, Wanted):
        return as_written(value)
    if isinstance(value, tuple):
        return [_plain(one) if isinstance(one, Wanted) else one for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, str) else value
