"""From a project to its lock: a small signed archive, a package index and the real uv, all on loopback."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from trainload.errors import LockError
from trainload.events import Event, Level, Said
from trainload.lock.diff import diff, sentences
from trainload.lock.model import DistributionBase, File, Lock, ReleaseFile, StandalonePython, Url
from trainload.lock.select import select
from trainload.lock.source import Metadata
from trainload.lock.toml import dumps, loads
from trainload.platform import Platform
from trainload.project.detect import read_project
from trainload.resolve.archives import Archives, Root
from trainload.resolve.cache import FolderCache
from trainload.resolve.indexes import Services as DistributionServices
from trainload.resolve.lock import make_lock
from trainload.resolve.services import Services
from trainload.resolve.upgrade import Upgrade
from trainload.resolve.uv import Uv
from trainload.system.http import Http, Retry
from trainload.system.tree import DiskTree
from trainload.testing.archive import NOW, Archive, Key, base, stanza
from trainload.testing.backends import MemoryBackends
from trainload.testing.index import PackageIndex, sdist, wheel
from trainload.testing.server import FaultServer

KEY = Key()
INPUTS = "5" * 64


@dataclass
class Heard:
    events: list[Event] = field(default_factory=list)

    def report(self, event: Event, /) -> None:
        self.events.append(event)

    def warnings(self) -> list[str]:
        return [
            str(event.text) for event in self.events if isinstance(event, Said) and event.level is Level.WARNING
        ]


@dataclass
class Yard:
    """A project folder, and servers that have what it asks for."""

    root: Path
    server: FaultServer
    index: PackageIndex
    scratch: Path
    heard: Heard = field(default_factory=Heard)
    unhashed: bool = False
    backends: MemoryBackends = field(default_factory=MemoryBackends)
    grounds: list[Lock] = field(default_factory=list)
    """What sdists were to be built over."""

    def publish(self, *more: str) -> None:
        archive = Archive(KEY)
        archive.publish_suite("bookworm", base(*more))
        for path, data in archive.files.items():
            self.server.serve(f"/{path}", data)

    def services(self) -> Services:
        http = Http(sleep=lambda seconds: None, retry=Retry(tries=1), proxies={})
        names = ("debian", "debian-security")
        archives = Archives({name: (Root(f"{self.server.url}/{name}"),) for name in names})

        def distribution(previous: Sequence[ReleaseFile]) -> DistributionServices:
            cache = FolderCache(self.scratch / "indexes")
            return DistributionServices(http, archives, cache, NOW, previous, trust=lambda name: KEY.trust())

        environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
        uv = Uv({**environ, "UV_NO_CACHE": "1", "UV_HTTP_RETRIES": "0"})
        return Services(http, distribution, uv, self.heard, self.unhashed, self._backends)

    def _backends(self, ground: Lock) -> MemoryBackends:
        self.grounds.append(ground)
        return self.backends

    def write(self, requirements: str, *settings: str) -> None:
        (self.root / "requirements.txt").write_text(requirements)
        (self.root / "train.py").write_text("print('hello')\n")
        lines = [f'index = "{self.index.url}"', *settings]
        (self.root / "trainload.toml").write_text("\n".join(lines) + "\n")

    def lock(self, previous: Lock | None = None, upgrade: Upgrade | None = None) -> Lock:
        project = read_project(DiskTree(self.root))
        made = make_lock(project, self.root, INPUTS, self.services(), previous=previous, upgrade=upgrade)
        assert loads(dumps(made), "pylock.trainload.toml") == made
        return made


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    root = tmp_path / "project"
    root.mkdir()
    with FaultServer() as server:
        made = Yard(root, server, PackageIndex(server), tmp_path)
        made.publish()
        yield made


def python(lock: Lock) -> dict[str, str]:
    return {package.name: package.version for package in lock.packages}


def debs(lock: Lock) -> dict[str, str]:
    assert isinstance(lock.base, DistributionBase)
    return {package.name: package.version for package in lock.base.packages["amd64"]}


def test_a_lock_has_base_packages_and_python_packages(yard: Yard) -> None:
    yard.index.add(wheel("a", "1.0", requires=["b"]), wheel("b", "2.0"))
    yard.write("a\n")
    lock = yard.lock()
    assert (lock.inputs, lock.python, python(lock)) == (INPUTS, "3.11", {"a": "1.0", "b": "2.0"})
    assert isinstance(lock.base, DistributionBase) and lock.base.glibc == (2, 36)
    assert {"tini", "python3", "libc6"} <= set(debs(lock))
    files = select(lock, Platform("linux", "amd64")).files
    assert all(file.size is not None for file in files)
    assert not (yard.root / "pylock.trainload.toml").exists()


def test_locking_again_changes_nothing_although_there_is_newer(yard: Yard) -> None:
    yard.index.add(wheel("a", "1.0"))
    yard.write("a\n")
    first = yard.lock()
    yard.index.add(wheel("a", "2.0"))
    yard.publish(stanza("tini", "2.0-1"))
    again = yard.lock(first)
    assert dumps(again) == dumps(first)
    upgraded = yard.lock(first, Upgrade(everything=True))
    assert python(upgraded) == {"a": "2.0"} and debs(upgraded)["tini"] == "2.0-1"
    told = [str(line) for line in sentences(diff(first, upgraded))]
    assert any(line.startswith("a 1.0 → 2.0") for line in told)
    assert any(line.startswith("tini 1.0-1 → 2.0-1") for line in told)


def test_upgrading_one_package_leaves_the_base_as_it_is(yard: Yard) -> None:
    yard.index.add(wheel("a", "1.0"), wheel("b", "1.0"))
    yard.write("a\nb\n")
    first = yard.lock()
    yard.index.add(wheel("a", "2.0"), wheel("b", "2.0"))
    yard.publish(stanza("tini", "2.0-1"))
    upgraded = yard.lock(first, Upgrade(packages=("b",)))
    assert python(upgraded) == {"a": "1.0", "b": "2.0"} and upgraded.base == first.base


def test_another_system_package_resolves_the_base_anew(yard: Yard) -> None:
    yard.publish(stanza("ffmpeg"))
    yard.write("")
    first = yard.lock()
    yard.write("", 'system = ["ffmpeg"]')
    second = yard.lock(first)
    assert "ffmpeg" in debs(second) and "ffmpeg" not in debs(first)
    yard.write("")
    assert "ffmpeg" not in debs(yard.lock(second))


def test_D12_an_index_older_than_the_last_locks_is_refused(yard: Yard) -> None:
    yard.write("")
    first = yard.lock()
    assert isinstance(first.base, DistributionBase)
    later = tuple(replace(release, date="2035-01-15T00:00:00Z") for release in first.base.releases)
    newer = replace(first, base=replace(first.base, releases=later, system=("something",)))
    with pytest.raises(LockError):
        yard.lock(newer)


def test_W30_a_platform_the_user_asked_for_must_be_possible(yard: Yard) -> None:
    yard.index.add(wheel("a", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64"))
    yard.write("a\n", 'platforms = ["linux/amd64", "linux/arm64"]')
    with pytest.raises(LockError, match=r"no wheel of a 1\.0 fits linux/arm64"):
        yard.lock()


def test_both_platforms_are_locked_at_once(yard: Yard) -> None:
    tags = ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64")
    yard.index.add(*[wheel("a", "1.0", tag=f"cp311-cp311-{tag}") for tag in tags])
    yard.write("a\n", 'platforms = ["linux/arm64", "linux/amd64"]')
    lock = yard.lock()
    assert [str(platform) for platform in lock.platforms] == ["linux/amd64", "linux/arm64"]
    for platform, word in zip(lock.platforms, ("x86_64", "aarch64"), strict=True):
        selection = select(lock, platform)
        assert word in selection.python[0].file.name
        assert {package.architecture for package in selection.base} <= {platform.architecture, "all"}


def test_fault_9_offline_the_last_locks_sizes_stay_and_with_them_the_layers(yard: Yard) -> None:
    yard.index = PackageIndex(yard.server, sizes=False, prefix="/plain")
    yard.index.add(wheel("a", "1.0"), wheel("b", "1.0"))
    yard.write("a\n")
    first = yard.lock()
    yard.write("a\nb\n")
    services = yard.services()
    # uv itself may ask: that stands for a uv whose cache has the index
    services = replace(services, http=replace(services.http, offline=True))
    made = make_lock(read_project(DiskTree(yard.root)), yard.root, INPUTS, services, previous=first)
    assert [package.wheels[0].size for package in made.packages] == [first.packages[0].wheels[0].size, None]


def test_sizes_are_asked_for_when_the_index_has_none(yard: Yard) -> None:
    plain = PackageIndex(yard.server, sizes=False, prefix="/plain")
    name, data = wheel("a", "1.0")
    plain.add((name, data))
    yard.index = plain
    yard.write("a\n")
    first = yard.lock()
    assert first.packages[0].wheels[0].size == len(data)
    heads = [request for request in yard.server.requests if request.method == "HEAD" and name in request.path]
    assert len([request for request in heads if request.headers.get("user-agent") == "trainload"]) == 1
    again = yard.lock(first)
    assert again == first
    heads = [request for request in yard.server.requests if request.method == "HEAD" and name in request.path]
    assert len([request for request in heads if request.headers.get("user-agent") == "trainload"]) == 1


def test_markers_are_judged_by_the_bases_full_python(yard: Yard) -> None:
    yard.publish(stanza("python3.11", "3.11.9-1"))
    yard.index.add(wheel("old", "1.0"), wheel("new", "1.0"))
    yard.write("old; python_full_version < '3.11.5'\nnew; python_full_version >= '3.11.5'\n")
    lock = yard.lock()
    assert python(lock) == {"new": "1.0"} and lock.python == "3.11"


def test_a_failed_lock_leaves_nothing_behind(yard: Yard) -> None:
    yard.write("nowhere-to-be-found\n")
    before = sorted(path for path in yard.root.rglob("*"))
    with pytest.raises(LockError):
        yard.lock()
    assert sorted(path for path in yard.root.rglob("*")) == before


def test_a_python_of_its_own_stays_until_it_is_to_be_upgraded(yard: Yard) -> None:
    yard.write("")
    first = yard.lock()
    file = File("cpython-3.12.1.tar.gz", "1" * 64, 5, Url("https://python.example/cpython-3.12.1.tar.gz"))
    own = StandalonePython("3.12.1", {platform.architecture: file for platform in first.platforms})
    yard.write("", 'python = "3.12"', 'base = "apt:bookworm"')
    again = yard.lock(replace(first, interpreter=own, python="3.12"))
    assert (again.interpreter, again.python) == (own, "3.12")
    yard.write("")
    assert yard.lock(again).interpreter is None


HASHLESS = """
lock-version = "1.0"
created-by = "a tool"
[[packages]]
name = "a"
version = "1.0"
wheels = [{{ url = "{url}"{hashes} }}]
"""


def hashless(yard: Yard, hashes: str = "") -> bytes:
    """A project whose own lock has a wheel without a sha256; the wheel's bytes."""
    name, data = wheel("a", "1.0")
    yard.index.add((name, data))
    url = yard.server.url + yard.index.path(name, data)
    (yard.root / "train.py").write_text("print('hello')\n")
    (yard.root / "pylock.toml").write_text(HASHLESS.format(url=url, hashes=hashes))
    return data


@pytest.mark.parametrize("hashes", ["", ", hashes = {}", ', hashes = { md5 = "MD5" }', ', hashes = { none = "x" }'])
def test_F01_without_a_sha256_nothing_is_locked_unless_trust_is_asked_for(yard: Yard, hashes: str) -> None:
    data = hashless(yard)
    hashes = hashes.replace("MD5", hashlib.md5(data, usedforsecurity=False).hexdigest())
    data = hashless(yard, hashes)
    with pytest.raises(LockError, match=r"a-1\.0-py3-none-any\.whl has no sha256.*\n.*--allow-unhashed"):
        yard.lock()
    yard.unhashed = True
    lock = yard.lock()
    (package,) = lock.packages
    assert (package.wheels[0].sha256, package.wheels[0].size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert lock.unhashed == ("a-1.0-py3-none-any.whl",)
    assert any("taken on trust" in warning for warning in yard.heard.warnings())


def test_F01_what_was_trusted_once_stays_until_an_upgrade(yard: Yard) -> None:
    data = hashless(yard)
    yard.unhashed = True
    first = yard.lock()
    path = yard.index.path("a-1.0-py3-none-any.whl", data)
    yard.server.serve(path, b"another file")
    assert yard.lock(first).packages == first.packages
    (changed,) = yard.lock(first, Upgrade(everything=True)).packages
    assert changed.wheels[0].sha256 == hashlib.sha256(b"another file").hexdigest()


def test_F01_a_weaker_hash_must_hold_and_a_broken_one_is_no_missing_one(yard: Yard) -> None:
    yard.unhashed = True
    hashless(yard, f', hashes = {{ md5 = "{"0" * 32}" }}')
    with pytest.raises(LockError, match="is not the file the lock means; got md5:"):
        yard.lock()
    hashless(yard, ', hashes = { sha256 = "abc" }')
    with pytest.raises(LockError, match="has no sha256"):
        yard.lock()


def test_F01_of_an_index_without_hashes_uv_reads_the_files_itself(yard: Yard) -> None:
    name, data = wheel("a", "1.0")
    yard.index = PackageIndex(yard.server, hashes=False)
    yard.index.add((name, data))
    yard.write("a\n")
    lock = yard.lock()
    assert lock.packages[0].wheels[0].sha256 == hashlib.sha256(data).hexdigest()
    assert lock.unhashed == ()


def test_a_source_is_locked_with_what_builds_it_over_the_base_of_the_image(yard: Yard) -> None:
    yard.index.add(sdist("old", "1.0"), wheel("dep", "1.0"), wheel("setuptools", "80.0"))
    yard.backends = MemoryBackends({("old", "1.0"): Metadata(("dep",))})
    yard.write("old\n")
    lock = yard.lock()
    assert python(lock) == {"dep": "1.0", "old": "1.0"}
    (build,) = lock.builds
    assert (build.name, build.version) == ("old", "1.0")
    assert [(tool.name, tool.version) for tool in build.packages] == [("setuptools", "80.0")]
    assert (lock.build_base, yard.grounds[0].base) == (None, lock.base)

    yard.index.add(wheel("setuptools", "81.0"))
    assert dumps(yard.lock(lock)) == dumps(lock), "locking again moves no build tool"
    assert yard.lock(lock, Upgrade(everything=True)).builds[0].packages[0].version == "81.0"


def test_what_is_there_for_building_only_is_locked_beside_the_base(yard: Yard) -> None:
    yard.publish(stanza("gcc"))
    yard.index.add(sdist("old", "1.0"), wheel("setuptools", "80.0"))
    yard.write("old\n", "[build]", 'packages = ["gcc"]')
    lock = yard.lock()
    assert lock.build_base is not None and "gcc" not in debs(lock)
    inside = {package.name for package in lock.build_base.packages["amd64"]}
    assert inside == {*debs(lock), "gcc"}
    assert yard.grounds[0].build_base == lock.build_base
    yard.publish(stanza("gcc", "2.0-1"))
    assert dumps(yard.lock(lock)) == dumps(lock)
    yard.index.add(wheel("old", "1.0"))
    assert yard.lock().build_base is None, "nothing is built, so nothing is needed for it"


def test_the_sources_of_a_pylock_are_built_too(yard: Yard) -> None:
    name, data = sdist("old", "1.0")
    yard.index.add((name, data), wheel("setuptools", "80.0"))
    address = f"{yard.server.url}{yard.index.path(name, data)}"
    text = 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "old"\nversion = "1.0"\n'
    digest = hashlib.sha256(data).hexdigest()
    yard.write("old\n")
    (yard.root / "requirements.txt").unlink()
    source = f'sdist = {{ url = "{address}", hashes = {{ sha256 = "{digest}" }} }}\n'
    (yard.root / "pylock.toml").write_text(text + source)
    lock = yard.lock()
    assert [build.name for build in lock.builds] == ["old"]
    assert ("metadata", "old 1.0") not in yard.backends.asked, "the lock says already what it requires"


def test_sources_are_refused_where_that_is_asked_for(yard: Yard) -> None:
    yard.index.add(sdist("old", "1.0"), wheel("setuptools", "80.0"))
    yard.write("old\n", "[build]", 'sources = "never"')
    with pytest.raises(LockError, match="old: no wheel fits"):
        yard.lock()
    assert yard.grounds == []
