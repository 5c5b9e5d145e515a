"""Python packages into the files that say what the project needs: text in, text out, everything else kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainload.capture.model import Distribution, Source
from trainload.capture.python import normal
from trainload.errors import ConfigError, Place, Text

if TYPE_CHECKING:
    from tomlkit.items import Array

_LINE = re.compile(
    r"(?P<lead>[ \t]*)(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?P<extras>[ \t]*\[[^\]]*\])?"
    r"(?P<version>[ \t]*(?:\(?[ \t]*[=<>!~][^;#]*?|@[^;]*?)?)(?P<rest>[ \t]*(?:;[^#]*)?(?:[ \t]#.*)?)[ \t]*"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be written."""

    set: Mapping[str, str]
    """Normalised name → what follows the name: ``==1.2``, or `` @ https://…``."""
    removed: frozenset[str] = frozenset()


def wanted(found: Iterable[Distribution], *, pin: bool) -> tuple[Wanted, tuple[Text, ...]]:
    """What those that the user asked for need, and why some cannot be written down."""
    setting: dict[str, str] = {}
    notes: list[Text] = []
    for one in found:
        if one.version is None or not one.asked:
            continue
        note = _cannot(one)
        if note is not None:
            notes.append(note)
        elif one.source is Source.URL:
            setting[one.name] = f" @ {one.url}"
        else:
            public = one.version.partition("+")[0]  # a build such as +cpu is the accelerator's to choose
            setting[one.name] = f"=={public}" if pin else f">={public}"
    removed = frozenset(one.name for one in found if one.version is None)
    return Wanted(setting, removed), tuple(notes)


def _cannot(one: Distribution) -> Text | None:
    url, plain = one.url, _without_user(one.url)
    if one.source is Source.EDITABLE:
        return Text(
            "{name} was installed in place (-e {url}): code of the project goes in anyway, other code as a wheel",
            name=one.name,
            url=plain,
        )
    if one.source is Source.VCS:
        return Text(
            "{name} was installed from version control ({url}), which has no hash: build a wheel of it, "
            "put it into a find-links folder, and write {name}=={version}",
            name=one.name,
            url=plain,
            version=one.version,
        )
    portable = url.startswith("https://") and url.endswith(".whl") and url == plain
    if one.source is Source.FOLDER or (one.source is Source.URL and not portable):
        return Text(
            "{name} was installed from {url}, which means nothing elsewhere: put its wheel into a find-links "
            "folder, and write {name}=={version}",
            name=one.name,
            url=plain,
            version=one.version,
        )
    return None


def _without_user(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)


def in_file(text: str, asked: Wanted, file: str, places: Mapping[str, int]) -> str:
    """A requirements file with ``asked`` in it; ``places``: name → the line that has it, counted from one.

    What has no line is added at the end. Raises :class:`ConfigError` for a file that another tool compiled.
    """
    lines = text.split("\n")
    for name, number in sorted(places.items(), key=lambda pair: -pair[1]):
        line = lines[number - 1]
        end = "\r" if line.endswith("\r") else ""
        match = _LINE.fullmatch(line.removesuffix("\r"))
        if match is None or normal(match["name"]) != name or "--hash" in line:
            raise _compiled(file, number, name)
        if name in asked.removed:
            del lines[number - 1]
        elif name in asked.set:
            value = f"{match['lead']}{match['name']}{match['extras'] or ''}{asked.set[name]}"
            address = asked.set[name].startswith(" @") and match["rest"].startswith(";")
            rest = f"{' ' if address else ''}{match['rest']}"  # a URL ends only at a space
            lines[number - 1] = value + rest + end
    return added("\n".join(lines), {name: value for name, value in asked.set.items() if name not in places})


def added(text: str, values: Mapping[str, str]) -> str:
    """``text`` with requirements at its end."""
    if not values:
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    start = text if not text or text.endswith("\n") else text + end
    return start + "".join(f"{name}{value}{end}" for name, value in sorted(values.items()))


def _compiled(file: str, number: int, name: str) -> ConfigError:
    return ConfigError(
        Text(
            "this line is not written by hand: another tool made the file, and would have to change {name}",
            name=name,
        ),
        place=Place(file, line=number),
        hints=[Text("change what the file is made of, or leave the package out: --skip {name}", name=name)],
    )


def in_pyproject(text: str, asked: Wanted) -> str:
    """``pyproject.toml`` with ``asked`` in ``project.dependencies``; comments and order stay."""
    import tomlkit

    document = tomlkit.parse(text)
    project = document.setdefault("project", tomlkit.table())
    if "dependencies" not in project:
        project["dependencies"] = tomlkit.array()
    array: Array = project["dependencies"]
    known = {name: number for number, line in enumerate(array) if (name := _name(str(line)))}
    for name, number in sorted(known.items(), key=lambda pair: -pair[1]):
        if name in asked.removed:
            del array[number]
        elif name in asked.set:
            match = _LINE.fullmatch(str(array[number]))
            assert match is not None
            array[number] = f"{match['name']}{match['extras'] or ''}{asked.set[name]}{match['rest']}"
    for name, value in sorted(asked.set.items()):
        if name not in known:
            array.append(f"{name}{value}")
    return tomlkit.dumps(document)


def names(lines: Sequence[str]) -> frozenset[str]:
    """The distributions that requirements name."""
    return frozenset(name for line in lines if (name := _name(line)))


def _name(line: str) -> str:
    match = _LINE.fullmatch(line)
    return normal(match["name"]) if match else ""
