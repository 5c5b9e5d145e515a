"""What of a run is on this machine and what is on the server; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainload.address import Address
from trainload.destinations.ship.engines import Choice
from trainload.errors import Text, UsageError
from trainload.run.model import Mount
from trainload.run.request import Request

_MARK = "output:"
"""Before the number of an output, where a mount has its source: no path and no volume begins so."""


@dataclass(frozen=True, slots=True)
class Host:
    """A server, as the user named it."""

    name: str
    """Of ``[tool.trainload.hosts]``, else its address."""
    address: Address
    choice: Choice = Choice.AUTO
    folder: str | None = None
    """Where runs and images lie there; None: where a Trainload there would keep its own."""
    gpus: str | None = None
    """That a run gets there when it does not say."""

    def document(self, outputs: tuple[Output, ...]) -> dict[str, object]:
        """For the record of a run."""
        return {
            "name": self.name,
            "address": str(self.address),
            "engine": str(self.choice),
            "folder": self.folder,
            "outputs": [[output.path, output.target] for output in outputs],
        }


def host_from(document: Mapping[str, Any]) -> Host:
    """As :meth:`Host.document` wrote it."""
    folder = document.get("folder")
    return Host(
        str(document["name"]), Address.parse(str(document["address"])), Choice(str(document["engine"])),
        str(folder) if folder is not None else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Output:
    """A folder that a run fills there and that is brought back."""

    path: str
    """Here, from the folder the run was called in."""
    target: str
    """In the container."""


def outputs_from(document: Mapping[str, Any]) -> tuple[Output, ...]:
    """As :meth:`Host.document` wrote it."""
    return tuple(Output(str(path), str(target)) for path, target in document.get("outputs") or ())


def placed(request: Request, folder: Path) -> tuple[Request, tuple[Output, ...]]:
    """The request as it is meant there, and what comes back.

    A mount of something below ``folder`` is an output; any other path is one of the server's, volumes are its
    engine's. Raises :class:`UsageError` for what would have to be sent.
    """
    outputs: list[Output] = []
    mounts: list[Mount] = []
    for mount in request.mounts:
        source = Path(mount.source)
        if mount.volume or not source.is_relative_to(folder):
            mounts.append(mount)
            continue
        _check(mount, source, folder)
        mounts.append(replace(mount, source=f"{_MARK}{len(outputs)}"))
        outputs.append(Output(str(source.relative_to(folder)), mount.target))
    return replace(request, mounts=tuple(mounts)), tuple(outputs)


def _check(mount: Mount, source: Path, folder: Path) -> None:
    if source == folder:
        raise UsageError(
            Text("this folder cannot be mounted on a server"),
            hints=[Text("the project's code is in its image: leave -v out")],
        )
    if mount.read_only or source.is_file():
        raise UsageError(
            Text("{path} is on this machine, and the run is on a server", path=source.relative_to(folder)),
            hints=[
                Text("what the program reads is in the image, or on the server: give its path there"),
                Text("a folder below this one that can be written is brought back when the run ends"),
            ],
        )


def outputs_in(mounts: tuple[Mount, ...]) -> int:
    """How many of them are outputs."""
    return sum(mount.source.startswith(_MARK) and not mount.volume for mount in mounts)


def with_outputs(mounts: tuple[Mount, ...], there: str) -> tuple[Mount, ...]:
    """The mounts once it is known where the run's folder lies there."""
    return tuple(
        replace(mount, source=f"{there}/out/{mount.source[len(_MARK) :]}")
        if mount.source.startswith(_MARK) and not mount.volume
        else mount
        for mount in mounts
    )
