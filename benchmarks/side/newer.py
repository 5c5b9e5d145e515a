"""Docker with BuildKit from Debian trixie, in a root file system of its own: this machine's Debian is older.

A plain chroot breaks dockerd's unpacking ("remount /"), so it gets a mount namespace whose root is really it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import PATH, missing, run, started, wait

PACKAGES = ("docker.io", "docker-cli", "docker-buildx", "ca-certificates", "iptables", "mount")
_ENTER = """
set -e
mount --bind "$1" "$1"
for each in dev proc sys; do mount --rbind /$each "$1/$each"; done
mkdir -p "$1/$2" "$1/old"
mount --rbind "$2" "$1/$2"
cd "$1"
pivot_root . old
umount -l /old
shift 2
exec "$@"
"""


def reason() -> str:
    """Why it cannot be had here; empty when it can."""
    return missing("mmdebstrap", "unshare", "nsenter", "pivot_root")


@contextmanager
def newer_docker(shared: Path, cache: Path) -> Iterator[tuple[str, ...]]:
    """The client's words. ``shared`` is a folder that it sees under the same path; needs root and downloads,
    which are kept in ``cache``.
    """
    root = cache / "trixie"
    if not root.exists():
        beside = cache / "trixie.part"
        shutil.rmtree(beside, ignore_errors=True)
        run("mmdebstrap", "-q", "--variant=apt", f"--include={','.join(PACKAGES)}", "trixie", str(beside))
        beside.rename(root)
    state = shared / "newer"
    state.mkdir()
    host = f"unix://{state}/docker.sock"
    engine = ["dockerd", "-H", host, "--bridge=none", "--iptables=false", "--data-root", str(state / "data"),
              "--exec-root", str(state / "exec"), "--pidfile", str(state / "pid")]  # fmt: skip
    alone = ["unshare", "--mount", "--propagation", "private"]
    argv = [*alone, "sh", "-c", _ENTER, "sh", str(root), str(shared), *engine]
    with started(argv, state / "log"):
        wait((state / "pid").read_text)
        inside = (state / "pid").read_text().strip()
        nsenter = str(shutil.which("nsenter", path=PATH))
        client = (nsenter, "--mount", "-t", inside, "--", "docker", "-H", host)
        wait(lambda: subprocess.run([*client, "version"], check=True, capture_output=True, env=_environ()))
        yield client


def _environ() -> dict[str, str]:
    return {**os.environ, "PATH": PATH}
