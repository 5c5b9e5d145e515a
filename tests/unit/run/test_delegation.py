"""A group of the user's own, from a real user manager, in a cgroup namespace where there is only v2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainload.run.delegation import enter_own_group
from trainload.testing.people import NOBODY, as_ordinary_user, cannot_be_ordinary, hidden

MANAGER = "/usr/lib/systemd/systemd"

OUTSIDE = """
set -eu
top=$1 group=$1/trainload-test-$$; shift
mount -t cgroup2 none "$top"
mkdir "$group"
sh -c 'echo $$ >"$0/cgroup.procs"; exec unshare --cgroup --mount --fork --pid --mount-proc sh -euc "$@"' \
    "$group" "$@" || status=$?
for try in 1 2 3 4 5 6 7 8 9 10; do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break; sleep 0.1
done
exit "${status:-0}"
"""
INSIDE = """
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
chown "$0" /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/cgroup.subtree_control
mount -t tmpfs none /run
mkdir -p /run/systemd/system "/run/user/$0"   # sd_booted(3) looks here
chown "$0" "/run/user/$0"
show=$1; shift
if [ -n "$show" ]; then
    mount --bind "$show" /mnt; top=/$(echo "$show" | cut -d/ -f2)
    mount -t tmpfs -o mode=755 none "$top"; mkdir -p "$show"; mount --bind /mnt "$show"; umount /mnt
fi
export XDG_RUNTIME_DIR="/run/user/$0"
exec setpriv --reuid "$0" --regid "$0" --clear-groups sh -euc '
    $0 --user >/dev/null 2>&1 &
    bus="busctl --user status org.freedesktop.systemd1"   # the manager starts the bus
    for try in $(seq 600); do $bus >/dev/null 2>&1 && break; sleep 0.1; done
    "$@"; exit $?   # the first process is nobody systemd moves
' "$@"
"""
PROGRAM = """
import json, os, subprocess, sys
from pathlib import Path
from trainload.run.cgroups import Group, this_machine
from trainload.run.delegation import enter_own_group, own_path
before = own_path()
entered = enter_own_group(os.environ)
here = Path("/sys/fs/cgroup" + own_path())
told = {"before": before, "entered": entered, "own": own_path(), "hierarchy": this_machine().version}
if entered:
    group = Group(2, {"memory": here.parent / "trainload-x"})
    (here.parent / "trainload-x").mkdir()
    child = subprocess.Popen(["sleep", "60"])
    group.add(child.pid)
    told["child"] = Path(f"/proc/{child.pid}/cgroup").read_text().rpartition("::")[2].strip()
    child.kill()
    child.wait()
    group.remove()
    told["left"] = sorted(path.name for path in here.parent.iterdir() if path.is_dir())
    told["again"] = enter_own_group(os.environ)
print("TOLD" + json.dumps(told))
"""


def missing() -> str | None:
    if os.geteuid() != 0:
        return "needs root, to make a cgroup namespace of its own"
    for program in ("busctl", "setpriv", "unshare", MANAGER):
        if shutil.which(program) is None:
            return f"needs {program}"
    if not Path("/usr/lib/systemd/user/dbus.socket").exists():
        return "needs a bus of the user (dbus-user-session)"
    return None


def test_an_ordinary_user_gets_a_group_from_the_user_manager(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    mount = tmp_path / "cgroup"
    mount.mkdir()
    words = [MANAGER, "env", "PYTHONDONTWRITEBYTECODE=1", sys.executable, "-c", PROGRAM]
    show = "".join(hidden()[:1])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", OUTSIDE, "sh", mount, INSIDE, str(NOBODY), show, *words],
        capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if "mount" in done.stderr and "TOLD" not in done.stdout:
        pytest.skip(f"this machine has no cgroup v2 to be mounted: {done.stderr[-200:]}")
    told = json.loads(done.stdout.rpartition("TOLD")[2] or "{}")
    assert told, done.stdout + done.stderr
    assert told["entered"] is True and told["again"] is True
    scope = told["own"].removesuffix("/supervisor")
    assert scope.endswith(".scope") and "/app.slice/trainload-" in scope and scope != told["before"]
    assert told["child"] == f"{scope}/trainload-x"
    assert told["left"] == ["supervisor"]


NOWHERE = """
import os, sys
from trainload.run.delegation import enter_own_group, own_path
before = own_path()
assert not enter_own_group({**os.environ, "XDG_RUNTIME_DIR": sys.argv[1]})
assert own_path() == before
"""


def test_without_a_user_manager_nothing_happens(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o755)  # pytest's folders are closed to others
    home = tmp_path / "home"
    home.mkdir()
    if reason := cannot_be_ordinary(home):
        pytest.skip(reason)
    done = as_ordinary_user(NOWHERE, str(tmp_path), home=home)
    assert done.exit_code == 0, done.complaint


def test_root_asks_nobody(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        assert not enter_own_group({"XDG_RUNTIME_DIR": str(tmp_path)})
