"""What makes a prefix with packages an environment that conda, mamba and people find."""

from __future__ import annotations

import json

from trainload.layers.model import ByteSink, Written
from trainload.layers.writer import LayerWriter
from trainload.plan.model import PATHS, VENV, CondaEnvironmentRecipe

_DATE = "1970-01-01 00:00:00"
"""Layers have no times."""


def write_conda_environment(recipe: CondaEnvironmentRecipe, sink: ByteSink) -> Written:
    """Writes ``conda-meta/history``, ``conda-meta/state`` where there are variables, and a link for our own tools.

    The link ``/opt/venv`` leads to the prefix: what knows only that name (a debugger) finds the same Python.
    """
    prefix, venv = recipe.prefix.lstrip("/"), VENV.lstrip("/")
    above = venv.rpartition("/")[0]
    links = {venv: prefix.removeprefix(f"{above}/")}
    files = {f"{prefix}/conda-meta/history": _history(recipe)}
    if recipe.variables:
        state = {"env_vars": dict(recipe.variables)}
        files[f"{prefix}/conda-meta/state"] = (
            json.dumps(state, ensure_ascii=False, sort_keys=True) + "\n"
        ).encode()
    folders = {above, prefix, f"{prefix}/conda-meta"}
    if recipe.paths:
        site = f"{prefix}/{recipe.site_packages}"
        parts = site.split("/")
        folders |= {"/".join(parts[: count + 1]) for count in range(len(parts))}
        files[f"{site}/{PATHS}"] = "".join(f"{path}\n" for path in recipe.paths).encode()
    with LayerWriter(sink) as out:
        for folder in sorted(folders):
            out.directory(folder)
        for path in sorted(files):
            out.file(path, files[path])
        for path, target in links.items():
            out.symlink(path, target)
        return out.close()


def _history(recipe: CondaEnvironmentRecipe) -> bytes:
    """As conda writes it (``conda.history``): what is there, and what was asked for."""
    lines = [f"==> {_DATE} <==", "# cmd: trainload build"]
    lines += [f"+{package}" for package in recipe.packages]
    if recipe.requested:
        lines.append(f"# update specs: {json.dumps(list(recipe.requested), ensure_ascii=False)}")
    return ("\n".join(lines) + "\n").encode()
