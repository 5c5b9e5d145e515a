"""What instructions say of the image config: the same document as Docker's builder would write."""

from __future__ import annotations

import posixpath
import re

from trainload.dockerfile.model import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    StopSignal,
    User,
    Volume,
    What,
    Words,
    Workdir,
)
from trainload.errors import ConfigError, Place, Text
from trainload.plan.model import HealthConfig, RuntimeConfig
from trainload.values import replace

SHELL = ("/bin/sh", "-c")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # moby: DefaultPathEnvUnix
FROM_SCRATCH = RuntimeConfig("", "", (), (), {"PATH": PATH}, {})
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_MOST_PORTS = 1_000
_SECRETS = frozenset(
    {"apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"}
)


def inherited(config: RuntimeConfig) -> RuntimeConfig:
    """``config`` of a base as a stage starts with it: a base without a PATH gets one, as with Docker's builders."""
    return config if "PATH" in config.env else replace(config, env={**config.env, "PATH": PATH})


def configured(config: RuntimeConfig, what: What, place: Place, *, commanded: bool) -> RuntimeConfig:
    """``config`` after one instruction, whose words are expanded. ``commanded``: this stage has had a CMD.

    Raises :class:`ConfigError`.
    """
    match what:
        case Cmd():
            return replace(config, command=whole(what.command, config))
        case Entrypoint():
            command = config.command if commanded else ()  # a base's CMD is not for this entrypoint
            return replace(config, entrypoint=whole(what.command, config), command=command)
        case User():
            return replace(config, user=what.user)
        case Workdir():
            return replace(config, workdir=absolute(what.path, config.workdir))
    return _described(config, what, place)


def _described(config: RuntimeConfig, what: What, place: Place) -> RuntimeConfig:
    match what:
        case Env():
            return replace(config, env={**config.env, **dict(what.pairs)})
        case Label():
            return replace(config, labels={**config.labels, **dict(what.pairs)})
        case Shell():
            return replace(config, shell=what.words)
        case Expose():
            ports = {port for text in what.ports for port in _ports(text, place)}
            return replace(config, ports=tuple(sorted({*config.ports, *ports})))
        case Volume():
            return replace(config, volumes=tuple(sorted({*config.volumes, *what.paths})))
        case StopSignal():
            return replace(config, stop_signal=what.signal)
        case Healthcheck():
            return replace(config, health=_health(what))
        case Maintainer():
            return replace(config, author=what.name)
        case Onbuild():
            return replace(config, onbuild=(*config.onbuild, what.text))
    return config


def whole(command: Words, config: RuntimeConfig) -> tuple[str, ...]:
    """The argv: the shell form goes to the shell in force."""
    if command.is_exec or not command.words:
        return command.words
    return (*(config.shell or SHELL), command.words[0])


def absolute(path: str, workdir: str) -> str:
    """``path`` as it is meant in ``workdir``, without dots."""
    return "/" + posixpath.normpath(posixpath.join("/", workdir, path)).strip("/")


def _ports(text: str, place: Place) -> list[str]:
    found = _PORT.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if found is None or not 0 < first <= last < 65536 or last - first > _MOST_PORTS:
        raise ConfigError(Text("EXPOSE takes ports"), place=place, got=text, want="8000, 53/udp, 7000-7010")
    return [f"{port}/{(found[3] or 'tcp').lower()}" for port in range(first, last + 1)]


def _health(what: Healthcheck) -> HealthConfig:
    """Docker's HealthConfig: times in nanoseconds, what is not said is left to the engine."""
    if what.command is None:
        return HealthConfig(("NONE",))
    kind = "CMD" if what.command.is_exec else "CMD-SHELL"
    return HealthConfig(
        (kind, *what.command.words),
        what.interval,
        what.timeout,
        what.start_period,
        what.start_interval,
        what.retries,
    )


def suspicious(what: What) -> tuple[str, ...]:
    """Names of variables whose values look like secrets: they stay in the image for everybody (THREATS F12)."""
    if not isinstance(what, Env):
        return ()
    return tuple(name for name, value in what.pairs if value and looks_secret(name))


def looks_secret(name: str) -> bool:
    """BuildKit's check SecretsUsedInArgOrEnv: words of the name, not letters inside of them."""
    words = re.split(r"[^a-z]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())
    if "public" in words:
        return False
    return not _SECRETS.isdisjoint(words)
