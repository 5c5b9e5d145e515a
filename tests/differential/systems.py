"""Debian 12 and Ubuntu 22.04 as their official images have them: minbase, and what Docker's own images set for apt.

Made by mmdebstrap from the distributions' archives, with every package's own scripts: nothing of ours takes part.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import trainload

SETTINGS: Mapping[str, str] = {
    "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": "force-unsafe-io\n",
    "etc/apt/apt.conf.d/docker-autoremove-suggests": 'Apt::AutoRemove::SuggestsImportant "false";\n',
    "etc/apt/apt.conf.d/docker-clean": """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
""",
    "etc/apt/apt.conf.d/docker-gzip-indexes": 'Acquire::GzipIndexes "true";\n',
    "etc/apt/apt.conf.d/docker-no-languages": 'Acquire::Languages "none";\n',
}
"""As debuerreotype writes them into the official images."""
_KEYS = Path(trainload.__file__).parent / "data" / "keyrings" / "ubuntu.pgp"
_SUITES: Mapping[str, tuple[str, ...]] = {
    "bookworm": ("--include=ca-certificates,netbase,tzdata",),  # as python:slim and miniconda have them
    "jammy": (f"--keyring={_KEYS}", "--include=apt,ubuntu-keyring", "--components=main,universe"),
}


def missing() -> str:
    """Why none can be made here; empty when they can."""
    return "" if shutil.which("mmdebstrap") else "mmdebstrap is not installed"


def make(name: str, folder: Path) -> Path:
    """``name``'s tree, packed; made once."""
    made = folder / f"{name}.tar"
    if made.exists():
        return made
    settings = folder / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    for path, text in SETTINGS.items():
        (settings / path).parent.mkdir(parents=True, exist_ok=True)
        (settings / path).write_text(text)
    argv = ["mmdebstrap", "--variant=minbase", "--mode=root", *_SUITES[name]]
    argv += [f"--customize-hook=sync-in {settings} /", name, str(folder / "making.tar")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    (folder / "making.tar").rename(made)
    return made
