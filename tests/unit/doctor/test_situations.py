"""Machines with one thing wrong: the finding is right, and names the command that mends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trainload.doctor.examine import Project, examine, together
from trainload.doctor.finding import Finding, Status
from trainload.doctor.gpus import cuda_of, served
from trainload.doctor.machine import Answer, Daemon, Folder, Reached, Said, Tried
from trainload.doctor.network import Server
from trainload.errors import Text
from trainload.lock.model import Lock, PythonPackage
from trainload.run.gpus import cdi
from trainload.run.gpus.model import Facts, HostNode
from trainload.run.overlay import Way
from trainload.testing.gpus import as_json, mount, node, spec
from trainload.testing.machine import FakeMachine, GiB
from trainload.testing.values import lock

SERVERS = (
    Server("https://mirror.example/simple", "TRAINLOAD_MIRRORS_PYPI=…"),
    Server("https://other.example/v2/", "TRAINLOAD_MIRRORS_REGISTRY=…"),
)
PROJECT = Project("/home/ada/store", SERVERS)
UBUNTU = FakeMachine().files
NODES = {f"/dev/nvidia{name}": HostNode(195, 0, 0o666, 0) for name in ("0", "ctl")}
GPU = Facts(nodes=NODES, driver="550.54.15", libraries={"libcuda.so.1": "/usr/lib/libcuda.so.1"})
SOCKET = "unix:///var/run/docker.sock"
WELL = Daemon(SOCKET, Answer.WELL, {"ServerVersion": "27.1", "Driver": "overlay2"})


def found(project: Project = PROJECT, **changed: Any) -> tuple[Finding, ...]:  # noqa: ANN401 - of the machine
    return examine(FakeMachine(**changed), project)


def wrong(project: Project = PROJECT, **changed: Any) -> list[tuple[str, Status, str, str]]:  # noqa: ANN401
    """Piece, status, text and the first mending command of everything that is not ok."""
    return [
        (str(one.piece), one.status, str(one.text), one.mend[0] if one.mend else "")
        for one in found(project, **changed)
        if one.status is not Status.OK
    ]


def the_one(project: Project = PROJECT, **changed: Any) -> tuple[str, Status, str, str]:  # noqa: ANN401
    (one,) = wrong(project, **changed)
    return one


def test_a_machine_where_all_is_well_has_nothing_to_mend() -> None:
    assert wrong() == []
    assert [one.mend for one in found() if one.mend] == []


REFUSED = Tried(None, Text("this machine does not let us make namespaces: {reason}", reason="unshare"))


@pytest.mark.parametrize(
    ("file", "value", "mend"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl -w kernel.apparmor_restrict"),
        ("kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=28633"),
    ],
)
def test_no_user_namespaces(file: str, value: str, mend: str) -> None:
    piece, status, text, command = the_one(tried=REFUSED, files={**UBUNTU, f"/proc/sys/{file}": f"{value}\n"})
    assert (piece, status) == ("sandbox", Status.PROBLEM)
    assert file in text
    assert command.startswith(mend)


def test_in_a_container_the_containers_own_start_mends_it() -> None:
    files = {**UBUNTU, "/.dockerenv": "", "/proc/1/cgroup": "0::/\n"}
    assert "seccomp=unconfined" in the_one(tried=REFUSED, files=files)[3]


@pytest.mark.parametrize(
    ("release", "command"),
    [("ID=ubuntu", "apt-get"), ("ID=rocky\nID_LIKE='rhel fedora'", "dnf"), ("ID=arch", "pacman"),
     ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', "zypper"), ("ID=alpine", "apk"), ("", "apt-get")],
)  # fmt: skip
def test_what_is_missing_is_installed_as_the_distribution_does_it(release: str, command: str) -> None:
    tried = Tried(None, Text("bubblewrap is not installed"))
    mend = the_one(tried=tried, files={"/etc/os-release": release})[3]
    assert command in mend
    assert mend.endswith("bubblewrap")


def test_one_engine_that_works_is_enough() -> None:
    assert the_one(tried=REFUSED, daemon=WELL)[:2] == ("sandbox", Status.WARNING)
    assert [one[1] for one in wrong(tried=REFUSED, daemon=Daemon(SOCKET, Answer.DENIED))] == [Status.PROBLEM] * 2


def test_no_overlay() -> None:
    piece, status, text, mend = the_one(tried=Tried(Way.READ_ONLY))
    assert (piece, status) == ("layers", Status.WARNING)
    assert "read-only" in text
    assert "TRAINLOAD_HOME" in mend
    assert wrong(tried=Tried(Way.FLAT)) == []


def test_no_limits() -> None:
    missing = (Text("the limits on {what} are not in force", what="cpus"),)
    assert "Delegate" not in the_one(missing=missing)[2]
    assert the_one(missing=missing)[3].startswith("sudo mkdir")


@pytest.mark.parametrize(
    ("answer", "mend"),
    [
        (Answer.DENIED, "sudo usermod -aG docker $USER"),
        (Answer.REFUSED, "sudo systemctl start docker"),
        (Answer.ABSENT, "sudo systemctl start docker"),
        (Answer.SILENT, "sudo systemctl restart docker"),
    ],
)
def test_docker_is_there_and_cannot_be_used(answer: Answer, mend: str) -> None:
    changed: dict[str, Any] = {
        "daemon": Daemon(SOCKET, answer),
        "programs": {"docker": None, **FakeMachine().programs},
    }
    assert the_one(**changed)[::3] == ("Docker", mend)
    without = {**UBUNTU, "/proc/1/comm": "init\n", "/etc/init.d/docker": "#!/bin/sh\n"}
    if answer is not Answer.DENIED:
        assert the_one(files=without, **changed)[3].startswith("sudo service docker")


def test_whose_docker_it_is_says_how_it_starts() -> None:
    """Without systemd: WSL2, containers, other inits; and a user's own, and Docker Desktop."""
    usual, own = {"docker": None, **FakeMachine().programs}, "unix:///run/user/1000/docker.sock"
    plain = {**UBUNTU, "/proc/1/comm": "init\n", "/proc/version": "Linux version 6.8"}

    def start(programs: dict[str, Any], files: Mapping[str, str], address: str = SOCKET, **more: Any) -> str:  # noqa: ANN401
        daemon = Daemon(address, Answer.REFUSED)
        return the_one(daemon=daemon, programs=programs, files=files, **more)[3]

    assert start(usual, plain) == "sudo apt-get install docker.io"
    assert start({**usual, "dockerd": None}, plain).startswith("sudo sh -c 'nohup dockerd ")
    assert start({**usual, "rc-service": None, "dockerd": None}, plain) == "sudo rc-service docker start"
    script = {**plain, "/etc/init.d/docker": "", "/proc/self/status": "CapBnd:\t00000000a80425fb\n"}
    assert start(usual, script).startswith("sudo sh -c 'nohup dockerd ")  # in a container its script may not do all
    assert (
        start(usual, {**script, "/proc/self/status": "CapBnd:\t000001ffffffffff\n"}) == "sudo service docker start"
    )
    windows = {**plain, "/proc/version": "Linux version 5.15.1-microsoft-standard-WSL2"}
    assert "Docker Desktop.exe" in start(usual, windows)
    assert start({**usual, "dockerd": None}, windows).startswith("sudo sh -c 'nohup dockerd ")
    environ = {"XDG_RUNTIME_DIR": "/run/user/1000"}
    assert start(usual, UBUNTU, own, environ=environ) == "systemctl --user start docker"
    assert start(usual, {}) == "open -a Docker"


def test_docker_that_works_badly() -> None:
    assert "overlay2" in the_one(daemon=Daemon(SOCKET, Answer.WELL, {"Driver": "vfs"}))[3]
    toolkit = {**FakeMachine().programs, "nvidia-ctk": None}
    assert the_one(daemon=WELL, facts=GPU)[3] == "sudo apt-get install nvidia-container-toolkit"
    assert "nvidia-ctk runtime configure" in the_one(daemon=WELL, facts=GPU, programs=toolkit)[3]
    hook = {**FakeMachine().programs, "nvidia-container-runtime-hook": None}  # found without being configured
    assert wrong(daemon=WELL, facts=GPU, programs=hook) == []
    both = Daemon(SOCKET, Answer.WELL, {**WELL.info, "Runtimes": {"nvidia": {}}})
    assert wrong(daemon=both, facts=GPU) == []


def test_podman() -> None:
    usual = FakeMachine().programs
    well = Said(0, '{"version": {"Version": "5.4"}}')
    assert wrong(programs={**usual, "podman": well}) == []
    none = Said(125, "", "Error: no subuid ranges")
    assert the_one(programs={**usual, "podman": none})[3] == "sudo apt-get install uidmap"
    assert "--add-subuids" in the_one(programs={**usual, "podman": none, "newuidmap": Said(0, "")})[3]
    forbids = {**UBUNTU, "/proc/sys/user/max_user_namespaces": "0\n"}
    said = the_one(programs={**usual, "podman": Said(125, "", "cannot clone: No space left\nlast")}, files=forbids)
    assert said[3] == "sudo sysctl -w user.max_user_namespaces=28633"
    assert "max_user_namespaces = 0" in said[2]
    assert the_one(programs={**usual, "podman": None})[0] == "Podman"
    toolkit = {**usual, "podman": well, "nvidia-ctk": None}
    assert "cdi generate" in the_one(programs=toolkit, facts=GPU)[3]


def test_root_needs_no_sudo() -> None:
    programs = {"docker": None, **FakeMachine().programs}
    changed: dict[str, Any] = {"daemon": Daemon(SOCKET, Answer.REFUSED), "programs": programs}
    assert the_one(uid=0, **changed)[3] == "systemctl start docker"
    clock = {server.url: Reached(200, "", 0.1, FakeMachine().now - timedelta(hours=3)) for server in SERVERS}
    assert the_one(uid=0, answers=clock)[3] == "timedatectl set-ntp true"


@pytest.mark.parametrize(
    ("release", "command"),
    [("ID=ubuntu", "update-grub"), ("ID=fedora", "grubby"), ("ID=arch", "grub-mkconfig"),
     ("ID=opensuse-leap", "grub2-mkconfig"), ("ID=alpine", "rc.conf")],
)  # fmt: skip
def test_control_groups_of_version_2_as_the_distribution_turns_them_on(release: str, command: str) -> None:
    missing = (Text("the limits on {what} are not in force", what="cpus"),)
    (one,) = [one for one in found(uid=0, missing=missing, files={"/etc/os-release": release}) if one.mend]
    assert any(command in step for step in one.mend)


def test_a_docker_that_somebody_chose_may_be_the_wrong_one() -> None:
    away = Daemon("tcp://10.0.0.1:2375", Answer.REFUSED)
    assert the_one(daemon=away, environ={"DOCKER_HOST": away.address})[3] == "unset DOCKER_HOST"


def test_an_archive_has_several_mirrors_and_one_that_answers_is_enough() -> None:
    servers = [Server(f"https://{name}.example/debian/", "TRAINLOAD_MIRRORS_APT=…", "debian") for name in "abc"]
    project = Project("/home/ada/store", (SERVERS[0], *servers))
    dead = {server.url: Reached(None, "refused") for server in servers}
    assert wrong(project, answers={url: dead[url] for url in list(dead)[:2]}) == []
    assert the_one(project, answers=dead)[2].startswith("a.example cannot be used")


def test_no_overlay_module_is_loaded() -> None:
    files = {**UBUNTU, "/proc/filesystems": "nodev\ttmpfs\n\text4\n"}
    assert the_one(tried=Tried(Way.READ_ONLY), files=files)[3] == "sudo modprobe overlay"
    inside = {**UBUNTU, "/proc/filesystems": "nodev\toverlay\n", "/proc/self/mounts": "overlay / overlay rw 0 0\n"}
    assert the_one(tried=Tried(Way.READ_ONLY), files=inside)[3].startswith("docker run -v")
    volume = inside["/proc/self/mounts"] + "/dev/vda /var ext4 rw 0 0\n"
    files = {**inside, "/proc/self/mounts": volume}
    assert the_one(tried=Tried(Way.READ_ONLY), files=files)[3].startswith("export TRAINLOAD_HOME=/var/tmp/")


@pytest.mark.parametrize(
    ("place", "status", "mend"),
    [
        (Folder("/x", GiB // 2, 400 * GiB), Status.PROBLEM, "trainload gc"),
        (Folder("/x", 5 * GiB, 400 * GiB), Status.WARNING, "trainload gc"),
        (Folder("/x", 50 * GiB, 400 * GiB, writable=False), Status.PROBLEM, "sudo chown -R $USER /x"),
        (Folder("/x", 50 * GiB, 400 * GiB, locks=False), Status.PROBLEM, "export TRAINLOAD_HOME"),
        (Folder("/x", 50 * GiB, 400 * GiB, attributes=False), Status.WARNING, "export TRAINLOAD_HOME"),
        (Folder("/x", 50 * GiB, 400 * GiB, speed=5 << 20), Status.WARNING, "export TRAINLOAD_HOME"),
    ],
)
def test_disks(place: Folder, status: Status, mend: str) -> None:
    piece, found_status, _, command = the_one(place=place)
    assert (piece, found_status) == ("disk", status)
    assert command.startswith(mend)


def test_a_small_shm_and_no_uv() -> None:
    assert "remount" in the_one(sizes=(64 * GiB, 64 << 20))[3]
    assert the_one(programs={})[:2] == ("Python", Status.PROBLEM)


def test_a_dead_mirror() -> None:
    answers = {SERVERS[0].url: Reached(None, "Connection refused")}
    piece, status, text, mend = the_one(answers=answers)
    assert (piece, status) == ("network", Status.WARNING)
    assert "mirror.example" in text
    assert "Connection refused" in text
    assert mend == "export TRAINLOAD_MIRRORS_PYPI=…"
    assert "HTTP 503" in the_one(answers={SERVERS[0].url: Reached(503)})[2]
    assert wrong(answers={SERVERS[1].url: Reached(401)}) == []


def test_offline_is_said_once_and_is_no_problem() -> None:
    answers = {server.url: Reached(None, "no route") for server in SERVERS}
    piece, status, text, _ = the_one(answers=answers)
    assert (piece, status) == ("network", Status.WARNING)
    assert text.startswith("offline")
    environ = {"HTTPS_PROXY": "http://user:secret@proxy.example:3128"}
    assert the_one(answers=answers, environ=environ)[3] == "unset HTTPS_PROXY"
    assert "secret" not in str(found(answers=answers, environ=environ))


def test_a_clock_that_is_wrong() -> None:
    late = FakeMachine().now - timedelta(hours=3)
    answers = {server.url: Reached(200, "", 0.1, late) for server in SERVERS}
    assert the_one(answers=answers)[::3] == ("clock", "sudo timedatectl set-ntp true")


def locked(accelerator: str = "cpu", **packages: str) -> Project:
    named = tuple(PythonPackage(name.replace("_", "-"), version) for name, version in packages.items())
    return replace(PROJECT, lock=replace(lock(), accelerator=accelerator, packages=named))


@pytest.mark.parametrize(
    ("driver", "accelerator", "status"),
    [
        ("450.80.2", "cu128", Status.PROBLEM),
        ("525.60.13", "cu128", Status.WARNING),
        ("570.26", "cu128", None),
        ("575.51.3", "cu130", Status.PROBLEM),
        ("580.65.6", "cu130", None),
        ("550.54.15", "cpu", None),
    ],
)
def test_an_old_driver_for_the_locked_cuda(driver: str, accelerator: str, status: Status | None) -> None:
    said = wrong(locked(accelerator), facts=replace(GPU, driver=driver))
    assert [one[:2] for one in said] == ([("locked CUDA", status)] if status else [])
    if status:
        assert said[0][3] == "sudo ubuntu-drivers install"


def test_the_locked_cuda_is_found_by_the_runtimes_wheel_or_torchs_version() -> None:
    def cuda(project: Project) -> tuple[int, ...] | None:
        assert isinstance(project.lock, Lock)
        return cuda_of(project.lock)

    assert cuda(locked(nvidia_cuda_runtime_cu12="12.8.90")) == (12, 8)
    assert cuda(locked(nvidia_cuda_runtime="13.0.48")) == (13, 0)
    assert cuda(locked(torch="2.7.0+cu126")) == (12, 6)
    assert cuda(locked("cu118", torch="2.7.0+cu126")) == (11, 8)
    assert cuda(locked(torch="2.7.0")) is None
    assert served("550.54.14") == (12, 4)
    assert served("390.1") is None


def test_drivers() -> None:
    assert the_one(facts=replace(GPU, driver=None))[3] == "sudo modprobe nvidia"
    assert the_one(facts=replace(GPU, libraries={}))[3] == "sudo ldconfig"
    smi = {**FakeMachine().programs, "nvidia-smi": Said(18, "Failed: Driver/library version mismatch")}
    assert the_one(facts=GPU, programs=smi)[3] == "sudo reboot"
    assert the_one(replace(PROJECT, wants_gpus=True))[:2] == ("GPU", Status.PROBLEM)
    assert wrong(facts=GPU) == []
    wsl = Facts(nodes={"/dev/dxg": NODES["/dev/nvidia0"]})
    assert the_one(facts=wsl)[3] == "wsl.exe --update"
    assert wrong(facts=replace(wsl, files=frozenset({"/usr/lib/wsl"}))) == []
    assert wrong(facts=Facts(nodes={"/dev/kfd": NODES["/dev/nvidia0"]})) == []


def test_a_specification_older_than_the_driver() -> None:
    library = "/usr/lib/libcuda.so.550.54.15"
    document = spec({"0": {"deviceNodes": [node("/dev/nvidia0")]}}, {"mounts": [mount(library, library)]})
    facts = replace(GPU, specs=(cdi.read(as_json(document), "/etc/cdi/nvidia.json"),), files=frozenset({library}))
    assert wrong(facts=facts) == []
    for stale in (replace(facts, files=frozenset()), replace(facts, driver="570.1.1"),
                  replace(facts, troubles=(Text("x.yaml cannot be read"),))):  # fmt: skip
        assert the_one(facts=stale)[::3] == (
            "CDI specification", "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
        )  # fmt: skip


def test_whatever_does_not_answer_nothing_hangs() -> None:
    never = threading.Event()
    began = time.monotonic()

    def wait(_: str) -> None:
        never.wait(120)

    machine = FakeMachine(wait=wait)
    said = examine(machine, PROJECT, patience=0.3)
    assert time.monotonic() - began < 60
    never.set()
    texts = {str(one.text) for one in said if one.status is Status.WARNING}
    assert "it did not answer within 0.3 s" in texts
    assert any("offline" in text for text in texts)


def test_together_keeps_the_order() -> None:
    assert together([lambda: 1, lambda: 2], 5) == [1, 2]
