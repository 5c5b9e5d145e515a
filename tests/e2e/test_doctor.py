"""The doctor on machines where one thing is really wrong, and its command really mends it.

As an ordinary user wherever that matters. Commands are run as they are told, less ``sudo``.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gpu_machine import gpu_machine
from tests.peers import PATH, docker_daemon, needs, short_folder

from trainload.doctor.examine import Project, examine
from trainload.doctor.here import Here
from trainload.lock.model import DistributionBase, Lock
from trainload.lock.toml import FILE_NAME, dumps, loads
from trainload.platform import Platform
from trainload.system import host, scratch
from trainload.system.http import Http, Retry
from trainload.system.process import Completed
from trainload.testing.gpus import as_json, mount, spec
from trainload.testing.index import wheel
from trainload.testing.people import Person, as_ordinary_user, cannot_be_ordinary

DOCTOR = "import sys; sys.argv = ['trainload', 'doctor', '--json']; from trainload.cli.main import main; main()"
CLOSED = "http://127.0.0.1:9"
QUIET = {"TRAINLOAD_MIRRORS_APT": CLOSED, "TRAINLOAD_MIRRORS_PYPI": f"{CLOSED}/simple", "LANG": "C.UTF-8"}
USER = "trainee"


@pytest.fixture
def home() -> Iterator[Path]:
    """An ordinary user's; pytest closes its own folders to others."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with scratch.folder("doctor") as folder:
        folder.chmod(0o755)
        (folder / "home").mkdir()
        reason = cannot_be_ordinary(folder / "home")
        if reason is not None:
            pytest.skip(reason)
        yield folder / "home"


def findings(done: Completed | subprocess.CompletedProcess[bytes]) -> dict[str, dict[str, Any]]:
    """Piece → the first finding of it."""
    assert done.stdout, done.stderr
    found: dict[str, dict[str, Any]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["piece"], one)
    return found


def as_user(home: Path, person: Person, **environ: str) -> dict[str, dict[str, Any]]:
    return findings(
        as_ordinary_user(
            DOCTOR, home=home, env={**QUIET, "USER": USER, "PATH": "/nothing", **environ}, person=person
        )
    )


def known_to(folder: Path) -> Person:
    """A user whom the machine knows, and who sees files of their own for that."""
    added = {"passwd": [f"{USER}:x:54321:54321::/:/bin/sh"], "group": ["docker:x:9999:", f"{USER}:x:54321:"]}
    for name, lines in added.items():
        kept = [one for one in Path("/etc", name).read_text().splitlines() if not one.startswith("docker:")]
        (folder / name).write_text("\n".join([*kept, *lines]) + "\n")
    return Person(54321, ((folder / "passwd", "/etc/passwd"), (folder / "group", "/etc/group")))


def test_who_is_not_in_the_group_docker_joins_it(home: Path) -> None:
    """Docker's real daemon; usermod changes the files that this user sees."""
    needs("usermod")
    etc = home.parent / "etc"
    etc.mkdir()
    person = known_to(etc)
    with short_folder("docker-") as short, docker_daemon(Path(short)) as address:
        Path(address.removeprefix("unix://")).parent.chmod(0o755)
        found = as_user(home, person, DOCKER_HOST=address)["Docker"]
        assert found["text"] == "this user may not talk to it: not in the group docker"
        assert found["mend"] == ["sudo usermod -aG docker $USER", "newgrp docker"]
        command = found["mend"][0].removeprefix("sudo usermod ")
        subprocess.run(
            ["sh", "-c", f"usermod --prefix {home.parent} {command}"], env={**os.environ, "USER": USER}, check=True
        )
        assert f"docker:x:9999:{USER}" in (etc / "group").read_text()
        found = as_user(home, person, DOCKER_HOST=address)["Docker"]
        assert "since the last login only" in found["text"]
        assert found["mend"] == ["newgrp docker"]


AS_USER = """
import sys; sys.path[:0] = {path!r}
from pathlib import Path
from trainload.testing.people import as_ordinary_user
done = as_ordinary_user({script!r}, home=Path({home!r}), env={env!r})
print(done.stdout.decode().replace("\\n", " "), done.complaint.replace("\\n", " "))
"""


def in_a_namespace_of_all_users(script: str, *words: str) -> str:
    """What a shell prints that is root there; words are ``$0``, ``$1`` …"""
    needs("unshare", "setpriv")
    wait = 'read go; exec setpriv --reuid 0 --regid 0 --clear-groups sh -c "$@"'
    child = subprocess.Popen(
        ["unshare", "--user", "sh", "-c", wait, "sh", script, *words], stdin=subprocess.PIPE, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    place = Path("/proc", str(child.pid))
    while (place / "ns/user").readlink() == Path("/proc/self/ns/user").readlink():
        time.sleep(0.02)
    for name in ("uid_map", "gid_map"):
        (place / name).write_text("0 0 65536\n")
    return child.communicate("go\n", timeout=120)[0]


def test_an_ordinary_user_without_user_namespaces_gets_them_by_its_command(home: Path) -> None:
    """In a namespace of all users, whose root sets its limits as a machine's root does."""
    needs("sysctl")
    path = [place for place in sys.path if place]
    inner = AS_USER.format(
        path=path,
        script=DOCTOR,
        home=str(home),
        env={**QUIET, "DOCKER_HOST": "unix:///nothing", "PATH": "/nothing"},
    )
    script = """
        "$0" -c "$1"; echo 0 >/proc/sys/user/max_user_namespaces
        "$0" -c "$1"; sh -c "$2" >/dev/null
        "$0" -c "$1"
    """
    command = "sysctl -w user.max_user_namespaces=28633"
    said = in_a_namespace_of_all_users(script, sys.executable, inner, command).splitlines()
    before, without, after = (sandbox(line) for line in said)
    assert before["status"] == "ok", before
    assert without["status"] == "problem"
    assert without["text"].endswith("/proc/sys/user/max_user_namespaces = 0")
    assert without["mend"][0] == f"sudo {command}"
    assert after["status"] == "ok", after


def sandbox(line: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(line.rpartition("}")[0] + "}")["findings"]
    return next(one for one in found if one["piece"] == "sandbox")


def run_doctor(folder: Path, *before: str, **environ: str) -> dict[str, dict[str, Any]]:
    env = {**os.environ, **QUIET, "TRAINLOAD_HOME": str(folder / "home"), **environ}
    done = subprocess.run(
        [*before, sys.executable, "-m", "trainload", "doctor", "--json"], cwd=folder, env=env, capture_output=True,
        check=False, timeout=60,
    )  # fmt: skip
    return findings(done)


def test_without_overlay_its_command_names_a_place_that_has_it(tmp_path: Path) -> None:
    """The store on an overlay, as in a container: overlayfs does not write to another one."""
    needs("unshare")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folders = [tmp_path / name for name in ("lower", "upper", "work", "merged")]
    script = """
        mount -t tmpfs none "$1" && mkdir "$1/u" "$1/w" &&
            mount -t overlay overlay -o "lowerdir=$0,upperdir=$1/u,workdir=$1/w" "$2" && shift 2 && exec "$@"
    """
    for folder in folders:
        folder.mkdir()
    lower, upper, _, merged = map(str, folders)
    before = ("unshare", "--mount", "sh", "-c", script, lower, upper, merged)
    env = {"TRAINLOAD_HOME": f"{merged}/home", "USER": "ada"}
    layers = run_doctor(tmp_path, *before, **env)["layers"]
    assert layers["status"] == "warning"
    assert "no overlayfs" in layers["text"]
    (command,) = layers["mend"]
    if not command.startswith("export"):
        pytest.skip("nothing but overlay here")
    mended = ("sh", "-c", f'{command}; exec "$0" "$@"')
    assert run_doctor(tmp_path, *before, *mended, **env)["layers"]["status"] == "ok"


@pytest.fixture
def mirror() -> Iterator[str]:
    """Something that answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_dead_mirror_is_named_with_the_command_that_sets_another(tmp_path: Path, mirror: str) -> None:
    found = run_doctor(tmp_path, TRAINLOAD_MIRRORS_APT=mirror)
    dead = found["network"]
    assert dead["status"] == "warning"
    assert dead["text"].startswith("127.0.0.1:9 cannot be used: ")
    assert dead["mend"] == ["unset TRAINLOAD_MIRRORS_PYPI", "export TRAINLOAD_MIRRORS_PYPI=https://…/simple"]
    command = dead["mend"][1].replace("https://…/simple", mirror)
    mended = ("sh", "-c", f'{command}; exec "$0" "$@"')
    assert run_doctor(tmp_path, *mended, TRAINLOAD_MIRRORS_APT=mirror)["network"]["status"] == "ok"


def test_a_full_disk_is_mended_by_a_store_elsewhere(tmp_path: Path) -> None:
    needs("unshare")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    before = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"', str(disk))
    env = {"TRAINLOAD_HOME": str(disk / "home")}
    full = run_doctor(tmp_path, *before, **env)["disk"]
    assert full["status"] == "problem"
    assert full["text"].startswith("full")
    assert full["mend"][0] == "trainload gc"
    command = full["mend"][1].replace("/path/on/a/larger/disk", str(tmp_path))
    mended = ("sh", "-c", f'{command}; exec "$0" "$@"')
    assert run_doctor(tmp_path, *before, *mended, **env)["disk"]["status"] != "problem"


ALONE = """
set -e
mount -t proc none /proc
for place in /run /var/log /var/lib/docker; do [ ! -d $place ] || mount -t tmpfs none $place; done
mount -t tmpfs none "$0" && mkdir "$0/upper" "$0/work" "$0/upper/docker"
cd "$0"
settings='"storage-driver": "vfs", "bridge": "none", "iptables": false, "ip6tables": false'
echo "{$settings, \\"data-root\\": \\"$0/data\\"}" >upper/docker/daemon.json
cd - >/dev/null
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/upper,workdir=$0/work" /etc
exec "$@"
"""
"""A machine of its own processes, sockets and settings: its Docker is nobody else's."""
DOWN = """
import json, subprocess, sys, time
def docker():
    done = subprocess.run([sys.executable, "-m", "trainload", "doctor", "--json"], capture_output=True)
    return next(one for one in json.loads(done.stdout)["findings"] if one["piece"] == "Docker")
found = [docker()]
subprocess.run(["sh", "-c", found[0]["mend"][0]], check=True, stdout=sys.stderr)
end = time.monotonic() + 240
while (now := docker())["status"] != "ok" and time.monotonic() < end:
    time.sleep(0.5)
print(json.dumps([*found, now]))
"""


@pytest.mark.parametrize("init", ["that of the distribution", "none"])
def test_a_daemon_that_is_down_is_started_by_its_command(tmp_path: Path, init: str) -> None:
    """Without systemd, as on WSL2 and in containers: by the distribution's script, or by itself."""
    needs("dockerd", "unshare", "service")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if init == "none":
        hide = 'rm -f /etc/init.d/docker; exec "$0" "$@"'
    elif Path("/etc/init.d/docker").exists():
        hide = 'exec "$0" "$@"'
    else:
        pytest.skip("this distribution has no script for it")
    (tmp_path / "etc").mkdir()
    alone = (
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        ALONE,
        str(tmp_path / "etc"),
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    env |= {**QUIET, "TRAINLOAD_HOME": str(tmp_path / "home"), "PATH": PATH}
    done = subprocess.run(
        [*alone, "sh", "-c", hide, sys.executable, "-c", DOWN], env=env, capture_output=True, text=True,
        check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    down, up = json.loads(done.stdout)
    assert "its daemon does not run" in down["text"]
    assert up["status"] == "ok", (up, done.stderr)


def other_machine(root: Path, driver: str, made_for: str) -> Here:
    """This machine with another's files about GPUs: its driver, and a specification for ``made_for``."""
    if os.geteuid() != 0:
        pytest.skip("only root makes device nodes")
    for path in ("dev", "proc/driver/nvidia", "etc/cdi"):
        (root / path).mkdir(parents=True)
    for name, minor in (("nvidia0", 0), ("nvidiactl", 255)):
        os.mknod(root / "dev" / name, 0o020666, os.makedev(195, minor))
    words = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Tue Mar  4 10:09:37 UTC 2025\n"
    (root / "proc/driver/nvidia/version").write_text(words)
    library = f"/usr/lib/libcuda.so.{made_for}"
    (root / library.lstrip("/")).parent.mkdir(parents=True)
    (root / library.lstrip("/")).touch()
    document = spec({"0": {"deviceNodes": [{"path": "/dev/nvidia0"}]}}, {"mounts": [mount(library, library)]})
    (root / "etc/cdi/nvidia.json").write_bytes(as_json(document))
    http_ = Http(connect_timeout=30.0, stall_timeout=30.0, retry=Retry(tries=1), proxies={})
    environ = {**os.environ, "TRAINLOAD_CDI_FOLDERS": str(root / "etc/cdi")}
    return Here(environ, host.now(), root, http_, root=root)


def torch_for(folder: Path, accelerator: str) -> Path:
    """A project with that torch, and wheels of two builds of it, in ``folder``; its base is locked already."""
    (folder / "wheels").mkdir()
    for version in ("2.8.0+cu128", "2.7.0+cu118"):
        name, data = wheel("torch", version, tag="cp311-cp311-manylinux_2_28_x86_64")
        (folder / "wheels" / name).write_bytes(data)
    project = folder / "project"
    project.mkdir()
    (project / "train.py").write_text("import torch\n")
    (project / "requirements.txt").write_text("torch\n")
    (project / "trainload.toml").write_text(f'accelerator = "{accelerator}"\nfind-links = ["../wheels"]\n')
    base = DistributionBase("debian", "bookworm", "slim", ("tini",), (), {"amd64": ()}, "3.11", (2, 36))
    (project / FILE_NAME).write_bytes(dumps(Lock("0" * 64, "3.11", (), base, (Platform(),))))
    return project


def test_under_an_old_driver_another_build_of_torch_is_locked_by_its_command(tmp_path: Path) -> None:
    machine = gpu_machine(tmp_path / "machine")
    machine.driver("470.57.02")
    project = torch_for(tmp_path, "cu128")
    env = {"UV_NO_CACHE": "1", "UV_OFFLINE": "1", "TRAINLOAD_HOME": str(tmp_path / "home")}
    trainload = (*machine.enter, sys.executable, "-m", "trainload")
    run = functools.partial(
        subprocess.run, cwd=project, env={**os.environ, **QUIET, **env}, check=True, capture_output=True
    )
    run([*trainload, "lock"])
    found = run_doctor(project, *machine.enter, **env)
    assert found["GPU"]["text"].endswith("of NVIDIA's, driver 470.57.02, for CUDA up to 11.0")
    old = found["locked CUDA"]
    assert old["status"] == "problem"
    assert old["text"] == "CUDA 12.8 needs the driver 525.60 or newer, best 570.26; 470.57.02 is loaded"
    assert any("nvidia" in step or "drivers" in step for step in old["mend"][:-1])
    command = old["mend"][-1]
    assert command == "trainload lock --accelerator cu118 --save"
    run([*trainload, *command.split()[1:]])
    assert run_doctor(project, *machine.enter, **env)["locked CUDA"]["status"] != "problem"
    run([*trainload, "lock", "--check"])  # a run takes it as it is
    (torch,) = loads((project / FILE_NAME).read_bytes(), FILE_NAME).packages
    assert torch.version == "2.7.0+cu118"
    machine.driver("570.26")
    run([*trainload, "lock", "--accelerator", "cu128", "--save"])
    assert (
        run_doctor(project, *machine.enter, **env)["locked CUDA"]["text"] == "CUDA 12.8 runs on the driver 570.26"
    )


def test_a_specification_for_another_driver_is_told(tmp_path: Path) -> None:
    machine = other_machine(tmp_path, "550.54.15", "470.57.02")
    found = {str(one.piece): one for one in examine(machine, Project(str(tmp_path)))}
    old = found["CDI specification"]
    assert str(old.text) == "it is for the driver 470.57.02, and 550.54.15 is loaded"
    assert old.mend[0].endswith("nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml")


def test_debians_driver_is_looked_for_where_debian_keeps_it(tmp_path: Path) -> None:
    """The command that adds the archive's areas, on lists as Debian's installer and its images write them."""
    from trainload.doctor.families import _NONFREE, driver
    from trainload.testing.machine import FakeMachine

    debian = FakeMachine(files={"/etc/os-release": "ID=debian\n"})
    assert driver(debian)[: len(_NONFREE)] == _NONFREE
    ready = {**debian.files, "/etc/apt/sources.list": "deb http://mirror.example/debian bookworm main non-free\n"}
    assert driver(FakeMachine(files=ready))[0].startswith("sudo apt-get install")
    (tmp_path / "sources.list.d").mkdir()
    lists = {
        "sources.list": "# main\ndeb http://mirror.example/debian bookworm main non-free-firmware\n"
        "deb-src http://mirror.example/debian bookworm main\n",
        "sources.list.d/debian.sources": "Types: deb\nURIs: http://mirror.example/debian\nComponents: main\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    command = driver(debian)[0].removeprefix("sudo ").replace("/etc/apt", str(tmp_path))
    subprocess.run(["sh", "-c", command], check=True)
    areas = "main contrib non-free non-free-firmware"
    line = f"http://mirror.example/debian bookworm {areas}\n"
    assert (tmp_path / "sources.list").read_text() == f"# main\ndeb {line}deb-src {line}"
    assert (tmp_path / "sources.list.d/debian.sources").read_text().endswith(f"Components: {areas}\n")


@pytest.mark.parametrize("name", ["docker", "podman", "bubblewrap", "uidmap"])
def test_what_is_to_be_installed_is_called_so_by_this_distribution(tmp_path: Path, name: str) -> None:
    from trainload.doctor.families import family, install

    machine = Here(os.environ, host.now(), tmp_path, Http())
    if family(machine) != "debian" or shutil.which("apt-cache") is None:
        pytest.skip("another distribution")
    package = install(machine, name).rpartition(" ")[2]
    said = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
    if b"No packages found" in said.stderr and not any(Path("/var/lib/apt/lists").glob("*Packages*")):
        pytest.skip("apt knows no packages here")
    assert said.returncode == 0, said.stderr
