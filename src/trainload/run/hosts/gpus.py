"""GPUs of a server without an engine: its facts, by which the rules of ``run.gpus`` decide here; pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainload.errors import ConfigError, Text
from trainload.run.gpus import cdi, driver
from trainload.run.gpus.host import libraries_of, loaded
from trainload.run.gpus.model import Facts, Grant, HostNode


def facts_of(told: Mapping[str, Any], exist: Callable[[Sequence[str]], Mapping[str, Any]], machine: str) -> Facts:
    """``exist``: asks which paths are there, and which are devices; ``machine``: its architecture."""
    specs, troubles = _specs(told["specs"])
    edits = [one for spec in specs for one in (spec.edits, *spec.devices.values())]
    files = {mount.host_path for one in edits for mount in one.mounts}
    files |= {driver.WSL, *(path for paths in driver.PROGRAMS.values() for path in paths)}
    answer = exist(sorted(files | {node.host_path for one in edits for node in one.nodes}))
    nodes = {**told["nodes"], **answer["nodes"]}
    return Facts(
        specs=specs,
        troubles=troubles,
        nodes={path: HostNode(*map(int, numbers)) for path, numbers in nodes.items()},
        files=frozenset(str(path) for path in answer["files"]) & files,
        libraries=libraries_of(base64.b64decode(told["cache"]), lambda: str(told["ldconfig"]), machine),
        driver=loaded(str(told["driver"])),
    )


def _specs(told: Sequence[Sequence[Any]]) -> tuple[tuple[cdi.Spec, ...], tuple[Text, ...]]:
    """Those that win first."""
    specs: list[cdi.Spec] = []
    troubles: list[Text] = []
    for path, data, doubtful in told:
        try:
            specs.insert(0, cdi.read(base64.b64decode(data), str(path)))
        except ConfigError as error:
            troubles.append(Text("a CDI specification is left out: {reason}", reason=error))
        if doubtful:
            text = "{file} can be changed by others than root: sudo chown root {file}; sudo chmod 644 {file}"
            troubles.append(Text(text, file=path))
    return tuple(specs), tuple(troubles)


def charged(charge: Mapping[str, Any], grant: Grant, facts: Facts) -> dict[str, Any]:
    """What is sent, with the GPUs that were granted; libraries go before the image's own by LD_LIBRARY_PATH."""
    env = {**charge["env"], **grant.env}
    if grant.folders:
        own = env.get("LD_LIBRARY_PATH")
        env["LD_LIBRARY_PATH"] = ":".join([*grant.folders, *([own] if own else [])])
    sonames = {path: name for name, path in facts.libraries.items()}
    called = [
        (f"{mount.target.rpartition('/')[0]}/{sonames[mount.source]}", mount.target.rpartition("/")[2])
        for mount in grant.mounts
        if mount.source in sonames
    ]
    targets = {mount.target for mount in grant.mounts}
    links = [*((link.path, link.target) for link in grant.links), *(one for one in called if one[0] not in targets)]
    return {
        **charge,
        "env": env,
        "mounts": [*([one.source, one.target, True, "driver"] for one in grant.mounts), *charge["mounts"]],
        "nodes": [[node.source, node.target] for node in grant.nodes],
        "links": [list(one) for one in links],
        "modes": [list(one) for one in grant.modes],
    }
