"""``[project]`` of ``pyproject.toml`` (PEP 621) and ``[dependency-groups]`` (PEP 735), as far as they decide."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainload.errors import ConfigError, Place, Problems, Text
from trainload.project.document import table_at
from trainload.project.requirements import check_requirement
from trainload.values import dataclass

FILE = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Parsed once; ``dependencies`` is None when the file does not say (which is not the same as none)."""

    present: bool = False
    name: str | None = None
    requires_python: str | None = None
    dependencies: tuple[str, ...] | None = None
    dynamic: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] | None = None
    groups: tuple[str, ...] = ()
    scripts: Mapping[str, str] | None = None
    poetry: bool = False


def read_metadata(document: Mapping[str, object]) -> Metadata:
    """Raises :class:`ConfigError`, every mistake at once with its key path."""
    problems = Problems()
    project = table_at(document, "project")
    dependencies = _texts(project.get("dependencies"), "project.dependencies", problems)
    extras = {
        name: _texts(value, f"project.optional-dependencies.{name}", problems) or ()
        for name, value in table_at(project, "optional-dependencies").items()
    }
    listed = {"project.dependencies": dependencies or ()}
    listed |= {f"project.optional-dependencies.{name}": values for name, values in extras.items()}
    for path, values in listed.items():
        for index, value in enumerate(values):
            try:
                check_requirement(value, Place(FILE, f"{path}[{index}]"))
            except ConfigError as error:
                problems.add(error)
    metadata = Metadata(
        present=bool(project),
        name=_text(project.get("name"), "project.name", problems),
        requires_python=_text(project.get("requires-python"), "project.requires-python", problems),
        dependencies=dependencies,
        dynamic=_texts(project.get("dynamic"), "project.dynamic", problems) or (),
        extras=extras,
        groups=tuple(table_at(document, "dependency-groups")),
        scripts={name: value for name, value in table_at(project, "scripts").items() if isinstance(value, str)},
        poetry="dependencies" in table_at(document, "tool", "poetry"),
    )
    problems.check()
    return metadata


def check_names(metadata: Metadata, extras: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Every extra and group that is asked for exists. Raises :class:`ConfigError`."""
    problems = Problems()
    for kind, asked, known in (
        ("extra", extras, tuple(metadata.extras or ())),
        ("dependency group", groups, metadata.groups),
    ):
        normal = {_normal(name) for name in known}
        for name in asked:
            if _normal(name) not in normal:
                problems.add(
                    ConfigError(
                        Text("the project has no {kind} called {name}", kind=kind, name=name),
                        place=Place(FILE),
                        want=", ".join(known) or None,
                    )
                )
    problems.check()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _text(value: object, path: str, problems: Problems) -> str | None:
    if value is None or isinstance(value, str):
        return value
    problems.add(ConfigError(Text("this value cannot be used"), place=Place(FILE, path), want="a string"))
    return None


def _texts(value: object, path: str, problems: Problems) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    problems.add(
        ConfigError(Text("this value cannot be used"), place=Place(FILE, path), want="an array of strings")
    )
    return None
