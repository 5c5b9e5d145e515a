"""Docker or Podman on the far side: which of them works there, and what it has of an image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from trainload.destinations.cargo import Cargo
from trainload.destinations.ship.there import Answered, There
from trainload.digest import Digest
from trainload.errors import HostError, Text
from trainload.image.model import Descriptor, Manifest
from trainload.image.parse import parse_config, parse_manifest

_PROBES = {
    "docker": "docker version --format '{{.Server.Version}}'",
    "podman": "podman info --format '{{.Version.Version}}'",
}
_ABSENT = 127  # how a shell says that there is no such program (POSIX, 2.8.2)
_WORDS = 3


class Choice(StrEnum):
    """Where on the far side an image goes."""

    AUTO = "auto"
    DOCKER = "docker"
    PODMAN = "podman"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that works there."""

    choice: Choice
    version: str
    program: str
    """What its command line is called; ``docker`` may be Podman's look-alike."""


def find(there: There, choice: Choice) -> tuple[Engine | None, tuple[HostError, ...]]:
    """The engine that is wanted, or the first that works; and what is wrong with those that are there.

    Raises :class:`HostError` when the one that is wanted does not work.
    """
    wrong: list[HostError] = []
    for name in (Choice.DOCKER, Choice.PODMAN) if choice is Choice.AUTO else (choice,):
        answered = there.ask(f"(command -v {name} >/dev/null || exit {_ABSENT}; {_PROBES[name]})")
        if answered.code == 0:
            version = answered.line
            emulated = name is Choice.DOCKER and "podman" in there.ask("docker --version").text.lower()
            return Engine(Choice.PODMAN if emulated else name, version, name), tuple(wrong)
        error = _unusable(there, name, answered)
        if choice is not Choice.AUTO:
            raise error
        if answered.code != _ABSENT:
            wrong.append(error)
    return None, tuple(wrong)


def _unusable(there: There, name: Choice, answered: Answered) -> HostError:
    host, said = there.address, answered.text
    if answered.code == _ABSENT:
        return HostError(
            Text("{host} has no {engine}", host=host, engine=name),
            hints=[Text("`--engine store` sends the image into a folder there")],
        )
    hints = [Text("`{engine} info` there says more", engine=name)]
    if "permission denied" in said.lower():
        hints = [Text('there: sudo usermod -aG docker "$USER", then log in again')]
    elif "daemon running" in said:
        hints = [Text("there: sudo systemctl enable --now docker")]
    return quoting(HostError(Text("{engine} on {host} cannot be used", engine=name, host=host), hints=hints), said)


def quoting(error: HostError, said: str) -> HostError:
    """``error`` with an engine's last words."""
    error.said = tuple(line for line in said.splitlines() if line.strip())[-_WORDS:]
    return error


def missing_there(there: There, engine: Engine, cargo: Cargo) -> tuple[Descriptor, ...]:
    """Blobs a pull would ask for, as far as can be told: engines share layers from the first one up."""
    script = f"{engine.program} image ls -aq --no-trunc | sort -u | xargs {engine.program} image inspect"
    stacks = _stacks(there.ask(script).text)
    missing: dict[Digest, Descriptor] = {}
    for document in cargo.documents:
        manifest = parse_manifest(document.data, str(document.digest), media_type=document.media_type)
        if not isinstance(manifest, Manifest):
            continue
        config = manifest.config
        with cargo.open(config) as file:
            data = file.read()
        diff_ids = [str(one) for one in parse_config(data, str(config.digest)).diff_ids]
        there_already = max((_common(diff_ids, stack) for stack in stacks), default=0)
        if there_already < len(diff_ids) or diff_ids not in stacks:
            missing[config.digest] = config
        missing.update((layer.digest, layer) for layer in manifest.layers[there_already:])
    return tuple(missing.values())


def _stacks(text: str) -> list[list[str]]:
    """The diff_ids of each image, from what ``image inspect`` prints; what is not JSON there is a warning."""
    start, end = text.find("["), text.rfind("]")
    try:
        images = json.loads(text[start : end + 1]) if start >= 0 else []
    except ValueError:
        return []
    found = []
    for one in images if isinstance(images, list) else ():
        rootfs = one.get("RootFS") if isinstance(one, dict) else None
        layers = rootfs.get("Layers") if isinstance(rootfs, dict) else None
        found.append([str(layer) for layer in layers or ()])
    return found


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count
