"""What a base image has is told to the real uv, and never placed again: on loopback, with wheels made by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from trainload.errors import LockError
from trainload.events import Event, Said
from trainload.lock.adopt import Adopted
from trainload.lock.found import Installed
from trainload.lock.model import File, PythonPackage, Url
from trainload.lock.select import MACHINE_MARKERS, Target
from trainload.platform import Platform
from trainload.project.model import PylockFile, RequirementFiles
from trainload.resolve.provided import Provided, beside, split
from trainload.resolve.python import resolve_python
from trainload.resolve.request import PythonRequest
from trainload.resolve.uv import Uv
from trainload.testing.index import PackageIndex, wheel
from trainload.testing.server import FaultServer

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
NVIDIA = Installed("torch", "2.3.0a0+6ddf5cf85e.nv24.4", ("numpy", "filelock>=3; extra == 'x'"), ("x",))
BASE = (NVIDIA, Installed("numpy", "1.24.4"), Installed("Pandas".lower(), "1.5.3", ("numpy>=1.20,<2",)))


class Heard(list[str]):
    def report(self, event: Event, /) -> None:
        if isinstance(event, Said):
            self.append(str(event.text))


@dataclass
class Yard:
    root: Path
    index: PackageIndex

    def lock(
        self, requirements: str, installed: Sequence[Installed] = BASE, *, whole: bool = False, **changed: object
    ) -> tuple[dict[str, str], Heard]:
        """What is placed for ``requirements``, by name, and what was said."""
        (self.root / "requirements.txt").write_text(requirements)
        provided = Provided({AMD64: tuple(installed)}, whole=whole)
        targets = (Target(AMD64, "3.10.12", (2, 35)),)
        request = PythonRequest(
            self.root,
            RequirementFiles(("requirements.txt",)),
            targets,
            indexes=(self.index.url,),
            provided=provided,
        )
        return self.ask(replace(request, **changed))  # type: ignore[arg-type]

    def ask(self, request: PythonRequest) -> tuple[dict[str, str], Heard]:
        heard = Heard()
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
        adopted = resolve_python(request, Uv({**environ, "UV_NO_CACHE": "1", "UV_HTTP_RETRIES": "0"}))
        platforms = [target.platform for target in request.targets]
        found = beside(adopted, platforms, request.provided, heard)
        for package in found.packages:
            assert package.wheels, "nothing of ours is locked"
            assert not any("0base" in file.name for file in package.wheels)
        return {package.name: package.version for package in found.packages}, heard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with FaultServer() as server:
        index = PackageIndex(server)
        index.add(
            wheel("torch", "2.6.0", requires=["nvidia-cublas"]), wheel("nvidia-cublas", "12.4"),
            wheel("numpy", "1.24.4"), wheel("numpy", "1.26.4"), wheel("numpy", "2.1.0"),
            wheel("pandas", "2.2.0", requires=["numpy>=1.22"]), wheel("click", "8.1.0"),
            wheel("filelock", "3.13.0"), wheel("lightning", "2.4", requires=["torch>=2.1", "numpy"]),
            wheel("old-lightning", "1.0", requires=["torch<2"]),
        )  # fmt: skip
        yield Yard(tmp_path, index)


def test_nvidias_own_torch_stays_although_the_index_has_a_newer_one(yard: Yard) -> None:
    placed, heard = yard.lock("torch>=2.0\nnumpy\nclick\n")
    assert placed == {"click": "8.1.0"}
    assert heard == ["of the base: numpy 1.24.4, torch 2.3.0a0+6ddf5cf85e.nv24.4"]


def test_what_others_require_of_the_base_counts_too(yard: Yard) -> None:
    assert yard.lock("lightning\n")[0] == {"lightning": "2.4"}
    with pytest.raises(LockError, match="the base has torch 2.3.0a0"):
        yard.lock("old-lightning\n")


def test_a_requirement_the_bases_torch_does_not_fulfil_is_refused_with_both_versions(yard: Yard) -> None:
    with pytest.raises(LockError) as caught:
        yard.lock("torch>=2.3\n")
    assert "the base has torch 2.3.0a0+6ddf5cf85e.nv24.4" in str(caught.value)
    assert "torch>=2.3" in str(caught.value.got)
    assert [str(hint) for hint in caught.value.hints] == [
        "ask for what the base has: torch==2.3.0a0+6ddf5cf85e.nv24.4",
        "or take a base without torch, such as apt:jammy",
    ]


def test_another_version_of_what_is_no_build_for_an_accelerator_hides_the_bases_and_is_told(yard: Yard) -> None:
    placed, heard = yard.lock("numpy>=1.25,<2\n")
    assert placed == {"numpy": "1.26.4"}
    assert heard == ["numpy 1.26.4 hides the base's 1.24.4"]


def test_what_a_distribution_of_the_base_requires_is_believed(yard: Yard) -> None:
    placed, _ = yard.lock("pandas\nnumpy>=2\n")
    assert placed == {"numpy": "2.1.0", "pandas": "2.2.0"}  # the base's pandas wants numpy<2


def test_an_extra_the_base_does_not_have_is_placed(yard: Yard) -> None:
    assert yard.lock("torch[x]\n")[0] == {"filelock": "3.13.0"}


def test_in_the_bases_own_environment_nothing_is_replaced(yard: Yard) -> None:
    assert yard.lock("numpy\nclick\n", whole=True)[0] == {"click": "8.1.0"}
    with pytest.raises(LockError, match=r"the base has numpy 1\.24\.4, which the project does not take"):
        yard.lock("numpy>=1.25\n", whole=True)


def test_a_base_without_torch_leaves_everything_to_the_index(yard: Yard) -> None:
    placed, _ = yard.lock("torch\n", [Installed("pip", "24.0")])
    assert placed == {"torch": "2.6.0", "nvidia-cublas": "12.4"}


def test_broken_metadata_of_a_base_is_left_out(yard: Yard) -> None:
    odd = Installed("numpy", "1.24.4", ("not a requirement !!", "mine @ file:///etc/passwd"), ("x\ny",))
    assert yard.lock("numpy\n", [odd])[0] == {}


def test_platforms_whose_bases_differ_are_asked_one_by_one(yard: Yard) -> None:
    (yard.root / "requirements.txt").write_text("numpy\nclick\n")
    provided = Provided({AMD64: (Installed("numpy", "1.24.4"),), ARM64: ()})
    request = PythonRequest(
        yard.root,
        RequirementFiles(("requirements.txt",)),
        tuple(Target(platform, "3.10.12", (2, 35)) for platform in (AMD64, ARM64)),
        indexes=(yard.index.url,),
        provided=provided,
    )
    placed, _ = yard.ask(request)
    assert placed == {"click": "8.1.0", "numpy": "2.1.0"}


def test_a_lock_of_the_users_is_honoured_and_what_the_base_has_is_not_placed_again(yard: Yard) -> None:
    rows = [
        ("torch", "2.3.0a0"),
        ("nvidia-cublas", "12.4"),
        ("triton", "3.0"),
        ("numpy", "1.26.4"),
        ("click", "8.1.0"),
    ]
    text = 'lock-version = "1.0"\ncreated-by = "hand"\n' + "".join(
        f'[[packages]]\nname = "{name}"\nversion = "{version}"\nwheels = [{{ url = "https://files.example/'
        f'{name.replace("-", "_")}-{version}-py3-none-any.whl", hashes = {{ sha256 = "{"a" * 64}" }} }}]\n'
        for name, version in rows
    )
    (yard.root / "pylock.toml").write_text(text)
    placed, heard = yard.lock("", dependencies=PylockFile())
    assert placed == {"numpy": "1.26.4", "click": "8.1.0"}
    assert "left out, since torch is the base's: nvidia-cublas, triton" in heard
    (yard.root / "pylock.toml").write_text(text.replace("2.3.0a0", "2.6.0"))
    with pytest.raises(LockError, match="the base has torch 2.3.0a0.*and the project needs torch 2.6.0"):
        yard.lock("", dependencies=PylockFile())


def package(name: str, version: str, marker: str | None = None) -> PythonPackage:
    file = File(f"{name}-{version}-py3-none-any.whl", "a" * 64, 1, Url("https://files.example/x.whl"))
    return PythonPackage(name, version, (file,), marker=marker)


def test_a_package_is_placed_on_the_platforms_whose_base_lacks_it() -> None:
    provided = Provided({AMD64: (Installed("a", "1.0+cu121"),), ARM64: (Installed("b", "2"),)})
    found = split([package("a", "1.0"), package("b", "2"), package("c", "3")], [AMD64, ARM64], provided)
    assert [(one.name, one.marker) for one in found.packages] == [
        ("a", MACHINE_MARKERS["aarch64"]), ("b", MACHINE_MARKERS["x86_64"]), ("c", None),
    ]  # fmt: skip
    only = split([package("a", "1.0", MACHINE_MARKERS["x86_64"])], [AMD64, ARM64], provided)
    assert only.packages == ()


def test_what_fits_no_platform_is_no_matter_where_the_base_has_it() -> None:
    errors = (LockError("no wheel"), LockError("other"))
    for error, name in zip(errors, ("a", "b"), strict=True):
        error.text.values["name"] = name
    adopted = Adopted((package("a", "1"), package("b", "1")), {AMD64: errors})
    left = beside(adopted, [AMD64], Provided({AMD64: (Installed("a", "1"),)}), Heard())
    assert [error.text.values["name"] for error in left.misfits[AMD64]] == ["b"]
