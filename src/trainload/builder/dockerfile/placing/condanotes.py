"""What conda writes beside the packages: an environment's history and variables, and the list of environments."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.condaask import Answer, Ask
from trainload.builder.dockerfile.placing.condahome import HISTORY, META, Prefix
from trainload.builder.dockerfile.placing.draft import Draft
from trainload.builder.dockerfile.placing.interpreter import Caller
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text
from trainload.lock.model import ChannelPath, CondaPackage
from trainload.plan.model import Kind, PlannedLayer
from trainload.plan.placed import PlacedEntry

_DATE = "1970-01-01 00:00:00"
"""Layers have no times."""
_WHY = Text("what conda knows of the packages together")


def notes(
    asked: Ask, answered: Answer, variables: Sequence[tuple[str, str]], ground: Ground, caller: Caller
) -> PlannedLayer:
    """What conda writes of it: the history, variables, and the list of environments (conda.gateways.disk)."""
    draft, prefix = Draft(ground), asked.prefix
    _folders(f"{prefix.path}/{META}", draft, caller)
    old = {each.name: each for each in prefix.there}
    lines = [f"==> {_DATE} <==", f"# cmd: {asked.verb} {' '.join(asked.specs)}"]
    for package in answered.packages:
        if package.name in old:
            before = old[package.name]
            lines.append(f"-{package.name}-{before.version}-{before.build}")
    lines += sorted(f"+{_channel(each)}::{each.name}-{each.version}-{each.build}" for each in answered.packages)
    lines.append(f"# update specs: {json.dumps(list(asked.specs), ensure_ascii=False)}")
    history = f"{prefix.path}/{HISTORY}"
    _write(history, (draft.text(history) or "") + "\n".join(lines) + "\n", draft, caller)
    if variables:
        _write(f"{prefix.path}/{META}/state", _state(variables, prefix, draft), draft, caller)
    if answered.packages or not prefix.exists:
        _register(f"/{prefix.path}", draft, caller)
    recipe = draft.recipe()
    assert recipe is not None
    return PlannedLayer(Kind.CONDA, f"conda environment /{prefix.path}", recipe, None, _WHY)


def _state(variables: Sequence[tuple[str, str]], prefix: Prefix, draft: Draft) -> str:
    try:
        state = json.loads(draft.text(f"{prefix.path}/{META}/state") or "{}")
        merged = {**state.get("env_vars", {}), **dict(variables)}
    except (ValueError, AttributeError, TypeError):
        raise Beyond(Text("{file}, which is not as usual", file=f"/{prefix.path}/{META}/state")) from None
    return json.dumps({**state, "env_vars": merged}, ensure_ascii=False)


def _register(prefix: str, draft: Draft, caller: Caller) -> None:
    """conda.core.envs_manager.register_env."""
    home = draft.real(caller.home.strip("/"))
    if draft.find(home) is None:
        return
    path = f"{home}/.conda/environments.txt"
    text = draft.text(path) or ""
    if prefix not in text.splitlines():
        _folders(f"{home}/.conda", draft, caller)
        _write(path, f"{text}{prefix}\n", draft, caller)


def _write(path: str, text: str, draft: Draft, caller: Caller) -> None:
    draft.write(path, text, uid=caller.uid, gid=caller.gid)


def _folders(path: str, draft: Draft, caller: Caller) -> None:
    parts = path.split("/")
    for count in range(1, len(parts) + 1):
        here = "/".join(parts[:count])
        if draft.find(draft.real(here)) is None:
            draft.put(PlacedEntry(here, "directory", 0o755, caller.uid, caller.gid))


def _channel(package: CondaPackage) -> str:
    location = package.file.location
    assert isinstance(location, ChannelPath)
    return f"{location.channel}/{package.subdir}"
