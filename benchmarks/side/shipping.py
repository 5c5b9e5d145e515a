"""To a server over ssh: ``trainload ship`` beside ``docker save | ssh … docker load``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.measure import LONGEST, best, timed, trouble
from benchmarks.peers import PATH, docker, free_port, run, started, wait_for
from benchmarks.project import TRAINLOAD
from benchmarks.results import Row
from benchmarks.side.builders import Docker, Trainload, call
from benchmarks.side.materials import edit
from benchmarks.side.sample import Sample, measured
from benchmarks.side.scenarios import Work

PROGRAMS = ("sshd", "ssh", "dockerd", "docker", "ssh-keygen")
FIRST, EDITED = "ship to a server, first", "ship to a server, after an edit"
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Host:
    port: int
    user: str
    path: str
    """A PATH whose ssh has the keys."""

    @property
    def address(self) -> str:
        return f"{self.user}:{self.port}"

    def take(self, size: int) -> float:
        """Seconds until ``size`` bytes that nothing compresses have come to the server's memory."""
        with subprocess.Popen(
            ["ssh", "-p", str(self.port), self.user, "cat > /dev/null"], stdin=subprocess.PIPE, env=_path(self.path)
        ) as ssh:
            assert ssh.stdin is not None
            noise = os.urandom(_PIECE)

            def send() -> None:
                assert ssh.stdin is not None
                for _ in range(-(-size // _PIECE)):
                    ssh.stdin.write(noise)
                ssh.stdin.close()
                ssh.wait(LONGEST)

            return timed(send)


def ship(work: Work, other: Work, folder: Path, rounds: int, until: Deadline) -> Iterator[Row]:
    """To a server with a Docker of its own; raises what starting that raises."""
    with docker(folder / "server") as there, sshd(folder / "sshd", there) as host:
        ways = ((work.builder.name, work, partial(_ours, work, host)),
                (f"{other.builder.name}: save, ssh, load", other, partial(_theirs, other, host)))  # fmt: skip
        for name, one, do in ways:
            yield from _shipped(name, one, do, rounds, until)


def least(size: int, folder: Path) -> tuple[float, float]:
    """Seconds to move ``size`` bytes over ssh, and to have a connection at all."""
    with sshd(folder, "unix:///nowhere") as host:
        return best(2, lambda: host.take(size)), best(3, lambda: host.take(0))


def _shipped(name: str, one: Work, do: Callable[[], None], rounds: int, until: Deadline) -> Iterator[Row]:
    first: list[Sample] = []
    again: list[Sample] = []
    with trouble() as found:
        first.append(measured(do))
        for _ in until.rounds(rounds):
            edit(one.folder)
            one.build()
            again.append(measured(do))
    yield Row(FIRST, name, tuple(first), 1, failed=found.what)
    yield Row(EDITED, name, tuple(again), rounds, failed=found.what)


def _ours(work: Work, host: Host) -> None:
    assert isinstance(work.builder, Trainload)
    call([TRAINLOAD, "-q", "ship", work.target, host.address], work.folder, work.builder.environ, path=host.path)


def _theirs(other: Work, host: Host) -> None:
    assert isinstance(other.builder, Docker)
    argv = [*other.builder.client, "save", other.target]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=_path(PATH)) as save:
        load = ["ssh", "-p", str(host.port), host.user, "docker", "load", "-q"]
        environ = _path(host.path)
        subprocess.run(load, stdin=save.stdout, check=True, capture_output=True, env=environ, timeout=LONGEST)
    assert save.returncode == 0, "docker save failed"


def _path(path: str) -> dict[str, str]:
    return {**os.environ, "PATH": path}


@contextmanager
def sshd(folder: Path, engine: str) -> Iterator[Host]:
    """OpenSSH's server with keys of its own; its docker is ``engine``."""
    for each in ("there", "here"):
        (folder / each).mkdir(parents=True)
    for key in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
    port = free_port()
    program = folder / "there" / "docker"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("docker", path=PATH)} -H {engine} "$@"\n')
    program.chmod(0o755)
    (folder / "config").write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\nHostKeyAlias bench\n"
    )
    (folder / "known").write_text(f"bench {(folder / 'host.pub').read_text()}")
    ssh = folder / "here" / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh", path=PATH)} -F {folder}/config "$@"\n')
    ssh.chmod(0o755)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        f'SetEnv "PATH={folder}/there:{PATH}"\n'
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    program_of_sshd = str(shutil.which("sshd", path=PATH))
    with started([program_of_sshd, "-D", "-e", "-f", str(folder / "sshd_config")], folder / "log"):
        wait_for(port)
        yield Host(port, "root@127.0.0.1", f"{folder}/here:{PATH}")
