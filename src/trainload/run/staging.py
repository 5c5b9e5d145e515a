"""What root shows a container, put where the container's user may reach it, with owners that make sense.

bubblewrap starts as the user inside (it can give itself up only from there), who may not pass root's own folders;
so copies of the mounts are put into a folder in memory that only the container's mount namespace has. The user
inside is the one who called us: in mounted folders root and that user change places (idmapped mounts,
mount_setattr(2)), so that what a run writes to ``./outputs`` belongs to whoever started it, as it does for an
ordinary user. Not in a RUN of a Dockerfile, whose mounts say themselves whose they are (``uid=1000``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trainload.run import kernel
from trainload.run.inside import Person
from trainload.run.model import Mount
from trainload.values import dataclass, replace

_STAGE = "/tmp"  # noqa: S108 - any folder everybody may enter; nobody else sees what is mounted there
_EVERY_ID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Stage:
    """What bubblewrap works with, at places everybody may enter."""

    bwrap: str
    root: Path
    mounts: tuple[Mount, ...]
    devices: tuple[tuple[str, str], ...] = ()


def all_ids(person: Person) -> int:
    """A user namespace in which everybody is who they are; ``person`` may set up a container in it."""
    return kernel.user_namespace([(0, 0, _EVERY_ID)], [(0, 0, _EVERY_ID)], (person.uid, person.gid))


def become(person: Person) -> None:
    """Give root up for good."""
    os.setgroups(person.groups)
    os.setresgid(person.gid, person.gid, person.gid)
    os.setresuid(person.uid, person.uid, person.uid)


def stage(
    bwrap: str,
    root: Path,
    mounts: Sequence[Mount],
    devices: Sequence[tuple[str, str]],
    person: Person,
    *,
    swap: bool,
) -> Stage:
    """The same program, root, mounts and device nodes at new places. Raises :class:`OSError`.

    ``swap``: in mounts root and ``person`` change places.

    Nodes keep their owners: who may open one is decided by the machine, not by us.
    """
    programs = Path(bwrap).parents[2]  # its libraries lie in a folder beside its package
    trees = [kernel.copy_of_tree(str(root)), *(kernel.copy_of_tree(mount.source) for mount in mounts)]
    folders = [Path(mount.source).is_dir() for mount in mounts]
    program = kernel.copy_of_tree(str(programs))
    nodes = [kernel.copy_of_tree(source) for source, _ in devices]
    if swap and (person.uid or person.gid):
        namespace = kernel.user_namespace(swapped(person.uid), swapped(person.gid))
        for tree in trees[1:]:
            try:
                kernel.map_ids(tree, namespace)
            except OSError:
                continue  # a file system or kernel that cannot: owners as they are on the disk
        os.close(namespace)
    kernel.mount_memory(_STAGE)
    places = []
    kinds = [True, *folders, *(False for _ in nodes), True]
    for number, (tree, is_folder) in enumerate(zip([*trees, *nodes, program], kinds, strict=True)):
        place = Path(_STAGE, str(number))
        if is_folder:
            place.mkdir(mode=0o755)
        else:
            place.touch()
        kernel.put_tree(tree, str(place))
        places.append(place)
    return Stage(
        bwrap=str(places[-1] / Path(bwrap).relative_to(programs)),
        root=places[0],
        mounts=tuple(replace(mount, source=str(place)) for mount, place in zip(mounts, places[1:], strict=False)),
        devices=tuple(
            (str(place), target) for (_, target), place in zip(devices, places[1 + len(mounts) : -1], strict=True)
        ),
    )


def swapped(number: int) -> kernel.IdMap:
    """The map in which 0 and ``number`` change places and everybody else stays."""
    if number == 0:
        return [(0, 0, _EVERY_ID)]
    between = [(1, 1, number - 1)] if number > 1 else []
    return [(0, number, 1), *between, (number, 0, 1), (number + 1, number + 1, _EVERY_ID - number - 1)]
