"""First run of the torch image: our unpacking against ``docker pull`` from a registry on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spine import TRAINLOAD
from timing import Row

PROGRAMS = ("dockerd", "docker", "docker-registry", "skopeo")


def rows(area: Path) -> Iterator[Row]:
    """Needs the image ``tiny-gpt`` in ``area/home``."""
    environ = {**os.environ, "TRAINLOAD_HOME": str(area / "home")}
    ours = min(first_run(area, environ) for _ in range(3))
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if missing:
        yield Row("first run of the torch image: unpack and start", f"{ours:.2f} s",
                  f"docker pull: not measured, no {', '.join(missing)}")  # fmt: skip
        return
    with registry(area) as port, docker(area) as host:
        address = f"127.0.0.1:{port}/tiny-gpt:bench"
        run(
            "skopeo",
            "copy",
            "-q",
            "--dest-tls-verify=false",
            f"oci:{area / 'home'}:tiny-gpt",
            f"docker://{address}",
        )
        pulls = []
        for _ in range(3):
            began = time.perf_counter()
            run("docker", "-H", host, "pull", "-q", address)
            pulls.append(time.perf_counter() - began)
            run("docker", "-H", host, "rmi", "-f", address)
    theirs = min(pulls)
    yield Row("first run of the torch image: unpack and start", f"{ours:.2f} s", f"docker pull: {theirs:.2f} s",
              theirs / ours, "≥ 4 ×")  # fmt: skip


PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} failed: {done.stderr[-2000:]}")


def first_run(area: Path, environ: dict[str, str]) -> float:
    shutil.rmtree(area / "home" / "rootfs", ignore_errors=True)
    began = time.perf_counter()
    argv = [TRAINLOAD, "-q", "run", "tiny-gpt", "true"]
    done = subprocess.run(argv, env=environ, cwd=area, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the image does not run: {done.stderr[-2000:]}")
    return time.perf_counter() - began


@contextmanager
def started(argv: list[str], log: Path) -> Iterator[None]:
    """A server that is ended at the end."""
    with log.open("wb") as out:
        child = subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, "PATH": PATH})
    try:
        yield
    finally:
        child.terminate()
        child.wait(30)


@contextmanager
def registry(area: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = area / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {area}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with started(["docker-registry", "serve", str(config)], area / "registry.log"):
        wait(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield port


@contextmanager
def docker(area: Path) -> Iterator[str]:
    """A Docker engine of its own, with its own folders and no network of containers."""
    folder = area / "docker"
    folder.mkdir()
    host = f"unix://{folder}/docker.sock"
    argv = ["dockerd", "-H", host, "--bridge=none", "--iptables=false", "--data-root", str(folder / "data"),
            "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]  # fmt: skip
    with started(argv, area / "dockerd.log"):
        wait(lambda: run_quietly("docker", "-H", host, "version"))
        yield host


def run_quietly(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "PATH": PATH})


def wait(ready: object) -> None:
    assert callable(ready)
    for _ in range(150):
        try:
            ready()
        except (OSError, subprocess.CalledProcessError):
            time.sleep(0.2)
        else:
            return
    sys.exit("a server of the benchmark did not start within 30 s")
