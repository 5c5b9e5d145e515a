"""bubblewrap's arguments, whole: a change of one word is seen here."""

from __future__ import annotations

from dataclasses import replace

from trainload.run.bwrap import Sandbox, arguments
from trainload.run.model import Mount

ORDINARY = Sandbox(
    root="/r", writable=True, uid=1000, gid=1000, user_namespace=None, status=5, workdir="/workspace",
    env={"PATH": "/bin", "A": "1 2"}, hostname="box", network=True, shm=1024,
    mounts=(Mount("/src", "/workspace"), Mount("/data", "/data", read_only=True)),
)  # fmt: skip


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def test_an_ordinary_users_run() -> None:
    assert arguments(ORDINARY) == (
        *words("--unshare-user --uid 1000 --gid 1000 --unshare-pid --unshare-ipc --unshare-uts"),
        *words("--unshare-cgroup-try --hostname box --cap-drop ALL --bind /r / --proc /proc --dev /dev"),
        *words("--perms 1777 --size 1024 --tmpfs /dev/shm --mqueue /dev/mqueue --ro-bind-try /sys /sys"),
        *words("--bind /src /workspace --ro-bind /data /data --clearenv --setenv A"),
        "1 2",
        *words("--setenv PATH /bin --chdir /workspace --die-with-parent --json-status-fd 5"),
    )


def test_roots_run_as_root_without_network_in_memory_on_a_terminal() -> None:
    sandbox = replace(
        ORDINARY, writable=False, uid=0, gid=0, user_namespace=9, network=False, mounts=(), env={}, terminal=True,
        scratch=("/tmp", "/run"), devices=(("/host/gpu", "/dev/nvidia0"),), links=(("/dev/by/0", "../nvidia0"),),
        modes=(("/dev/dri", 0o755),), seccomp=7,
    )  # fmt: skip
    capabilities = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
    assert arguments(sandbox) == (
        *words("--userns 9 --uid 0 --gid 0 --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try"),
        *words("--unshare-net --hostname box --cap-drop ALL"),
        *(word for name in capabilities.split() for word in ("--cap-add", f"CAP_{name}")),
        *words("--ro-bind /r / --proc /proc --dev /dev --perms 1777 --size 1024 --tmpfs /dev/shm"),
        *words("--mqueue /dev/mqueue --ro-bind-try /sys /sys --perms 1777 --tmpfs /tmp --perms 1777 --tmpfs /run"),
        *words("--dev-bind /host/gpu /dev/nvidia0 --symlink ../nvidia0 /dev/by/0 --chmod 755 /dev/dri"),
        *words("--clearenv --chdir /workspace --json-status-fd 5 --seccomp 7"),
    )
