"""The embedded engine: namespaces, bubblewrap, joined layers, limits."""

from __future__ import annotations

from collections.abc import Iterator

from trainload.doctor.families import install
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
    yield _layers(tried.way)
    missing = machine.limits()
    if not missing:
        yield Finding(_LIMITS, Status.OK, Text("memory, processors and processes can be limited"), "/sys/fs/cgroup")
    for reason in missing:
        mend = (
            _DELEGATE
            if machine.uid
            else ("sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1",)
        )
        yield Finding(_LIMITS, Status.WARNING, reason, "/sys/fs/cgroup", mend)


def _refused(machine: Machine, tried: Tried) -> Finding:
    reason = tried.reason or Text("it did not start")
    mend: tuple[str, ...] = ()
    for file, no, setting in _SWITCHES:
        if machine.uid and (machine.text(file) or "").strip() == no:
            reason = Text("this machine does not let us make namespaces: {reason}", reason=f"{file} = {no}")
            mend = (f"sudo sysctl -w {setting}", f"echo {setting} | sudo tee /etc/sysctl.d/60-trainload.conf")
            break
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
        mend=mend or (install(machine, "docker"), "trainload run --engine docker"),
    )  # fmt: skip


def _layers(way: Way) -> Finding:
    if way is Way.OVERLAY:
        text = Text("joined without copying (overlayfs, the mount API of Linux 6.5)")
        return Finding(_LAYERS, Status.OK, text, way)
    if way is Way.FLAT:
        text = Text("flattened with hard links before the first run: this kernel is older than 6.5, or its "
                    "overlayfs does not take so many")  # fmt: skip
        return Finding(_LAYERS, Status.OK, text, way)
    text = Text("this machine has no overlayfs for us there: images are read-only while they run")
    return Finding(_LAYERS, Status.WARNING, text, way, ("export TRAINLOAD_HOME=/var/tmp/trainload-$USER",))
