"""Packages that have only their source, locked with the real uv: nothing of theirs is ever run here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from trainload.errors import BackendError, LockError
from trainload.lock.model import Build, DistributionBase, Lock, PythonPackage
from trainload.lock.select import Target
from trainload.lock.source import Metadata, Statements
from trainload.platform import Platform
from trainload.project.model import RequirementFiles
from trainload.resolve.python import resolve_python, resolve_tools
from trainload.resolve.request import PythonRequest
from trainload.resolve.sources import Examiner
from trainload.resolve.upgrade import Upgrade
from trainload.resolve.uv import Uv
from trainload.testing.backends import MemoryBackends
from trainload.testing.index import PackageIndex, sdist, wheel
from trainload.testing.server import FaultServer

AMD64 = Platform("linux", "amd64")


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with FaultServer() as server:
        made = PackageIndex(server)
        made.add(wheel("setuptools", "80.0"), wheel("setuptools", "60.0"), wheel("wheel", "0.45"))
        yield made


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    return Uv({**environ, "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_NO_CONFIG": "1", "UV_HTTP_RETRIES": "0"})


@dataclass
class Locker:
    root: Path
    index: PackageIndex
    uv: Uv
    desk: MemoryBackends = field(default_factory=MemoryBackends)

    def request(self, text: str, **more: object) -> PythonRequest:
        (self.root / "requirements.txt").write_text(text)
        made = PythonRequest(
            self.root, RequirementFiles(("requirements.txt",)), (Target(AMD64, "3.11", (2, 36)),),
            indexes=(self.index.url,),
        )  # fmt: skip
        return replace(made, **more)  # type: ignore[arg-type]

    def examiner(self, request: PythonRequest) -> Examiner:
        return Examiner(self.desk, lambda requires, kept: resolve_tools(request, self.uv, requires, kept))

    def __call__(self, text: str, **more: object) -> dict[str, PythonPackage]:
        request = self.request(text, **more)
        packages = resolve_python(request, self.uv, self.examiner(request)).packages
        assert not list(self.root.parent.rglob("HARMED")), "package code ran here (D7)"
        return {package.name: package for package in packages}


@pytest.fixture
def lock(tmp_path: Path, index: PackageIndex, uv: Uv) -> Locker:
    root = tmp_path / "project"
    root.mkdir()
    return Locker(root, index, uv)


def versions(packages: Mapping[str, PythonPackage]) -> dict[str, str]:
    return {name: package.version for name, package in packages.items()}


def test_D7_an_sdist_is_locked_with_what_its_backend_says_in_the_sandbox_and_never_run_here(lock: Locker) -> None:
    lock.index.add(sdist("old", "1.0"), wheel("dep", "2.0"), wheel("dep", "1.0"))
    lock.desk = MemoryBackends({("old", "1.0"): Metadata(("dep<2",))})
    found = lock("old\n")
    assert versions(found) == {"old": "1.0", "dep": "1.0"}
    assert found["old"].wheels == () and found["old"].sdist is not None
    assert found["old"].sdist.name == "old-1.0.tar.gz"
    assert ("metadata", "old 1.0") in lock.desk.asked


def test_sources_that_require_sources_are_followed(lock: Locker) -> None:
    lock.index.add(sdist("a", "1.0"), sdist("b", "1.0"), sdist("b", "2.0"), wheel("c", "1.0"))
    lock.desk = MemoryBackends({("a", "1.0"): Metadata(("b==1.0",)), ("b", "1.0"): Metadata(("c",))})
    assert versions(lock("a\n")) == {"a": "1.0", "b": "1.0", "c": "1.0"}
    assert ("metadata", "b 2.0") in lock.desk.asked or ("metadata", "b 1.0") in lock.desk.asked


def test_the_newest_is_taken_although_only_an_older_one_has_a_wheel(lock: Locker) -> None:
    lock.index.add(wheel("score", "0.0.4"), sdist("score", "0.1.2"), wheel("new", "2.0"), sdist("new", "1.0"))
    assert versions(lock("score\nnew\n")) == {"score": "0.1.2", "new": "2.0"}


@pytest.mark.parametrize("bound", ["score==0.0.4", "score<0.1", "score\npins-score"])
def test_a_bound_below_the_newest_source_holds_and_nothing_is_asked(lock: Locker, bound: str) -> None:
    lock.index.add(wheel("score", "0.0.4"), sdist("score", "0.1.2"))
    lock.index.add(wheel("pins-score", "1.0", requires=["score<0.1"]))
    found = lock(bound)
    assert found["score"].version == "0.0.4" and found["score"].wheels
    assert lock.desk.asked == []


def test_a_source_whose_requirements_cannot_be_had_is_no_reason_to_fail(lock: Locker) -> None:
    lock.index.add(wheel("score", "0.0.4"), sdist("score", "0.1.2"))
    lock.desk = MemoryBackends({("score", "0.1.2"): Metadata(("nowhere",))})
    assert versions(lock("score\n")) == {"score": "0.0.4"}


def test_what_the_last_lock_has_stays_until_an_upgrade_is_asked_for(lock: Locker) -> None:
    lock.index.add(wheel("score", "0.0.4"), sdist("score", "0.1.2"))
    base = DistributionBase("debian", "bookworm", "slim", (), (), {"amd64": ()}, "3.11", (2, 36))
    old = PythonPackage("score", "0.0.4", lock("score==0.0.4")["score"].wheels)
    previous = Lock("0" * 64, "3.11", (old,), base, (AMD64,))
    assert versions(lock("score\n", previous=previous)) == {"score": "0.0.4"}
    assert versions(lock("score\n", previous=previous, upgrade=Upgrade(packages=("score",)))) == {"score": "0.1.2"}
    newer = replace(previous, packages=tuple(lock("score\n").values()))
    assert versions(lock("score\n", previous=newer)) == {"score": "0.1.2"}


def test_an_sdist_that_says_itself_what_it_requires_is_not_asked(lock: Locker) -> None:
    pyproject = b'[project]\nname = "said"\nversion = "1.0"\ndependencies = ["dep"]\n'
    lock.index.add(sdist("said", "1.0"), wheel("dep", "1.0"))
    lock.desk = MemoryBackends(
        statements_of={"said-1.0.tar.gz": Statements("said-1.0.tar.gz", None, pyproject)}, closed=True
    )
    assert versions(lock("said\n")) == {"said": "1.0", "dep": "1.0"}


def test_without_a_sandbox_what_cannot_be_known_is_refused_by_name(lock: Locker) -> None:
    lock.index.add(sdist("old", "1.0"))
    lock.desk = MemoryBackends(closed=True)
    with pytest.raises(LockError, match=r"what old 1\.0 requires is known only to its build") as caught:
        lock("old\n")
    assert "find-links" in str(caught.value)


def test_without_leave_sources_are_refused(lock: Locker) -> None:
    lock.index.add(sdist("old", "1.0"))
    with pytest.raises(LockError, match="old: no wheel fits"):
        resolve_python(lock.request("old\n"), lock.uv)


def build_of(lock: Locker, text: str, name: str) -> Build:
    request = lock.request(text)
    examiner = lock.examiner(request)
    (package,) = [p for p in resolve_python(request, lock.uv, examiner).packages if p.name == name]
    return examiner.build(package)


def test_what_builds_it_is_locked_to_wheels_and_grows_by_what_the_backend_asks_for(lock: Locker) -> None:
    lock.index.add(sdist("old", "1.0"))
    lock.desk = MemoryBackends(
        requires_of={"old": ["wheel", "setuptools>=40", "colorama; sys_platform == 'win32'"]}
    )
    build = build_of(lock, "old\n", "old")
    assert [(tool.name, tool.version) for tool in build.packages] == [("setuptools", "80.0"), ("wheel", "0.45")]
    assert all(tool.wheels and tool.sdist is None for tool in build.packages)


def test_constraints_bound_what_builds_it_and_nothing_else(lock: Locker) -> None:
    lock.index.add(sdist("old", "1.0"))
    request = lock.request("old\nsetuptools\n", build_constraints=("setuptools<81,>=50", "setuptools!=80.0"))
    examiner = lock.examiner(request)
    found = {p.name: p for p in resolve_python(request, lock.uv, examiner).packages}
    assert found["setuptools"].version == "80.0"
    assert [tool.version for tool in examiner.build(found["old"]).packages] == ["60.0"]


@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        (["evil @ https://h.example/e.whl"], "an address"),
        (["../../x"], "no requirement"),
        (["nowhere"], r"what builds old 1\.0 cannot be locked: the package index has no package nowhere"),
    ],
)
def test_a_backend_that_asks_for_what_cannot_be_locked_is_refused(
    lock: Locker, asks: list[str], reason: str
) -> None:
    lock.index.add(sdist("old", "1.0"))
    lock.desk = MemoryBackends(requires_of={"old": asks})
    with pytest.raises((LockError, BackendError), match=reason):
        build_of(lock, "old\n", "old")


def test_a_build_tool_that_has_only_its_source_is_refused_by_name(lock: Locker) -> None:
    lock.index.add(sdist("old", "1.0"), sdist("odd-tool", "1.0"))
    lock.desk = MemoryBackends(requires_of={"old": ["odd-tool"]})
    with pytest.raises(LockError, match=r"what builds old 1\.0 cannot be locked: odd-tool: no wheel fits"):
        build_of(lock, "old\n", "old")


@pytest.mark.parametrize("text", ['no-binary-package = ["old"]', '[pip]\nno-binary = [":all:"]'])
def test_D7_what_the_configuration_of_uv_lets_it_build_is_not_built_here(lock: Locker, text: str) -> None:
    lock.index.add(sdist("old", "1.0"), sdist("both", "1.0"), wheel("both", "1.0"))
    (lock.root / "uv.toml").write_text(text + "\n")
    environ = {name: value for name, value in lock.uv.environ.items() if name != "UV_NO_CONFIG"}
    lock.uv = replace(
        lock.uv, environ={**environ, "UV_NO_BINARY_PACKAGE": "old", "XDG_CONFIG_HOME": "/nonexistent"}
    )
    found = lock("old\nboth\n")
    assert found["old"].sdist is not None and found["both"].wheels


def test_an_sdist_that_requires_an_address_is_refused(lock: Locker) -> None:
    lock.index.add(sdist("old", "1.0"), sdist("bad", "1.0"))
    lock.desk = MemoryBackends({("old", "1.0"): Metadata(("bad @ https://h.example/bad.tar.gz",))})
    with pytest.raises(LockError, match=r"old 1\.0 requires what no index has"):
        lock("old\n")
