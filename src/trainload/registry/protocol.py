"""The OCI distribution specification as rules over values: what is asked, and what an answer means. No I/O.

A :class:`Request` says what to send, an :class:`Answer` what came; ``session.py`` carries one to the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode, urljoin, urlsplit

from trainload.digest import Digest
from trainload.errors import ImageError, RegistryError, Text, printable
from trainload.image.model import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST
from trainload.image.strict_json import parse_object
from trainload.limits import DEFAULT
from trainload.reference import DOCKER_HUB, Reference
from trainload.system.wire import origin, shown
from trainload.values import dataclass, field

ACCEPT = ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
TAG_WHEN_NONE = "latest"
"""What the reference without tag stands for at a registry, as Docker has it."""
_LINK_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?', re.I)
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_SAID = 1024  # characters of an error's body that are told (THREATS R18)


@dataclass(frozen=True, slots=True)
class Rest:
    """A body: bytes of the blob from ``start`` on."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to ask a registry."""

    method: str
    url: str
    """A path under the registry's address, or an address the registry gave (checked before it is used)."""
    scopes: tuple[str, ...] = ()
    """What a token must allow."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Rest | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry said; ``headers`` have lower-case names, ``body`` is bounded."""

    url: str
    """The whole address that answered."""
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One entry of an error's body (distribution-spec § Error Codes)."""

    code: str
    message: str


class RefusedError(RegistryError):
    """The registry answered with an error."""

    def __init__(self, text: Text, answer: Answer, hints: Sequence[Text]) -> None:
        self.status = answer.status
        self.complaints = complaints(answer.body)
        super().__init__(text, got=_told(answer, self.complaints), hints=hints)


def path_of(reference: Reference) -> str:
    return f"/v2/{reference.path}"


def manifest_path(reference: Reference) -> str:
    """A digest wins over the tag beside it (Docker's rule)."""
    return f"{path_of(reference)}/manifests/{reference.digest or reference.tag or TAG_WHEN_NONE}"


def blob_path(reference: Reference, digest: Digest) -> str:
    return f"{path_of(reference)}/blobs/{digest}"


def scope(reference: Reference, actions: str = "pull") -> str:
    """A token's scope (distribution: docs/spec/auth/scope.md): ``repository:library/python:pull``."""
    return f"repository:{reference.path}:{actions}"


def complaints(body: bytes) -> tuple[Complaint, ...]:
    """The errors in an error's body; none when it is not in the specification's form."""
    try:
        entries = parse_object(body, "error", limit=DEFAULT.error_body).get("errors")
    except ImageError:
        return ()
    found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return tuple(
        Complaint(printable(entry.get("code") or ""), printable(entry.get("message") or "")) for entry in found[:10]
    )


def refused(answer: Answer, what: Text, account: str | None = None) -> RefusedError:
    """The error for an answer that is not the wanted one; ``what`` says what was wanted.

    ``account``: the registry to log in to, when it is not who answers.
    """
    return RefusedError(what, answer, _hints(answer, account or urlsplit(answer.url).netloc))


def digest_header(answer: Answer) -> Digest | None:
    """``Docker-Content-Digest``. Raises :class:`RegistryError` for one that is no digest (THREATS R07)."""
    text = answer.headers.get("docker-content-digest")
    if text is None:
        return None
    try:
        return Digest.parse(text)
    except ImageError as error:
        raise RegistryError(
            Text("{url} answers with a digest that is none", url=shown(answer.url)), got=text[:200], want=error.want
        ) from error


def check_digest(answer: Answer, want: Digest) -> None:
    """The registry must have taken or given what we mean (THREATS R03, R19). Raises :class:`RegistryError`."""
    got = digest_header(answer)
    if got is not None and got.algorithm == want.algorithm and got != want:
        raise RegistryError(
            Text("{url} answers with another digest", url=shown(answer.url)), got=got, want=want, retryable=True
        )


def upload_address(answer: Answer, base: str) -> str:
    """Where an upload goes on: ``Location``, at the registry itself (THREATS R13).

    Raises :class:`RegistryError`.
    """
    location = answer.headers.get("location", "")
    forbidden = not location or any(ord(c) <= 32 or ord(c) == 127 for c in location)
    target = "" if forbidden else urljoin(answer.url, location).partition("#")[0]
    if forbidden or origin(target) != origin(base) or "@" in urlsplit(target).netloc:
        raise RegistryError(
            Text("{url} sends the upload to another place", url=shown(answer.url)),
            got=shown(target) if target else printable(location)[:200] or "no Location",
            want=shown(base),
            hints=[Text("a registry behind a proxy must know its own address: X-Forwarded-Proto and Host")],
        )
    return target


def with_digest(url: str, digest: Digest) -> str:
    """The address that ends an upload; what the registry wrote into it stays as it is."""
    return f"{url}{'&' if urlsplit(url).query else '?'}digest={quote(str(digest), safe='')}"


def received(answer: Answer) -> int | None:
    """Bytes of an upload that the registry has, from its ``Range``; None when it does not say."""
    text = answer.headers.get("range", "").strip()
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    # "0-0" stands for nothing as well as for one byte: distribution writes it for an empty upload
    return 0 if match[1] == "0" else int(match[1]) + 1


def next_page(answer: Answer, base: str, seen: set[str]) -> str | None:
    """The next page of a list (``Link``), at the registry itself and never twice (THREATS R14).

    Raises :class:`RegistryError`.
    """
    match = _LINK_NEXT.search(answer.headers.get("link", ""))
    if match is None:
        return None
    target = urljoin(answer.url, match[1]) if match[1].isprintable() else ""
    if not target or origin(target) != origin(base):
        raise RegistryError(
            Text("{url} continues its list at another place", url=shown(answer.url)), got=shown(target),
            want=shown(base),
        )  # fmt: skip
    if target in seen:
        raise RegistryError(Text("the list at {url} has no end", url=shown(answer.url)), got=shown(target))
    seen.add(target)
    return target


def with_query(path: str, **values: str) -> str:
    return f"{path}?{urlencode(values)}"


def _told(answer: Answer, found: tuple[Complaint, ...]) -> str:
    if found:
        said = "; ".join(f"{one.code}: {one.message}".strip(": ") for one in found)
    else:
        said = (
            ""
            if b"<" in answer.body[:200]
            else printable(" ".join(answer.body[:_SAID].decode("utf-8", "replace").split()))
        )
    return f"HTTP {answer.status} {said[:_SAID]}".strip()


def _hints(answer: Answer, account: str) -> list[Text]:
    if answer.status in (401, 403):
        host = DOCKER_HUB if account == "registry-1.docker.io" else account
        return [Text("log in with a user who may do this: trainload login {host}", host=host)]
    if answer.status == 413:
        return [Text("the registry, or a proxy before it, takes no uploads of this size: raise its limit")]
    if answer.status == 429:
        return [Text("too many requests: wait, log in, or set a mirror in [tool.trainload.mirrors]")]
    return []
