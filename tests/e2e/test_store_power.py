"""Power cuts, clocks, locks that do not hold and little memory: what the store does about them (fault numbers)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainload.testing.verifier import images, violations

WORK = str(Path(__file__).with_name("store_work.py"))
ENV = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
CUTS = 6

POWER_CUTS = """
set -e
cd "$1"; shift
truncate -s 64M disk
mkfs.ext4 -q disk
mkdir mounted copied
mount -o loop,commit=300 disk mounted || exit 77
"$@" > said &
pid=$!
for cut in 1 2 3 4 5 6; do
    sleep 0.2
    if [ $cut = 2 ]; then  # whatever else this machine does: there is something to lose
        until grep -q done said || ! kill -0 $pid; do sleep 0.1; done
    fi
    kill -STOP $pid 2>/dev/null || true
    cp said said.$cut
    cp --sparse=always disk disk.$cut
    kill -CONT $pid 2>/dev/null || true
done
kill -9 $pid 2>/dev/null || true
wait $pid || true
umount mounted
for cut in 1 2 3 4 5 6; do
    mount -o loop disk.$cut copied
    cp -r copied/home home.$cut 2>/dev/null || mkdir home.$cut
    umount copied
    rm disk.$cut
done
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_fault2_I7_a_power_cut_loses_nothing_that_was_reported_done(tmp_path: Path) -> None:
    if shutil.which("mkfs.ext4", path=ENV["PATH"]) is None:
        pytest.skip("mkfs.ext4 is not installed")
    work = [sys.executable, WORK, str(tmp_path / "mounted" / "home"), "many", "w", "2000"]
    script = ["unshare", "-m", "sh", "-c", POWER_CUTS, "sh", str(tmp_path), *work]
    done = subprocess.run(script, capture_output=True, text=True, timeout=300, check=False, env=ENV)
    if done.returncode == 77 or "loop" in done.stderr:
        pytest.skip(f"cannot mount a loop device here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    found = 0
    for cut in range(1, CUTS + 1):
        home = tmp_path / f"home.{cut}"
        promised = [line for line in (tmp_path / f"said.{cut}").read_text().splitlines() if line.startswith("done")]
        assert violations(home) == [], f"cut {cut}"
        if promised:
            assert {line.split()[1] for line in promised} <= set(images(home))
            for verb in (["build", "w:new", "x"], ["gc"]):
                again = subprocess.run(
                    [sys.executable, WORK, str(home), *verb], capture_output=True, check=False, env=ENV
                )
                assert again.returncode == 0, again.stderr
            assert violations(home, clean=True) == []
        found += len(promised)
    assert found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("fault", ["retval=0", "error=ENOLCK"])
def test_fault6_a_file_system_whose_locks_do_not_hold_is_refused(fault: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    inject = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=flock", "-e", f"inject=flock:{fault}"]
    done = subprocess.run(
        [*inject, sys.executable, WORK, str(home), "build", "digits", "x"],
        capture_output=True, text=True, check=False, env=ENV,
    )  # fmt: skip
    assert done.returncode == 1
    assert "does not support locks" in done.stderr
    assert "local disk" in done.stderr
    assert not (home / "index.json").exists()


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
@pytest.mark.parametrize("skew", ["-10 years", "+10 years"])
def test_fault10_a_wrong_clock_changes_no_digest_and_gc_takes_nothing(skew: str, tmp_path: Path) -> None:
    def work(home: str, *argv: str, prefix: tuple[str, ...] = ()) -> str:
        command = [*prefix, sys.executable, WORK, str(tmp_path / home), *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENV)
        assert done.returncode == 0, done.stderr
        return done.stdout

    wrong = ("faketime", "-f", skew.replace(" years", "y"))
    expected = work("right", "build", "digits", "x")
    assert work("wrong", "build", "digits", "x", prefix=wrong) == expected
    work("right", "gc", prefix=wrong)
    work("wrong", "gc")
    assert work("wrong", "read") == work("right", "read", prefix=wrong)


def test_fault13_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
    code = (
        "import json, resource, sys; from pathlib import Path; from trainload.store.store import Store\n"
        "store = Store.open(Path(sys.argv[1])); peak = []\n"
        "for size in (8, 400):\n"
        "    with store.writing(), store.ingest(size << 20) as ingest:\n"
        "        for number in range(size * 4):\n"
        "            ingest.write(number.to_bytes(4, 'big') * (1 << 16))\n"
        "        digest, _ = ingest.commit()\n"
        "    assert store.blobs.matches(digest)\n"
        "    peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print(json.dumps(peak))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "home")], capture_output=True, text=True, check=False, env=ENV
    )
    assert done.returncode == 0, done.stderr
    small, large = json.loads(done.stdout)
    assert large - small < 8 << 10, (small, large)  # KiB
    shutil.rmtree(tmp_path / "home")
