"""The lock on disk: a standard PEP 751 file, read strictly (THREATS F01-F07)."""

from __future__ import annotations

import time
import tomllib
from dataclasses import replace

import pytest
from packaging.pylock import Pylock

from trainload.errors import LockError, ManyErrors, TrainloadError
from trainload.limits import DEFAULT
from trainload.lock.model import (
    ArchivePath,
    BaseImage,
    BasePython,
    Blob,
    Build,
    Commit,
    DistributionBase,
    DistributionPackage,
    File,
    Found,
    ImageBase,
    Lock,
    PythonPackage,
    ReleaseFile,
    StandalonePython,
    Url,
)
from trainload.lock.toml import dumps, loads
from trainload.platform import Platform

FILE = "pylock.trainload.toml"
A, B, C = "a" * 64, "b" * 64, "c" * 64


def wheel(name: str, sha256: str = A, size: int | None = 10) -> File:
    return File(name, sha256, size, Url(f"https://files.example/packages/{name.replace('+', '%2B')}"))


def deb(name: str, architecture: str = "amd64") -> DistributionPackage:
    file = f"{name}_1.0-1_{architecture}.deb"
    location = ArchivePath("debian", f"pool/main/{name[0]}/{name}/{file}")
    return DistributionPackage(name, "1:1.0~rc1-1+b1", architecture, File(file, B, 123, location), 2048)


LOCK = Lock(
    inputs=C,
    python="3.11",
    packages=(
        PythonPackage("numpy", "2.4.0", (wheel("numpy-2.4.0-cp311-cp311-manylinux_2_27_x86_64.whl"),)),
        PythonPackage(
            "torch",
            "2.13.0+cpu",
            (
                wheel("torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_aarch64.whl", B, None),
                File("torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", C, 7, Found(
                    "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl")),
            ),
            marker="platform_machine == 'x86_64'",
        ),
        PythonPackage("odd", "1.0", (), sdist=wheel("odd-1.0.tar.gz", C)),
    ),
    base=DistributionBase(
        "debian",
        "bookworm",
        "slim",
        ("ffmpeg", "tini"),
        (ReleaseFile("debian", "bookworm", "2026-01-10T09:31:05Z", A),),
        {"amd64": (deb("tini"), deb("base-files", "all")), "arm64": (deb("tini", "arm64"),)},
        "3.11",
        (2, 36),
        ("ffmpeg",),
    ),
    platforms=(Platform("linux", "amd64"), Platform("linux", "arm64")),
    interpreter=StandalonePython("3.12.8", {"amd64": wheel("cpython-3.12.8+20250106-x86_64.tar.gz")}),
    accelerator="cpu",
)  # fmt: skip


def normal(lock: Lock) -> Lock:
    """The lock as a reader gives it back: sorted."""
    assert isinstance(lock.base, DistributionBase)
    packages = {key: tuple(sorted(value)) for key, value in lock.base.packages.items()}
    return replace(
        lock,
        packages=tuple(sorted(lock.packages, key=lambda package: package.name)),
        base=replace(lock.base, packages=packages),
    )


def refused(text: str) -> list[TrainloadError]:
    """All problems of a lock, each with its place."""
    with pytest.raises((LockError, ManyErrors)) as caught:
        loads(text.encode(), FILE)
    return list(caught.value) if isinstance(caught.value, ManyErrors) else [caught.value]


def changed(old: str, new: str, count: int = 1) -> str:
    text = dumps(LOCK).decode()
    assert old in text
    return text.replace(old, new, count)


def test_what_is_written_is_read_back() -> None:
    assert loads(dumps(LOCK), FILE) == normal(LOCK)


def test_what_comes_of_a_repository_is_standard_and_read_back() -> None:
    place = Commit("https://git.example/me/made.git", "d" * 40, "sub/x", "main")
    made = PythonPackage("made", "1.0", sdist=File("made-dddddddddddd.tar.gz", A, 7, place))
    lock = replace(normal(LOCK), packages=(made, *normal(LOCK).packages))
    assert loads(dumps(lock), FILE) == lock
    standard = Pylock.from_dict(tomllib.loads(dumps(lock).decode())).packages[0]
    assert standard.vcs is not None and standard.vcs.commit_id == "d" * 40 and standard.vcs.subdirectory == "sub/x"
    text = dumps(lock).decode()
    for old, new, said in (
        ("https://git", "http://git", "is not an https address"),
        ("//git.", "//me:hunter2@git.", "carries a user or password"),
        ("d" * 40, "HEAD", "40 hexadecimal digits"),
        ("sub/x", "../x", "a folder"),
        ('type = "git"', 'type = "hg"', "want git"),
        ("made-dddddddddddd.tar.gz", "a/b", "a file name"),
    ):
        assert any(said in str(error) for error in refused(text.replace(old, new, 1))), new


BUILDS = (
    Build("odd", "1.0", (PythonPackage("setuptools", "80.0", (wheel("setuptools-80.0-py3-none-any.whl"),)),)),
    Build("odder", "2.0", ()),
)


def test_what_builds_sources_and_where_is_read_back() -> None:
    base = LOCK.base
    assert isinstance(base, DistributionBase)
    with_builds = replace(normal(LOCK), builds=BUILDS, build_base=replace(normal(LOCK).base, system=("gcc",)))  # type: ignore[arg-type]
    assert loads(dumps(with_builds), FILE) == with_builds
    assert b"builds" not in dumps(LOCK) and b"build-base" not in dumps(LOCK)


@pytest.mark.parametrize(
    ("old", "new", "at", "reason"),
    [
        ('name = "odder"\nversion = "2.0"', 'name = "odd"\nversion = "1.0"', "builds", "stands here twice"),
        ('name = "setuptools"', 'name = "setuptools"\nsdist = {}', "builds[0].packages", ""),
        ('name = "odder"', 'name = "odder"\nx = 1', "builds[1].x", "is not known here"),
        ('name = "setuptools"', 'name = "../x"', "builds[0].packages[0].name", "has a wrong value"),
    ],
)
def test_F02_what_builds_sources_is_read_as_strictly(old: str, new: str, at: str, reason: str) -> None:
    text = dumps(replace(LOCK, builds=BUILDS)).decode()
    assert old in text
    errors = refused(text.replace(old, new))
    assert any(at in str(error.place) and reason in str(error.text) for error in errors), errors


def test_equal_locks_have_equal_bytes_whatever_the_order_in_memory() -> None:
    shuffled = replace(LOCK, packages=LOCK.packages[::-1], platforms=LOCK.platforms[::-1])
    assert dumps(shuffled) == dumps(LOCK)


IMAGE = BaseImage(
    manifest=Blob(f"sha256:{A}", 786),
    config=Blob(f"sha256:{B}", 925),
    distribution="ubuntu",
    suite="jammy",
    glibc=(2, 35),
    python=BasePython(
        "/usr/bin/python3.10",
        "3.10.12",
        (("numpy", "1.24.4"), ("torch", "2.3.0a0+6d.nv24.4")),
        ("/srv/env/lib",),
        is_ours=True,
    ),
    init="/usr/bin/tini",
    accounts=(("root:x:0:0:root:/root:/bin/bash", "ö:x:5:5::/:/bin/sh"), ("root:x:0:",)),
)
ON_IMAGE = ImageBase(
    "nvcr.io/nvidia/pytorch:24.04-py3", f"sha256:{A}", {"amd64": IMAGE, "arm64": replace(IMAGE, python=None)}
)


def over(base: ImageBase) -> Lock:
    return replace(LOCK, base=base, interpreter=None)


def test_a_lock_over_a_base_image_is_read_back() -> None:
    assert loads(dumps(over(ON_IMAGE)), FILE).base == ON_IMAGE
    assert isinstance(LOCK.base, DistributionBase)
    packages = tuple(sorted(LOCK.base.packages["amd64"]))
    more = replace(IMAGE, packages=packages, init="", suite="", distribution="", accounts=((), ()))
    base = replace(
        ON_IMAGE, images={"amd64": more}, requested=("git",), profile="slim", releases=LOCK.base.releases
    )
    assert loads(dumps(over(base)), FILE).base == base


def test_what_a_base_image_has_stands_on_lines_of_its_own() -> None:
    lines = [line.strip() for line in dumps(over(ON_IMAGE)).decode().splitlines()]
    assert {'"torch==2.3.0a0+6d.nv24.4",', '"root:x:0:0:root:/root:/bin/bash",'} <= set(lines)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('path = "/usr/bin/python3.10"', 'path = "usr/bin/../x"', "python.path"),
        ("numpy==1.24.4", "numpy", "installed"),
        ('"root:x:0:",', '"root:x\\u0000:0:",', "group"),
        (f'digest = "sha256:{B}"', 'digest = "sha256:../../x"', "config.digest"),
        ('glibc = "2.35"', 'glibc = "two"', "glibc"),
        ('suite = "jammy"', 'suit = "jammy"', "suit"),
    ],
)
def test_what_is_wrong_with_a_base_image_is_told_with_its_place(old: str, new: str, place: str) -> None:
    text = dumps(over(replace(ON_IMAGE, images={"amd64": IMAGE}))).decode()
    assert old in text
    assert [str(error.place) for error in refused(text.replace(old, new))] == [
        f"{FILE}: tool.trainload.base.images.amd64.{place}"
    ]


def test_it_is_a_valid_pep_751_lock_for_any_installer() -> None:
    standard = Pylock.from_dict(tomllib.loads(dumps(LOCK).decode()))
    assert [str(package.name) for package in standard.packages] == ["numpy", "odd", "torch"]
    assert standard.packages[0].wheels is not None
    assert standard.packages[0].wheels[0].filename == "numpy-2.4.0-cp311-cp311-manylinux_2_27_x86_64.whl"


def test_each_file_stands_on_a_line_of_its_own() -> None:
    lines = dumps(LOCK).decode().splitlines()
    assert sum("hashes" in line for line in lines) == 5
    assert max(line.count("sha256 = ") for line in lines) == 1


def test_all_problems_are_told_at_once_with_their_key_paths() -> None:
    text = changed('name = "numpy"', 'name = "Num_Py"').replace('python = "3.11"', 'python = "2"')
    assert {str(error.place) for error in refused(text)} == {
        f"{FILE}: packages[0].name",
        f"{FILE}: tool.trainload.python",
        f"{FILE}: tool.trainload.base.python",
    }


@pytest.mark.parametrize("hashes", ["{}", f'{{ md5 = "{"d" * 32}" }}', '{ sha256 = "ABC" }', "7"])
def test_F01_a_file_without_a_sha256_is_refused(hashes: str) -> None:
    errors = refused(changed(f'{{ sha256 = "{A}" }}', hashes))
    assert all("packages[0].wheels[0].hashes" in str(error.place) for error in errors)


def test_F01_a_file_whose_hashes_are_missing_is_refused() -> None:
    (error,) = refused(changed(f', hashes = {{ sha256 = "{A}" }}', ""))
    assert "no sha256" in str(error)


def test_F02_one_version_with_two_hashes_is_refused() -> None:
    again = PythonPackage("numpy", "2.4.0", (wheel("numpy-2.4.0-cp311-cp311-manylinux_2_27_x86_64.whl", B),))
    errors = refused(dumps(replace(LOCK, packages=(*LOCK.packages, again))).decode())
    assert any("numpy 2.4.0 stands here twice" in str(error) for error in errors)
    assert any("two different hashes" in str(error) for error in errors)


def test_F02_names_that_are_equal_once_normalised_are_refused() -> None:
    (error,) = refused(changed('name = "odd"', 'name = "Odd"'))
    assert str(error.place) == f"{FILE}: packages[1].name"


def test_F02_two_versions_for_one_target_are_refused() -> None:
    again = PythonPackage("numpy", "2.5.0", (wheel("numpy-2.5.0-cp311-cp311-manylinux_2_27_x86_64.whl", B),))
    (error,) = refused(dumps(replace(LOCK, packages=(*LOCK.packages, again))).decode())
    assert "numpy stands here in two versions" in str(error)


def test_F02_a_distribution_package_that_stands_twice_is_refused() -> None:
    base = LOCK.base
    assert isinstance(base, DistributionBase)
    (first, *_) = base.packages["amd64"]
    again = replace(first, version=f"{first.version}.1")
    twice = replace(base, packages={**base.packages, "amd64": (*base.packages["amd64"], again)})
    (error,) = refused(dumps(replace(LOCK, base=twice)).decode())
    assert f"{first.name} stands here twice" in str(error) and "base.packages.amd64[" in str(error.place)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "http://files.example/numpy-1.whl", "ftp://files.example/a.whl", "git+ssh://h/x", "",
        "https://user:sesame@files.example/numpy-1.whl", "https://sesame@files.example/a.whl", "https:///a.whl",
        "https://files.example/a b.whl", "https://[::1/a.whl", "HTTP://files.example/x",
    ],
)  # fmt: skip
def test_F03_an_address_that_is_not_https_or_carries_credentials_is_refused(url: str) -> None:
    text = changed("https://files.example/packages/numpy-2.4.0-cp311-cp311-manylinux_2_27_x86_64.whl", url)
    errors = refused(text)
    assert any(str(error.place) == f"{FILE}: packages[0].wheels[0].url" for error in errors)
    assert "sesame" not in str(errors)


def test_F03_an_index_on_this_machine_may_speak_plain_http() -> None:
    loads(changed("https://files.example/packages/numpy", "http://127.0.0.1:8080/numpy").encode(), FILE)


@pytest.mark.parametrize(
    "name", ["../x.whl", "a/b.whl", "a\\\\b.whl", "..", "a\\u0000.whl", "a\\n.whl", "", "x" * 256]
)
def test_F04_a_file_name_that_is_a_path_is_refused(name: str) -> None:
    for key in ("path", "name"):
        old = 'path = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"'
        new = f'path = "{name}"' if key == "path" else f'path = "torch.whl", name = "{name}"'
        assert any("packages[2].wheels" in str(error.place) for error in refused(changed(old, new)))


def test_F04_a_path_in_an_archive_stays_in_it() -> None:
    (error,) = refused(changed("pool/main/t/tini/", "pool/../../etc/"))
    assert "tool.trainload.base.packages.amd64[1].path" in str(error.place)


@pytest.mark.parametrize("version", ["2", "0", "true", '"1"', "[]"])
def test_F05_a_lock_newer_than_we_know_is_refused(version: str) -> None:
    (error,) = refused(changed("[tool.trainload]\nversion = 1", f"[tool.trainload]\nversion = {version}"))
    assert "does not know" in str(error) and str(error.place) == f"{FILE}: tool.trainload.version"


@pytest.mark.parametrize("version", ['"1.1"', '"2.0"', "1.0"])
def test_F05_a_newer_standard_is_refused(version: str) -> None:
    (error,) = refused(changed('lock-version = "1.0"', f"lock-version = {version}"))
    assert str(error.place) == f"{FILE}: lock-version"


def test_F05_a_plain_pep_751_lock_is_not_taken_for_ours() -> None:
    (error,) = refused('lock-version = "1.0"\ncreated-by = "x"\npackages = []\n')
    assert "tool.trainload.version" in str(error.place)


@pytest.mark.parametrize("key", ["archive", "directory", "surprise"])
def test_F05_a_package_we_do_not_understand_is_refused(key: str) -> None:
    errors = refused(changed('name = "numpy"', f'name = "numpy"\n{key} = {{ url = "https://x.example/a" }}'))
    assert any(str(error.place) == f"{FILE}: packages[0].{key}" for error in errors)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{x=" * 100_000,
        ".".join("a" * 100_000) + " = 1",
        "[" + ".".join("a" * 100_000) + "]",
        "[" + " . ".join("a" * 100_000) + "]",
        'a = "' + "x" * (DEFAULT.document + 1) + '"',
        "a = 1\na = 2",
        "[a]\n[a]",
        "a = " + "9" * 5_000,
    ],
    ids=["lists", "tables", "dotted", "header", "spaced", "scalar", "twice", "table twice", "number"],
)
def test_F06_bombs_are_refused_in_a_second(text: str) -> None:
    started = time.process_time()
    refused(text)
    assert time.process_time() - started < 3  # a third of it on an idle machine


def test_F07_a_byte_order_mark_and_crlf_change_nothing() -> None:
    data = dumps(LOCK)
    assert loads(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"), FILE) == loads(data.rstrip(b"\n"), FILE)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_F07_another_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(LockError, match="not UTF-8"):
        loads(("# é\n" + dumps(LOCK).decode()).encode(encoding), FILE)
