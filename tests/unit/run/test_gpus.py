"""GPUs are what this machine has, or a refusal before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.errors import RunError
from trainload.run.gpus import Devices, devices
from trainload.run.model import Mount

LDCONFIG = """\
3 libs found in cache `/etc/ld.so.cache'
	libcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1
	libcuda.so.1 (libc6) => /usr/lib/i386-linux-gnu/libcuda.so.1
	libnvidia-ml.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1
	libcurl.so.4 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcurl.so.4
"""


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps", "null"):
        (tmp_path / name).touch()
    return tmp_path


def test_none_are_wanted() -> None:
    assert devices(None) == Devices()


def test_a_machine_without_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no NVIDIA GPU"):
        devices("all", tmp_path, LDCONFIG)


def test_all_brings_nodes_and_the_drivers_libraries(dev: Path) -> None:
    found = devices("all", dev, LDCONFIG)
    assert [Path(node).name for node in found.nodes] == ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"]
    assert found.mounts == tuple(
        Mount(f"/usr/lib/x86_64-linux-gnu/{name}", f"/usr/local/nvidia/lib64/{name}", read_only=True)
        for name in ("libcuda.so.1", "libnvidia-ml.so.1")
    )


@pytest.mark.parametrize(
    ("wanted", "names"), [("1", ["nvidia0"]), ("device=1", ["nvidia1"]), ("device=0,1", ["nvidia0", "nvidia1"])]
)
def test_some_of_them(dev: Path, wanted: str, names: list[str]) -> None:
    assert [Path(node).name for node in devices(wanted, dev, "").nodes][: len(names)] == names


@pytest.mark.parametrize("wanted", ["3", "device=7", "many", "device=GPU-1234"])
def test_what_is_not_there_is_refused(dev: Path, wanted: str) -> None:
    with pytest.raises(RunError):
        devices(wanted, dev, "")
