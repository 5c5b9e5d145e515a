"""The state of a Git checkout, asked of git itself; a folder without one is fine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainload.system.process import ProcessError, run

_PATIENCE = 5.0  # seconds; a huge checkout on a slow disk must not hold up a run


@dataclass(frozen=True, slots=True)
class Commit:
    """What is checked out."""

    name: str
    dirty: bool
    """Tracked files differ from it."""


def commit_of(folder: Path) -> Commit | None:
    """The commit ``folder`` is at; None without a checkout, without git, or when git takes too long."""
    if not any((place / ".git").exists() for place in (folder, *folder.parents)):
        return None
    argv = ["git", "-C", str(folder), "--no-optional-locks", "status", "--porcelain=v2", "--branch", "-uno"]
    try:
        told = run(argv, timeout=_PATIENCE)
    except ProcessError:
        return None
    lines = told.stdout.decode("utf-8", "replace").splitlines()
    name = next((line.split(" ")[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if told.exit_code != 0 or name == "(initial)":
        return None
    return Commit(name, dirty=any(not line.startswith("#") for line in lines))
