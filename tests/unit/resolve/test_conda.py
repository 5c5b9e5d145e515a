"""Conda environments become locks: solved for the target on any host, or taken over from the user's own lock."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from trainload.builder.conda import Abouts, Distributions
from trainload.errors import ConfigError, LockError, ManyErrors, Problems
from trainload.lock.document import Table
from trainload.lock.model import ChannelPath, File
from trainload.lock.readconda import read_conda
from trainload.lock.writeconda import written
from trainload.platform import Platform
from trainload.project.model import ChannelPriority, CondaFile, CondaLockFile, CondaLockKind, CondaSettings
from trainload.resolve.cache import FolderCache
from trainload.resolve.conda import rattler
from trainload.resolve.conda.channels import Channels, channels_of
from trainload.resolve.conda.lock import CondaRequest, package_of, resolve_conda
from trainload.resolve.conda.rattler import Record
from trainload.resolve.conda.taken import Taking, take
from trainload.resolve.unhashed import Trust
from trainload.resolve.upgrade import Upgrade
from trainload.system.http import Http
from trainload.testing.conda import Content, Spec, write_channel

AMD, ARM = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
GLIBC = {AMD: (2, 36), ARM: (2, 36)}
ALIAS = "https://conda.example"
SETTINGS = CondaSettings(channel_alias=ALIAS)


METADATA = b"Metadata-Version: 2.1\nName: Pure_Thing\nVersion: 1.0\nRequires-Dist: numpy\nProvides-Extra: x\n"


def python(subdir: str, version: str = "3.11.9") -> Spec:
    return Spec("python", version, "h0_0_cpython", {"bin/python": Content(b"x", 0o755)}, subdir,
                depends=["__glibc >=2.17", "zlib >=1.2"])  # fmt: skip


def specs() -> list[Spec]:
    found = [python(subdir) for subdir in ("linux-64", "linux-aarch64")]
    found += [replace(python("linux-64"), version="3.12.1")]
    found += [Spec("zlib", "1.3", "h0_0", {"lib/z": Content(b"z")}, sub) for sub in ("linux-64", "linux-aarch64")]
    found += [
        Spec("lib", version, "h0_0", {"lib/x": Content(version.encode())}, subdir="noarch", noarch="generic")
        for version in ("1.0", "2.0")
    ]
    found += [
        Spec("new", "1.0", "h0_0", {"lib/n": Content(b"")}, depends=["__glibc >=2.38"]),
        Spec("new", "0.9", "h0_0", {"lib/n": Content(b"")}, depends=["__glibc >=2.28"]),
        Spec("gpu", "1.0", "cuda_0", {"lib/g": Content(b"")}, depends=["__cuda >=12"]),
        Spec("gpu", "1.0", "cpu_0", {"lib/g": Content(b"")}),
        Spec("pure", "1.0", "py_0", {
            "site-packages/pure/__init__.py": Content(b""),
            "site-packages/Pure_Thing-1.0.dist-info/METADATA": Content(METADATA),
        }, "noarch", noarch="python", depends=["python"], form=".tar.bz2"),
    ]  # fmt: skip
    return found


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    write_channel(tmp_path / "mirror" / "conda-forge", specs())
    other = [Spec("lib", "9.0", "h0_0", {"lib/x": Content(b"9")}, subdir="noarch", noarch="generic")]
    write_channel(tmp_path / "mirror" / "other", other)
    return tmp_path / "mirror"


def request(mirror: Path, wanted: Sequence[str], **changes: object) -> CondaRequest:
    environment = CondaFile(channels=("conda-forge",), specs=tuple(wanted))
    usual = CondaRequest(
        environment, SETTINGS, {AMD: (2, 36)}, "cpu", Channels(mirror, (str(mirror),)), mirror / "cache"
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def chosen(mirror: Path, *wanted: str, architecture: str = "amd64", **changes: object) -> dict[str, str]:
    found = resolve_conda(request(mirror, wanted, **changes))
    return {each.name: f"{each.version} {each.build}" for each in found.packages[architecture]}


def test_the_lock_names_channel_and_path_and_no_mirror(mirror: Path) -> None:
    found = resolve_conda(request(mirror, ["python=3.11", "lib", "pure"], glibc=GLIBC))
    assert found.python == "3.11.9" and found.site_packages == "lib/python3.11/site-packages"
    assert found.channels == (("conda-forge", f"{ALIAS}/conda-forge"),)
    locations = {each.name: each.file.location for each in found.packages["arm64"]}
    assert locations["python"] == ChannelPath(
        "conda-forge", "linux-aarch64/python-3.11.9-h0_0_cpython.conda", f"{ALIAS}/conda-forge"
    )
    assert {each.subdir for each in found.packages["amd64"]} == {"linux-64", "noarch"}
    assert str(mirror) not in "\n".join(written(found))


def test_what_is_written_is_read_back(mirror: Path) -> None:
    import tomllib

    found = resolve_conda(request(mirror, ["python=3.11", "lib", "pure"], glibc=GLIBC))
    found = replace(found, installed=(("pure-thing", "1.0"),))
    document = tomllib.loads("\n".join(written(found)))["tool"]["trainload"]["conda"]
    problems = Problems()
    assert read_conda(Table(document, "lock", problems)) == found
    problems.check()


def test_the_target_decides_and_not_this_machine(mirror: Path) -> None:
    assert chosen(mirror, "python", "new")["new"] == "0.9 h0_0"
    assert chosen(mirror, "python", "new", glibc={AMD: (2, 39)})["new"] == "1.0 h0_0"
    assert chosen(mirror, "python", "gpu")["gpu"] == "1.0 cpu_0"
    assert chosen(mirror, "python", "gpu=1.0=cuda*", accelerator="cu128")["gpu"] == "1.0 cuda_0"
    with pytest.raises(LockError, match="contradict each other, or are not in the channels"):
        chosen(mirror, "python", "gpu=1.0=cuda*")
    assert chosen(mirror, "python=3.11", architecture="arm64", glibc={ARM: (2, 36)})["python"].startswith("3.11.9")


def test_what_the_last_lock_has_stays_until_it_is_upgraded(mirror: Path) -> None:
    old = resolve_conda(request(mirror, ["python", "lib=1.0"]))
    for upgrade, version in (
        (Upgrade(), "1.0"),
        (Upgrade(packages=("lib",)), "2.0"),
        (Upgrade(everything=True), "2.0"),
    ):
        assert chosen(mirror, "python", "lib", previous=old, upgrade=upgrade)["lib"] == f"{version} h0_0"
    assert chosen(mirror, "python", "lib")["lib"] == "2.0 h0_0"


def test_channels_count_by_their_order_and_by_name(mirror: Path) -> None:
    both = CondaFile(channels=("conda-forge", "other"), specs=("python", "lib"))
    assert chosen(mirror, environment=both)["lib"] == "2.0 h0_0"
    assert chosen(mirror, environment=replace(both, channels=("other", "conda-forge")))["lib"] == "9.0 h0_0"
    assert chosen(mirror, environment=replace(both, specs=("python", "other::lib")))["lib"] == "9.0 h0_0"
    named = replace(both, channels=("conda-forge",), specs=("python", "other::lib"))
    assert chosen(mirror, environment=named)["lib"] == "9.0 h0_0"
    wanted = replace(both, specs=("python", "lib>=9"))
    assert chosen(mirror, environment=wanted)["lib"] == "9.0 h0_0"
    disabled = CondaSettings(channel_alias=ALIAS, channel_priority=ChannelPriority.DISABLED)
    assert chosen(mirror, environment=both, settings=disabled)["lib"] == "9.0 h0_0"


def test_a_python_set_beside_the_environment_counts_too(mirror: Path) -> None:
    assert chosen(mirror, "python")["python"].startswith("3.12.1")
    assert chosen(mirror, "python", python="3.11")["python"].startswith("3.11.9")
    with pytest.raises(LockError, match="contradict"):
        chosen(mirror, "python=3.12", python="3.11")
    assert "python" not in chosen(mirror, "lib")
    with pytest.raises(LockError, match="not the same Python on all platforms"):
        chosen(mirror, "python", glibc=GLIBC)


def test_a_mirror_that_does_not_answer_is_passed_over(mirror: Path, tmp_path: Path) -> None:
    channels = Channels(tmp_path, (str(tmp_path / "nothing"), f"{mirror}/{{channel}}"))
    assert chosen(mirror, "python", "lib", channels=channels)["lib"] == "2.0 h0_0"
    with pytest.raises(LockError, match="a conda channel could not be read"):
        nowhere = CondaSettings(channel_alias="http://127.0.0.1:9")
        chosen(mirror, "python", channels=Channels(tmp_path, ()), settings=nowhere)


def test_names_of_channels_and_their_addresses(tmp_path: Path) -> None:
    found = channels_of(["pytorch", "defaults", "https://x.example/pkgs/main/", "pytorch"], SETTINGS)
    assert [(each.name, each.address) for each in found] == [
        ("pytorch", f"{ALIAS}/pytorch"), ("main", f"{ALIAS}/main"), ("r", f"{ALIAS}/r"),
        ("https://x.example/pkgs/main", "https://x.example/pkgs/main"),
    ]  # fmt: skip
    places = Channels(tmp_path, ("https://a.example/conda/", "https://b.example/{channel}/x", "mirror"))
    assert places.addresses("pytorch", f"{ALIAS}/pytorch") == (
        "https://a.example/conda/pytorch", "https://b.example/pytorch/x", f"file://{tmp_path}/mirror/pytorch",
        f"{ALIAS}/pytorch",
    )  # fmt: skip
    assert places.addresses("https://x.example/pkgs/main", "https://x.example/pkgs/main")[0] == (
        "https://a.example/conda/pkgs/main"
    )
    assert places.urls(ChannelPath("c", "noarch/a-1!2-0.conda", f"{ALIAS}/c"))[0].endswith(
        "/c/noarch/a-1!2-0.conda"
    )
    for wrong in ("https://me:secret@x.example/c", "ftp://x.example/c", "a b", "c?x=1"):
        with pytest.raises(ConfigError) as caught:
            channels_of([wrong], SETTINGS)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "../x"}, "noarch/../x-1-0.conda"),
        ({"version": "1/2"}, "noarch/a-1/2-0.conda"),
        ({"build": ".."}, "noarch/a-1-...conda"),
        ({}, "noarch/b-1-0.conda"),
        ({}, "linux-64/a-1-0.conda"),
        ({"subdir": "win-64"}, "win-64/a-1-0.conda"),
        ({"sha256": ""}, "noarch/a-1-0.conda"),
        ({"sha256": "0" * 32}, "noarch/a-1-0.conda"),
    ],
)
def test_C05_C08_what_an_index_may_not_say_is_refused(changes: Mapping[str, str], path: str) -> None:
    good = Record("a", "1", "0", "", "noarch", 5, "0" * 64, "generic", (), ())
    assert package_of(good, ChannelPath("c", "noarch/a-1-0.conda", ALIAS)).name == "a"
    with pytest.raises(LockError):
        package_of(replace(good, **changes), ChannelPath("c", path, ALIAS))  # type: ignore[arg-type]


def test_where_rattler_is_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, mirror: Path) -> None:
    monkeypatch.setitem(sys.modules, "rattler", None)
    with pytest.raises(LockError, match=r"pip install 'trainload\[conda\]'"):
        chosen(mirror, "python")
    assert rattler.__name__ == "trainload.resolve.conda.rattler"


class Folder:
    """Conda packages of a mirror."""

    def __init__(self, mirror: Path) -> None:
        self.mirror = mirror
        self.opened: list[str] = []

    def open(self, file: File, /) -> BinaryIO:
        assert isinstance(file.location, ChannelPath)
        self.opened.append(file.name)
        data = (self.mirror / file.location.channel.rpartition("/")[2] / file.location.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file.sha256
        return io.BytesIO(data)

    def prefetch(self, files: Sequence[File]) -> None:
        pass


def test_pip_sees_what_the_packages_bring_and_they_are_opened_once(mirror: Path, tmp_path: Path) -> None:
    packages = resolve_conda(request(mirror, ["python=3.11", "pure", "lib"])).packages["amd64"]
    folder = Folder(mirror)
    look = Distributions(folder, folder.prefetch, FolderCache(tmp_path / "memory"))
    found = look(packages)
    assert [(each.name, each.version, each.requires, each.extras) for each in found] == [
        ("pure-thing", "1.0", ("numpy",), ("x",))
    ]
    assert folder.opened == ["pure-1.0-py_0.tar.bz2"]
    assert look(packages) == found and len(folder.opened) == 1


def hashes(mirror: Path, path: str) -> tuple[str, str, int]:
    data = (mirror / "conda-forge" / path).read_bytes()
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return hashlib.sha256(data).hexdigest(), md5, len(data)


UNDESCRIBED = f"""
version: 6
environments: {{default: {{packages: {{linux-64: [{{conda: "{ALIAS}/c/noarch/a-1-0.conda"}}]}}}}}}
"""
PATHS = (
    "linux-64/python-3.11.9-h0_0_cpython.conda",
    "linux-64/zlib-1.3-h0_0.conda",
    "noarch/pure-1.0-py_0.tar.bz2",
)


def explicit(mirror: Path, kind: str) -> str:
    lines = ["# This file may be used to create an environment using:", "# platform: linux-64", "@EXPLICIT"]
    for path in PATHS:
        sha256, md5, _ = hashes(mirror, path)
        lines.append(f"{ALIAS}/conda-forge/{path}" + {"sha256": f"#{sha256}", "md5": f"#{md5}", "": ""}[kind])
    return "\n".join(lines) + "\n"


def conda_lock(mirror: Path) -> str:
    rows = []
    for path in PATHS:
        sha256, md5, _ = hashes(mirror, path)
        name, version, _ = path.rpartition("/")[2].rsplit("-", 2)
        rows.append({
            "name": name, "version": version, "manager": "conda", "platform": "linux-64", "category": "main",
            "dependencies": {"zlib": ">=1.2"} if name == "python" else {}, "optional": False,
            "url": f"{ALIAS}/conda-forge/{path}", "hash": {"md5": md5, "sha256": sha256},
        })  # fmt: skip
    rows.append({
        "name": "wheelie", "version": "1.0", "manager": "pip", "platform": "linux-64", "category": "main",
        "url": "https://files.example/wheelie-1.0-py3-none-any.whl", "hash": {"sha256": "5" * 64},
    })  # fmt: skip
    rows.append({**rows[0], "platform": "osx-64", "url": f"{ALIAS}/conda-forge/osx-64/x-1-0.conda"})
    rows.append({**rows[0], "category": "dev", "name": "dev"})
    return json.dumps({"version": 1, "metadata": {"platforms": ["linux-64"]}, "package": rows})


def pixi_lock(mirror: Path, version: int = 6) -> str:
    listed, rows = [], []
    for path in PATHS:
        sha256, md5, size = hashes(mirror, path)
        url = f"{ALIAS}/conda-forge/{path}"
        listed.append({"conda": url})
        about = {"sha256": sha256, "md5": md5, "size": size, "depends": ["zlib >=1.2"] if "python" in path else []}
        more = {"noarch": "python"} if path.startswith("noarch") else {}
        rows.append(
            {"conda": url, **about, **more} if version == 6 else {"kind": "conda", "url": url, **about, **more}
        )
    wheel = "https://files.example/wheelie-1.0-py3-none-any.whl"
    row = {"name": "wheelie", "version": "1.0", "sha256": "5" * 64}
    rows.append({"pypi": wheel, **row} if version == 6 else {"kind": "pypi", "url": wheel, **row})
    packages = {
        "linux-64": [*listed, {"pypi": wheel}],
        "win-64": [{"conda": "https://x.example/win-64/a-1-0.conda"}],
    }
    return json.dumps({"version": version, "environments": {"default": {"packages": packages}}, "packages": rows})


def taken(mirror: Path, text: str, kind: CondaLockKind, *, trust: Trust | None = None, **changes: object):  # type: ignore[no-untyped-def]  # noqa: ANN201
    (mirror / "the.lock").write_text(text)
    folder = Folder(mirror)
    about = Abouts(folder, folder.prefetch, FolderCache(mirror / "memory"))
    taking = replace(Taking(about, {AMD: (2, 36)}, trust), **changes)  # type: ignore[arg-type]
    return take(mirror, CondaLockFile("the.lock", kind), taking)


def test_every_kind_of_lock_gives_the_same_environment(mirror: Path) -> None:
    locks = {
        CondaLockKind.EXPLICIT: [explicit(mirror, "sha256")],
        CondaLockKind.CONDA_LOCK: [conda_lock(mirror)],
        CondaLockKind.PIXI: [pixi_lock(mirror), pixi_lock(mirror, 5)],
    }
    for kind, texts in locks.items():
        for text in texts:
            found = taken(mirror, text, kind)
            environment = found.environment
            assert environment.channels == (("conda-forge", f"{ALIAS}/conda-forge"),)
            assert (environment.python, environment.site_packages) == ("3.11.9", "lib/python3.11/site-packages")
            packages = {each.name: each for each in environment.packages["amd64"]}
            assert {name: each.noarch for name, each in packages.items()} == {
                "python": "",
                "zlib": "",
                "pure": "python",
            }
            assert "zlib >=1.2" in packages["python"].depends
            wheels = [(each.name, each.version, each.wheels[0].sha256) for each in found.wheels]
            assert wheels == ([] if kind is CondaLockKind.EXPLICIT else [("wheelie", "1.0", "5" * 64)])


def test_F01_a_lock_without_sha256_is_refused_or_taken_on_trust_by_request(mirror: Path) -> None:
    for kind in ("md5", ""):
        with pytest.raises(LockError, match="3 packages have no sha256.*") as caught:
            taken(mirror, explicit(mirror, kind), CondaLockKind.EXPLICIT)
        assert "conda list --explicit --sha256" in str(caught.value) and "--allow-unhashed" in str(caught.value)
    trust = Trust(Http(), channels=Channels(mirror, (str(mirror),)).urls)
    found = taken(mirror, explicit(mirror, "md5"), CondaLockKind.EXPLICIT, trust=trust)
    assert {each.file.sha256 for each in found.environment.packages["amd64"]} == {
        hashes(mirror, p)[0] for p in PATHS
    }
    assert found.unhashed == tuple(sorted(path.rpartition("/")[2] for path in PATHS))
    wrong = explicit(mirror, "md5").replace(hashes(mirror, PATHS[1])[1], "0" * 32)
    with pytest.raises(LockError, match="is not the file the lock means"):
        taken(mirror, wrong, CondaLockKind.EXPLICIT, trust=trust)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("https://x.example/c/linux-64/a-1-0.conda", CondaLockKind.EXPLICIT, "stands before @EXPLICIT"),
        ("@EXPLICIT\nhttps://me:hunter2@x.example/c/linux-64/a-1-0.conda", CondaLockKind.EXPLICIT, "password"),
        ("@EXPLICIT\nhttps://x.example/t/hunter2/c/linux-64/a-1-0.conda", CondaLockKind.EXPLICIT, "token"),
        ("@EXPLICIT\nhttps://x.example/c/linux-64/../../a-1-0.conda", CondaLockKind.EXPLICIT, "not the address"),
        ("@EXPLICIT\nhttps://x.example/c/linux-64/a-1-0.conda#xyz", CondaLockKind.EXPLICIT, "this is no hash"),
        ("@EXPLICIT\nhttps://x.example/c/win-64/a-1-0.conda", CondaLockKind.EXPLICIT, "not the address"),
        ("@EXPLICIT\n", CondaLockKind.EXPLICIT, "not of one platform"),
        (
            "# platform: osx-arm64\n@EXPLICIT\nhttps://conda.example/x/osx-arm64/a-1-0.conda\n",
            CondaLockKind.EXPLICIT, "not of one platform",
        ),
        ("version: 9", CondaLockKind.CONDA_LOCK, "format this version of Trainload does not know"),
        ("version: 99", CondaLockKind.PIXI, "format this version of Trainload does not know"),
        ("version: 6", CondaLockKind.PIXI, "has no environment default"),
        ("a", CondaLockKind.PIXI, "the file is no lock"),
        (UNDESCRIBED, CondaLockKind.PIXI, "listed and not described"),
        ("version: 1\npackage: [{manager: pip, name: a, version: '1', platform: linux-64, url: 'git+ssh://x.example'}]",
         CondaLockKind.CONDA_LOCK, "a is no wheel"),
        ("version: 1\nversion: 1", CondaLockKind.CONDA_LOCK, "a key stands here twice"),
    ],
)  # fmt: skip
def test_F05_F06_what_is_no_lock_is_refused(mirror: Path, text: str, kind: CondaLockKind, said: str) -> None:
    with pytest.raises((LockError, ConfigError, ManyErrors)) as caught:
        taken(mirror, text, kind)
    assert said in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_lock_that_does_not_fit_the_target_is_refused(mirror: Path) -> None:
    with pytest.raises(LockError, match="the lock is not for linux/arm64"):
        taken(mirror, explicit(mirror, "sha256"), CondaLockKind.EXPLICIT, glibc=GLIBC)
    with pytest.raises(LockError, match="needs a later C library than the base has"):
        taken(mirror, explicit(mirror, "sha256"), CondaLockKind.EXPLICIT, glibc={AMD: (2, 12)})
