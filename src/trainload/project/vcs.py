"""Requirements from version control: ``name @ git+https://…@commit``, as pip and uv write them (PEP 610)."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from trainload.errors import ConfigError, Place, Text
from trainload.project.model import GitRequirement

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)[ \t]*(?:\[([A-Za-z0-9._, \t-]*)\])?[ \t]*@[ \t]*(.*)", re.DOTALL)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_SUBDIRECTORY = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")


def git_requirement(text: str, place: Place) -> GitRequirement | None:
    """What ``text`` asks for of a repository; None: it asks for something else.

    Raises :class:`ConfigError` for an address that cannot be locked or would tell a password.
    """
    head, _, marker = text.partition(" ;")
    named = _NAMED.fullmatch(head.strip())
    name, extras, address = (named[1], named[2] or "", named[3]) if named else ("", "", head)
    address = address.strip()
    if not re.match(r"(?:git\+|git://|ssh://git@)", address):
        return None
    bare, _, fragment = address.removeprefix("git+").partition("#")
    parts = urlsplit(bare)
    if parts.scheme != "https" or not address.startswith("git+"):
        raise ConfigError(
            Text("this address of a repository is not fetched"), place=place,
            got=address.partition("://")[0][:80], want="git+https://…",
            hints=[Text("git's own url.<base>.insteadOf may lead it elsewhere on this machine")],
        )  # fmt: skip
    if "@" in parts.netloc or parts.query:
        raise ConfigError(
            Text("the URL carries credentials, which would end up in the lock"), place=place,
            hints=[Text("let git know them: git config credential.helper, or url.<base>.insteadOf")],
        )  # fmt: skip
    path, _, revision = parts.path.partition("@")
    said = parse_qs(fragment)
    egg = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[([A-Za-z0-9._, -]*)\])?", said.get("egg", [""])[0])
    if egg is not None and not name:
        name, extras = egg[1], egg[2] or ""
    subdirectory = said.get("subdirectory", [""])[0].strip("/")
    wrong = next(
        (
            part
            for part, rule in ((revision, _REVISION), (subdirectory, _SUBDIRECTORY))
            if part and not rule.fullmatch(part)
        ),
        None,
    )
    if wrong is not None or not parts.hostname or path.strip("/") == "":
        raise ConfigError(
            Text("this is no address of a repository"), place=place, got=(wrong or bare)[:80],
            want="git+https://host/path@revision#subdirectory=folder",
        )  # fmt: skip
    return GitRequirement(
        url=f"https://{parts.netloc}{path}",
        revision=revision,
        subdirectory=subdirectory,
        name=re.sub(r"[-_.]+", "-", name).lower(),
        extras=tuple(sorted(word.strip() for word in extras.split(",") if word.strip())),
        marker=marker.strip(),
    )
