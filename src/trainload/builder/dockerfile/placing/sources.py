"""The sources of an image's apt as they are written (sources.list(5)), with the keys that may sign them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from trainload.builder.dockerfile.ground import Ground
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.values import dataclass, field

_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<address>\S+)\s+(?P<suite>\S+)(?P<components>.*)")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BLOCK = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


@dataclass(frozen=True, slots=True)
class Source:
    """One suite of one archive."""

    address: str
    """Without a slash at its end."""
    suite: str
    """``jammy``; with a slash at its end: a folder below the address that holds the index itself."""
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    """By their names in a .sources file: ``signed-by``, ``architectures``."""


def sources(ground: Ground) -> tuple[Source, ...]:
    """Every source, in apt's order. Raises :class:`Beyond` for what is not understood."""
    names = [name for name in ground.folder("etc/apt/sources.list.d") if _NAME.fullmatch(name)]
    found: list[Source] = []
    for file in ("etc/apt/sources.list", *(f"etc/apt/sources.list.d/{name}" for name in names)):
        text = (ground.read(file) or b"").decode("utf-8", "replace")
        if file.endswith(".sources"):
            found += _stanzas(text)
        elif file.endswith(".list"):
            found += _lines(text, file)
    return tuple(found)


def keys(source: Source, ground: Ground) -> bytes:
    """The certificates that apt takes for ``source``. Raises :class:`Beyond` where it takes none, or others."""
    named = source.options.get("signed-by", "")
    if _BLOCK in named:
        return named.encode()
    if not named:
        folder = "etc/apt/trusted.gpg.d"
        files = [f"{folder}/{name}" for name in ground.folder(folder) if name.endswith((".gpg", ".asc"))]
        files += ["etc/apt/trusted.gpg"] if ground.find("etc/apt/trusted.gpg") is not None else []
    else:
        files = re.split(r"[\s,]+", named.strip())
        if not all(file.startswith("/") for file in files):
            raise Beyond(_configured(source))
    found = [ground.read(file) for file in files]
    if not found or None in found:
        raise Beyond(_configured(source))
    return b"\n".join(data for data in found if data is not None)


def _configured(source: Source) -> Text:
    return Text("the archive {archive} that the image's apt knows", archive=f"{source.address} {source.suite}")


def _lines(text: str, file: str) -> Iterator[Source]:
    for line in filter(None, (re.sub(r"#.*", "", line).strip() for line in text.splitlines())):
        match = _LINE.fullmatch(line)
        if match is None:
            if not re.match(r"deb-src\s", line):
                raise Beyond(Text("{path} has {line}", path=f"/{file}", line=line))
            continue
        options = {}
        for word in (match["options"] or "").split():
            name, _, value = word.partition("=")
            options[{"arch": "architectures", "lang": "languages"}.get(name, name)] = value.replace(",", " ")
        yield Source(match["address"].rstrip("/"), match["suite"], tuple(match["components"].split()), options)


def _stanzas(text: str) -> Iterator[Source]:
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = _fields(stanza)
        if not fields or "deb" not in fields.get("types", "").split() or fields.get("enabled") in ("no", "false"):
            continue
        known = ("types", "uris", "suites", "components", "enabled", "x-repolib-name")
        options = {name: value for name, value in fields.items() if name not in known}
        for address in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(address.rstrip("/"), suite, tuple(fields.get("components", "").split()), options)


def _fields(stanza: str) -> dict[str, str]:
    """deb822(5): values go on in lines that begin with a blank; a dot alone there is an empty line."""
    found: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            more = line.strip()
            found[name] += "\n" + ("" if more == "." else more)
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            found[name] = value.strip()
    return found
