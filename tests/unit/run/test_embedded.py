"""The embedded engine on this machine: what a program sees, what it may do, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.peers import bytes_of

from trainload.digest import Digest
from trainload.errors import RunError
from trainload.run import rundir
from trainload.run.cgroups import this_machine
from trainload.run.embedded import EmbeddedEngine, Watch
from trainload.run.model import Limits, Mount, Outcome, RunSpec
from trainload.run.overlay import Way
from trainload.run.unpack import LayerBlob
from trainload.testing.rootfs import programs_layer
from trainload.testing.tars import TarEntry, blob, folder, symlink, tar

ROOT = os.geteuid() == 0
SPEC = RunSpec(image=Digest.sha256(b""), id="test", command=("true",), user="1000", workdir="/work", env={"A": "1"})


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> LayerBlob:
    return blob(tmp_path_factory.mktemp("layer") / "blob", programs_layer())


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rootfs")


@pytest.fixture
def engine(layer: LayerBlob, rootfs: Path) -> Iterator[EmbeddedEngine]:
    yield EmbeddedEngine(rootfs, lambda _: [layer])
    assert not (rootfs / "runs").is_dir() or list((rootfs / "runs").iterdir()) == []


def shell(script: str, **changed: object) -> RunSpec:
    return replace(SPEC, command=("sh", "-c", script), **changed)  # type: ignore[arg-type]


def told(engine: EmbeddedEngine, tmp_path: Path, script: str, **changed: object) -> str:
    """What ``script`` writes into the file ``told`` of a mounted folder."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    mounts = (*changed.pop("mounts", ()), Mount(str(out), "/out"))  # type: ignore[misc]
    outcome = engine.run(shell(f"{{ {script}\n}} >/out/told 2>&1", mounts=mounts, **changed))
    text = (out / "told").read_text()
    assert outcome.exit_code == 0, text
    return text


def test_the_program_is_the_user_the_image_or_the_command_line_names(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    for user, uid, gid in [
        ("ada", 1000, 1000),
        ("1000:0", 1000, 0),
        ("", 0, 0),
        ("4711", 4711, 0),
        ("0:ada", 0, 1000),
    ]:
        assert told(engine, tmp_path, "id -u; id -g", user=user).split() == [str(uid), str(gid)]


def test_home_host_and_path_are_as_docker_sets_them(engine: EmbeddedEngine, tmp_path: Path) -> None:
    text = told(engine, tmp_path, "echo $HOME $HOSTNAME $A; hostname; pwd", user="ada", hostname="gpu1")
    assert text.split() == ["/home/ada", "gpu1", "1", "gpu1", "/work"]


@pytest.mark.parametrize("user", ["nobody-here", "huge", "4294967296", "2147483648", "-1", "0:nogroup"])
def test_L11_a_user_that_is_not_there_or_out_of_range_is_refused(engine: EmbeddedEngine, user: str) -> None:
    with pytest.raises(RunError, match=r"no user|no group|out of range"):
        engine.run(replace(SPEC, user=user))


@pytest.mark.parametrize("workdir", ["relative", "/proc/self/fd/8", "/dev/../proc/self/cwd", "/sys"])
def test_L12_a_working_directory_outside_the_image_is_refused(engine: EmbeddedEngine, workdir: str) -> None:
    with pytest.raises(RunError, match="working directory"):
        engine.run(replace(SPEC, workdir=workdir))


def test_L12_a_working_directory_through_a_link_stays_inside(
    rootfs: Path, tmp_path: Path, layer: LayerBlob
) -> None:
    evil = tar(symlink("etc/door", str(tmp_path)), symlink("loop", "loop"), symlink("p", "/proc/self/fd"))
    engine = EmbeddedEngine(rootfs, lambda _: [layer, blob(tmp_path / "evil", evil)])
    engine.run(shell("pwd >/etc/pwd || true", workdir="/etc/door/made"))
    assert [path.name for path in tmp_path.iterdir()] == ["evil"]
    for workdir in ("/loop/x", "/p"):
        with pytest.raises(RunError, match=r"loop of links|working directory"):
            engine.run(replace(SPEC, workdir=workdir))


def test_L12_a_mount_point_behind_a_link_stays_inside(rootfs: Path, tmp_path: Path, layer: LayerBlob) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    engine = EmbeddedEngine(rootfs, lambda _: [layer, blob(tmp_path / "evil", tar(symlink("data", str(victim))))])
    text = told(engine, tmp_path, "echo x >/data/y; cat /data/y", mounts=(Mount(str(tmp_path), "/data"),), user="0")
    assert text == "x\n"
    assert list(victim.iterdir()) == []
    assert (tmp_path / "y").exists()


def test_L13_values_of_an_image_are_data(engine: EmbeddedEngine, tmp_path: Path) -> None:
    env = {"LD_PRELOAD": "/nothing.so", "X": "$(id)\n; --bind / /host", "--bind": "x"}
    text = told(engine, tmp_path, "env", env=env)
    assert "X=$(id)\n; --bind / /host" in text
    assert "LD_PRELOAD=/nothing.so" in text
    for wrong in ({"A\0B": "x"}, {"A": "\0"}, {"A=B": "x"}, {"": "x"}):
        with pytest.raises(RunError, match="environment"):
            engine.run(replace(SPEC, env=wrong))


def test_L13_no_value_of_the_environment_is_seen_in_the_list_of_processes(layer: LayerBlob, rootfs: Path) -> None:
    command = ["sh", "-c", "echo ready; sleep 100; exit 0"]
    with started(layer, rootfs, command, env={"TOKEN": "hunter2-very-secret"}) as child:
        assert line(child) == b"ready\n"
        lines = [bytes_of(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        child.kill()
    assert any(b"sleep" in line for line in lines)
    assert not any(b"hunter2" in line and b"bwrap" in line for line in lines)


def test_L17_no_descriptor_of_ours_reaches_the_program(engine: EmbeddedEngine, tmp_path: Path) -> None:
    leak = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        text = told(engine, tmp_path, "ls -l /proc/self/fd")
    finally:
        os.close(leak)
    links = [line.partition(" -> ") for line in text.splitlines()[1:]]
    targets = {int(left.split()[-1]): target for left, _, target in links}
    assert {0, 1, 2} <= targets.keys()
    # the user namespace is the program's own (bwrap leaves it open), and ls opens the listing
    others = [t for fd, t in targets.items() if fd > 2 and not t.startswith(("user:[", "/proc/"))]
    assert others == []
    assert str(tmp_path) not in targets.values()


def test_shared_memory_is_large_and_can_be_limited(engine: EmbeddedEngine, tmp_path: Path) -> None:
    size = "stat -f -c '%S %b' /dev/shm"
    unit, count = map(int, told(engine, tmp_path, size).split())
    assert unit * count > 100 * 2**20
    unit, count = map(int, told(engine, tmp_path, size, limits=Limits(shm=8 * 2**20)).split())
    assert unit * count == 8 * 2**20


def test_what_is_written_in_a_mounted_folder_belongs_to_whoever_called(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    told(engine, tmp_path, "echo x >/out/new; mkdir /out/folder", user="ada")
    assert {path.stat().st_uid for path in (tmp_path / "out").iterdir()} == {os.geteuid()}


def test_a_file_can_be_mounted_and_a_read_only_folder_not_written(engine: EmbeddedEngine, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one")
    mounts = (
        Mount(str(tmp_path / "one.txt"), "/etc/deep/one.txt"),
        Mount(str(tmp_path), "/ro", read_only=True),
    )
    text = told(engine, tmp_path, "cat /etc/deep/one.txt; touch /ro/x || true", mounts=mounts)
    assert text.startswith("one")
    assert "Read-only" in text


def test_a_source_that_is_not_there_is_told(engine: EmbeddedEngine) -> None:
    with pytest.raises(RunError, match="/nowhere, to be mounted at /x, does not exist"):
        engine.run(replace(SPEC, mounts=(Mount("/nowhere", "/x"),)))


def test_a_run_writes_nothing_into_the_image(engine: EmbeddedEngine, rootfs: Path, tmp_path: Path) -> None:
    told(engine, tmp_path, "true")
    before = {path: path.lstat().st_mtime_ns for path in (rootfs / "layers").rglob("*")}
    told(engine, tmp_path, "touch /etc/new; rm /etc/passwd; mkdir -p /made/here", user="0")
    assert {path: path.lstat().st_mtime_ns for path in (rootfs / "layers").rglob("*")} == before
    assert "root:x" in told(engine, tmp_path, "cat /etc/passwd; ls /etc/new /made 2>/dev/null || true")


def test_a_read_only_run_can_still_write_where_it_may(engine: EmbeddedEngine, tmp_path: Path) -> None:
    text = told(engine, tmp_path, "touch /x || true; echo fine >/out/y; cat /out/y", read_only=True, user="0")
    assert "Read-only" in text
    assert text.endswith("fine\n")


def test_without_network_there_is_only_the_loopback(engine: EmbeddedEngine, tmp_path: Path) -> None:
    lines = told(engine, tmp_path, "cat /proc/net/dev", network=False).splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


def test_126_for_what_is_no_program(engine: EmbeddedEngine) -> None:
    with pytest.raises(RunError, match="not a program that can be executed") as caught:
        engine.run(replace(SPEC, command=("/etc/not-a-program",)))
    assert caught.value.exit_code == 126


def test_a_program_in_a_mounted_folder_is_found(engine: EmbeddedEngine, tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text("#!/bin/sh\nexit 7\n")
    script.chmod(0o755)
    spec = replace(SPEC, command=("./train.sh",), workdir="/w", mounts=(Mount(str(tmp_path), "/w"),))
    assert engine.run(spec).exit_code == 7


@pytest.mark.parametrize("way", list(Way))
def test_every_way_of_joining_shows_the_same_files(
    way: Way, rootfs: Path, tmp_path: Path, layer: LayerBlob
) -> None:
    second = tar(
        folder("a"), TarEntry("a/old", b"1"), TarEntry("a/gone"), folder("b"), TarEntry("b/gone"), TarEntry("x/y"),
        TarEntry("c", b"file"),
    )  # fmt: skip
    third = tar(
        TarEntry("a/.wh.gone"), folder("b"), TarEntry("b/.wh..wh..opq"), TarEntry("b/new"), TarEntry("tmp/in"),
        folder("c"), TarEntry(".wh.x"),
    )  # fmt: skip
    layers = [layer, blob(tmp_path / "2", second), blob(tmp_path / "3", third)]
    engine = EmbeddedEngine(rootfs, lambda _: layers, ways=(way,))
    text = told(engine, tmp_path, "cd /; ls -d a/* b/* c tmp/* x/* 2>/dev/null; stat -c %a%F /tmp /c")
    expected = ["a/old", "b/new", "c", "1777directory", "755directory"]
    found = [line for line in text.splitlines() if line != "tmp/in"]
    assert found == expected
    assert ("tmp/in" in text) == (way is not Way.READ_ONLY)


def test_sixty_layers_are_joined(rootfs: Path, tmp_path: Path, layer: LayerBlob) -> None:
    layers = [layer, *(blob(tmp_path / f"l{n}", tar(TarEntry(f"srv/f{n}"))) for n in range(60))]
    engine = EmbeddedEngine(rootfs, lambda _: layers)
    assert len(told(engine, tmp_path, "ls /srv").split()) == 60


@pytest.mark.parametrize("way", list(Way))
def test_a_layer_may_be_there_twice(way: Way, rootfs: Path, tmp_path: Path, layer: LayerBlob) -> None:
    without = blob(tmp_path / "without", tar(folder("srv"), TarEntry("srv/.wh.a")))
    layers = [layer, without, blob(tmp_path / "with", tar(folder("srv"), TarEntry("srv/a"), TarEntry("srv/b")))]
    engine = EmbeddedEngine(rootfs, lambda _: [*layers, without], ways=(way,))
    assert told(engine, tmp_path, "ls /srv") == "b\n"


def memory_group() -> bool:
    return ROOT and "memory" in this_machine().folders


@pytest.mark.skipif(not memory_group(), reason="needs root and a memory control group")
def test_the_memory_limit_is_named_when_it_kills(engine: EmbeddedEngine) -> None:
    outcome = engine.run(shell("tail /dev/zero", limits=Limits(memory=32 * 2**20)))
    assert (outcome.exit_code, str(outcome.reason)) == (137, "killed by the memory limit of 32 MiB")


@pytest.mark.skipif(not memory_group(), reason="needs root and a memory control group")
def test_a_child_killed_by_the_memory_limit_is_told_too(engine: EmbeddedEngine) -> None:
    outcome = engine.run(shell("tail /dev/zero; exit 3", limits=Limits(memory=32 * 2**20)))
    assert str(outcome.reason) == "exit code 3; the memory limit of 32 MiB killed a process"


@pytest.mark.skipif(not (ROOT and "pids" in this_machine().folders), reason="needs root and a pids control group")
def test_the_limit_on_processes_holds(engine: EmbeddedEngine, tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 2 & done; wait"
    outcome = engine.run(shell(script, limits=Limits(pids=6)))
    assert outcome.exit_code != 0


@pytest.mark.skipif(not (ROOT and "cpu" in this_machine().folders), reason="needs root and a cpu control group")
def test_the_limit_on_cpus_holds(engine: EmbeddedEngine, tmp_path: Path) -> None:
    uptime = "read A B < /proc/uptime; echo $A"
    script = f"{uptime}; sleep 1.5 & while kill -0 $! 2>/dev/null; do :; done; {uptime}; cat /proc/$$/stat"
    began, ended, stat = told(engine, tmp_path, script, limits=Limits(cpus=0.2)).split("\n", 2)
    fields = stat.rpartition(")")[2].split()
    used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    took = float(ended) - float(began)
    assert used < 0.2 * took * 2  # it would use all of it; as much again for the first period's credit


SCRIPT = """
import json, sys
from pathlib import Path
from trainload.digest import Digest
from trainload.run.embedded import EmbeddedEngine
from trainload.run.model import RunSpec
from trainload.run.unpack import LayerBlob
blob, diff_id, home, name, env, grace, stop, *command = sys.argv[1:]
engine = EmbeddedEngine(Path(home), lambda _: [LayerBlob(Path(blob), Digest.parse(diff_id), 1)])
outcome = engine.run(RunSpec(image=Digest.parse(diff_id), id=name, command=tuple(command), user="1000", workdir="/",
                             env=json.loads(env), grace=float(grace), stop_signal=stop))
print("\\n" + str(outcome.reason), flush=True)
sys.exit(outcome.exit_code)
"""


def started(
    layer: LayerBlob, rootfs: Path, command: list[str], *, env: dict[str, str] | None = None, **more: object
) -> subprocess.Popen[bytes]:
    """A run in a process of its own, its output in a pipe."""
    import json

    words = [
        str(layer.path), str(layer.diff_id), str(rootfs), str(more.get("name", "own")), json.dumps(env or {}),
        str(more.get("grace", 10)), str(more.get("stop_signal", "SIGTERM")), *command,
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    )


def line(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_reaches_the_program_once(layer: LayerBlob, rootfs: Path, number: signal.Signals) -> None:
    trap = f'n=0; trap "n=\\$((n+1))" {number.name[3:]}; echo ready'
    script = trap + "; while [ $n = 0 ]; do sleep 0.1; done; sleep 0.3; sleep 0.3; exit $((40+n))"
    with started(layer, rootfs, ["sh", "-c", script]) as child:
        assert line(child) == b"ready\n"
        child.send_signal(number)
        assert child.wait(90) == 41


def test_a_signal_that_comes_before_there_is_a_program_is_the_programs(layer: LayerBlob, rootfs: Path) -> None:
    """It is not lost: the run would go on until its grace is over."""
    here = threading.get_ident()  # of this thread, which waits for it: others of the tests' process would die of it
    watch = Watch(started=lambda _pid, _groups: signal.pthread_kill(here, signal.SIGTERM))
    engine = EmbeddedEngine(rootfs, lambda _: [layer], watch=watch)
    for _ in range(5):
        outcome = engine.run(shell("sleep 1000", grace=90.0))
        assert (outcome.exit_code, str(outcome.reason)) == (143, "ended by SIGTERM")


def test_a_run_is_stopped_with_the_images_stop_signal(layer: LayerBlob, rootfs: Path) -> None:
    script = "trap 'exit 40' TERM; trap 'exit 41' QUIT; echo ready; while :; do sleep 0.1; done"
    for signal_name, code in (("SIGQUIT", 41), ("SIGNOPE", 40)):
        with started(layer, rootfs, ["sh", "-c", script], stop_signal=signal_name) as child:
            assert line(child) == b"ready\n"
            child.terminate()
            assert child.wait(90) == code


def test_a_program_that_does_not_stop_is_killed_after_the_grace_period(layer: LayerBlob, rootfs: Path) -> None:
    with started(layer, rootfs, ["sh", "-c", "trap '' TERM; echo ready; sleep 60; sleep 60"], grace=0.5) as child:
        assert line(child) == b"ready\n"
        child.terminate()
        assert child.wait(90) == 137
        assert child.stdout is not None
        assert b"killed because it did not stop within 0.5 s" in child.stdout.read()


def test_a_program_killed_by_a_signal_is_told_as_such(layer: LayerBlob, rootfs: Path) -> None:
    with started(layer, rootfs, ["sh", "-c", "kill -9 $$"]) as child:
        assert child.wait(90) == 137
        assert child.stdout is not None
        assert b"ended by SIGKILL" in child.stdout.read()


def called(*words: str) -> list[Path]:
    """Processes of this machine with this command line."""
    line = b"".join(word.encode() + b"\0" for word in words)
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if bytes_of(path) == line]


def test_no_process_outlives_its_program(layer: LayerBlob, rootfs: Path) -> None:
    with started(layer, rootfs, ["sh", "-c", "sleep 4711 & exit 0"]) as child:
        assert child.wait(90) == 0
    assert not called("sleep", "4711")


def test_after_kill_9_nothing_is_left_at_the_next_look(layer: LayerBlob, rootfs: Path) -> None:
    with started(layer, rootfs, ["sh", "-c", "echo ready; sleep 4712"], name="killed") as child:
        assert line(child) == b"ready\n"
        assert rundir.alive(rootfs, "killed")
        child.kill()
        child.wait()
    assert not rundir.alive(rootfs, "killed")
    assert "killed" in rundir.clear(rootfs)
    assert not (rootfs / "runs" / "killed").exists()
    end = time.monotonic() + 240
    while called("sleep", "4712"):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_runs_of_one_image_at_once_do_not_see_each_other(layer: LayerBlob, rootfs: Path) -> None:
    script = "touch /tmp/mark-$0; echo ready; cat; echo /tmp/mark-*"
    children = [started(layer, rootfs, ["sh", "-c", script, name], name=name) for name in ("one", "two")]
    outputs = [child.communicate(timeout=120)[0].decode() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert [text.split()[1] for text in outputs] == ["/tmp/mark-one", "/tmp/mark-two"]


def test_an_outcome_has_words(engine: EmbeddedEngine) -> None:
    outcome = engine.run(shell("exit 3"))
    assert isinstance(outcome, Outcome)
    assert (outcome.exit_code, str(outcome.reason)) == (3, "exit code 3")
    assert outcome.seconds > 0


def test_what_takes_too_long_is_killed_with_all_it_started(engine: EmbeddedEngine, tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = engine.run(shell("trap '' TERM; (while :; do :; done) & while :; do :; done", seconds=1.0))
    assert (outcome.exit_code, str(outcome.reason)) == (137, "killed because it took more than 1 s")
    assert time.monotonic() - began < 90


def test_with_a_log_nothing_of_our_streams_reaches_the_program(
    engine: EmbeddedEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.touch()
    engine.run(shell("echo out; echo err >&2; cat", log=str(log)))
    assert log.read_text() == "out\nerr\n"
    assert capfd.readouterr() == ("", "")
