"""``docker run``'s spellings as values: volumes, environment, env files, sizes, networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainload.errors import Place, Text, UsageError
from trainload.run.model import Mount

_MODES = {"ro": True, "readonly": True, "rw": False}
_MEANINGLESS = frozenset(
    {"z", "Z", "cached", "delegated", "consistent", "rprivate", "rslave", "rshared", "private"}
)


def volume(text: str, cwd: Path) -> Mount:
    """``SOURCE:TARGET[:ro]``; the source is taken relative to ``cwd``. Raises :class:`UsageError`."""
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
    source = cwd / Path(parts[0]).expanduser()
    read_only = any(_MODES.get(option, False) for option in options)
    return Mount(str(source), parts[1], read_only)


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


def network(text: str | None) -> bool:
    """Whether the program may use this machine's network. Raises :class:`UsageError`."""
    if text in (None, "host", "bridge", "default"):
        return True
    if text == "none":
        return False
    raise UsageError(Text("--network {text} is not possible here", text=text), want="none or host")
