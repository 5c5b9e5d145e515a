"""Laws of the lock: what is written is read back, and nothing that is read can do more than be refused."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainload.errors import TrainloadError
from trainload.lock.adopt import Wanted, adopt
from trainload.lock.diff import diff, packages, sentences
from trainload.lock.model import (
    ArchivePath,
    DistributionBase,
    DistributionPackage,
    File,
    Found,
    Location,
    Lock,
    PythonPackage,
    ReleaseFile,
    StandalonePython,
    Url,
)
from trainload.lock.select import Target, select
from trainload.lock.toml import dumps, loads
from trainload.platform import Platform

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
TARGETS = (Target(AMD64, "3.11", (2, 36)), Target(ARM64, "3.11", (2, 36)))

hexes = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
names = st.from_regex("[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?", fullmatch=True)
versions = st.from_regex(r"[0-9]{1,2}\.[0-9]{1,2}(\+cpu)?", fullmatch=True)
sizes = st.one_of(st.none(), st.integers(0, 2**40))
printable = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/\\")
file_names = st.text(printable, min_size=1, max_size=40).filter(lambda name: name not in (".", ".."))
tags = st.sampled_from(
    [
        "py3-none-any",
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp311-cp311-manylinux_2_28_aarch64",
        "cp38-abi3-win_amd64",
    ]
)


@st.composite
def python_packages(draw: st.DrawFn) -> PythonPackage:
    name, version = draw(names), draw(versions)
    wheels = {}
    for tag in draw(st.lists(tags, min_size=1, max_size=3, unique=True)):
        file = f"{name.replace('-', '_')}-{version}-{tag}.whl"
        places: list[Location] = [Url(f"https://files.example/{file.replace('+', '%2B')}"), Found(file)]
        wheels[file] = File(file, draw(hexes), draw(sizes), draw(st.sampled_from(places)))
    return PythonPackage(name, version, tuple(sorted(wheels.values())))


@st.composite
def debs(draw: st.DrawFn) -> DistributionPackage:
    name = draw(st.from_regex("[a-z][a-z0-9+.-]{1,10}", fullmatch=True))
    path = "/".join(draw(st.lists(file_names, min_size=1, max_size=3)))
    file = File(path.rpartition("/")[2], draw(hexes), draw(st.integers(0, 2**40)), ArchivePath("debian", path))
    version = draw(st.from_regex(r"[0-9]{1,3}(:[0-9])?[a-z0-9.+~-]{0,8}", fullmatch=True))
    return DistributionPackage(
        name, version, draw(st.sampled_from(["amd64", "all"])), file, draw(st.integers(0, 2**40))
    )


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    chosen = {package.name: package for package in draw(st.lists(python_packages(), max_size=5))}
    base = DistributionBase(
        "debian",
        "bookworm",
        "slim",
        tuple(draw(st.lists(st.text(max_size=10), max_size=3))),
        tuple(
            draw(st.lists(st.builds(ReleaseFile, names, names, st.just("2026-01-10T09:31:05Z"), hexes), max_size=2))
        ),
        {"amd64": tuple(sorted(draw(st.lists(debs(), max_size=4, unique_by=lambda deb: deb.name))))},
        "3.11",
        (2, draw(st.integers(17, 60))),
    )
    archive = File("cpython.tar.gz", draw(hexes), draw(sizes), Url("https://files.example/cpython.tar.gz"))
    interpreter = draw(st.sampled_from([None, StandalonePython("3.11.9", {"amd64": archive})]))
    packages = tuple(chosen[name] for name in sorted(chosen))
    unhashed = tuple(sorted(wheel.name for package in packages for wheel in package.wheels if draw(st.booleans())))
    accelerator = draw(st.sampled_from(["cpu", "cu128"]))
    return Lock(draw(hexes), "3.11", packages, base, (AMD64,), interpreter, accelerator, unhashed)


@given(locks())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read_back_and_written_the_same(lock: Lock) -> None:
    data = dumps(lock)
    assert loads(data, "lock") == lock
    assert dumps(loads(data, "lock")) == data


@given(locks(), locks())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_difference_names_what_differs_and_nothing_else(old: Lock, new: Lock) -> None:
    before, after = packages(old), packages(new)
    changed = {(change.package.part, change.package.name) for change in diff(old, new).changes}
    assert changed == {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert not diff(new, new)
    assert all(str(sentence) for sentence in sentences(diff(old, new)))


@given(locks())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_selection_has_every_package_once_or_is_refused(lock: Lock) -> None:
    try:
        selection = select(lock, AMD64)
    except TrainloadError:
        return
    assert [item.name for item in selection.python] == [package.name for package in lock.packages]


GOOD = dumps(
    Lock(
        "0" * 64,
        "3.11",
        (
            PythonPackage(
                "a",
                "1.0",
                (File("a-1.0-py3-none-any.whl", "a" * 64, 7, Url("https://files.example/a-1.0-py3-none-any.whl")),),
                marker="platform_machine == 'x86_64'",
            ),
        ),
        DistributionBase(
            "debian",
            "bookworm",
            "slim",
            ("tini",),
            (ReleaseFile("debian", "bookworm", "2026-01-10T09:31:05Z", "b" * 64),),
            {
                "amd64": (
                    DistributionPackage(
                        "tini", "1", "amd64", File("t.deb", "c" * 64, 1, ArchivePath("debian", "pool/t.deb")), 9
                    ),
                )
            },
            "3.11",
            (2, 36),
        ),
        (AMD64,),
    )
)
pieces = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [
            b'"', b"'", b"[", b"]", b"{", b"}", b"=", b".", b"\n", b"\x00", b"\xff", b"1", b"true", b"nan", b"[]",
            b"{}", b"1979-05-27", b"https://[::1", b"http://", b"..", b'""', b"[[packages]]\n", b"[tool]\n",
            b"\\u0000", b"%00",
        ]
    ),
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), pieces), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_F04_a_damaged_lock_is_read_or_refused_and_never_crashes(edits: list[tuple[int, int, bytes]]) -> None:
    data = GOOD
    for start, length, piece in edits:
        data = data[:start] + piece + data[start + length :]
    for read in (_read_and_select, _adopt):
        try:
            read(data)
        except TrainloadError as error:
            assert str(error)


def _read_and_select(data: bytes) -> None:
    lock = loads(data, "lock")
    select(lock, AMD64)
    assert loads(dumps(lock), "lock") == lock


def _adopt(data: bytes) -> None:
    adopt(data, "pylock.toml", Wanted(TARGETS))
