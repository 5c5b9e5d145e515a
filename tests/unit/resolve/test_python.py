"""Locking with the real uv against an index on loopback, and taking over locks that exist."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from trainload.errors import LockError, ManyErrors
from trainload.lock.model import DistributionBase, Found, Lock, PythonPackage, Url
from trainload.lock.select import Target, select
from trainload.lock.toml import dumps, loads
from trainload.platform import Platform
from trainload.project.model import (
    Dependencies,
    NoDependencies,
    PylockFile,
    PyprojectDependencies,
    RequirementFiles,
    UvLock,
)
from trainload.resolve.python import resolve_python
from trainload.resolve.question import Question
from trainload.resolve.request import PythonRequest, compile_arguments, torch_backend
from trainload.resolve.sources import Leave
from trainload.resolve.upgrade import Upgrade
from trainload.resolve.uv import Uv, explain
from trainload.system.process import Completed
from trainload.testing.index import PackageIndex, sdist, wheel
from trainload.testing.server import FaultServer, Reply

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
REQUIREMENTS = RequirementFiles(("requirements.txt",))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


@pytest.fixture
def index(server: FaultServer) -> PackageIndex:
    return PackageIndex(server)


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """uv with a cache of its own and none of this machine's configuration."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    return Uv({**environ, "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_NO_CONFIG": "1", "UV_HTTP_RETRIES": "0"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def request(
    root: Path,
    index: PackageIndex,
    text: str | None = None,
    *,
    dependencies: Dependencies = REQUIREMENTS,
    platforms: tuple[Platform, ...] = (AMD64, ARM64),
    glibc: tuple[int, int] = (2, 36),
) -> PythonRequest:
    if text is not None:
        (root / "requirements.txt").write_text(text)
    targets = tuple(Target(platform, "3.11", glibc) for platform in platforms)
    return PythonRequest(root, dependencies, targets, indexes=(index.url,))


def locked(packages: tuple[PythonPackage, ...], platforms: tuple[Platform, ...] = (AMD64, ARM64)) -> Lock:
    base: Mapping[str, tuple[()]] = {platform.architecture: () for platform in platforms}
    return Lock(
        "0" * 64,
        "3.11",
        packages,
        DistributionBase("debian", "bookworm", "slim", (), (), base, "3.11", (2, 36)),
        platforms,
    )


def versions(packages: tuple[PythonPackage, ...]) -> dict[str, str]:
    return {package.name: package.version for package in packages}


def test_requirements_become_exact_files_with_size_and_hash(root: Path, index: PackageIndex, uv: Uv) -> None:
    a, b = wheel("a-pkg", "1.0", requires=["b>=2"]), wheel("b", "2.1")
    index.add(a, b, wheel("b", "1.0"))
    packages = resolve_python(request(root, index, "a_Pkg\n"), uv).packages
    assert versions(packages) == {"a-pkg": "1.0", "b": "2.1"}
    (file,) = packages[0].wheels
    assert (file.name, file.size, file.sha256) == (a[0], len(a[1]), hashlib.sha256(a[1]).hexdigest())
    assert isinstance(file.location, Url) and file.location.url.endswith(a[0])


def test_an_index_without_sizes_leaves_them_open(root: Path, server: FaultServer, uv: Uv) -> None:
    plain = PackageIndex(server, sizes=False)
    plain.add(wheel("a", "1.0"))
    ((file,),) = [package.wheels for package in resolve_python(request(root, plain, "a"), uv).packages]
    assert file.size is None


def test_one_lock_serves_both_architectures_and_keeps_nothing_else(root: Path, index: PackageIndex, uv: Uv) -> None:
    tags = (
        "manylinux_2_28_x86_64",
        "manylinux_2_28_aarch64",
        "win_amd64",
        "macosx_11_0_arm64",
        "musllinux_1_2_x86_64",
    )
    index.add(
        *[wheel("a", "1.0", tag=f"cp311-cp311-{tag}") for tag in tags], wheel("a", "1.0", tag="cp312-cp312-win32")
    )
    index.add(wheel("win", "1.0"), wheel("newer", "1.0"))
    text = "a\nwin; sys_platform == 'win32'\nnewer; python_version >= '3.12'\n"
    adopted = resolve_python(request(root, index, text), uv)
    assert versions(adopted.packages) == {"a": "1.0"}
    assert [file.name for file in adopted.packages[0].wheels] == [
        f"a-1.0-cp311-cp311-{tag}.whl" for tag in tags[1::-1]
    ]
    lock = locked(adopted.packages)
    assert select(lock, AMD64).python[0].file.name.endswith("x86_64.whl")
    assert select(lock, ARM64).python[0].file.name.endswith("aarch64.whl")


def test_a_package_for_one_architecture_carries_a_marker(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(wheel("a", "1.0", requires=["here; platform_machine == 'x86_64'"]), wheel("here", "1.0"))
    packages = resolve_python(request(root, index, "a"), uv).packages
    assert [package.marker for package in packages] == [None, "platform_machine == 'x86_64'"]
    assert [item.name for item in select(locked(packages), ARM64).python] == ["a"]


def test_architectures_may_need_different_versions(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(wheel("a", "1.0"), wheel("a", "2.0"))
    text = "a<2; platform_machine == 'aarch64'\na>=2; platform_machine != 'aarch64'\n"
    lock = locked(resolve_python(request(root, index, text), uv).packages)
    lock = loads(dumps(lock), "pylock.trainload.toml")
    assert select(lock, AMD64).python[0].version == "2.0"
    assert select(lock, ARM64).python[0].version == "1.0"


def test_locking_again_keeps_what_fits_until_an_upgrade_is_asked_for(
    root: Path, index: PackageIndex, uv: Uv
) -> None:
    index.add(wheel("a", "1.0"), wheel("b", "1.0"))
    first = resolve_python(request(root, index, "a\nb\n"), uv).packages
    index.add(wheel("a", "1.1"), wheel("b", "1.1"), wheel("c", "1.0"))
    fresh = replace(uv, environ={**uv.environ, "UV_NO_CACHE": "1"})
    again = replace(request(root, index, "a\nb\nc\n"), previous=locked(first))
    assert versions(resolve_python(again, fresh).packages) == {"a": "1.0", "b": "1.0", "c": "1.0"}
    one = replace(again, upgrade=Upgrade(packages=("a",)))
    assert versions(resolve_python(one, fresh).packages) == {"a": "1.1", "b": "1.0", "c": "1.0"}
    every = replace(again, upgrade=Upgrade(everything=True))
    assert versions(resolve_python(every, fresh).packages) == {"a": "1.1", "b": "1.1", "c": "1.0"}


def test_the_same_question_gives_the_same_bytes(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(wheel("a", "1.0", requires=["b"]), wheel("b", "1.0"))
    asked = request(root, index, "a")
    assert dumps(locked(resolve_python(asked, uv).packages)) == dumps(locked(resolve_python(asked, uv).packages))


def test_extras_and_groups_of_a_project(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(*[wheel(name, "1.0") for name in ("base", "extra", "group", "unused")])
    (root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["base"]\n'
        '[project.optional-dependencies]\ngpu = ["extra"]\nno = ["unused"]\n'
        '[dependency-groups]\ntrain = ["group"]\n'
    )
    asked = request(root, index, dependencies=PyprojectDependencies(extras=("gpu",), groups=("train",)))
    assert list(versions(resolve_python(asked, uv).packages)) == ["base", "extra", "group"]


def test_constraints_and_included_files_hold(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(wheel("a", "1.0"), wheel("a", "2.0"), wheel("b", "1.0"))
    (root / "more.txt").write_text("b\n")
    (root / "limits.txt").write_text("a<2\n")
    packages = resolve_python(request(root, index, "-r more.txt\n-c limits.txt\na\n"), uv).packages
    assert versions(packages) == {"a": "1.0", "b": "1.0"}


def test_no_dependencies_need_no_uv(root: Path, index: PackageIndex) -> None:
    asked = request(root, index, dependencies=NoDependencies())
    assert resolve_python(asked, Uv(python="/nonexistent")).packages == ()


def links(folder: Path, *wheels: tuple[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, data in wheels:
        (folder / name).write_bytes(data)


def test_find_links_are_recorded_by_name_hash_and_size(root: Path, index: PackageIndex, uv: Uv) -> None:
    name, data = wheel("mine", "1.0")
    links(root.parent / "wheels", (name, data))
    asked = replace(request(root, index, "mine"), find_links=("../wheels",))
    (package,) = resolve_python(asked, uv).packages
    (file,) = package.wheels
    assert (file.location, file.size, file.sha256) == (Found(name), len(data), hashlib.sha256(data).hexdigest())
    text = dumps(locked((package,))).decode()
    assert str(root.parent) not in text and "file:" not in text


def test_uv_keeps_nothing_of_find_links_which_are_hashed_here(
    root: Path, index: PackageIndex, uv: Uv, tmp_path: Path
) -> None:
    folder = root.parent / "whéels + #1 & 50%"
    needed = wheel("needed", "1.0")
    links(folder, wheel("mine", "1.0", requires=["needed"]), needed, wheel("other", "1.0"))
    asked = replace(request(root, index, "mine"), find_links=(f"../{folder.name}",))
    packages = resolve_python(asked, uv).packages
    assert versions(packages) == {"mine": "1.0", "needed": "1.0"}
    assert packages[1].wheels[0].sha256 == hashlib.sha256(needed[1]).hexdigest()
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.name in ("METADATA", "RECORD")]
    assert kept == []  # it unpacks a wheel to hash it
    index.add(wheel("needed", "2.0"))
    again = resolve_python(replace(asked, previous=locked(packages)), uv).packages
    assert again == packages
    newer = resolve_python(asked, uv).packages
    assert versions(newer) == {"mine": "1.0", "needed": "2.0"}  # the highest, wherever it lies


def test_a_wheel_may_lie_in_find_links_and_on_the_index(root: Path, index: PackageIndex, uv: Uv) -> None:
    both = wheel("mine", "1.0")
    index.add(both, wheel("later", "1.0"), sdist("later", "1.1"))
    links(root.parent / "wheels", both)
    asked = replace(request(root, index, "mine\nlater==1.0"), find_links=("../wheels",))
    question = Question(asked, uv, root.parent / "pylock.answer.toml", None)
    found, _ = question.settled(Leave())
    assert found.packages[1].wheels[0].sha256 == hashlib.sha256(both[1]).hexdigest()
    assert question.newer_sources(found) == {"later"}


def test_a_find_links_folder_that_does_not_exist_is_told(root: Path, index: PackageIndex, uv: Uv) -> None:
    with pytest.raises(LockError, match="does not exist"):
        resolve_python(replace(request(root, index, "a"), find_links=("../wheels",)), uv)


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
def test_a_torch_of_the_accelerator_in_find_links_wins_over_the_index(
    root: Path, index: PackageIndex, uv: Uv, accelerator: str
) -> None:
    index.add(
        wheel("torch", "2.15.0", tag="cp311-cp311-manylinux_2_28_x86_64"), wheel("a", "1.0", requires=["torch"])
    )
    links(root.parent / "wheels", wheel("torch", "2.13.0+cpu", tag="cp311-cp311-manylinux_2_28_x86_64"))
    asked = replace(
        request(root, index, "a", platforms=(AMD64,)), find_links=("../wheels",), accelerator=accelerator
    )
    packages = resolve_python(asked, uv).packages
    assert versions(packages) == {"a": "1.0", "torch": "2.13.0+cpu"}
    assert isinstance(packages[1].wheels[0].location, Found)


def test_a_torch_for_another_python_in_find_links_is_none_of_ours(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(wheel("torch", "2.15.0", tag="cp311-cp311-manylinux_2_28_x86_64"))
    links(root.parent / "wheels", wheel("torch", "2.13.0+cpu", tag="cp312-cp312-manylinux_2_28_x86_64"))
    asked = replace(request(root, index, "torch", platforms=(AMD64,)), find_links=("../wheels",))
    assert versions(resolve_python(asked, uv).packages) == {"torch": "2.15.0"}


def test_the_accelerator_chooses_the_backend_unless_an_index_is_one(root: Path, index: PackageIndex) -> None:
    def backend(accelerator: str, *indexes: str) -> list[str]:
        asked = replace(request(root, index, "torch"), accelerator=accelerator, indexes=indexes)
        arguments = compile_arguments(asked, root / "out", backend=torch_backend(asked))
        return [argument for argument in arguments if argument.startswith("--torch-backend")]

    assert backend("cpu") == ["--torch-backend=cpu"]
    assert backend("cu128", "https://i.example/simple") == ["--torch-backend=cu128"]
    assert backend("cpu", "https://mirror.example/whl/cpu/", "https://i.example/simple") == []
    assert backend("auto") == ["--torch-backend=auto"]
    assert backend("cuda") == []


def test_indexes_are_asked_in_their_order_the_default_one_last(root: Path, index: PackageIndex) -> None:
    asked = replace(request(root, index, "a"), indexes=("https://one.example", "https://two.example"))
    arguments = compile_arguments(asked, root / "out")
    assert "--index=https://one.example" in arguments and "--default-index=https://two.example" in arguments
    extra = compile_arguments(replace(asked, indexes=("https://one.example", "")), root / "out")
    assert "--index=https://one.example" in extra and not any("--default-index" in argument for argument in extra)
    assert not any("index=" in argument for argument in compile_arguments(replace(asked, indexes=()), Path("out")))


def test_nothing_is_built_while_locking_and_what_needs_it_is_named(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(sdist("source-only", "1.0"))
    with pytest.raises(LockError, match="source-only: no wheel fits, and nothing is built while locking"):
        resolve_python(request(root, index, "source-only"), uv)
    assert list(root.parent.rglob("HARMED")) == []


def test_W30_a_package_without_a_wheel_for_a_platform_is_named(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(wheel("a", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64"))
    misfits = resolve_python(request(root, index, "a"), uv).misfits
    assert list(misfits) == [ARM64]
    assert "no wheel of a 1.0 fits linux/arm64" in str(misfits[ARM64][0])


def test_what_other_systems_would_need_keeps_no_project_for_one_platform_from_its_lock(
    root: Path, index: PackageIndex, uv: Uv
) -> None:
    index.add(wheel("a", "1.0", requires=["of-windows ; sys_platform == 'win32'"]))
    packages = resolve_python(request(root, index, "a", platforms=(AMD64,)), uv).packages
    assert versions(packages) == {"a": "1.0"}


def test_platforms_are_resolved_apart_when_the_newest_version_does_not_fit_one(
    root: Path, index: PackageIndex, uv: Uv
) -> None:
    index.add(wheel("a", "1.0", tag="cp311-cp311-manylinux_2_28_aarch64"), wheel("b", "1.0"))
    index.add(wheel("a", "2.0", tag="cp311-cp311-manylinux_2_28_x86_64"), wheel("b", "2.0"))
    adopted = resolve_python(request(root, index, "a\nb"), uv)
    assert adopted.misfits == {}
    lock = loads(dumps(locked(adopted.packages)), "pylock.trainload.toml")
    assert [(item.name, item.version) for item in select(lock, AMD64).python] == [("a", "2.0"), ("b", "2.0")]
    assert [(item.name, item.version) for item in select(lock, ARM64).python] == [("a", "1.0"), ("b", "2.0")]


def test_W30_an_older_version_is_taken_when_the_newest_needs_a_newer_glibc(
    root: Path, index: PackageIndex, uv: Uv
) -> None:
    index.add(wheel("a", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64"))
    index.add(wheel("a", "2.0", tag="cp311-cp311-manylinux_2_38_x86_64"))
    old = resolve_python(request(root, index, "a", platforms=(AMD64,), glibc=(2, 35)), uv)
    assert (versions(old.packages), old.misfits) == ({"a": "1.0"}, {})
    new = resolve_python(request(root, index, "a", platforms=(AMD64,), glibc=(2, 39)), uv)
    assert versions(new.packages) == {"a": "2.0"}


def test_a_torch_in_find_links_for_one_architecture_leaves_the_other_to_the_index(
    root: Path, index: PackageIndex, uv: Uv
) -> None:
    index.add(wheel("torch", "2.12.0", tag="cp311-cp311-manylinux_2_28_aarch64"))
    links(root.parent / "wheels", wheel("torch", "2.13.0+cu128", tag="cp311-cp311-manylinux_2_28_x86_64"))
    asked = replace(request(root, index, "torch"), find_links=("../wheels",), accelerator="cuda")
    lock = locked(resolve_python(asked, uv).packages)
    assert [select(lock, target).python[0].version for target in (AMD64, ARM64)] == ["2.13.0+cu128", "2.12.0"]


def test_of_several_builds_in_find_links_the_accelerators_own_is_taken_whatever_the_last_lock_has(
    root: Path, index: PackageIndex, uv: Uv
) -> None:
    tag = "cp311-cp311-manylinux_2_28_x86_64"
    for version in ("2.8.0+cu128", "2.7.0+cu118"):
        links(root.parent / "wheels", wheel("torch", version, tag=tag))
    asked = replace(request(root, index, "torch", platforms=(AMD64,)), find_links=("../wheels",))
    new = resolve_python(replace(asked, accelerator="cu128"), uv)
    assert versions(new.packages) == {"torch": "2.8.0+cu128"}
    old = resolve_python(replace(asked, accelerator="cu118", previous=locked(new.packages)), uv)
    assert versions(old.packages) == {"torch": "2.7.0+cu118"}
    named = replace(request(root, index, "torch==2.8.0+cu128", platforms=(AMD64,)), find_links=("../wheels",))
    assert versions(resolve_python(replace(named, accelerator="cu118"), uv).packages) == {"torch": "2.8.0+cu128"}


def test_contradictions_are_told_in_uvs_words_without_its_own_flags(
    root: Path, index: PackageIndex, uv: Uv
) -> None:
    index.add(wheel("a", "1.0", requires=["b<2"]), wheel("b", "1.0"), wheel("b", "2.0"))
    with pytest.raises(LockError, match="the requirements contradict each other") as caught:
        resolve_python(request(root, index, "a\nb>=2\n"), uv)
    assert "a depends on b<2" in str(caught.value) or "b<2" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "said"),
    [("misspelt", "the package index has no package misspelt"), ("b==9", "there is no version that fits b==9")],
)
def test_a_name_or_version_the_index_lacks_is_no_contradiction(
    asked: str, said: str, root: Path, index: PackageIndex, uv: Uv
) -> None:
    index.add(wheel("b", "1.0"))
    with pytest.raises(LockError, match=said):
        resolve_python(request(root, index, f"{asked}\n"), uv)


def test_an_index_that_does_not_answer_is_told(root: Path, index: PackageIndex, uv: Uv) -> None:
    asked = replace(request(root, index, "a"), indexes=("http://127.0.0.1:9/simple",))
    with pytest.raises(LockError, match="could not be reached") as caught:
        resolve_python(asked, uv)
    assert caught.value.retryable


def test_an_address_that_does_not_answer_is_told_and_torch_is_no_matter(
    root: Path, index: PackageIndex, uv: Uv
) -> None:
    address = "http://127.0.0.1:9/a-1.0-py3-none-any.whl"
    with pytest.raises(LockError) as caught:
        resolve_python(replace(request(root, index, f"a @ {address}"), accelerator="cpu"), uv)
    assert f"{address} could not be reached" in str(caught.value) and caught.value.retryable
    assert not any("torch" in str(hint) for hint in caught.value.hints)
    nowhere = replace(request(root, index, "a"), accelerator="cpu", indexes=("http://127.0.0.1:9/simple",))
    with pytest.raises(LockError, match="a package index could not be reached") as caught:
        resolve_python(nowhere, uv)
    assert not any("torch" in str(hint) for hint in caught.value.hints)


def test_an_index_of_pytorchs_that_does_not_answer_has_a_hint_about_it() -> None:
    said = b"error: Failed to fetch: `https://x.example/whl/cpu/torch/`\n  cause: Request failed after 3 retries"
    error = explain(Completed(("uv",), 2, b"", said), backend="cpu")
    assert any("PyTorch's own index" in str(hint) for hint in error.hints)


def test_fault_9_offline_without_a_cache_is_told(root: Path, index: PackageIndex, uv: Uv) -> None:
    with pytest.raises(LockError, match="offline"):
        resolve_python(request(root, index, "a"), replace(uv, offline=True))


def test_F03_an_index_with_a_password_leaves_none_in_the_lock(root: Path, index: PackageIndex, uv: Uv) -> None:
    index.add(wheel("a", "1.0"))
    asked = replace(request(root, index, "a"), indexes=(index.url.replace("//", "//user:sesame@"),))
    packages = resolve_python(asked, uv).packages
    assert "sesame" not in dumps(locked(packages)).decode()


PYLOCK = """\
lock-version = "1.0"
created-by = "somebody"
{top}
[[packages]]
name = "a"
version = "1.0"
{package}
"""
WHEEL = '{{ url = "{url}", hashes = {{ {hash} }} }}'


def pylock(root: Path, package: str, top: str = "") -> None:
    (root / "pylock.toml").write_text(PYLOCK.format(top=top, package=package))


def adopted(
    root: Path, index: PackageIndex, *, extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()
) -> tuple[PythonPackage, ...]:
    asked = request(root, index, dependencies=PylockFile(extras=extras, groups=groups))
    return resolve_python(asked, Uv(python="/nonexistent")).packages


def one_wheel(
    url: str = "https://files.example/a-1.0-py3-none-any.whl", hashes: str = f'sha256 = "{"a" * 64}"'
) -> str:
    return f"wheels = [{WHEEL.format(url=url, hash=hashes)}]"


def test_a_pylock_is_taken_over_without_asking_anybody(root: Path, index: PackageIndex) -> None:
    pylock(root, one_wheel())
    (package,) = adopted(root, index)
    assert (package.name, package.version, package.wheels[0].sha256) == ("a", "1.0", "a" * 64)


def test_a_pylocks_groups_and_extras_are_chosen(root: Path, index: PackageIndex) -> None:
    top = 'extras = ["gpu"]\ndependency-groups = ["dev", "train"]\ndefault-groups = ["train"]'
    pylock(root, "marker = \"'gpu' in extras or 'dev' in dependency_groups\"\n" + one_wheel(), top)
    assert adopted(root, index) == ()
    assert len(adopted(root, index, extras=("gpu",))) == 1
    assert len(adopted(root, index, groups=("dev",))) == 1


@pytest.mark.parametrize("hashes", ["", f'md5 = "{"d" * 32}"', 'sha256 = "abc"'])
def test_F01_a_pylock_without_sha256_is_refused(root: Path, index: PackageIndex, hashes: str) -> None:
    pylock(root, one_wheel(hashes=hashes))
    with pytest.raises(LockError, match=r"no sha256|not a valid lock") as caught:
        adopted(root, index)
    assert "packages[0]" in str(caught.value)


def test_F02_a_pylock_with_two_versions_for_one_target_is_refused(root: Path, index: PackageIndex) -> None:
    two = one_wheel("https://files.example/a-2.0-py3-none-any.whl")
    pylock(root, one_wheel() + f'\n[[packages]]\nname = "a"\nversion = "2.0"\n{two}')
    with pytest.raises((LockError, ManyErrors), match="locked in two versions"):
        adopted(root, index)


def test_F02_a_pylock_with_two_hashes_of_one_file_is_refused(root: Path, index: PackageIndex) -> None:
    wheels = [
        WHEEL.format(url="https://files.example/a-1.0-py3-none-any.whl", hash=f'sha256 = "{x * 64}"') for x in "ab"
    ]
    pylock(root, f"wheels = [{', '.join(wheels)}]")
    with pytest.raises(LockError, match="two different hashes"):
        adopted(root, index)


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ('vcs = { type = "git", url = "git+ssh://h.example/x", commit-id = "abc" }', "built from source"),
        ('directory = { path = "../a" }', "built from source"),
        (one_wheel("http://files.example/a-1.0-py3-none-any.whl"), "not an https address"),
        (one_wheel("file:///etc/a-1.0-py3-none-any.whl"), "none of the find-links folders"),
        (
            'wheels = [{ path = "../a-1.0-py3-none-any.whl", hashes = { sha256 = "' + "a" * 64 + '" } }]',
            "find-links",
        ),
    ],
)
def test_F03_what_has_no_locked_public_bytes_is_refused_by_name(
    root: Path, index: PackageIndex, package: str, words: str
) -> None:
    pylock(root, package)
    with pytest.raises(LockError, match=words):
        adopted(root, index)


@pytest.mark.parametrize("name", ["a%00.tar.gz", "..", "a%0A-1.0.tar.gz", "a%5Cb.tar.gz"])
def test_F04_a_file_name_that_is_none_is_refused(root: Path, index: PackageIndex, name: str) -> None:
    pylock(root, f'archive = {{ url = "https://files.example/{name}", hashes = {{ sha256 = "{"a" * 64}" }} }}')
    with pytest.raises(LockError, match="is no file name"):
        adopted(root, index)


@pytest.mark.parametrize("version", ["2.0", "1.1", "0.9"])
def test_F05_a_pylock_of_another_version_is_refused(root: Path, index: PackageIndex, version: str) -> None:
    pylock(root, one_wheel())
    path = root / "pylock.toml"
    path.write_text(path.read_text().replace('lock-version = "1.0"', f'lock-version = "{version}"'))
    with pytest.raises(LockError, match=r"does not know|not a valid lock"):
        adopted(root, index)


def test_F06_a_pylock_bomb_is_refused(root: Path, index: PackageIndex) -> None:
    (root / "pylock.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(LockError, match="nested too deeply"):
        adopted(root, index)


def test_a_pylock_for_another_python_is_refused(root: Path, index: PackageIndex) -> None:
    pylock(root, one_wheel(), 'requires-python = ">=3.12"')
    with pytest.raises(LockError, match="the lock is for another Python") as caught:
        adopted(root, index)
    assert "3.11" in str(caught.value) and "requires-python" in str(caught.value)


def test_a_pylock_for_another_platform_is_refused(root: Path, index: PackageIndex) -> None:
    pylock(root, one_wheel(), "environments = [\"platform_machine == 'x86_64'\"]")
    with pytest.raises(LockError, match="the lock is not for linux/arm64"):
        adopted(root, index)


SOURCE = 'sdist = { url = "https://files.example/a-1.0.tar.gz", hashes = { sha256 = "' + "b" * 64 + '" } }'


def test_a_source_in_a_pylock_is_kept_and_refused_by_name_when_selected(root: Path, index: PackageIndex) -> None:
    pylock(root, SOURCE)
    lock = locked(adopted(root, index))
    with pytest.raises(LockError, match=r"a 1\.0 has no wheel for linux/amd64, only its source") as caught:
        select(loads(dumps(lock), "pylock.trainload.toml"), AMD64)
    assert "pip wheel --no-deps -w wheels a==1.0" in str(caught.value)


def test_a_wheel_of_that_version_in_find_links_stands_in_for_a_source(root: Path, index: PackageIndex) -> None:
    pylock(root, SOURCE)
    name, data = wheel("a", "1.0")
    links(root / "wheels", (name, data), wheel("a", "1.1"), ("notes.txt", b""))
    asked = replace(request(root, index, dependencies=PylockFile()), find_links=("wheels",))
    (package,) = resolve_python(asked, Uv(python="/nonexistent")).packages
    assert [file.name for file in package.wheels] == [name] and package.sdist is None
    assert package.wheels[0].sha256 == hashlib.sha256(data).hexdigest()


def test_an_archive_reference_to_a_wheel_is_taken(root: Path, index: PackageIndex) -> None:
    url = "https://files.example/a-1.0-py3-none-any.whl"
    pylock(root, f'archive = {{ url = "{url}", hashes = {{ sha256 = "{"a" * 64}" }} }}')
    assert adopted(root, index)[0].wheels[0].location == Url(url)


UV_LOCK_PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.11"
dependencies = ["a", "win; sys_platform == 'win32'"]
[project.optional-dependencies]
gpu = ["b"]
[dependency-groups]
dev = ["c"]
train = ["d"]
"""


def test_a_uv_lock_is_honoured_exactly_and_never_resolved_again(
    root: Path, index: PackageIndex, server: FaultServer, uv: Uv
) -> None:
    (root / "pyproject.toml").write_text(UV_LOCK_PROJECT)
    index.add(*[wheel(name, "1.0") for name in ("a", "b", "c", "d", "win")])
    done = uv.run("lock", [f"--default-index={index.url}"], root)
    assert done.exit_code == 0, done.complaint
    want = {
        package["name"]: package["version"] for package in tomllib.loads((root / "uv.lock").read_text())["package"]
    }
    index.add(wheel("a", "9.0"))
    asked_before = len(server.requests)
    asked = request(root, index, dependencies=UvLock(extras=("gpu",), groups=("train",)))
    packages = resolve_python(asked, uv).packages
    assert versions(packages) == {name: want[name] for name in ("a", "b", "d")}
    assert len(server.requests) == asked_before
    assert versions(resolve_python(replace(asked, dependencies=UvLock()), uv).packages) == {"a": "1.0"}


def test_a_mirror_is_asked_when_no_index_is_named_and_the_default_one_is_silent(
    root: Path, index: PackageIndex, server: FaultServer, uv: Uv
) -> None:
    index.add(wheel("a", "1.0"))
    silent = replace(uv, environ={**uv.environ, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"})
    asked = replace(request(root, index, "a"), indexes=(), mirrors=("http://127.0.0.1:9/other/simple", index.url))
    assert versions(resolve_python(asked, silent).packages) == {"a": "1.0"}


def test_an_index_in_trouble_is_told(root: Path, index: PackageIndex, server: FaultServer, uv: Uv) -> None:
    server.serve("/simple/a/", Reply(status=503))
    with pytest.raises(LockError):
        resolve_python(request(root, index, "a"), uv)
