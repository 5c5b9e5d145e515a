"""Names of images as Docker users write them (github.com/distribution/reference, its grammar and its rules).

``python:3.11-slim`` stands for ``docker.io/library/python:3.11-slim``. A missing tag stays missing: ``latest`` is
never written by us, and whoever must send one to a registry says so.
"""

from __future__ import annotations

import re

from trainload.digest import Digest
from trainload.errors import ImageError, Text
from trainload.values import dataclass, replace

DOCKER_HUB = "docker.io"
_OFFICIAL = "library/"
_HUB_NAMES = {"index.docker.io": DOCKER_HUB, "registry-1.docker.io": DOCKER_HUB}
_LONGEST_NAME = 255  # distribution/reference: RepositoryNameTotalLengthMax

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}", re.ASCII)
_TAG_RULE = Text("a tag has at most 128 letters, digits, dots, dashes and underscores")
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository, and in it a tag, a digest, both or neither."""

    domain: str
    """The registry's host and port; ``docker.io`` when none was written."""
    path: str
    """The repository inside it; Docker's own images are in ``library/``."""
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference written as ``text``. Raises :class:`ImageError` that says what is wrong with it."""
        rest, at, digest = text.partition("@")
        head, slash, last = rest.rpartition("/")
        last, colon, tag = last.partition(":")
        name = f"{head}{slash}{last}"
        domain, path = _split(name)
        if not _PATH.fullmatch(path) or len(domain) + 1 + len(path) > _LONGEST_NAME:
            raise _refuse(text, _path_hint(name, path))
        if not _DOMAIN.fullmatch(domain):
            raise _refuse(text, Text("{domain} is not the name of a registry", domain=domain))
        if _HEX.fullmatch(name):
            raise _refuse(text, Text("64 hexadecimal digits are a digest: write sha256:{digits}", digits=name))
        if colon and not _TAG.fullmatch(tag):
            raise _refuse(text, _TAG_RULE)
        return cls(domain, path, tag or None, Digest.parse(digest) if at else None)

    @property
    def name(self) -> str:
        """The repository as people write it: ``python``, ``localhost:5000/a/b``."""
        if self.domain != DOCKER_HUB:
            return f"{self.domain}/{self.path}"
        short = self.path.removeprefix(_OFFICIAL)
        # a first word that looks like a registry keeps its domain, or it would be read as another name
        return short if "/" not in short or _split(short)[0] == DOCKER_HUB else f"{self.domain}/{self.path}"

    @property
    def full(self) -> str:
        """With nothing left to be guessed: ``docker.io/library/python:3.11-slim``."""
        return f"{self.domain}/{self.path}{self._suffix}"

    def with_tag(self, tag: str) -> Reference:
        """The same repository under ``tag``. Raises :class:`ImageError` for what cannot be a tag."""
        if not _TAG.fullmatch(tag):
            raise _refuse(f"{self.name}:{tag}", _TAG_RULE)
        return replace(self, tag=tag, digest=None)

    def completed(self) -> Reference:
        """With a tag where none is written: ``latest``, as everywhere."""
        return self if self.tag or self.digest else replace(self, tag="latest")

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    def __str__(self) -> str:
        return f"{self.name}{self._suffix}"


def registry_named(text: str) -> str:
    """The registry a user means: ``ghcr.io``, ``https://ghcr.io/``, ``index.docker.io``, ``localhost:5000``.

    Raises :class:`ImageError` for what cannot be one.
    """
    name = re.sub(r"^https?://", "", text).rstrip("/")
    name = re.sub(r"/v[12]$", "", name)
    if not _DOMAIN.fullmatch(name):
        raise ImageError(Text("{name} is not the name of a registry", name=text[:300]), want="HOST or HOST:PORT")
    return _HUB_NAMES.get(name, name)


def is_repository(text: str) -> bool:
    """Whether ``text`` is a repository's name inside a registry (distribution-spec § Pulling manifests)."""
    return len(text) <= _LONGEST_NAME and _PATH.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether ``text`` can be a tag (distribution-spec § Pulling manifests)."""
    return _TAG.fullmatch(text) is not None


def _split(name: str) -> tuple[str, str]:
    """Registry and repository: the first word is a registry when it has a dot, a port, capitals or is localhost."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        domain, path = DOCKER_HUB, name
    else:
        domain, path = _HUB_NAMES.get(first, first), rest
    if domain == DOCKER_HUB and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def _path_hint(name: str, path: str) -> Text:
    if path != path.lower() and not re.search(r"\s", name):
        return Text("the name of an image is written in small letters: {name}", name=name.lower())
    return Text("a name is words of small letters and digits, joined by . _ - and /, at most 255 characters")


def _refuse(text: str, hint: Text) -> ImageError:
    return ImageError(
        Text("{text} is not the name of an image", text=text[:300]),
        want="NAME, NAME:TAG, REGISTRY/NAME:TAG or NAME@sha256:…",
        hints=[hint],
    )
