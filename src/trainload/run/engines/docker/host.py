"""Where the Docker to talk to is: what the environment says, else docker's context, else the usual socket; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import PurePath

from trainload.errors import Place, RunError, Text
from trainload.system.daemon import Address, Tls

SOCKET = "/var/run/docker.sock"
Read = Callable[[str], bytes | None]
"""The content of a file, or None."""


def address(environ: Mapping[str, str], read: Read, exists: Callable[[str], bool]) -> Address:
    """As the docker CLI finds it (docker/cli: command.go, resolveContextName).

    Raises :class:`RunError` for a context that is not there.
    """
    host = environ.get("DOCKER_HOST")
    if host:
        return Address(host, _of_environment(environ) if not host.startswith(("unix://", "ssh://")) else None)
    config = PurePath(environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '/root')}/.docker")
    name = environ.get("DOCKER_CONTEXT") or _current(read(str(config / "config.json")))
    if name not in (None, "", "default"):
        return _of_context(str(name), config, read)
    rootless = f"{environ.get('XDG_RUNTIME_DIR', '')}/docker.sock"
    if not exists(SOCKET) and environ.get("XDG_RUNTIME_DIR") and exists(rootless):
        return Address(f"unix://{rootless}")
    return Address(f"unix://{SOCKET}")


def _current(data: bytes | None) -> str | None:
    try:
        name = json.loads(data or b"{}").get("currentContext")
    except (ValueError, AttributeError):
        return None  # docker itself complains about its file; the usual socket is no worse guess
    return name if isinstance(name, str) else None


def _of_environment(environ: Mapping[str, str]) -> Tls | None:
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    folder = environ.get("DOCKER_CERT_PATH") or f"{environ.get('HOME', '/root')}/.docker"
    return Tls(f"{folder}/ca.pem", f"{folder}/cert.pem", f"{folder}/key.pem", verify)


def _of_context(name: str, config: PurePath, read: Read) -> Address:
    key = hashlib.sha256(name.encode()).hexdigest()
    place = config / "contexts" / "meta" / key / "meta.json"
    data = read(str(place))
    if data is None:
        raise RunError(
            Text("there is no docker context {name}", name=name), hints=(Text("`docker context ls` lists them"),)
        )
    try:
        endpoint = json.loads(data)["Endpoints"]["docker"]
        host, verify = endpoint["Host"], not endpoint.get("SkipTLSVerify", False)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(Text("this docker context cannot be read"), place=Place(str(place))) from error
    folder = config / "contexts" / "tls" / key / "docker"
    files = [str(folder / file) for file in ("ca.pem", "cert.pem", "key.pem")]
    known = [file if read(file) is not None else None for file in files]
    if not any(known) and verify:
        return Address(str(host))
    return Address(str(host), Tls(known[0], known[1], known[2], verify))
