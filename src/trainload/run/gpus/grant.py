"""What a request becomes on a machine with these facts. Pure: ``host.py`` read the files, nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from trainload.errors import Place, RunError, Text
from trainload.run.gpus import driver
from trainload.run.gpus.cdi import Edits, Spec
from trainload.run.gpus.hooks import Effects, effects
from trainload.run.gpus.model import CUDA, Facts, Grant, Node
from trainload.run.gpus.wanted import Wanted
from trainload.run.model import Mount

NVIDIA, AMD = "nvidia.com/gpu", "amd.com/gpu"
_GENERATE = Text("write it anew: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml")
_OF_ROCM = ("ROCM_PATH", "ROCM_VERSION", "HIP_PATH", "PYTORCH_ROCM_ARCH")
"""Variables by which images for AMD's GPUs are known."""


def grant(wanted: Wanted | None, facts: Facts, env: Mapping[str, str]) -> Grant:
    """``env``: the run's own. Raises :class:`RunError` when this machine has not got what is asked for.

    A specification of the machine's goes before what we find ourselves.
    """
    if wanted is None:
        return Grant()
    amd_first = any(name in env for name in _OF_ROCM)
    ways = {
        NVIDIA: lambda: driver.nvidia(wanted, facts, env),
        AMD: lambda: driver.amd(wanted, facts),
    }
    kinds = sorted({spec.kind for spec in facts.specs})
    named = [kind for kind in kinds if any(name.startswith(f"{kind}=") for name in wanted.names)]
    for kind in named or sorted(ways, key=lambda kind: (kind == AMD) != amd_first):
        specs = [spec for spec in facts.specs if spec.kind == kind]
        found = _of_specs(wanted, specs, facts) if specs else ways[kind]()
        if found is not None:
            return found
    raise RunError(
        Text("--gpus {wanted}: this machine has no GPU that can be used", wanted=wanted.text),
        hints=(
            *facts.troubles,
            "the driver's device nodes (/dev/nvidia0, /dev/dxg or /dev/kfd) are missing: install the driver, "
            "or run without --gpus",
            "trainload doctor tells what is missing",
        ),
    )


def names(wanted: Wanted, facts: Facts) -> tuple[str, ...]:
    """Whole names of CDI devices, for an engine that reads specifications itself.

    Raises :class:`RunError` where this machine has no specification, or not the devices that are asked for.
    """
    kinds = sorted({spec.kind for spec in facts.specs}, key=lambda kind: (kind != NVIDIA, kind != AMD, kind))
    kind = next((one for one in kinds if any(name.startswith(f"{one}=") for name in wanted.names)), None)
    if kind is None:
        whole = next((name for name in wanted.names if "=" in name), None)
        kind = whole.partition("=")[0] if whole else next(iter(kinds), NVIDIA)
    there = tuple(dict.fromkeys(name for spec in facts.specs if spec.kind == kind for name in spec.devices))
    if not there:
        raise RunError(
            Text("--gpus {wanted}: this machine has no CDI specification of {kind}", wanted=wanted.text, kind=kind),
            hints=(
                *facts.troubles,
                "write one: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
                "the embedded engine needs none: --engine embedded",
                "trainload doctor tells what is missing",
            ),
        )
    return tuple(f"{kind}={name}" for name in _chosen(wanted, kind, there))


def _of_specs(wanted: Wanted, specs: Sequence[Spec], facts: Facts) -> Grant:
    """By the specifications of one kind, those that win first."""
    kind = specs[0].kind
    devices: dict[str, Spec] = {}
    for spec in specs:
        for name in spec.devices:
            devices.setdefault(name, spec)
    names = _chosen(wanted, kind, tuple(devices))
    used = dict.fromkeys(devices[name].file for name in names)
    edits = [(spec.file, spec.edits) for spec in specs if spec.file in used]
    edits += [(devices[name].file, devices[name].devices[name]) for name in names]
    done = [effects(hook, file) for file, one in edits for hook in one.hooks]
    nodes, groups = _nodes(edits, facts)
    mounts = _mounts(edits, facts)
    links = tuple(dict.fromkeys(link for one in done for link in one.links))
    return Grant(
        nodes=nodes,
        mounts=mounts,
        env=dict(variable.split("=", 1) for _, one in edits for variable in one.env),
        links=links,
        folders=tuple(dict.fromkeys(folder for one in done for folder in one.folders)),
        modes=_modes(done, [*(node.target for node in nodes), *(link.path for link in links)]),
        groups=tuple(sorted({*groups, *(group for _, one in edits for group in one.groups)})),
        driver=next((one.driver for one in done if one.driver), None),
        cuda=kind == NVIDIA,
        notes=(*facts.troubles, *_stale(mounts, facts, next(iter(used))), *(n for one in done for n in one.notes)),
    )


def _chosen(wanted: Wanted, kind: str, there: Sequence[str]) -> tuple[str, ...]:
    """Names of devices; ``there`` may call each by number, by UUID, or all of them ``all``."""
    numbers = sorted((name for name in there if name.isdecimal()), key=int)
    one_by_one = numbers or [name for name in there if name != "all"]
    if wanted.names:
        names = tuple(name.removeprefix(f"{kind}=") for name in wanted.names)
        missing = [name for name in names if name not in there]
        if missing:
            raise RunError(Text("there is no GPU {number}", number=missing[0]), want=", ".join(there))
        return names
    if wanted.count is None:
        return ("all",) if "all" in there else tuple(one_by_one)
    if wanted.count > len(one_by_one):
        raise RunError(
            Text("there are not that many GPUs"), got=wanted.count,
            want=f"at most {len(one_by_one)}" if one_by_one else "all",
        )  # fmt: skip
    return tuple(one_by_one[: wanted.count])


def _nodes(edits: Iterable[tuple[str, Edits]], facts: Facts) -> tuple[tuple[Node, ...], set[int]]:
    """Nodes, and the groups that may open them; each must be the device the specification means."""
    nodes: dict[str, Node] = {}
    groups: set[int] = set()
    for file, one in edits:
        for node in one.nodes:
            found = facts.nodes.get(node.host_path)
            if found is None:
                raise _gone(node.host_path, file)
            if node.major is not None and (node.major, node.minor or 0) != (found.major, found.minor):
                raise RunError(
                    Text("{path} is another device than the CDI specification says", path=node.host_path),
                    place=Place(file), got=f"{found.major}:{found.minor}", want=f"{node.major}:{node.minor or 0}",
                    hints=(_GENERATE,),
                )  # fmt: skip
            nodes.setdefault(node.path, Node(node.host_path, node.path))
            groups |= driver.needed_groups([found])
    return tuple(nodes.values()), groups


def _mounts(edits: Iterable[tuple[str, Edits]], facts: Facts) -> tuple[Mount, ...]:
    """Later ones win, as later mounts would; what is not said to be writable is not."""
    mounts: dict[str, Mount] = {}
    for file, one in edits:
        for mount in one.mounts:
            if mount.host_path not in facts.files:
                raise _gone(mount.host_path, file)
            mounts[mount.container_path] = Mount(mount.host_path, mount.container_path, "rw" not in mount.options)
    return tuple(mounts.values())


def _gone(path: str, file: str) -> RunError:
    return RunError(
        Text("{path}, which the CDI specification names, is not there: it is older than the driver", path=path),
        place=Place(file),
        hints=(_GENERATE,),
    )


def _modes(done: Iterable[Effects], made: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Of folders below ``/dev`` that hold what is ``made``; all else is the image's, or the host's own node."""
    return tuple(
        (path, mode)
        for one in done
        for path, mode in one.modes
        if path.startswith("/dev/") and any(place.startswith(f"{path}/") for place in made)
    )


def version_of(paths: Iterable[str]) -> str | None:
    """The driver's version in the name of its library: ``libcuda.so.550.54.15``."""
    for path in paths:
        found = re.fullmatch(rf"(?:.*/)?{re.escape(CUDA.removesuffix('.1'))}\.(\d+\.\d+[.\d]*)", path)
        if found:
            return found[1]
    return None


def _stale(mounts: Iterable[Mount], facts: Facts, file: str) -> tuple[Text, ...]:
    version = version_of(mount.source for mount in mounts)
    if version is None or facts.driver is None or version == facts.driver:
        return ()
    text = "{file} is for the driver {version}, and {loaded} is loaded; {mend}"
    return (Text(text, file=file, version=version, loaded=facts.driver, mend=_GENERATE),)
