"""Whatever is killed, full, broken or concurrent: the store keeps its promises I1–I9 (THREATS §4, fault numbers).

The judge is ``trainload.testing.verifier``, which shares no code with the store.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from trainload.testing.verifier import images, snapshot, violations

WORK = str(Path(__file__).with_name("store_work.py"))
CALLS = "openat,write,fsync,rename,unlink,mkdir,chmod,fchmod,utimensat,flock"
ENV = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")


def argv(home: Path, *work: str) -> list[str]:
    return [sys.executable, WORK, str(home), *work]


def run(
    home: Path, *work: str, prefix: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [*prefix, *argv(home, *work)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**ENV, **(env or {})}
    )


def good(home: Path, *work: str, env: Mapping[str, str] | None = None) -> str:
    """Runs the work, which must succeed; its last line."""
    done = run(home, *work, env=env)
    assert done.returncode == 0, done.stderr
    return (done.stdout.splitlines() or [""])[-1]


def injected(home: Path, fault: str, *work: str) -> subprocess.CompletedProcess[str]:
    quiet = ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={fault.partition(':')[0]}")
    return run(home, *work, prefix=(*quiet, "-e", f"inject={fault}"))


def points(home: Path, log: Path, *work: str) -> list[tuple[str, int]]:
    """Every system call the work makes on the store, as (name, how many of that name came before it)."""
    trace = ("strace", "-f", "-qq", "-o", str(log), "-e", f"trace={CALLS}")
    assert run(home, *work, prefix=trace).returncode == 0
    counts: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    begun = False
    for line in log.read_text(errors="replace").splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match:
            counts[match[1]] = counts.get(match[1], 0) + 1
            begun = begun or str(home) in line
            if begun:
                found.append((match[1], counts[match[1]]))
    return found


def old_store(tmp_path: Path) -> Path:
    """A store with one image, so that there is something to lose."""
    home = tmp_path / "old"
    good(home, "build", "digits", "old")
    return home


FAULTS = ["fsync:error=EIO", "write:error=ENOSPC", "write:error=EDQUOT", "rename:error=EIO", "fchmod:error=EPERM"]
CASES = {
    "first build": (False, ("build", "digits", "new"), 11),
    "build": (True, ("build", "digits", "new"), 7),
    "tag": (True, ("tag", "digits", "digits:v1"), 6),
    "gc": (True, ("gc",), 7),
}
"""Whether there is something to lose, the work, and every how many system calls it is killed."""
EVERY_CALL = bool(os.environ.get("TRAINLOAD_TEST_EVERY_CALL"))


@needs_strace
@pytest.mark.parametrize("case", CASES)
def test_fault1_kill_9_anywhere_leaves_the_state_before_or_after(case: str, tmp_path: Path) -> None:
    filled, work, step = CASES[case]
    origin = old_store(tmp_path) if filled else tmp_path / "none"
    if case == "gc":
        good(origin, "build", "digits", "newer")
        good(origin, "build", "other", "newer")
    after = tmp_path / "after"
    if filled:
        shutil.copytree(origin, after, symlinks=True)
    killed = points(after, tmp_path / "log", *work)
    assert len(killed) > 15
    good(after, "gc")
    undisturbed = snapshot(after)
    for name, number in [*killed[:: 1 if EVERY_CALL else step], killed[-1]]:
        home = tmp_path / "home"
        shutil.rmtree(home, ignore_errors=True)
        if filled:
            shutil.copytree(origin, home, symlinks=True)
        before = images(home) if filled else {}
        done = injected(home, f"{name}:signal=SIGKILL:when={number}", *work)
        where = f"{case}: killed at {name} {number}"
        assert done.returncode != 0, where
        assert violations(home) == [], where
        if (home / "index.json").exists():
            assert images(home) in (before, images(after)), where
        good(home, *work)
        good(home, "gc")
        assert violations(home, clean=True) == [], where
        assert snapshot(home) == undisturbed, where


@needs_strace
@pytest.mark.parametrize("fault", FAULTS)
def test_fault3_fault4_a_failing_disk_is_told_and_changes_nothing(fault: str, tmp_path: Path) -> None:
    origin = old_store(tmp_path)
    work = ("build", "digits", "new")
    probe = tmp_path / "probe"
    shutil.copytree(origin, probe)
    name = fault.partition(":")[0]
    every = [number for call, number in points(probe, tmp_path / "log", *work) if call == name]
    told = 0
    for number in every[:: max(1, len(every) // 5)]:
        home = tmp_path / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(origin, home)
        done = injected(home, f"{fault}:when={number}", *work)
        where = f"{fault} {number}: {done.stderr}"
        assert violations(home) == [], where
        if done.returncode != 0 and "the store" in done.stderr:
            told += 1
            assert "Traceback" not in done.stderr, where
            assert "hint:" in done.stderr, where
            assert images(home) in (images(origin), images(probe)), where
            assert list((home / "tmp").iterdir()) == [], where
        assert good(home, *work) == images(probe)["digits"]
        assert violations(home) == [], where
    assert told


@needs_root
def test_fault3_a_full_disk_is_told_with_what_is_needed_and_what_is_free(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    script = (
        'mount -t tmpfs -o size=$1 tmpfs "$2" && shift 2 && "$@"; code=$?; '
        f'"{sys.executable}" -m trainload.testing.verifier "$HOME_" || exit 99; exit $code'
    )
    outcomes = set()
    for size in (16, 40, 48, 56, 64, 96, 1024):
        command = ["unshare", "-m", "sh", "-c", script, "sh", f"{size}k", str(mount)]
        home = mount / "home"
        done = subprocess.run(
            [*command, *argv(home, "build", "digits", "x")],
            capture_output=True, text=True, timeout=60, check=False, env={**ENV, "HOME_": str(home)},
        )  # fmt: skip
        if done.returncode == 32 or "permission denied" in done.stderr.lower():
            pytest.skip(f"cannot mount here: {done.stderr}")
        assert done.returncode in (0, 1), f"{size}k: {done.stderr}{done.stdout}"
        if done.returncode:
            assert "is full" in done.stderr
            assert "bytes free" in done.stderr
            assert "trainload gc" in done.stderr
        outcomes.add(done.returncode)
    assert outcomes == {0, 1}


_FETCHES = """
import hashlib, os, sys
from pathlib import Path
from trainload.errors import StoreError
from trainload.lock.model import File, Url
from trainload.resolve.fetch import Fetcher
from trainload.resolve.places import Places
from trainload.store.store import Store
from trainload.system.http import Http
from trainload.testing.server import FaultServer

with FaultServer() as server:
    bodies = [os.urandom(100_000) for _ in range(40)]
    files = [
        File(name, hashlib.sha256(body).hexdigest(), len(body), Url(server.serve(f"/{name}", body)))
        for name, body in ((f"{number}.whl", body) for number, body in enumerate(bodies))
    ]
    store = Store.open(Path(sys.argv[1]))
    with store.writing():
        try:
            Fetcher(store.files, Http(proxies={}), Places()).prefetch(files)
        except StoreError as error:
            print(error.text, len(server.requests) < 20)
"""


@needs_root
def test_fault3_a_disk_that_fills_while_files_are_fetched_is_told_once(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=900k tmpfs "$1" && exec "$2" -c "$3" "$1/home"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, _FETCHES],
        capture_output=True, text=True, timeout=60, check=False, env=ENV,
    )  # fmt: skip
    if done.returncode == 32 or "permission denied" in done.stderr.lower():
        pytest.skip(f"cannot mount here: {done.stderr}")
    assert done.stdout == f"the disk under the store {tmp_path}/home is full True\n", done.stderr


@needs_strace
@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_fault12_an_interrupted_command_cleans_up(signal: str, tmp_path: Path) -> None:
    origin = old_store(tmp_path)
    tag = [sys.executable, "-m", "trainload", "--home", str(tmp_path / "home"), "tag", "digits", "digits:v1"]
    for fault in ("fsync", "rename", "fchmod"):
        home = tmp_path / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(origin, home)
        inject = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={fault}"]
        inject += ["-e", f"inject={fault}:signal={signal}:when=1"]
        done = subprocess.run([*inject, *tag], capture_output=True, text=True, timeout=60, check=False, env=ENV)
        assert done.returncode in ((130, -2) if signal == "SIGINT" else (143, -15)), done
        assert "Traceback" not in done.stderr
        assert violations(home, clean=True) == []
        assert set(images(home)) in ({"digits"}, {"digits", "digits:v1"})


def test_fault5_builds_at_once_lose_nothing_and_make_each_layer_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    workers = [
        subprocess.Popen(argv(home, "many", f"w{number}", "12"), stdout=subprocess.PIPE, text=True, env=ENV)
        for number in range(6)
    ]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 6
    assert set(images(home)) == {f"w{worker}:{number}" for worker in range(6) for number in range(12)}
    assert sum(text.count("made torch") for text in said) == 1
    assert sum(text.count("made code") for text in said) == 72
    assert violations(home, clean=True) == []


def test_fault5_I5_gc_beside_builds_takes_nothing_they_need(tmp_path: Path) -> None:
    home = old_store(tmp_path)
    workers = [subprocess.Popen(argv(home, "many", f"w{number}", "12"), env=ENV) for number in range(4)]
    collected = 0
    while any(worker.poll() is None for worker in workers):
        good(home, "gc")
        collected += 1
    assert collected
    assert [worker.wait(120) for worker in workers] == [0] * 4
    assert len(images(home)) == 4 * 12 + 1
    good(home, "read")
    assert violations(home, clean=True) == []


def test_fault5_gc_leaves_a_living_build_alone_and_cleans_up_after_a_dead_one(tmp_path: Path) -> None:
    home = old_store(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from trainload.store.store import Store\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "with store.writing():\n"
        "    store.put(b'held')\n"
        "    with store.ingest() as ingest:\n"
        "        ingest.write(b'x' * (1 << 21)); print('ready', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, env=ENV) as build:
        assert build.stdout is not None
        assert build.stdout.readline() == b"ready\n"
        good(home, "gc")
        assert len(list((home / "tmp").iterdir())) == 1
        assert len(list((home / "blobs" / "sha256").iterdir())) == 6
        build.kill()
        build.wait()
    assert len(violations(home, clean=True)) == 2  # its lease and its file
    good(home, "tag", "digits", "digits:v1")  # the next command that writes
    assert violations(home, clean=True) == []
    good(home, "gc")
    assert len(list((home / "blobs" / "sha256").iterdir())) == 5


@needs_root
def test_fault11_I10_a_read_only_store_is_read_and_not_written(tmp_path: Path) -> None:
    home = old_store(tmp_path)
    before = snapshot(home)
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'

    def frozen(*work: str) -> subprocess.CompletedProcess[str]:
        return run(home, *work, prefix=("unshare", "-m", "sh", "-c", script, "sh", str(home)))

    read = frozen("read")
    if "mount" in read.stderr:
        pytest.skip(f"cannot mount here: {read.stderr}")
    assert (read.returncode, read.stdout.strip()) == (0, images(home)["digits"])
    for work in (("build", "digits", "new"), ("gc",), ("tag", "digits", "x")):
        done = frozen(*work)
        assert done.returncode == 1
        assert "may not be written" in done.stderr
        assert "TRAINLOAD_HOME" in done.stderr
    assert snapshot(home) == before


@needs_root
def test_F14_fault11_another_users_store_is_read_and_not_written(tmp_path: Path) -> None:
    home = old_store(tmp_path)
    for path in (home, *home.rglob("*")):
        os.chown(path, 4242, 4242)
    assert good(home, "read") == images(home)["digits"]
    before = snapshot(home)
    done = run(home, "build", "digits", "new")
    assert done.returncode == 1
    assert "belongs to another user" in done.stderr
    assert "uid 4242" in done.stderr
    assert snapshot(home) == before


def test_fault18_the_umask_locale_zone_and_folder_do_not_show(tmp_path: Path) -> None:
    found = set()
    for number, (umask, env) in enumerate(
        [
            (0, {}),
            (0o077, {"LANG": "tr_TR.UTF-8", "TZ": "Asia/Shanghai"}),
            (0o777, {"LC_ALL": "C", "HOME": "/none"}),
        ]
    ):
        home = tmp_path / str(number)
        command = ["sh", "-c", f'umask {umask:o}; exec "$@"', "sh", *argv(home, "build", "digits", "x")]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**ENV, "TMPDIR": "/none", **env}, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        assert violations(home, clean=True) == []
        modes = {path.relative_to(home): path.lstat().st_mode for path in home.rglob("*")}
        found.add((done.stdout, tuple(sorted(modes.items())), home.stat().st_mode))
    assert len(found) == 1


@pytest.mark.parametrize("name", ["with space", "中文 é", "new\nline", "-rf", "link"])
def test_fault19_the_store_may_lie_anywhere(name: str, tmp_path: Path) -> None:
    home = tmp_path / name
    if name == "link":
        (tmp_path / "real").mkdir()
        home.symlink_to("real")
    expected = good(tmp_path / "plain", "build", "digits", "x")
    assert good(home, "build", "digits", "x") == expected
    assert good(home, "read") == expected
    assert violations(home, clean=True) == []
    assert home.is_symlink() == (name == "link")


def test_a_commit_after_a_code_edit_takes_no_time(tmp_path: Path) -> None:
    from trainload.store.store import Store

    sys.path.insert(0, str(Path(WORK).parent))
    try:
        from store_work import build  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    home = old_store(tmp_path)
    took = []
    for number in range(5):
        began = time.process_time()
        build(Store.open(home), "digits", f"edit {number}")
        took.append(time.process_time() - began)
    assert min(took) < 0.2, took  # seconds of the processor
