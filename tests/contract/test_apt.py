"""Our choice of packages is apt's: the same set with the same versions, from the same signed indexes.

The real ``apt-get --simulate install --no-install-recommends`` runs in a private root without any installed
package, for each distribution and architecture, on the archive this machine knows.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from trainload.errors import FetchError, LockError
from trainload.lock.distribution.choose import choose
from trainload.lock.distribution.profiles import PROFILES
from trainload.lock.distribution.suites import suite as suite_named
from trainload.resolve.archives import Archives, find_archives
from trainload.resolve.cache import FolderCache
from trainload.resolve.distribution import open_index, resolve_distribution
from trainload.resolve.indexes import Services
from trainload.resolve.signatures import shipped
from trainload.system.http import Http, Retry
from trainload.system.process import run

SYSTEMS = (
    "ffmpeg libgl1 libsm6 libxext6",
    "build-essential git cmake ninja-build python3-dev",
    "libsndfile1 sox libsox-fmt-all espeak-ng portaudio19-dev",
    "tesseract-ocr poppler-utils graphviz fonts-noto-cjk",
    "openssh-client nginx postgresql-client",
    "r-base-core texlive-latex-base",
    "libopencv-dev",
    "libopenmpi-dev openmpi-bin libibverbs-dev",
    "gdal-bin libgdal-dev libhdf5-dev",
    "nodejs default-jre-headless",
    "default-mta systemd dbus xorg",  # virtual packages, session buses, display servers
    "python3-numpy python3-scipy libopenblas-dev libblas3",
    "mail-transport-agent",  # virtual: a question
)
"""All of them are asked on the first target, and each on one of the others."""
TARGETS = [
    ("bookworm", "amd64"), ("bookworm", "arm64"), ("trixie", "amd64"), ("trixie", "arm64"), ("jammy", "amd64"),
    ("noble", "amd64"),
]  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get, the peer")


@dataclass(frozen=True)
class Apt:
    """apt-get with a root of its own, for ``architecture``."""

    root: Path
    options: tuple[str, ...]

    @classmethod
    def make(cls, root: Path, suite: str, architecture: str, archives: Archives) -> Apt:
        release = suite_named(suite)
        for folder in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
            (root / folder).mkdir(parents=True)
        (root / "state/status").touch()
        (root / "keys.gpg").write_bytes(shipped(release.distribution).certificates)
        (root / "etc/sources.list").write_text(
            "".join(
                f"deb [signed-by={root}/keys.gpg check-valid-until=no]"
                f" {archives.of(pocket.archive)[0].url} {pocket.suite} {' '.join(release.components)}\n"
                for pocket in release.pockets_for(architecture)
            )
        )
        settings = {
            "Dir::Etc": f"{root}/etc/",
            "Dir::Etc::sourceparts": "/nonexistent",
            "Dir::Etc::sourcelist": f"{root}/etc/sources.list",
            "Dir::State": f"{root}/state/",
            "Dir::State::status": f"{root}/state/status",
            "Dir::Cache": f"{root}/cache/",
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "false",
            "APT::Sandbox::User": "root",
        }
        made = cls(root, tuple(word for item in settings.items() for word in ("-o", "=".join(item))))
        updated = run(["apt-get", *made.options, "update", "-q"], env=environment())
        assert updated.exit_code == 0, updated.complaint
        run(["apt-cache", *made.options, "gencaches"], env=environment())
        return made

    def install(self, names: Sequence[str]) -> dict[str, str] | None:
        """Package → version, or None when apt refuses."""
        command = ["apt-get", *self.options, "-s", "-q", "-y", "install", "--no-install-recommends", *names]
        done = run(command, env=environment())
        if done.exit_code != 0:
            return None
        found = re.findall(r"(?m)^Inst (\S+) \((\S+) ", done.stdout.decode())
        return {name.partition(":")[0]: version for name, version in found}

    def indexes(self) -> set[str]:
        return {sha256(path.read_bytes()).hexdigest() for path in (self.root / "state/lists").glob("*InRelease")}


def environment() -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize(("suite", "architecture"), TARGETS)
def test_our_choice_is_apts(suite: str, architecture: str, tmp_path: Path) -> None:
    archives = find_archives(public={})
    cache = FolderCache(tmp_path / "cache")
    services = Services(Http(retry=Retry(tries=2, first=0.5)), archives, cache, datetime.now(UTC), allow_stale=True)
    try:
        slim = resolve_distribution(
            suite, profile="slim", system=(), architectures=(architecture,), services=services
        )
    except (FetchError, LockError) as error:
        if isinstance(error, LockError) and not error.retryable:
            raise  # no archive that is away, but a mistake
        pytest.skip(f"needs an archive of {suite} for {architecture}: {error}")
    apt = Apt.make(tmp_path / "apt", suite, architecture, archives)
    if {release.sha256 for release in slim.releases} != apt.indexes():
        pytest.skip("the archive was renewed while the test ran")
    assert {p.name: p.version for p in slim.packages[architecture]} == apt.install(slim.requested)
    index = open_index(suite, architecture, services)
    dev = PROFILES["dev"].wishes(frozenset(index.names()), tuple(index.essential()))
    turn = TARGETS.index((suite, architecture))
    systems = SYSTEMS[turn - 1 :: len(TARGETS) - 1] if turn else SYSTEMS  # apt and we need seconds for each
    for wishes in [dev, *([*slim.requested, *system.split()] for system in systems)]:
        try:
            chosen = {stanza.name: stanza.version for stanza in choose(index, architecture, wishes)}
        except LockError:
            assert apt.install(wishes) is None, wishes
        else:
            assert chosen == apt.install(wishes), wishes
