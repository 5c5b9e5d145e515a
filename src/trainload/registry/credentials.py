"""Credentials as Docker and Podman keep them: ``config.json``, ``auth.json`` and helper programs.

Secrets go to helpers by stdin and come by stdout, never in an argument, a message or a log (THREATS R23).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from trainload.errors import ImageError, Place, RegistryError, Text
from trainload.image.strict_json import parse_object
from trainload.limits import DEFAULT
from trainload.reference import DOCKER_HUB
from trainload.registry.challenge import Credential
from trainload.system import process
from trainload.system.files import replace
from trainload.values import dataclass, field

_HUB_KEYS = ("https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io")
"""What Docker Hub is called in config.json; the first is Docker's own spelling, and the helpers'."""
_IDENTITY = "<token>"
"""The user name that marks an identity token (docker/cli: types.AuthConfig)."""
_HELPER = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NOT_FOUND = b"credentials not found"  # docker-credential-helpers: errCredentialsNotFound
_PATIENCE = 30.0  # seconds for a helper; some ask the user to touch a key


@dataclass(frozen=True, slots=True)
class Helper:
    """A program ``docker-credential-NAME`` (docker/docker-credential-helpers)."""

    name: str
    environ: Mapping[str, str] = field(repr=False)
    timeout: float = _PATIENCE

    @property
    def program(self) -> str:
        return f"docker-credential-{self.name}"

    def get(self, server: str) -> Credential | None:
        """What it has for ``server``. Raises :class:`RegistryError` naming the program."""
        done = self._run("get", server.encode())
        if done.exit_code != 0:
            if _NOT_FOUND in done.stdout + done.stderr:
                return None
            raise self._broken(f"exit code {done.exit_code}")
        try:
            document = parse_object(done.stdout, self.program, limit=DEFAULT.error_body)
        except ImageError as error:
            raise self._broken("no JSON object") from error
        user, secret = document.get("Username"), document.get("Secret")
        if not isinstance(user, str) or not isinstance(secret, str) or not secret:
            raise self._broken("no Username and Secret")
        return Credential(user, secret, is_token=user == _IDENTITY)

    def store(self, server: str, credential: Credential) -> None:
        """Keep a credential. Raises :class:`RegistryError`."""
        user = _IDENTITY if credential.is_token else credential.user
        entry = {"ServerURL": server, "Username": user, "Secret": credential.secret}
        done = self._run("store", json.dumps(entry).encode())
        if done.exit_code != 0:
            raise self._broken(f"exit code {done.exit_code}")

    def erase(self, server: str) -> None:
        """Forget one; not having it is no error. Raises :class:`RegistryError`."""
        done = self._run("erase", server.encode())
        if done.exit_code != 0 and _NOT_FOUND not in done.stdout + done.stderr:
            raise self._broken(f"exit code {done.exit_code}")

    def _run(self, verb: str, stdin: bytes) -> process.Completed:
        if not _HELPER.fullmatch(self.name):
            raise self._broken("its name")
        try:
            return process.run([self.program, verb], env=self.environ, stdin=stdin, timeout=self.timeout)
        except process.ProcessError as error:
            raise RegistryError(
                Text("the credential helper {program} does not work", program=self.program[:100]),
                got=error.text, hints=self._hints(),
            ) from error  # fmt: skip

    def _broken(self, got: str) -> RegistryError:
        """What it printed is not told: a secret may be in it."""
        return RegistryError(
            Text("the credential helper {program} does not work", program=self.program[:100]),
            got=got, hints=self._hints(),
        )  # fmt: skip

    def _hints(self) -> list[Text]:
        return [Text("mend it, or take it out of config.json: credsStore or credHelpers names it")]


@dataclass(frozen=True, slots=True)
class AuthFile:
    """One ``config.json`` or ``auth.json``; one that is not there is empty."""

    path: Path
    environ: Mapping[str, str] = field(repr=False)
    text: str | None = field(default=None, repr=False)
    """Instead of the file: its content in ``DOCKER_AUTH_CONFIG``, as CI systems give it."""

    def document(self) -> dict[str, object]:
        """Raises :class:`RegistryError` for a file that is no JSON object."""
        try:
            data = self.text.encode() if self.text is not None else self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise RegistryError(
                Text("the file with credentials cannot be read"), place=Place(str(self.path)), got=error.strerror
            ) from error
        try:
            return parse_object(data, str(self.path), limit=DEFAULT.error_body) if data.strip() else {}
        except ImageError as error:
            raise RegistryError(
                Text("the file with credentials is not JSON"), place=Place(str(self.path)),
                got=None if isinstance(error.__cause__, json.JSONDecodeError) else error.got,
            ) from error  # fmt: skip

    def helper(self, document: Mapping[str, object], registry: str) -> tuple[Helper, str] | None:
        """The program that keeps the credentials of ``registry``, if one does, and what it calls the registry."""
        helpers = document.get("credHelpers")
        own = helpers if isinstance(helpers, dict) else {}
        keys = keys_of(registry)
        key = next((key for key in keys if own.get(key)), keys[0])
        name = own.get(key) or document.get("credsStore")
        return (Helper(name, self.environ), key) if isinstance(name, str) and name else None

    def find(self, registry: str, paths: Iterable[str] = ()) -> Credential | None:
        """Raises :class:`RegistryError`."""
        document = self.document()
        helped = self.helper(document, registry)
        found = helped[0].get(helped[1]) if helped is not None else None
        if found is not None:
            return found
        auths = _auths(document)
        entries = {**{_plain(key): entry for key, entry in auths.items()}, **auths}
        named = (_credential(entries.get(key)) for key in (*_narrowing(registry, paths), *keys_of(registry)))
        return next((credential for credential in named if credential is not None), None)

    def save(self, registry: str, credential: Credential) -> Helper | None:
        """Keep a credential; returns the helper that has it now, None: the file has.

        Raises :class:`RegistryError` or :class:`FileError`.
        """
        document, key = self.document(), keys_of(registry)[0]
        helped = self.helper(document, registry)
        if helped is not None:
            helped[0].store(helped[1], credential)
            entry: dict[str, str] = {}
        elif credential.is_token:
            pair = base64.b64encode(f"{credential.user}:".encode()).decode()
            entry = {"auth": pair, "identitytoken": credential.secret}
        else:
            entry = {"auth": base64.b64encode(f"{credential.user}:{credential.secret}".encode()).decode()}
        self._write({**document, "auths": {**_auths(document), key: entry}})
        return helped[0] if helped is not None else None

    def erase(self, registry: str) -> bool:
        """Forget what is kept for a registry; whether there was anything.

        Raises :class:`RegistryError` or :class:`FileError`.
        """
        document, keys = self.document(), keys_of(registry)
        helped, known = self.helper(document, registry), _auths(document)
        kept = {key: entry for key, entry in known.items() if key not in keys and _plain(key) not in keys}
        had = len(kept) < len(known)
        if helped is not None:
            helper, key = helped
            had = helper.get(key) is not None or had
            helper.erase(key)
        if len(kept) < len(known):
            self._write({**document, "auths": kept})
        return had

    def _write(self, document: Mapping[str, object]) -> None:
        """Whole or not at all, readable by its owner only; a link stays one."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise RegistryError(
                Text("the file with credentials cannot be written"), place=Place(str(self.path)), got=error.strerror
            ) from error
        replace(self.path, json.dumps(document, indent="\t", ensure_ascii=False).encode() + b"\n", mode=0o600)


@dataclass(frozen=True, slots=True)
class Keyring:
    """All files of this user, the strongest first."""

    files: tuple[AuthFile, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Keyring:
        """As Docker and Podman look: what a variable names, then Docker's file, then Podman's."""
        return cls(tuple(_files(environ)))

    def find(self, registry: str, scopes: Iterable[str] = ()) -> Credential | None:
        paths = [one.split(":")[1] for one in scopes if one.startswith("repository:")]
        return next((found for file in self.files if (found := file.find(registry, paths)) is not None), None)

    @property
    def own(self) -> AuthFile:
        """Where a login is kept."""
        return next(file for file in self.files if file.text is None)


def keys_of(registry: str) -> tuple[str, ...]:
    """What a registry is called in the files; the first is the one that is written."""
    return _HUB_KEYS if registry == DOCKER_HUB else (registry,)


def _files(environ: Mapping[str, str]) -> Iterator[AuthFile]:
    if environ.get("DOCKER_AUTH_CONFIG"):
        yield AuthFile(Path("DOCKER_AUTH_CONFIG"), environ, environ["DOCKER_AUTH_CONFIG"])
    if environ.get("REGISTRY_AUTH_FILE"):
        yield AuthFile(Path(environ["REGISTRY_AUTH_FILE"]), environ)
        return
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    yield AuthFile(Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json", environ)
    if environ.get("XDG_RUNTIME_DIR"):
        yield AuthFile(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json", environ)
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    yield AuthFile(config / "containers" / "auth.json", environ)


def _auths(document: Mapping[str, object]) -> dict[str, object]:
    found = document.get("auths")
    return {str(key): entry for key, entry in found.items()} if isinstance(found, dict) else {}


def _plain(key: str) -> str:
    """``https://host/v2/`` as old files have it → ``host``."""
    return urlsplit(key).netloc if "://" in key else key


def _narrowing(registry: str, paths: Iterable[str]) -> Iterator[str]:
    """Podman's keys for a part of a registry: ``host/team/app``, ``host/team``; the narrowest first."""
    for path in paths:
        words = path.split("/")
        for length in range(len(words), 0, -1):
            yield f"{registry}/{'/'.join(words[:length])}"


def _credential(entry: object) -> Credential | None:
    if not isinstance(entry, dict):
        return None
    texts = cast("dict[str, str]", {key: value for key, value in entry.items() if isinstance(value, str)})
    user, _, password = _decoded(texts.get("auth", "")).partition(":")
    user, password = texts.get("username") or user, texts.get("password") or password
    if texts.get("identitytoken"):
        return Credential(user or _IDENTITY, texts["identitytoken"], is_token=True)
    return Credential(user, password) if user and password else None


def _decoded(auth: str) -> str:
    try:
        return base64.b64decode(auth, validate=True).decode().rstrip("\0")
    except (binascii.Error, ValueError):
        return ""
