"""uv's configuration with what we add and take: requirements of sdists, and any leave to build them (THREATS D7).

``dependency-metadata`` can be given in a file only, and naming a file turns off uv's search for its others; so
those are read and joined as uv joins them: the project's before the user's before the system's.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainload.errors import LockError, Place, Text
from trainload.resolve.sources import Leave

_ABOUT_BUILDS = frozenset(
    {
        "no-build", "no-build-package", "no-binary", "no-binary-package", "only-binary", "no-build-isolation",
        "no-build-isolation-package",
    }
)  # fmt: skip
_OF_THE_PROJECT = frozenset(
    {
        "sources", "workspace", "package", "managed", "default-groups", "dependency-groups", "dev-dependencies",
        "conflicts", "environments", "required-environments", "build-backend",
    }
)  # fmt: skip
"""What uv reads from a ``pyproject.toml`` itself, and refuses or need not find in a ``uv.toml``."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def config_flags(place: Path, root: Path, environ: Mapping[str, str], leave: Leave) -> list[str]:
    """How uv is told what ``leave`` says in ``root``; a file is written to ``place`` if that takes one.

    Nobody else gives leave to build, no configuration either. Raises :class:`LockError` for a project with leave
    that some configuration wants from an address: of addresses uv asks the build itself.
    """
    joined: dict[str, object] = {}
    for file in _files(root, environ):
        joined = _joined(joined, _absolute(_read(file), file.parent))
    bare = _without_builds(joined)
    if not leave.names and bare == joined:
        return []
    _check_addresses(joined, root, leave.names)
    known = bare.get("dependency-metadata")
    # ours first: uv takes the first entry that fits
    bare["dependency-metadata"] = [*leave.entries(), *(known if isinstance(known, list) else [])]
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in bare.items() if value is not None]
    place.write_text("".join(lines), encoding="utf-8")
    return [f"--config-file={place}", *(f"--no-binary={name}" for name in sorted(leave.names))]


def _without_builds(settings: Mapping[str, object]) -> dict[str, object]:
    found = {key: value for key, value in settings.items() if key not in _ABOUT_BUILDS}
    pip = found.get("pip")
    if isinstance(pip, dict):
        found["pip"] = {key: value for key, value in pip.items() if key not in _ABOUT_BUILDS}
    return found


def _check_addresses(settings: Mapping[str, object], root: Path, names: frozenset[str]) -> None:
    wanted: set[str] = set()
    for key in ("constraint-dependencies", "override-dependencies"):
        values = settings.get(key)
        for value in values if isinstance(values, list) else ():
            if isinstance(value, str) and "@" in value:
                wanted.add(_normal(re.split(r"[\[@ ]", value, maxsplit=1)[0]))
    project = root / "pyproject.toml"
    if project.is_file():
        sources = _table(project).get("sources")
        for name, source in (sources if isinstance(sources, dict) else {}).items():
            places = source if isinstance(source, list) else [source]
            if any(not isinstance(one, dict) or "index" not in one for one in places):
                wanted.add(_normal(name))
    if wanted & names:
        raise LockError(
            Text(
                "{packages}: only what an index or a find-links folder has is built",
                packages=", ".join(wanted & names),
            ),
            hints=[Text("take it out of [tool.uv.sources] and constraints, or put a wheel into find-links")],
        )


def _normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def _files(root: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """The files uv would read in ``root``, the strongest first (uv: concepts/configuration-files)."""
    if environ.get("UV_CONFIG_FILE"):
        yield root / environ["UV_CONFIG_FILE"]
        return
    if environ.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "y", "on", "t"):
        return
    for folder in (root, *root.parents):
        if (folder / "uv.toml").is_file():
            yield folder / "uv.toml"
            break
        project = folder / "pyproject.toml"
        if project.is_file() and _read(project):
            yield project
            break
    user = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "/nonexistent") / ".config")
    system = [Path(folder) for folder in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if folder]
    for place in (user / "uv" / "uv.toml",):
        if place.is_file():
            yield place
    for place in (*(folder / "uv" / "uv.toml" for folder in system), Path("/etc/uv/uv.toml")):
        if place.is_file():
            yield place
            return


def _read(file: Path) -> Mapping[str, object]:
    """The settings in ``file``. Raises :class:`LockError` when it cannot be understood."""
    try:
        document = tomllib.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise LockError(Text("uv's configuration cannot be read"), place=Place(str(file)), got=error) from error
    if file.name != "pyproject.toml":
        return document
    return {key: value for key, value in _uv(document).items() if key not in _OF_THE_PROJECT}


def _table(project: Path) -> Mapping[str, object]:
    """``[tool.uv]`` of a ``pyproject.toml``."""
    try:
        return _uv(tomllib.loads(project.read_text("utf-8-sig")))
    except (OSError, ValueError) as error:
        raise LockError(Text("uv's configuration cannot be read"), place=Place(str(project)), got=error) from error


def _uv(document: Mapping[str, object]) -> Mapping[str, object]:
    tool = document.get("tool")
    settings = tool.get("uv") if isinstance(tool, dict) else None
    return settings if isinstance(settings, dict) else {}


def _joined(strong: Mapping[str, object], weak: Mapping[str, object]) -> dict[str, object]:
    """Lists one after the other, tables key by key, of all else the stronger."""
    found = dict(strong)
    for key, value in weak.items():
        here = found.get(key)
        if isinstance(here, list) and isinstance(value, list):
            found[key] = [*here, *value]
        elif isinstance(here, dict) and isinstance(value, dict):
            found[key] = _joined(here, value)
        else:
            found.setdefault(key, value)
    return found


def _absolute(settings: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Folders of wheels and indexes as paths that mean the same from another file."""

    def whole(value: object) -> object:
        return str(folder / value) if isinstance(value, str) and "://" not in value else value

    found = dict(settings)
    for key in ("find-links", "extra-index-url"):
        values = found.get(key)
        if isinstance(values, list):
            found[key] = [whole(item) for item in values]
    if "index-url" in found:
        found["index-url"] = whole(found["index-url"])
    indexes = found.get("index")
    if isinstance(indexes, list):
        found["index"] = [{**item, "url": whole(item.get("url"))} for item in indexes if isinstance(item, dict)]
    if isinstance(found.get("pip"), dict):
        found["pip"] = _absolute(found["pip"], folder)  # type: ignore[arg-type]
    return found


def _value(value: object) -> str:
    """TOML of one line; JSON's strings, numbers and booleans are TOML's, but for DEL."""
    if isinstance(value, Mapping):
        pairs = [f"{_key(key)} = {_value(inner)}" for key, inner in value.items() if inner is not None]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)  # a date or time, as TOML writes it


def _key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) else json.dumps(key, ensure_ascii=False)
