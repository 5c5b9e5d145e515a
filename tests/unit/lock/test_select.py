"""Selecting for a target: pure, the best wheel, and nothing that does not fit (THREATS W30)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging import tags as standard
from packaging.utils import parse_wheel_filename

from trainload.errors import LockError, ManyErrors
from trainload.lock import tags
from trainload.lock.model import DistributionBase, File, Lock, PythonPackage, Url
from trainload.lock.select import select
from trainload.platform import Platform

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def file(name: str) -> File:
    return File(name, "a" * 64, None, Url(f"https://files.example/{name}"))


def package(name: str, *wheels: str, marker: str | None = None, sdist: bool = False) -> PythonPackage:
    files = tuple(file(f"{name}-1.0-{tag}.whl") for tag in wheels)
    return PythonPackage(name, "1.0", files, file(f"{name}-1.0.tar.gz") if sdist else None, marker)


def lock(*packages: PythonPackage, glibc: tuple[int, int] = (2, 36)) -> Lock:
    base = DistributionBase("debian", "bookworm", "slim", (), (), {"amd64": (), "arm64": ()}, "3.11", glibc)
    return Lock("0" * 64, "3.11", packages, base, (AMD64, ARM64))


def chosen(made: Lock, platform: Platform = AMD64) -> list[str]:
    return [item.file.name for item in select(made, platform).python]


@pytest.mark.parametrize("python", ["3.9", "3.11", "3.14"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("glibc", [(2, 17), (2, 36), (2, 41)])
def test_tags_and_their_order_are_those_of_packaging(python: str, machine: str, glibc: tuple[int, int]) -> None:
    version = (3, int(python.split(".")[1]))
    abis = [f"cp3{version[1]}"]
    places = tags.platforms(machine, glibc)
    want = [
        *standard.cpython_tags(version, abis=abis, platforms=places),
        *standard.compatible_tags(version, interpreter=abis[0], platforms=places),
    ]
    assert list(tags.ranks(python, machine, glibc)) == list(dict.fromkeys(str(tag) for tag in want))


def test_every_legacy_tag_stands_after_its_glibc() -> None:
    assert tags.platforms("aarch64", (2, 18)) == [
        "manylinux_2_18_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", "a-1-2-py2.py3-none-any.whl",
        "MarkupSafe-3.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    ],
)  # fmt: skip
def test_wheel_names_are_split_as_packaging_does(name: str) -> None:
    fits = tags.wheel_rank(name, {str(tag): 0 for tag in parse_wheel_filename(name)[3]})
    assert fits is not None and tags.is_wheel_name(name)


def test_the_best_wheel_is_chosen_whatever_their_order() -> None:
    names = (
        "py3-none-any", "cp38-abi3-manylinux2014_x86_64", "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-macosx_11_0_arm64", "cp312-cp312-manylinux_2_28_x86_64",
    )  # fmt: skip
    for order in (names, names[::-1]):
        assert chosen(lock(package("x", *order))) == ["x-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"]


def test_a_higher_build_number_wins() -> None:
    wheels = (file("x-1.0-2-py3-none-any.whl"), file("x-1.0-10-py3-none-any.whl"), file("x-1.0-py3-none-any.whl"))
    assert chosen(lock(PythonPackage("x", "1.0", wheels))) == ["x-1.0-10-py3-none-any.whl"]


def test_one_lock_serves_both_architectures_on_any_host() -> None:
    made = lock(package("x", "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_28_aarch64"))
    assert "x86_64" in chosen(made)[0] and "aarch64" in chosen(made, ARM64)[0]


def test_markers_are_judged_for_the_target() -> None:
    made = lock(
        package("only-here", "py3-none-any", marker="platform_machine == 'x86_64'"),
        package("windows", "py3-none-any", marker="sys_platform == 'win32'"),
        package("old", "py3-none-any", marker="python_full_version < '3.11'"),
        package("linux", "py3-none-any", marker="sys_platform == 'linux' and python_version >= '3.11'"),
    )
    assert chosen(made) == ["linux-1.0-py3-none-any.whl", "only-here-1.0-py3-none-any.whl"]
    assert chosen(made, ARM64) == ["linux-1.0-py3-none-any.whl"]


@pytest.mark.parametrize("marker", ["sys_platform ~= 'linux'", "extra == 'x'", "python_version"])
def test_a_marker_that_means_nothing_is_told(marker: str) -> None:
    with pytest.raises(LockError, match="is not an environment marker"):
        chosen(lock(package("x", "py3-none-any", marker=marker)))


def test_the_order_is_by_name() -> None:
    made = lock(package("b", "py3-none-any"), package("a", "py3-none-any"))
    assert chosen(made) == ["a-1.0-py3-none-any.whl", "b-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    "tag",
    ["cp310-cp310-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_37_x86_64", "cp311-cp311-manylinux_2_17_aarch64",
     "cp311-cp311-musllinux_1_2_x86_64", "cp311-cp311t-manylinux_2_17_x86_64", "cp312-abi3-manylinux_2_17_x86_64",
     "cp311-cp311-win_amd64", "py2-none-any"],
)  # fmt: skip
def test_W30_a_wheel_that_does_not_fit_is_refused_before_anything_is_fetched(tag: str) -> None:
    with pytest.raises(LockError) as caught:
        select(lock(package("x", tag)), AMD64)
    assert "no wheel of x 1.0 fits linux/amd64" in str(caught.value)
    assert tag in str(caught.value) and "glibc at most 2.36" in str(caught.value)


def test_W30_the_glibc_is_the_bases() -> None:
    made = lock(package("x", "cp311-cp311-manylinux_2_36_x86_64"))
    assert chosen(made)
    assert isinstance(made.base, DistributionBase)
    with pytest.raises(LockError, match=r"glibc at most 2\.35"):
        select(replace(made, base=replace(made.base, glibc=(2, 35))), AMD64)


def test_W30_all_that_do_not_fit_are_named() -> None:
    with pytest.raises(ManyErrors) as caught:
        select(lock(package("x", "py2-none-any"), package("y", "py2-none-any")), AMD64)
    assert "x 1.0" in str(caught.value) and "y 1.0" in str(caught.value)


def test_a_package_with_nothing_but_its_source_is_named() -> None:
    with pytest.raises(LockError, match=r"x 1\.0 has no wheel for linux/amd64, only its source"):
        select(lock(package("x", sdist=True)), AMD64)


def test_its_source_is_chosen_when_that_is_asked_for() -> None:
    (item,) = select(lock(package("x", "py2-none-any", sdist=True)), AMD64, sdists=True).python
    assert (item.file.name, item.is_wheel) == ("x-1.0.tar.gz", False)


def test_a_platform_the_lock_was_not_made_for_is_refused() -> None:
    made = lock()
    assert isinstance(made.base, DistributionBase)
    with pytest.raises(LockError, match="not made for linux/arm64"):
        select(replace(made, base=replace(made.base, packages={"amd64": ()})), ARM64)
