"""A hub of models: what a revision means, which files it has, and where they lie.

The lock names files by repository, commit and path, so any mirror can serve them; a mirror is never trusted, since
a file counts by its hash. No hub is built in: which one is meant comes from the configuration, HF_ENDPOINT, or the
hub's own client on this machine. The token goes to HF_ENDPOINT's own origin and nowhere else (THREATS D8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urljoin

from trainload.errors import FetchError, LockError, Place, Text
from trainload.lock.grammar import COMMIT, HEX, INSIDE
from trainload.lock.model import HubPath
from trainload.nesting import loads
from trainload.project.weights import HubSource
from trainload.system.http import Http, StatusError, origin

_ANSWER = 16 << 20
_PAGES = 1000  # of a thousand files each, as hubs cut their listings
_ENDPOINT = re.compile(rb"_HF_DEFAULT_ENDPOINT\s*=\s*[\"'](https://[A-Za-z0-9.-]+)[\"']")
_OFF = frozenset({"1", "on", "yes", "true"})


@dataclass(frozen=True, slots=True, order=True)
class HubFile:
    """A file of a repository as the hub lists it."""

    path: str
    size: int
    blob: str
    """git's sha1 of what git keeps: the file itself, or a pointer to it."""
    sha256: str = ""
    """Of files beside git (LFS); nobody tells one of the others."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the hub can be asked, the best first."""

    urls: tuple[str, ...]
    """Without a slash at the end."""
    own: str = ""
    """The one that gets the token."""
    token: str = field(default="", repr=False)

    def headers(self, url: str) -> dict[str, str]:
        """What a request to ``url`` carries; whoever follows redirects leaves it behind at the origin's border."""
        mine = self.token and self.own and origin(url) == origin(self.own)
        return {"Authorization": f"Bearer {self.token}"} if mine else {}

    def credentials(self) -> dict[tuple[str, str, int], str]:
        """Origin → the ``Authorization`` header it gets."""
        return {origin(self.own): f"Bearer {self.token}"} if self.token and self.own else {}

    def files(self, location: HubPath) -> list[str]:
        """Addresses of a file. Raises :class:`LockError` where no hub is known."""
        prefix = "datasets/" if location.kind == "datasets" else ""
        path = f"{prefix}{location.repository}/resolve/{location.commit}/{quote(location.path)}"
        return [f"{url}/{path}" for url in self.known()]

    def known(self) -> tuple[str, ...]:
        """Raises :class:`LockError` where no hub is known."""
        if not self.urls:
            raise LockError(
                Text("which hub hf:// means is not known"),
                place=Place("environment", "HF_ENDPOINT"),
                hints=[
                    Text("set HF_ENDPOINT to the address of the hub, or of a mirror of it"),
                    Text('or for the project: hub = ["https://…"] in [tool.trainload.mirrors]'),
                ],
            )
        return self.urls


def find_endpoints(mirrors: Sequence[str], environ: Mapping[str, str], *, client: Path | None = None) -> Endpoints:
    """The project's ``mirrors``, then HF_ENDPOINT, else what the hub's own client has built in.

    ``client``: its ``constants.py``; None: where this Python would import it from.
    """
    own = environ.get("HF_ENDPOINT", "").rstrip("/")
    if own and not re.fullmatch(r"https?://[^\s/?#]+(?:/[^\s?#]*)?", own):
        raise LockError("HF_ENDPOINT is no address", place=Place("environment", "HF_ENDPOINT"), got=own)
    own = own or _built_in(client)
    urls = tuple(dict.fromkeys(url for url in (*(mirror.rstrip("/") for mirror in mirrors), own) if url))
    return Endpoints(urls, own, _token(environ) if own else "")


def _built_in(client: Path | None) -> str:
    """What huggingface_hub on this machine takes when nothing is set; it is read, not run."""
    if client is None:
        from importlib.util import find_spec

        found = find_spec("huggingface_hub")
        client = Path(found.origin).with_name("constants.py") if found and found.origin else None
    try:
        match = _ENDPOINT.search(client.read_bytes()) if client is not None else None
    except OSError:
        return ""
    return match[1].decode() if match else ""


def _token(environ: Mapping[str, str]) -> str:
    """The user's, as the hub's own client finds it; nobody is logged in otherwise."""
    if environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").lower() in _OFF:
        return ""
    given = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    if given is None:
        home = environ.get("HOME", "")
        cache = environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
        folder = environ.get("HF_HOME") or (f"{cache}/huggingface" if cache else "")
        file = environ.get("HF_TOKEN_PATH") or (f"{folder}/token" if folder else "")
        try:
            given = Path(file).read_text("utf-8", "replace") if file else ""
        except OSError:
            given = ""
    token = given.strip()
    return token if re.fullmatch(r"[\x21-\x7e]{1,500}", token) else ""


@dataclass(frozen=True)
class Hub:
    """Asks a hub; made once per command."""

    http: Http
    find: Callable[[], Endpoints]

    @cached_property
    def endpoints(self) -> Endpoints:
        return self.find()

    def commit(self, source: HubSource) -> str:
        """What the revision means now. Raises :class:`LockError` and :class:`FetchError`."""
        path = f"{_api(source)}/revision/{quote(source.revision, safe='')}"
        answer = self._first(source, path, lambda url: self._json(url)[0])
        commit = answer.get("sha") if isinstance(answer, dict) else None
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise _nonsense(source, "sha")
        return commit

    def files(self, source: HubSource, commit: str) -> tuple[HubFile, ...]:
        """All files of a commit, by path. Raises as :meth:`commit`."""
        path = f"{_api(source)}/tree/{commit}?recursive=true"
        entries = self._first(source, path, lambda url: list(self._pages(source, url)))
        assert isinstance(entries, list)
        return tuple(sorted(_file(source, entry) for entry in entries if _is_file(entry)))

    def _pages(self, source: HubSource, url: str) -> Iterator[object]:
        for _ in range(_PAGES):
            entries, following = self._json(url)
            if not isinstance(entries, list):
                raise _nonsense(source, "tree")
            yield from entries
            if not following:
                return
            url = urljoin(url, following)
        raise _nonsense(source, "tree")

    def _first(self, source: HubSource, path: str, ask: Callable[[str], object]) -> object:
        """What the first endpoint that has an answer says; of several failures what the hub itself says."""
        told: FetchError | None = None
        for url in self.endpoints.known():
            try:
                return ask(f"{url}/api/{path}")
            except FetchError as error:
                if isinstance(error, StatusError) or not isinstance(told, StatusError):
                    told = error
        assert told is not None
        raise self._explained(source, told) from told

    def _json(self, url: str) -> tuple[object, str]:
        data, following = self.http.page(url, limit=_ANSWER, headers=self.endpoints.headers(url))
        try:
            return loads(data), following
        except ValueError as error:
            raise FetchError(Text("{url} answers what no hub does", url=url.partition("?")[0])) from error

    def _explained(self, source: HubSource, error: FetchError) -> FetchError:
        """A refusal in words that help."""
        return explained(source, error, self.endpoints) or error


def explained(source: HubSource, error: FetchError, endpoints: Endpoints) -> FetchError | None:
    """What a hub's refusal means; None: nothing that is the hub's own."""
    if not isinstance(error, StatusError) or error.status not in (401, 403, 404):
        return None
    name, got = f"{source.repository}@{source.revision}", error.got
    gated = error.status == 403 or error.code == "GatedRepo"
    if gated and endpoints.token:
        return FetchError(
            Text("{name} is given only to those who were granted access", name=name),
            got=got,
            hints=[
                Text("ask for it on the model's page, with the account that HF_TOKEN belongs to"),
                Text("the token must be allowed to read gated repositories"),
            ],
        )
    if gated or error.status == 401:
        own = endpoints.own or "HF_ENDPOINT"
        token = Text("HF_TOKEN, or the token of `hf auth login`, is sent to {url}", url=own)
        text = "{name} is not shown without a token, or there is no such repository"
        if endpoints.token:
            text = "the hub does not accept the token for {name}, or there is no such repository"
        return FetchError(Text(text, name=name), got=got, hints=[Text("look at the name once more"), token])
    if error.code == "RevisionNotFound":
        text = "{name}: there is no such branch, tag or commit"
    else:
        text = "{name}: there is no such repository or revision"
    return FetchError(Text(text, name=name), got=got, hints=[Text("look at the name once more")])


def _api(source: HubSource) -> str:
    return f"{source.kind}/{source.repository}"


def _is_file(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("type") == "file"


def _file(source: HubSource, entry: object) -> HubFile:
    assert isinstance(entry, dict)
    path, size, blob, lfs = (entry.get(name) for name in ("path", "size", "oid", "lfs"))
    sha256 = lfs.get("oid") if isinstance(lfs, dict) else ""
    if isinstance(lfs, dict):
        size = lfs.get("size", size)
    good = (
        isinstance(path, str) and INSIDE.fullmatch(path) is not None
        and isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 50
        and isinstance(blob, str) and COMMIT.fullmatch(blob) is not None
        and isinstance(sha256, str) and (not lfs or HEX.fullmatch(sha256) is not None)
    )  # fmt: skip
    if not good:
        raise _nonsense(source, str(path)[:200])
    assert isinstance(path, str) and isinstance(size, int) and isinstance(blob, str) and isinstance(sha256, str)
    return HubFile(path, size, blob, sha256)


def _nonsense(source: HubSource, what: str) -> LockError:
    return LockError(Text("the hub says of {name} what cannot be understood", name=source), got=what)
