"""After a container's start: are the GPUs there as its program sees them? Looked at through its own root.

The image's own dynamic linker tries to load the driver's library in the sandbox; nothing of an image or a driver is
loaded by us.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from trainload.errors import Text, TrainloadError
from trainload.layers.debian import ldcache
from trainload.run.engines.embedded.execute import Entry, Streams, execute
from trainload.run.gpus.furnish import CACHE, loader
from trainload.run.gpus.host import granted
from trainload.run.gpus.model import CUDA, Grant
from trainload.run.gpus.wanted import wanted
from trainload.run.inside import Inside
from trainload.run.model import RunSpec
from trainload.run.rundir import born, sees_files

_PATIENCE = 10.0
"""Seconds until the container must be complete; it takes milliseconds where nothing else is done."""
_MOMENT = 0.002
_MOST = 5.0
"""Seconds that loading may take."""


def look(first: int, spec: RunSpec, grant: Grant) -> tuple[Text, ...]:
    """What of ``grant`` a run's program does not see; ``first``: the container's first process.

    A program that ended meanwhile needs no words.
    """
    if not grant.nodes:
        return ()
    program = _program(first)
    if program is None:
        return ()
    since = born(program)
    try:
        found = troubles(Inside(Path(f"/proc/{program}/root")), grant)
        if grant.cuda and not found:
            found = _load(Entry(program, since, spec, (loader(), "--list", "")), grant)
    except OSError:  # it ended between two looks
        return ()
    return found if sees_files(program, since) else ()


def look_outside(pid: int, spec: RunSpec, environ: Mapping[str, str]) -> tuple[Text, ...]:
    """As :func:`look`, for a container that another engine of this machine started; ``pid``: its first process.

    What that engine should have given is what this machine has; where we may not look, nothing is said.
    """
    if wanted(spec.gpus) is None or pid <= 0:
        return ()
    try:
        grant = granted(spec, environ)
    except TrainloadError as error:
        return (Text("whether the GPU is visible in the container cannot be told: {reason}", reason=error.text),)
    since, inside = born(pid), Inside(Path(f"/proc/{pid}/root"))
    try:
        inside.at("/dev").stat()
        found = troubles(inside, grant) or _unlinked(inside, grant)
    except OSError:
        return ()  # it ended, or is not ours to look into
    return found if sees_files(pid, since) else ()


def _unlinked(inside: Inside, grant: Grant) -> tuple[Text, ...]:
    """The driver's library, where this machine's specification or driver would have brought it."""
    brought = any(mount.target.rpartition("/")[2].startswith("libcuda.so.") for mount in grant.mounts)
    if not (grant.cuda and brought) or library(inside, grant) is not None:
        return ()
    text = "the container has no {library}: CUDA will not find the driver (trainload doctor tells more)"
    return (Text(text, library=CUDA),)


def troubles(inside: Inside, grant: Grant) -> tuple[Text, ...]:
    """Nodes that are missing or something else."""
    missing = []
    for node in grant.nodes:
        try:
            status = inside.at(node.target).stat()
        except OSError:
            missing.append(node.target)
            continue
        if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            missing.append(node.target)
    if not missing:
        return ()
    text = "the GPU is not visible in the container: {nodes} is missing there (trainload doctor tells more)"
    return (Text(text, nodes=", ".join(missing)),)


def library(inside: Inside, grant: Grant) -> str | None:
    """Where the container's dynamic linker finds CUDA's driver library."""
    path = inside.at(inside.resolve(CACHE))
    cached = ldcache.decode(path.read_bytes()) if path.is_file() else []
    places = [entry.path for entry in cached or () if entry.soname == CUDA]
    places += [f"{folder}/{CUDA}" for folder in grant.folders]
    return next((place for place in places if inside.at(inside.resolve(place)).is_file()), None)


def _load(entry: Entry, grant: Grant) -> tuple[Text, ...]:
    inside = Inside(Path(f"/proc/{entry.pid}/root"))
    if inside.executable(loader()) is None:
        text = "the image has no glibc, which NVIDIA's driver needs: the GPU cannot be used in it"
        return (Text(text),)
    place = library(inside, grant)
    if place is None:
        text = "the container has no {library}: CUDA will not find the driver (trainload doctor tells more)"
        return (Text(text, library=CUDA),)
    command = (loader(), "--list", place)
    try:
        code = execute(Entry(entry.pid, entry.born, entry.spec, command), streams=Streams.NONE, seconds=_MOST)
    except TrainloadError:
        return ()  # it ended meanwhile
    if code in (0, 124):
        return ()
    text = "the driver's library {library} cannot be loaded in this image: something it needs is missing"
    return (Text(text, library=place),)


def _program(first: int) -> int | None:
    """The program, once the container is complete: the first process' child."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()
            if children and os.path.lexists(f"/proc/{children[0]}/root/proc/self"):
                return int(children[0])
            if Path(f"/proc/{first}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z":
                return None  # it has ended already
        except OSError:
            return None
        time.sleep(_MOMENT)
    return None
