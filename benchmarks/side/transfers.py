"""Pulling, and shipping over ssh: the images that the scenarios of building have left in the registry."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import touch_memory
from benchmarks.peers import PATH, docker, free_port, missing, run, started, wait_for
from benchmarks.project import TRAINLOAD
from benchmarks.side.builders import Trainload, call
from benchmarks.side.materials import edit
from benchmarks.side.sample import Sample, measured
from benchmarks.side.scenarios import Row, Work

_NO_TLS = "--src-tls-verify=false"

Pull = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Puller:
    name: str
    forget: Callable[[], None]
    pull: Pull


def pulls(works: Sequence[Work], engine: tuple[str, ...], rounds: int) -> Iterator[Row]:
    """Each tool's image, and how its newer version comes after it; ``engine``: a Docker client."""
    for work in works:
        pullers = [_docker(engine), *_others(work)]
        for puller in pullers:
            cold, after = [], []
            for _ in range(rounds):
                puller.forget()
                touch_memory(1 << 30)
                cold.append(measured(partial(puller.pull, work.named("added")), _received(work)))
                after.append(measured(partial(puller.pull, work.named("bumped")), _received(work)))
            name = f"{puller.name}, image of {work.builder.name}"
            yield Row(work.sort.name, "cold pull", name, tuple(cold), "sent: bytes received")
            yield Row(work.sort.name, "pull after a bump", name, tuple(after), "sent: bytes received")


def _received(work: Work) -> Callable[[], int]:
    return lambda: work.made.way.received


def _docker(engine: tuple[str, ...]) -> Puller:
    return Puller(
        "docker pull",
        lambda: _quietly(lambda: call([*engine, "system", "prune", "-af"])),
        lambda target: _quietly(lambda: call([*engine, "pull", "-q", target])),
    )


def _quietly(work: Callable[[], object]) -> None:
    work()


def _others(work: Work) -> Iterator[Puller]:
    place = work.folder.parent / "pulled"
    place.mkdir(exist_ok=True)

    def fresh() -> None:
        place.rename(place.with_name(f"pulled-{len(list(place.parent.iterdir()))}"))
        place.mkdir()

    if not missing("skopeo"):
        yield Puller(
            "skopeo copy", fresh,
            lambda target: run("skopeo", "copy", "-q", _NO_TLS, f"docker://{target}", f"oci:{place}/o"),
        )  # fmt: skip
    if isinstance(work.builder, Trainload):
        environ = {**work.made.environ, "TRAINLOAD_HOME": str(place / "store")}
        yield Puller("trainload pull", fresh, lambda target: _call_ours(["pull", target], environ, work.folder))


def _call_ours(words: Sequence[str], environ: Mapping[str, str], cwd: Path) -> None:
    call([TRAINLOAD, "-q", *words], cwd, environ)


def imports(works: Sequence[Work], engine: tuple[str, ...], rounds: int) -> Iterator[Row]:
    """The first import in a new container, of images with bytecode and without."""
    for work in works:
        target = work.named("added")
        call([*engine, "pull", "-q", target])
        words = [*engine, "run", "--rm", "--network", "host", target, "python", "-c", work.sort.imports]
        samples = [measured(partial(_quietly, partial(call, words))) for _ in range(rounds)]
        yield Row(work.sort.name, "first import in a new container", work.builder.name, tuple(samples))


def ship(work: Work, other: Work, folder: Path, rounds: int) -> Iterator[Row]:
    """``trainload ship`` beside ``docker save | ssh … docker load``, to a server with a Docker of its own."""
    absent = missing("sshd", "ssh", "dockerd", "docker", "ssh-keygen")
    if absent:
        return
    with docker(folder / "server") as there, _sshd(folder / "sshd", there) as host:
        environ = {**work.made.environ, "TRAINLOAD_HOME": str(getattr(work.builder, "home", "")), "PATH": host.path}
        argv = [TRAINLOAD, "-q", "ship", host.address, work.named("added")]

        def ours() -> None:
            call(argv, work.folder, environ, path=host.path)

        def theirs() -> None:
            client = list(getattr(other.builder, "client", ("docker",)))
            save = subprocess.Popen([*client, "save", other.target], stdout=subprocess.PIPE, env=_path(PATH))
            load = ["ssh", "-p", str(host.port), host.user, "docker", "load", "-q"]
            subprocess.run(load, stdin=save.stdout, check=True, capture_output=True, env=_path(host.path))
            assert save.wait() == 0

        ways = ((work.builder.name, work, ours), (f"{other.builder.name}: save | ssh load", other, theirs))
        for name, one, do in ways:
            first = measured(do)
            yield Row(one.sort.name, "ship to a server, first", name, (first,))
            again: list[Sample] = []
            for _ in range(rounds):
                edit(one.folder)
                one.build()
                again.append(measured(do))
            yield Row(one.sort.name, "ship to a server, after an edit", name, tuple(again))


def _path(path: str) -> dict[str, str]:
    return {**os.environ, "PATH": path}


@dataclass(frozen=True, slots=True)
class Host:
    port: int
    user: str
    path: str
    """A PATH whose ssh has the keys."""

    @property
    def address(self) -> str:
        return f"{self.user}:{self.port}"


@contextmanager
def _sshd(folder: Path, engine: str) -> Iterator[Host]:
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
    sshd = str(shutil.which("sshd", path=PATH))
    with started([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], folder / "log"):
        wait_for(port)
        yield Host(port, "root@127.0.0.1", f"{folder}/here:{PATH}")


def sizes(works: Sequence[Work]) -> Iterator[dict[str, object]]:
    """What each tool's image weighs on the wire, its base included."""
    import json

    for work in works:
        said = subprocess.run(
            ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{work.named('added')}"],
            check=True, capture_output=True, env=_path(PATH),
        ).stdout  # fmt: skip
        layers = json.loads(said)["layers"]
        yield {
            "project": work.sort.name, "tool": work.builder.name, "layers": len(layers),
            "bytes": sum(layer["size"] for layer in layers),
        }  # fmt: skip
