"""What changed between two locks, as people read it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainload.lock.diff import Part, diff, human, sentences, signed
from trainload.lock.model import (
    ArchivePath,
    DistributionBase,
    DistributionPackage,
    File,
    Lock,
    PythonPackage,
    StandalonePython,
    Url,
)
from trainload.platform import Platform


def python(name: str, version: str, size: int | None = 1_000_000, sha: str | None = None) -> PythonPackage:
    file = File(
        f"{name}-{version}-py3-none-any.whl", (sha or version[0]) * 64, size, Url(f"https://f.example/{name}")
    )
    return PythonPackage(name, version, (file,))


def deb(name: str, version: str, architecture: str = "amd64") -> DistributionPackage:
    location = ArchivePath("debian", f"pool/{name}_{version}_{architecture}.deb")
    return DistributionPackage(
        name, version, architecture, File(f"{name}.deb", version[0] * 64, 2_000, location), 9_000
    )


def lock(*packages: PythonPackage, debs: tuple[DistributionPackage, ...] = ()) -> Lock:
    base = DistributionBase("debian", "bookworm", "slim", (), (), {"amd64": debs}, "3.11", (2, 36))
    return Lock("0" * 64, "3.11", packages, base, (Platform(),))


def told(old: Lock | None, new: Lock) -> list[str]:
    return [str(line) for line in sentences(diff(old, new))]


def test_equal_locks_have_no_difference() -> None:
    one = lock(python("a", "1.0"), debs=(deb("tini", "1"),))
    assert not diff(one, replace(one, inputs="1" * 64))
    assert told(one, one) == ["nothing changed"]


def test_versions_are_told_with_bytes() -> None:
    old = lock(python("torch", "2.12", 150_000_000), python("b", "1.0"))
    new = lock(python("torch", "2.13", 191_000_000), python("b", "1.0"))
    assert told(old, new) == ["torch 2.12 → 2.13, +41 MB"]


def test_what_is_new_and_gone_is_counted_and_named_by_kind() -> None:
    old = lock(python("old", "1.0"), debs=(deb("less", "5"),))
    new = lock(python("b", "1.0"), python("c", "2.0"), debs=(deb("tini", "1"),))
    assert told(old, new) == [
        "2 Python packages new: b 1.0, c 2.0, 2.0 MB",
        "1 base packages new: tini 1, 2.0 kB",
        "1 Python packages gone: old 1.0, 1.0 MB",
        "1 base packages gone: less 5, 2.0 kB",
    ]


def test_a_first_lock_is_all_new() -> None:
    changes = diff(None, lock(python("a", "1.0"), debs=(deb("tini", "1"),)))
    assert [(package.part, package.name) for package in changes.added] == [(Part.BASE, "tini"), (Part.PYTHON, "a")]
    assert changes.settings == ()


def test_base_packages_change_once_whatever_the_number_of_architectures() -> None:
    def both(version: str) -> Lock:
        one = lock()
        assert isinstance(one.base, DistributionBase)
        packages = {arch: (deb("tini", version, arch),) for arch in ("amd64", "arm64")}
        return replace(one, base=replace(one.base, packages=packages))

    assert told(both("1"), both("2")) == ["tini 1 → 2, ±0 B"]


def test_unknown_sizes_are_not_invented() -> None:
    assert told(lock(python("a", "1.0", None)), lock(python("a", "2.0"))) == ["a 1.0 → 2.0"]
    assert told(lock(), lock(python("a", "2.0", None))) == ["1 Python packages new: a 2.0, ?"]


def test_the_same_version_with_other_bytes_is_told() -> None:
    old, new = lock(python("a", "1.0", sha="a")), lock(python("a", "1.0", sha="b"))
    assert told(old, new) == ["1 packages of the same version have other files: a"]


def test_settings_of_the_lock_are_told() -> None:
    old = lock()
    archive = File("cpython.tar.gz", "a" * 64, 9, Url("https://f.example/cpython.tar.gz"))
    new = replace(
        old, python="3.12", accelerator="cuda", interpreter=StandalonePython("3.12.8", {"amd64": archive})
    )
    assert told(old, new) == [
        "python: 3.11 → 3.12", "accelerator: cpu → cuda", "1 interpreter new: cpython 3.12.8, 9 B",
    ]  # fmt: skip


def test_many_names_become_a_number() -> None:
    (line,) = told(lock(), lock(*[python(f"p{index:02}", "1.0") for index in range(40)]))
    assert line.startswith("40 Python packages new: p00 1.0") and "…" in line and "p39" not in line


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1_000, "1.0 kB"), (41_200_000, "41 MB"), (999_600_000, "1.0 GB"), (10**12, "1000 GB")],
)  # fmt: skip
def test_sizes_read_as_package_indexes_write_them(size: int, text: str) -> None:
    assert human(size) == text


def test_signs_are_signs() -> None:
    assert (signed(5), signed(-5), signed(0)) == ("+5 B", "−5 B", "±0 B")
