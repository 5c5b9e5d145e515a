"""``docker run``'s spellings as values: volumes, environment, env files, sizes, networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainload.errors import Place, Text, UsageError
from trainload.run.model import Again, Mount, Port, Restart

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # moby: volume/mounts, RestrictedNameChars
_PORT = re.compile(r"(?:(?:(\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?(\d{0,5}):)?(\d{1,5})(?:/(tcp|udp))?")
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MODES = {"ro": True, "readonly": True, "rw": False}
_MEANINGLESS = frozenset(
    {"z", "Z", "cached", "delegated", "consistent", "rprivate", "rslave", "rshared", "private"}
)


def volume(text: str, cwd: Path) -> Mount:
    """``SOURCE:TARGET[:ro]``: a source without ``/`` names a volume, as in Docker, others are paths from ``cwd``.

    Raises :class:`UsageError`."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts) or not parts[1].startswith("/"):
        raise UsageError(
            Text("-v {text} is not understood", text=text),
            want="SOURCE:/TARGET or SOURCE:/TARGET:ro",
            hints=("a volume without a folder of this machine cannot be mounted here",) if len(parts) == 1 else (),
        )
    options = parts[2].split(",") if len(parts) == 3 else []
    unknown = [option for option in options if option not in _MODES and option not in _MEANINGLESS]
    if unknown:
        raise UsageError(Text("-v {text} is not understood", text=text), got=unknown[0], want="ro or rw")
    read_only = any(_MODES.get(option, False) for option in options)
    if _VOLUME.fullmatch(parts[0]):
        return Mount(parts[0], parts[1], read_only, volume=True)
    return Mount(str(cwd / Path(parts[0]).expanduser()), parts[1], read_only)


def environment(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """``NAME=VALUE``, or ``NAME`` for our own value (left out when we have none), as in Docker."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise UsageError(Text("-e {word} has no name", word=word), want="NAME=VALUE or NAME")
        if equals:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
    return found


def env_file(text: str, file: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The lines of an env file: ``NAME=VALUE`` as it stands (no quotes are removed), ``NAME``, ``# comment``.

    Raises :class:`UsageError` naming the line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        stripped = line.lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        name = stripped.partition("=")[0]
        if not name or any(character.isspace() for character in name):
            raise UsageError(
                Text("this line is not a variable"), place=Place(file, line=number), want="NAME=VALUE or NAME"
            )
        found.update(environment([stripped], environ))
    return found


def network(text: str | None) -> tuple[bool, str | None]:
    """Whether there is a network, and which (None: what is usual there). Raises :class:`UsageError`."""
    if text in (None, "default"):
        return True, None
    if text == "none":
        return False, None
    if not _VOLUME.fullmatch(str(text)):
        raise UsageError(
            Text("--network {text} is not understood", text=text), want="none, host or a network's name"
        )
    return True, text


def port(text: str) -> Port:
    """``[[ADDRESS:]HOST:]CONTAINER[/udp]``. Raises :class:`UsageError`."""
    match = _PORT.fullmatch(text)
    numbers = [int(number) for number in (match[2], match[3]) if number] if match else []
    if match is None or not all(0 < number < 65536 for number in numbers):
        raise UsageError(
            Text("-p {text} is not understood", text=text), want="8888:8888, 127.0.0.1:80:8080 or 53:53/udp"
        )
    address = (match[1] or "").strip("[]")
    return Port(int(match[3]), int(match[2]) if match[2] else None, address, match[4] or "tcp")


def restart(text: str) -> Restart:
    """``no``, ``always``, ``unless-stopped``, ``on-failure`` or ``on-failure:3``. Raises :class:`UsageError`."""
    name, colon, most = text.partition(":")
    if name not in list(Again) or (colon and (name != Again.ON_FAILURE or not most.isdecimal())):
        raise UsageError(
            Text("--restart {text} is not understood", text=text),
            want="no, on-failure, on-failure:3, unless-stopped or always",
        )
    return Restart(Again(name), int(most) if colon else None)


def seconds(text: str, option: str) -> float:
    """``30s``, ``1m30s``, ``500ms`` as seconds; a bare number is seconds, too. Raises :class:`UsageError`."""
    parts = _TIME.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    raise UsageError(Text("{option} is not a time", option=option), got=text, want="30s or 1m30s")


def labels(words: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` or ``NAME``."""
    return {name: value for name, _, value in (word.partition("=") for word in words)}
