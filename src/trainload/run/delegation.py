"""A control group of the user's own, asked of systemd's user manager.

An ordinary user may not make groups where a login session lies. The user manager may: it gives this process a scope
of its own and leaves what is below to us (``Delegate=``; systemd's CONTROL_GROUP_DELEGATION). In it we go into a
group beside the one the program will have, because a group with processes in it may have no limits below
(cgroups(7), "no internal processes"). systemd removes the scope when we end.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from trainload.run.cgroups import NAMES
from trainload.system import process

_MANAGER = (
    "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
)  # fmt: skip
_PATIENCE = 5.0  # seconds; systemd answers in milliseconds
_STEP = 0.01
_OURS = "supervisor"


def enter_own_group(environ: Mapping[str, str], root: Path = Path("/sys/fs/cgroup")) -> bool:
    """Move this process into a delegated scope, with every controller that may be had enabled below it.

    False when this machine has no user manager, no pure cgroup v2, or says no; nothing has changed then.
    """
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")
    if os.geteuid() == 0 or not (root / "cgroup.controllers").is_file() or not (runtime / "bus").exists():
        return False
    if shutil.which("busctl", path=environ.get("PATH")) is None:
        return False
    name = f"trainload-{os.getpid()}-{time.monotonic_ns():x}.scope"
    scope = _scope(name, {**environ, "XDG_RUNTIME_DIR": str(runtime)}, root)
    if scope is None:
        return False
    try:
        (scope / _OURS).mkdir()
        (scope / _OURS / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    except OSError:
        return False
    for controller in set((scope / "cgroup.controllers").read_text(encoding="ascii").split()) & set(NAMES):
        with suppress(OSError):  # said later, as a limit that is not in force
            (scope / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
    return True


def _scope(name: str, environ: Mapping[str, str], root: Path) -> Path | None:
    """The folder of the new scope, once we are in it."""
    argv = [
        "busctl",
        "--user",
        "--quiet",
        "call",
        *_MANAGER,
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        name,
        "fail",
    ]
    argv += [
        "3",
        "PIDs",
        "au",
        "1",
        str(os.getpid()),
        "Delegate",
        "b",
        "true",
        "Description",
        "s",
        "Trainload",
        "0",
    ]
    try:
        if process.run(argv, env=environ, timeout=_PATIENCE).exit_code != 0:
            return None
    except process.ProcessError:
        return None
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        path = own_path()
        if path.endswith(f"/{name}"):
            return root / path.lstrip("/")
        time.sleep(_STEP)
    return None


def own_path() -> str:
    """This process's group in the v2 hierarchy."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "")
