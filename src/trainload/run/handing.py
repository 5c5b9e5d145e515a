"""A Dockerfile handed to another builder as it is: its command line, made of what ours says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BUILDERS = ("docker", "podman", "buildah")
_ITS_OWN = frozenset({"PATH", "HOME", "USER", "TMPDIR", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH", "LD_PRELOAD"})
"""Variables that the builder itself goes by."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built, in the words of ``docker build``."""

    file: str
    """Relative to the folder that the builder starts in, which is the build context."""
    tags: tuple[str, ...]
    target: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """``id=ID,src=FILE``: files, never values."""
    agents: tuple[str, ...] = ()
    """``ID=SOCKET``."""
    network: str | None = None
    """None: as that builder has it."""
    platform: str | None = None
    no_cache: bool = False


def argv(builder: str, order: Order) -> tuple[str, ...]:
    """The command; arguments are given by name, their values by the environment, so that no listing shows them."""
    words = [builder, "build", "--file", order.file]
    for flag, value in (("--target", order.target), ("--network", order.network), ("--platform", order.platform)):
        words += [flag, value] if value is not None else []
    words += [word for tag in order.tags for word in ("--tag", tag)]
    words += [
        word for name in sorted(order.arguments) for word in ("--build-arg", _argument(name, order.arguments[name]))
    ]
    words += [word for secret in order.secrets for word in ("--secret", secret)]
    words += [word for agent in order.agents for word in ("--ssh", agent)]
    words += ["--no-cache"] if order.no_cache else []
    return (*words, ".")


def _argument(name: str, value: str) -> str:
    return f"{name}={value}" if name in _ITS_OWN else name


def environment(builder: str, order: Order, ours: Mapping[str, str]) -> dict[str, str]:
    """Ours, the values of arguments, and BuildKit for Docker, whose old builder knows no secrets or heredocs."""
    kit = {"DOCKER_BUILDKIT": "1"} if builder == "docker" else {}
    arguments = {name: value for name, value in order.arguments.items() if name not in _ITS_OWN}
    return {**kit, **ours, **arguments}


def shown(words: Sequence[str]) -> str:
    """The command as one would type it."""
    import shlex

    return shlex.join(words)
