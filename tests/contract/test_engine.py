"""What every engine must do, asked of the fake one, the embedded one (root, ordinary user) and real peers."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.peers import Docker, Podman, RootlessPodman

from trainload.digest import Digest
from trainload.image.assemble import assemble
from trainload.store.store import Store
from trainload.system import scratch
from trainload.system.process import run as run_process
from trainload.testing.asking import Answer, Ask, ask
from trainload.testing.engine import MemoryEngine
from trainload.testing.images import plan_of, put_layer
from trainload.testing.people import SOMEBODY, Person, as_ordinary_user, cannot_be_ordinary
from trainload.testing.rootfs import programs_layer

OTHER = str(Digest.sha256(b"another image"))


class Asked:
    """An engine that can be asked."""

    def __init__(self, name: str, answer: Callable[[tuple[Ask, ...]], list[Answer]]) -> None:
        self.name, self._answer = name, answer
        self._lacks: frozenset[str] | None = None

    def __call__(self, *asks: Ask) -> list[Answer]:
        return self._answer(asks)

    def must(self, *abilities: str) -> None:
        """Skip a test that asks for more than this engine can do here."""
        if self.name == "memory":
            pytest.skip("nothing really runs")
        if abilities and self._lacks is None:
            self._lacks = frozenset(self({"do": "lacks"})[0].value)
        missing = sorted(set(abilities) & (self._lacks or frozenset()))
        if missing:
            pytest.skip(f"{self.name} has no {', '.join(missing)} here")


SCRIPT = """
import dataclasses, gzip, json, os, sys
from pathlib import Path
from trainload.digest import Digest
from trainload.events import SILENT
from trainload.limits import DEFAULT
from trainload.run.engines.table import Site, engine
from trainload.run.weights import mounted
from trainload.store.store import Store
from trainload.testing.asking import ask
from trainload.testing.images import make_with_weights, plan_of, put_layer
name, home, layer, asks = sys.argv[1:]
store = Store.open(Path(home))
with store.writing():
    if not store.images():
        stream = Path(layer).read_bytes()
        done = put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream))
        plan = plan_of("tiny", ("base",), ("sh",))
        make_with_weights(store, plan, [done], "opt/weights", {"opt/weights/model": b"weights"})
    image = store.image(store.resolve("tiny"))
    weights = [dataclasses.astuple(one) for one in mounted(store, image, SILENT, DEFAULT)]
    asks = [{**one, "mounts": weights} if "weights" in one else one for one in json.loads(asks)]
    answers = ask(engine(name, Site(store, dict(os.environ))), image, asks)
print("ANSWER" + json.dumps([dataclasses.asdict(answer) for answer in answers]))
"""


def memory(folder: Path) -> Asked:
    store = Store.open(folder / "home")
    with store.writing():
        layer = put_layer(store, gzip.compress(b"", 1, mtime=0), Digest.sha256(b""))
        image = assemble(plan_of("tiny", ("base",), ("sh",)), [layer])
    engine = MemoryEngine()
    return Asked("memory", lambda asks: ask(engine, image, asks))


def real(name: str, folder: Path, environ: Mapping[str, str], person: Person | None = None) -> Asked:
    """An engine of this machine, each time from a new process; ``person``: of an ordinary user."""
    layer, home = folder / "layer.tar", folder / "home"
    layer.write_bytes(programs_layer())
    home.mkdir(exist_ok=True)

    def asked(asks: tuple[Ask, ...]) -> list[Answer]:
        words = (name, str(home / "store"), str(layer), json.dumps(asks))
        if person is not None:
            done = as_ordinary_user(SCRIPT, *words, home=home, env=environ, person=person)
        else:
            done = run_process(
                [sys.executable, "-c", SCRIPT, *words], env={**os.environ, **environ}, timeout=300
            )  # fmt: skip
        line = done.stdout.decode().rpartition("ANSWER")[2]
        assert line.startswith("["), done.complaint
        return [Answer(**answer) for answer in json.loads(line)]

    return Asked(name, asked)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder open to all; pytest closes its own whenever one is started."""
    with scratch.folder("engine") as folder:
        folder.chmod(0o755)
        yield folder


@pytest.fixture(
    scope="module",
    params=[
        "memory", "embedded as root", "embedded as an ordinary user", "docker", "podman",
        "podman as an ordinary user",
    ],
)  # fmt: skip
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("engine")
    if request.param == "memory":
        yield memory(folder)
    elif request.param == "docker":
        if Docker.missing():
            pytest.skip(Docker.missing())
        with Docker(folder / "docker") as docker:
            yield real("docker", folder, {"DOCKER_HOST": docker.host})
    elif request.param == "podman":
        if Podman.missing():
            pytest.skip(Podman.missing())
        with Podman(folder / "podman") as podman:
            yield real("podman", folder, podman.environ)
    elif request.param == "podman as an ordinary user":
        if RootlessPodman.missing():
            pytest.skip(RootlessPodman.missing())
        with RootlessPodman() as podman_of_theirs:
            theirs = podman_of_theirs
            yield real("podman", theirs.home.parent, theirs.environ, theirs.person)
    elif request.param == "embedded as root":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        yield real("embedded", folder, {})
    else:
        with scratch.folder("engine") as own:  # pytest closes its folders to others whenever one is started
            own.chmod(0o755)
            (own / "home").mkdir()
            reason = cannot_be_ordinary(own / "home")
            if reason is not None:
                pytest.skip(reason)
            yield real("embedded", own, {}, SOMEBODY)


class Process(NamedTuple):
    pid: int
    parent: int
    state: str
    words: str


def processes() -> Iterator[Process]:
    """Those of this machine (proc(5))."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone
            state, parent = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            yield Process(int(folder.name), int(parent), state, words)


def program_of(run_id: str) -> Process | None:
    """A shell that waits for a file of the run's name."""
    words = f"sh\0-c\0until [ -e /wait/{run_id} ]"
    return next((one for one in processes() if one.words.startswith(words)), None)


def descriptors(pid: int) -> list[str]:
    """Those that are not its standard streams; conmon closes them before it is gone."""
    try:
        return [name for name in os.listdir(f"/proc/{pid}/fd") if int(name) > 2]
    except OSError:
        return []


def belongs(process: Process, run_id: str) -> bool:
    """Whether somebody above it was asked for that run: the words of an ask are in its command line."""
    every = {one.pid: one for one in processes()}
    above = every.get(process.parent)
    while above is not None and run_id not in above.words:
        above = every.get(above.parent)
    return above is not None


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def run_id() -> str:
    return secrets.token_hex(6)


def sh(script: str, do: str = "run", **more: Any) -> Ask:  # noqa: ANN401 - fields of a spec
    return {"do": do, "command": ["sh", "-c", script], **more}


def test_a_program_that_ends_well_is_finished(asked: Asked) -> None:
    assert asked(sh("exit 0")) == [Answer(0, "finished")]


def test_the_programs_exit_code_is_the_runs(asked: Asked) -> None:
    codes = [1, 2, 42, 255]
    assert asked(*(sh(f"exit {code}") for code in codes)) == [Answer(code, f"exit code {code}") for code in codes]


def test_what_a_program_says_is_on_our_standard_output(asked: Asked) -> None:
    [answer] = asked(sh("echo $A; echo two", env={"A": "one"}))
    assert answer == Answer(0, "finished", output="one\ntwo\n")


SAME = {
    "environment": "env",
    "user": "id -u; id -g; pwd; umask; hostname",  # groups: an ordinary user can give their run no others
    "files": "stat -c '%n %a %F' /tmp /etc/passwd /bin/sh /home/ada /dev/null /dev/shm /proc /sys; ls /bin",
    "streams": "cat; echo out; echo err >&2; [ -t 0 ] || echo no terminal; exit 3",
    "signal": "sh -c 'kill -9 $$'; exit $?",  # in a shell of its own: pid 1, which some are, is safe from itself
}
seen: list[tuple[str, list[Answer]]] = []


def test_the_same_image_says_the_same_on_every_engine(asked: Asked) -> None:
    asked.must()
    answers = asked(*(sh(one, id="same", env={"A": "one"}, stdin="in\n") for one in SAME.values()))
    answers = [replace(answer, output="\n".join(sorted(answer.output.split("\n")))) for answer in answers]
    assert [answer.value for answer in answers] == [0, 0, 0, 3, 137]
    seen.append((asked.name, answers))
    for name, others in seen:
        assert dict(zip(SAME, answers, strict=True)) == dict(zip(SAME, others, strict=True)), name


def test_what_a_program_says_on_standard_error_is_passed_on_whatever_it_begins_with(asked: Asked) -> None:
    asked.must()
    script = "echo 'Error: of its own' >&2; echo out; exit 3"
    [answer] = asked(sh(script, errors=True))
    assert (answer.value, sorted(answer.output.splitlines())) == (3, ["Error: of its own", "out"])


def test_nothing_is_lost_that_was_said_at_the_end_when_input_was_left_unread(
    asked: Asked, run_id: str, shared: Path
) -> None:
    """Podman comes to read it only after its monitor is gone, as on a machine with too much to do."""
    if "podman" not in asked.name:
        pytest.skip("Podman's own monitor")
    script = f"until [ -e /wait/{run_id} ]; do sleep 0.1; done; echo one; echo two"
    # 180 kB of input: some of it waits in a socket
    one = sh(script, stdin="in\n", times=60_000, mounts=[[str(shared), "/wait", True]])
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(asked, one)
        until(lambda: program_of(run_id) is not None or answer.done())
        program = program_of(run_id)
        assert program is not None, answer.result()
        talking = [one.pid for one in processes() if "--attach" in one.words and belongs(one, run_id)]
        assert talking
        until(lambda: "pos:\t180000\n" in Path(f"/proc/{talking[0]}/fdinfo/0").read_text(encoding="ascii"))
        for pid in talking:
            os.kill(pid, signal.SIGSTOP)
        try:
            (shared / run_id).touch()
            until(lambda: not descriptors(program.parent))  # conmon's
        finally:
            for pid in talking:
                os.kill(pid, signal.SIGCONT)
        assert answer.result() == [Answer(0, "finished", output="one\ntwo\n")]


def test_a_program_that_is_not_there_is_127_as_in_a_shell(asked: Asked) -> None:
    [answer] = asked({"do": "run", "command": ["no-such-program"]})
    assert (answer.value, answer.failed) == (127, True)
    assert "the image has no program no-such-program" in answer.reason


def test_an_image_that_is_not_there_is_an_error(asked: Asked) -> None:
    [answer] = asked(sh("exit 0", image=OTHER))
    assert answer.failed


def test_a_foreground_run_leaves_nothing(asked: Asked, run_id: str) -> None:
    answers = asked(sh("exit 3", id=run_id), {"do": "state", "id": run_id}, {"do": "logs", "id": run_id})
    assert (answers[0].value, answers[1].value, answers[2].failed) == (3, None, True)


def test_mounted_weights_are_seen_where_the_image_says_and_cannot_be_changed(asked: Asked) -> None:
    asked.must("FOLDERS")
    look = "cat /opt/weights/model && if echo x >> /opt/weights/model; then echo changed; fi"
    [one, other] = asked(*(sh(look, weights=True, user=user) for user in ("1000", "0")))
    assert (one.value, other.value) == (0, 0) and (one.output, other.output) == ("weights", "weights")


def test_a_named_volume_keeps_what_is_written_from_run_to_run(asked: Asked, run_id: str) -> None:
    mounts = [[f"volume-{run_id}", "/vol", False, True]]
    answers = asked(
        sh("echo kept > /vol/file", mounts=mounts, user="0"), sh("cat /vol/file", mounts=mounts, user="0")
    )
    assert answers[1].output == "kept\n"


def test_a_detached_run_is_known_by_its_id_until_it_is_removed(asked: Asked, run_id: str) -> None:
    answers = asked(
        sh("echo hello; exit 3", "start", id=run_id), {"do": "wait", "id": run_id}, {"do": "logs", "id": run_id},
        {"do": "state", "id": run_id}, {"do": "states"}, {"do": "remove", "id": run_id},
        {"do": "state", "id": run_id},
    )  # fmt: skip
    _, waited, logs, state, states, _, gone = answers
    assert waited == Answer(3, "exit code 3")
    assert logs.value == ["hello"]
    assert (state.value["phase"], state.value["exit_code"], state.reason) == ("ended", 3, "exit code 3")
    assert run_id in states.value
    assert gone.value is None


def test_a_detached_program_that_is_not_there_is_told_at_once_and_leaves_nothing(asked: Asked, run_id: str) -> None:
    answers = asked({"do": "start", "command": ["nope"], "id": run_id}, {"do": "state", "id": run_id})
    assert (answers[0].value, answers[0].failed, answers[1].value) == (127, True, None)


def test_stop_ends_a_run_and_a_living_one_is_not_removed(asked: Asked, run_id: str) -> None:
    answers = asked(
        {"do": "start", "command": ["sleep", "1000"], "id": run_id, "restart": ["always", None]},
        {"do": "state", "id": run_id}, {"do": "remove", "id": run_id}, {"do": "stop", "id": run_id, "grace": 1},
        {"do": "state", "id": run_id}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert (answers[1].value["phase"], answers[4].value["phase"]) == ("running", "ended")
    assert answers[2].failed and "is running" in answers[2].reason
    assert not answers[5].failed


def test_kill_sends_the_signal_and_the_end_is_told_in_words(asked: Asked, run_id: str) -> None:
    answers = asked(
        {"do": "start", "command": ["sleep", "1000"], "id": run_id}, {"do": "kill", "id": run_id, "signal": 9},
        {"do": "wait", "id": run_id}, {"do": "kill", "id": run_id, "signal": 9}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert answers[2] == Answer(137, "ended by SIGKILL")
    assert answers[3].failed and "is not running" in answers[3].reason


def test_a_further_program_runs_inside(asked: Asked, run_id: str) -> None:
    answers = asked(
        {"do": "start", "command": ["sleep", "1000"], "id": run_id, "env": {"A": "run"}},
        sh("echo $A $B; exit 7", "execute", id=run_id, env={"B": "exec"}),
        {"do": "execute", "command": ["no-such-program"], "id": run_id},
        {"do": "usage", "id": run_id},
        sh("echo said; exit 3", "execute", id=run_id, interactive=True, stdin="unread\n", times=100_000),
        {"do": "execute", "command": ["no-such"], "id": run_id, "interactive": True, "stdin": "line"},
        {"do": "stop", "id": run_id, "grace": 0}, sh("exit 0", "execute", id=run_id),
        {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert (answers[1].value, answers[1].output) == (7, "run exec\n"), answers[1].reason
    assert (answers[2].value, answers[2].failed) == (127, True)
    assert answers[3].value["memory"] > 0 and answers[3].value["processes"] > 0
    assert (answers[4].value, answers[4].output) == (3, "said\n"), "what it leaves unread costs none of its words"
    assert (answers[5].value, answers[5].failed) == (127, True)
    assert answers[7].failed and "is not running" in answers[7].reason


def test_logs_are_followed_to_the_end_and_bars_are_shown_as_a_terminal_would(asked: Asked, run_id: str) -> None:
    script = r"printf 'start\n\r10%%\r50%%\r100%%\n'; sleep 0.2; echo end"
    answers = asked(
        sh(script, "start", id=run_id), {"do": "logs", "id": run_id, "follow": True},
        {"do": "logs", "id": run_id, "tail": 1}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert [line.replace("%%", "%") for line in answers[1].value] == ["start", "100%", "end"]
    assert answers[2].value == ["end"]


def test_a_run_that_fails_is_started_again_as_often_as_asked(asked: Asked, run_id: str) -> None:
    answers = asked(
        sh("echo try; exit 1", "start", id=run_id, restart=["on-failure", 2]), {"do": "wait", "id": run_id},
        {"do": "until", "id": run_id, "want": {"phase": "ended", "restarts": 2}}, {"do": "logs", "id": run_id},
        {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert (answers[2].value["phase"], answers[2].value["restarts"]) == ("ended", 2)
    assert answers[3].value == ["try"] * 3


def test_a_file_is_copied_out_while_it_runs_and_after_the_end(asked: Asked, run_id: str) -> None:
    copy = {"do": "copy_out", "id": run_id, "path": "/tmp/made"}
    answers = asked(
        sh("echo result > /tmp/made; echo ready; sleep 1000", "start", id=run_id, user="0"),
        {"do": "said", "id": run_id, "line": "ready"},
        sh("cat /tmp/made", "execute", id=run_id),
        copy, {"do": "stop", "id": run_id, "grace": 0}, copy, {**copy, "path": "/nothing"},
        {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert (answers[3].value, answers[5].value) == ("result\n", "result\n")
    assert answers[6].failed


def test_asking_for_a_run_that_is_not_there_is_an_error(asked: Asked) -> None:
    asks: list[Ask] = [{"do": do, "id": "nothing"} for do in ("wait", "logs", "stop", "remove", "usage")]
    answers = asked(*asks, {"do": "kill", "id": "nothing", "signal": 9}, {"do": "state", "id": "nothing"})
    assert [answer.failed for answer in answers] == [True] * 6 + [False]
    assert all("is not there any more" in answer.reason for answer in answers[:6])


def test_user_folder_host_and_mounts_are_as_asked(asked: Asked, shared: Path) -> None:
    asked.must()
    (shared / "in").mkdir()
    (shared / "in" / "file").write_text("mounted\n")
    mounts = [[str(shared / "in"), "/in", True]]
    script = "id -u; pwd; hostname; cat /in/file; touch /in/new 2>/dev/null || echo ro; ls -d /dev/shm"
    [answer] = asked(sh(script, user="1000", workdir="/tmp", hostname="gpu7", network=False, mounts=mounts))
    assert answer.output.split() == ["1000", "/tmp", "gpu7", "mounted", "ro", "/dev/shm"]


def test_a_root_that_may_only_be_read_is_so(asked: Asked) -> None:
    asked.must()
    [answer] = asked(sh("touch /new 2>/dev/null || echo no", user="0", read_only=True))
    assert answer.output == "no\n"


def test_L11_a_user_out_of_range_is_refused(asked: Asked) -> None:
    asked.must()
    for answer in asked(sh("id -u", user="4294967296"), sh("id -u", user="no-such-user")):
        assert answer.failed and answer.output == ""


def test_L17_a_program_has_no_descriptor_but_its_streams(asked: Asked, run_id: str) -> None:
    asked.must()
    script = "ls -l /proc/self/ns/user /proc/self/fd"
    answers = asked(
        sh(script), {"do": "start", "command": ["sleep", "1000"], "id": run_id},
        sh(script, "execute", id=run_id), {"do": "stop", "id": run_id, "grace": 0}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    for answer in (answers[0], answers[2]):
        shown = [line.partition(" -> ") for line in answer.output.splitlines() if " -> " in line]
        links = {left.split()[-1]: target for left, _, target in shown}
        own = links.pop("/proc/self/ns/user")  # bubblewrap leaves the namespace open that everybody can open
        more = [target for name, target in links.items() if name not in "012" and target != own]
        assert [target for target in more if not target.startswith("/proc/")] == []  # the folder that ls reads


def test_the_memory_limit_kills_and_is_named(asked: Asked, run_id: str) -> None:
    asked.must("memory limits")
    limits = {"memory": 64 * 2**20}
    answers = asked(
        {"do": "run", "command": ["tail", "/dev/zero"], "limits": limits},
        {"do": "start", "command": ["tail", "/dev/zero"], "limits": limits, "id": run_id},
        {"do": "wait", "id": run_id}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    for answer in (answers[0], answers[2]):
        assert answer == Answer(137, "killed by the memory limit of 64 MiB")


def test_the_memory_limit_is_named_when_nobody_had_time_to_see_it(asked: Asked, run_id: str, shared: Path) -> None:
    """Who watches over the program comes to it only after its end, as on a machine with too much to do."""
    if asked.name not in ("docker", "podman"):
        pytest.skip("watches from within")
    asked.must("memory limits")
    script = f"until [ -e /wait/{run_id} ]; do sleep 0.1; done; exec tail /dev/zero"
    more: Any = {"limits": {"memory": 64 * 2**20}, "mounts": [[str(shared), "/wait", True]]}
    asked(sh(script, "start", id=run_id, **more))
    until(lambda: program_of(run_id) is not None)  # which runc becomes a moment after the start
    program = program_of(run_id)
    assert program is not None
    os.kill(program.parent, signal.SIGSTOP)
    try:
        (shared / run_id).touch()
        until(lambda: program.pid not in [one.pid for one in processes() if one.state != "Z"])
    finally:
        os.kill(program.parent, signal.SIGCONT)
    answers = asked({"do": "wait", "id": run_id}, {"do": "state", "id": run_id}, {"do": "remove", "id": run_id})
    assert [one.reason for one in answers[:2]] == ["killed by the memory limit of 64 MiB"] * 2


def test_a_program_that_does_not_heed_its_stop_signal_is_killed(asked: Asked, run_id: str) -> None:
    asked.must()
    answers = asked(
        sh("trap '' TERM; echo ready; sleep 1000; sleep 1000", "start", id=run_id),
        {"do": "said", "id": run_id, "line": "ready"},
        {"do": "stop", "id": run_id, "grace": 1}, {"do": "state", "id": run_id}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert answers[3].value["exit_code"] == 137


def test_health_follows_what_the_check_says(asked: Asked, run_id: str) -> None:
    asked.must("health checks")
    check = {"command": ["sh", "-c", "cat /tmp/well"], "interval": 0.2, "timeout": 30.0, "retries": 2}
    answers = asked(
        sh("echo yes >/tmp/well; sleep 1000", "start", id=run_id, user="0", health=check),
        {"do": "until", "id": run_id, "want": {"health": "healthy"}},
        sh("rm /tmp/well", "execute", id=run_id),
        {"do": "until", "id": run_id, "want": {"health": "unhealthy"}},
        {"do": "stop", "id": run_id, "grace": 0}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert (answers[1].value["health"], answers[3].value["health"]) == ("healthy", "unhealthy")


def test_what_is_unhealthy_is_started_again(asked: Asked, run_id: str) -> None:
    asked.must("restart of what is unhealthy")
    check = {"command": ["sh", "-c", "cat /tmp/well"], "interval": 0.2, "timeout": 30.0, "retries": 1}
    script = "echo start; if [ -e /tmp/again ]; then echo yes >/tmp/well; fi; echo x >/tmp/again; sleep 1000"
    answers = asked(
        sh(script, "start", id=run_id, user="0", health=check, restart=["always", None], grace=0.5),
        {"do": "until", "id": run_id, "want": {"health": "healthy", "restarts": 1}}, {"do": "logs", "id": run_id},
        {"do": "stop", "id": run_id, "grace": 0}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert (answers[1].value["health"], answers[1].value["restarts"]) == ("healthy", 1)
    assert answers[2].value == ["start", "start"]


def test_a_program_reads_our_standard_input_to_its_end(asked: Asked) -> None:
    asked.must()
    [answer] = asked({"do": "run", "command": ["cat"], "stdin": "line\n", "times": 100_000})
    assert (answer.value, answer.output == "line\n" * 100_000) == (0, True)


@pytest.mark.parametrize("ours", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_us_is_the_programs_and_sigterm_its_stop_signal(asked: Asked, ours: int) -> None:
    asked.must()
    script = "trap 'exit 7' INT; trap 'exit 8' QUIT; echo ready; while :; do sleep 0.1; done"
    [answer] = asked(sh(script, signal=ours, stop_signal="SIGQUIT"))
    assert (answer.value, answer.output) == ({signal.SIGTERM: 8, signal.SIGINT: 7}[signal.Signals(ours)], "ready\n")


def test_what_does_not_end_on_our_sigterm_is_killed_after_its_grace(asked: Asked) -> None:
    asked.must()
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    [answer] = asked(sh(script, signal=signal.SIGTERM, grace=0.5))
    assert answer == Answer(137, "killed because it did not stop within 0.5 s", output="ready\n")


def test_what_stays_unhealthy_is_started_again_as_often_as_asked_and_then_ends(asked: Asked, run_id: str) -> None:
    asked.must("restart of what is unhealthy")
    check = {"command": ["sh", "-c", "exit 1"], "interval": 0.2, "timeout": 30.0, "retries": 1}
    answers = asked(
        sh("echo start; sleep 1000", "start", id=run_id, health=check, restart=["on-failure", 1], grace=0.5),
        {"do": "wait", "id": run_id}, {"do": "state", "id": run_id}, {"do": "logs", "id": run_id},
        {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert (answers[2].value["phase"], answers[2].value["restarts"]) == ("ended", 1)
    assert answers[2].reason == "stopped because it was unhealthy"
    assert answers[3].value == ["start", "start"]


def test_what_is_unhealthy_does_not_start_again_once_it_was_stopped(asked: Asked, run_id: str) -> None:
    asked.must("restart of what is unhealthy")
    check = {"command": ["sh", "-c", "exit 1"], "interval": 0.2, "timeout": 30.0, "retries": 1}
    answers = asked(
        sh("echo start; sleep 1000", "start", id=run_id, health=check, restart=["always", None], grace=0.5),
        {"do": "until", "id": run_id, "want": {"restarts": 1}}, {"do": "stop", "id": run_id, "grace": 0},
        {"do": "pause", "seconds": 1.0}, {"do": "state", "id": run_id}, {"do": "remove", "id": run_id},
        {"do": "state", "id": run_id},
    )  # fmt: skip
    assert (answers[4].value["phase"], answers[5].failed, answers[6].value) == ("ended", False, None)


def test_a_detached_run_with_a_terminal_is_joined_left_and_joined_again(asked: Asked, run_id: str) -> None:
    asked.must()
    first = [["", "echo $((1+0))st\n"], ["1st", "stty size; echo $((40+1))\n"], ["41", "\x10\x11"]]
    second = [["", "echo $((1+1))nd\n"], ["2nd", "\x03"], ["interrupted", "exit 5\n"]]
    script = "trap 'echo interrupted' INT; while :; do read A || continue; eval \"$A\"; done"
    answers = asked(
        sh(script, "start", id=run_id, tty=True, open=True),
        {"do": "on a terminal", "act": "attach", "id": run_id, "talk": first, "size": [33, 99]},
        {"do": "state", "id": run_id},
        {"do": "on a terminal", "act": "attach", "id": run_id, "talk": second},
        {"do": "wait", "id": run_id}, {"do": "logs", "id": run_id}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert answers[1].value == -1 and "33 99" in answers[1].output, answers[1]
    assert (answers[2].value["phase"], answers[2].value["open"]) == ("running", True)
    assert answers[3].value == 5, answers[3]
    assert answers[4] == Answer(5, "exit code 5")
    assert "33 99" in answers[5].value and "41" in answers[5].value


def test_what_is_said_to_a_detached_run_is_read_by_it(asked: Asked, run_id: str) -> None:
    asked.must()
    talk = [["", "word\n"], ["got word", ""]]
    answers = asked(
        sh("read A; echo got $A; exit 4", "start", id=run_id, open=True),
        {"do": "on a terminal", "act": "attach", "id": run_id, "talk": talk}, {"do": "wait", "id": run_id},
        {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert (answers[1].value, answers[2].value) == (4, 4), answers[1]


def test_a_detached_run_without_an_open_input_reads_nothing(asked: Asked, run_id: str) -> None:
    asked.must()
    answers = asked(
        sh("read A; echo end", "start", id=run_id), {"do": "wait", "id": run_id}, {"do": "logs", "id": run_id},
        {"do": "remove", "id": run_id}, {"do": "on a terminal", "act": "attach", "id": run_id, "talk": []},
    )  # fmt: skip
    assert answers[2].value == ["end"]
    assert answers[4].value == 99 and "is not there any more" in answers[4].output


def test_a_further_program_has_our_terminal(asked: Asked, run_id: str) -> None:
    asked.must()
    talk = [["$ ", "stty size; exit 6\n"]]
    answers = asked(
        {"do": "start", "command": ["sleep", "1000"], "id": run_id, "env": {"PS1": "$ "}},
        {"do": "on a terminal", "act": "exec", "command": ["sh", "-i"], "id": run_id, "talk": talk,
         "size": [21, 66]},
        {"do": "stop", "id": run_id, "grace": 0}, {"do": "remove", "id": run_id},
    )  # fmt: skip
    assert answers[1].value == 6 and "21 66" in answers[1].output, answers[1]
