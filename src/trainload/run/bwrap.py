"""bubblewrap's arguments for a run: values in, words out (bwrap(1), 0.11).

The arguments go over a descriptor (``--args``), so that no value of the environment is seen in the list of
processes; nothing of an image is ever part of the environment of bwrap itself (THREATS L13).
"""

from __future__ import annotations

from collections.abc import Mapping

from trainload.run.model import Mount
from trainload.values import dataclass, field

# moby: DefaultCapabilities, without those that mean nothing in a user namespace
_ROOT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip

PLACE_OF_FRONT = "/dev/.trainload"
"""Of a program that makes an interactive shell's own process group."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Everything that decides the arguments; all paths inside are resolved, all mount points exist."""

    root: str
    """Where the joined layers are mounted, on the host."""
    writable: bool
    uid: int
    gid: int
    user_namespace: int | None
    """Descriptor of one with all ids (root), or None: one with a single id is made."""
    status: int
    """Descriptor for bwrap's JSON status."""
    workdir: str
    env: Mapping[str, str]
    hostname: str
    network: bool
    shm: int
    """Bytes ``/dev/shm`` may grow to."""
    mounts: tuple[Mount, ...] = ()
    devices: tuple[tuple[str, str], ...] = ()
    """Device nodes: where they lie on the host, and inside."""
    links: tuple[tuple[str, str], ...] = ()
    """Below ``/dev``: path and target."""
    modes: tuple[tuple[str, int], ...] = ()
    """Below ``/dev``: folders and their permissions."""
    scratch: tuple[str, ...] = ()
    """Folders in memory, where the root cannot be written."""
    terminal: bool = False
    """The program shares our terminal: it stays in our session."""
    seccomp: int | None = field(default=None)
    front: int | None = None
    """Descriptor of a program that lies at :data:`PLACE_OF_FRONT` then, to go before the command."""


def arguments(sandbox: Sandbox) -> tuple[str, ...]:
    """The options, everything before the command."""
    return (
        *_namespaces(sandbox),
        *("--bind" if sandbox.writable else "--ro-bind", sandbox.root, "/"),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(sandbox.shm), "--tmpfs", "/dev/shm"),  # noqa: S108 - the container's own
        *("--mqueue", "/dev/mqueue", "--ro-bind-try", "/sys", "/sys"),
        *(word for path in sandbox.scratch for word in ("--perms", "1777", "--tmpfs", path)),
        *(word for mount in sandbox.mounts for word in _mount(mount)),
        *(word for source, target in sandbox.devices for word in ("--dev-bind", source, target)),
        *(word for path, target in sandbox.links for word in ("--symlink", target, path)),
        *(word for path, mode in sandbox.modes for word in ("--chmod", f"{mode:o}", path)),
        *(
            ("--perms", "0755", "--ro-bind-data", str(sandbox.front), PLACE_OF_FRONT)
            if sandbox.front is not None
            else ()
        ),
        "--clearenv",
        *(word for name, value in sorted(sandbox.env.items()) for word in ("--setenv", name, value)),
        *("--chdir", sandbox.workdir),
        *(() if sandbox.terminal else ("--die-with-parent",)),
        *("--json-status-fd", str(sandbox.status)),
        *(("--seccomp", str(sandbox.seccomp)) if sandbox.seccomp is not None else ()),
    )


def _namespaces(sandbox: Sandbox) -> tuple[str, ...]:
    given = sandbox.user_namespace
    capabilities = _ROOT_CAPABILITIES if sandbox.uid == 0 else ()
    return (
        *(("--unshare-user",) if given is None else ("--userns", str(given))),
        *("--uid", str(sandbox.uid), "--gid", str(sandbox.gid)),
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *(() if sandbox.network else ("--unshare-net",)),
        *("--hostname", sandbox.hostname),
        *("--cap-drop", "ALL"),
        *(word for name in capabilities for word in ("--cap-add", name)),
    )


def _mount(mount: Mount) -> tuple[str, ...]:
    return ("--ro-bind" if mount.read_only else "--bind", mount.source, mount.target)
