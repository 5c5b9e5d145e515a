"""Who builds beside us: Docker's own engine, and buildah where a file needs more than its classic builder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.differential.compare import Contents, read_layout, read_saved
from tests.differential.workshop import NAMES, Workshop

_REGISTRIES = """\
unqualified-search-registries = ["docker.io"]
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "{host}"
insecure = true
"""


def run(argv: list[str], cwd: Path, **environ: str) -> str:
    done = subprocess.run(argv, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout.strip()


def by_buildah(workshop: Workshop, at: Path) -> Contents:
    """Without a daemon."""
    root = workshop.folder / "buildah" / at.name
    root.mkdir(parents=True)
    (root / "registries.conf").write_text(_REGISTRIES.format(host=workshop.registry.host))
    buildah = [
        "buildah",
        "--root",
        f"{root}/r",
        "--runroot",
        f"{root}/rr",
        "--storage-driver",
        _driver(workshop.folder),
    ]
    words = ["build", "--isolation", "chroot", "--network", "host", "--format", "docker", "-q", "-t", "theirs", "."]
    run([*buildah, *words], at, CONTAINERS_REGISTRIES_CONF=str(root / "registries.conf"))
    layout = root / "dir"
    run([*buildah, "push", "-q", "-f", "v2s2", "theirs", f"dir:{layout}"], at)
    (layout / "blobs").mkdir()
    (layout / "blobs" / "sha256").symlink_to(layout)  # a dir: is a flat folder
    found = read_layout(layout, "manifest.json")
    shutil.rmtree(root)
    return found


def _driver(folder: Path) -> str:
    """overlay where it can be: vfs copies everything for each layer."""
    for name in ("lower", "upper", "work", "merged"):
        (folder / "overlay" / name).mkdir(parents=True, exist_ok=True)
    at = folder / "overlay"
    options = f"lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work"
    mounted = ["mount", "-t", "overlay", "overlay", "-o", options, str(at / "merged")]
    if subprocess.run(mounted, capture_output=True, check=False).returncode != 0:
        return "vfs"
    subprocess.run(["umount", str(at / "merged")], check=True)
    return "overlay"


def by_docker(workshop: Workshop, at: Path, bases: list[str], *, buildkit: bool) -> Contents:
    """By the classic builder, or by BuildKit. The image stays, under the folder's name."""
    docker = ["docker", "-H", workshop.docker.host]
    for target in (target for base in bases for target in NAMES[base]):
        run([*docker, "pull", "-q", f"{workshop.registry.host}/{target}"], at)
        run([*docker, "tag", f"{workshop.registry.host}/{target}", target.removeprefix("library/")], at)
    program = _with_buildkit() if buildkit else "docker"
    words = ["build", "--network", "host", "-t", at.name, "."]
    run([program, "-H", workshop.docker.host, *words], at, DOCKER_BUILDKIT="1" if buildkit else "0")
    out = workshop.folder / "saved" / at.name
    out.mkdir(parents=True)
    run(["sh", "-c", f"docker -H {workshop.docker.host} save {at.name} | tar -x -C {out}"], at)
    found = read_saved(out)
    shutil.rmtree(out)
    return found


def _with_buildkit() -> str:
    """Docker's client that has it: that of 20.10 in itself, later ones in a package of its own."""
    for program in ("docker", "/usr/bin/docker"):
        for asked, told in ((["buildx", "version"], ""), (["--version"], "Docker version 20.10")):
            done = subprocess.run([program, *asked], capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.startswith(told):
                return program
    raise AssertionError("no client of Docker here has BuildKit: install docker-buildx")
