"""The embedded engine: namespaces, bubblewrap, joined layers, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.doctor.families import engine, install, unified_groups
from trainload.doctor.finding import Finding, Status
from trainload.doctor.machine import Machine, Tried
from trainload.errors import Text
from trainload.run.overlay import Way

_SANDBOX, _LAYERS, _LIMITS = Text("sandbox"), Text("layers"), Text("limits")
_TRIED = "bwrap, a program of 140 bytes"
_SWITCHES = (  # file, the value that says no, what turns it on
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=28633"),
)
_PLACES = ("/var/tmp", "/tmp", "/dev/shm")  # noqa: S108 - named to people
_NEVER_UPPER = r"overlay|nfs|fuse|9p|vfat|exfat|cifs|smb"
"""File systems that overlayfs does not write to (Documentation/filesystems/overlayfs.rst)."""
_DELEGATE = (
    "sudo mkdir -p /etc/systemd/system/user@.service.d",
    r"printf '[Service]\nDelegate=cpu cpuset io memory pids\n' "
    "| sudo tee /etc/systemd/system/user@.service.d/delegate.conf",
    "sudo systemctl daemon-reload",
)


def sandbox(machine: Machine, tried: Tried) -> Iterator[Finding]:
    """``tried``: the machine's, asked in the main thread before."""
    if tried.way is None:
        yield _refused(machine, tried)
        return
    yield Finding(_SANDBOX, Status.OK, Text("a program ran in it"), _TRIED, engine=True)
    yield _layers(machine, tried.way)
    missing = machine.limits()
    if not missing:
        yield Finding(_LIMITS, Status.OK, Text("memory, processors and processes can be limited"), "/sys/fs/cgroup")
    for reason in missing:
        mend = _DELEGATE if machine.uid else unified_groups(machine)
        yield Finding(_LIMITS, Status.WARNING, reason, "/sys/fs/cgroup", mend)


def forbidden(machine: Machine) -> tuple[str, tuple[str, ...]] | None:
    """The switch that forbids namespaces to ordinary users, as it stands, and what turns it."""
    for file, no, setting in _SWITCHES:
        if machine.uid and (machine.text(file) or "").strip() == no:
            keep = f"echo {setting} | sudo tee /etc/sysctl.d/60-trainload.conf"
            return f"{file} = {no}", (f"sudo sysctl -w {setting}", keep)
    return None


def _refused(machine: Machine, tried: Tried) -> Finding:
    reason = tried.reason or Text("it did not start")
    mend: tuple[str, ...] = ()
    found = forbidden(machine)
    if found is not None:
        reason = Text("this machine does not let us make namespaces: {reason}", reason=found[0])
        mend = found[1]
    inside = machine.text("/proc/1/cgroup") is not None and any(
        machine.text(file) is not None for file in ("/.dockerenv", "/run/.containerenv")
    )
    if not mend and inside and "namespaces" in reason.template:
        reason = Text("we are in a container that does not let us make namespaces: {reason}", reason=reason)
        mend = ("docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …",)
    if not mend and machine.program("bwrap") is None and "bubblewrap" in reason.template:
        mend = (install(machine, "bubblewrap"),)
    return Finding(
        _SANDBOX, Status.PROBLEM, reason, _TRIED, engine=True,
        mend=mend or engine(machine),
    )  # fmt: skip


def _layers(machine: Machine, way: Way) -> Finding:
    if way is Way.OVERLAY:
        text = Text("joined without copying (overlayfs, the mount API of Linux 6.5)")
        return Finding(_LAYERS, Status.OK, text, way)
    if way is Way.FLAT:
        text = Text("flattened with hard links before the first run: this kernel is older than 6.5, or its "
                    "overlayfs does not take so many")  # fmt: skip
        return Finding(_LAYERS, Status.OK, text, way)
    text = Text("this machine has no overlayfs for us there: images are read-only while they run")
    known = machine.text("/proc/filesystems")
    if known is not None and "overlay" not in known.split():
        mend = ("sudo modprobe overlay", "echo overlay | sudo tee /etc/modules-load.d/overlay.conf")
        return Finding(_LAYERS, Status.WARNING, text, "/proc/filesystems", mend)
    return Finding(_LAYERS, Status.WARNING, text, way, (_elsewhere(machine),))


def _elsewhere(machine: Machine) -> str:
    """A folder on a file system that overlayfs can write to."""
    mounts = [line.split() for line in (machine.text("/proc/self/mounts") or "").splitlines()]
    kinds = {words[1]: words[2] for words in mounts if len(words) > 2}
    for place in _PLACES:
        top = max((one for one in kinds if f"{place}/".startswith(f"{one.rstrip('/')}/")), key=len, default="/")
        if not re.match(_NEVER_UPPER, kinds.get(top, "")):
            return f"export TRAINLOAD_HOME={place}/trainload-$USER"
    return "docker run -v trainload:/store -e TRAINLOAD_HOME=/store …"  # we are in a container, all of it overlay
