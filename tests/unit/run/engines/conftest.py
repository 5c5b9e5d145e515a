"""Golden files of what engines are sent, and a run that asks for everything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.run.model import Again, HealthCheck, Limits, Mount, Port, Restart, RunSpec

GOLDEN = Path(__file__).parents[3] / "golden" / "engines"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a text with ``tests/golden/engines/NAME``; ``UPDATE_GOLDEN=1`` writes it."""

    def compare(name: str, text: str) -> None:
        if os.environ.get("UPDATE_GOLDEN"):
            (GOLDEN / name).write_text(text, encoding="utf-8")
        assert text == (GOLDEN / name).read_text(encoding="utf-8")

    return compare


@pytest.fixture
def least() -> RunSpec:
    return RunSpec(
        image=Digest.sha256(b"image"), id="0123456789ab", command=("python", "train.py"), user="1000:1000",
        workdir="/workspace", env={"A": "1"},
    )  # fmt: skip


@pytest.fixture
def everything() -> RunSpec:
    return RunSpec(
        image=Digest.sha256(b"image"),
        id="0123456789ab",
        command=("python", "train.py", "--name", "a b; $c"),
        user="ada",
        workdir="/work space",
        env={"PATH": "/bin", "TOKEN": "hunter2", "LINES": "one\ntwo", "LD_PRELOAD": "/evil.so"},
        mounts=(Mount("/data, and: more", "/data", read_only=True), Mount("cache", "/cache", volume=True)),
        limits=Limits(memory=2 << 30, memory_swap=4 << 30, cpus=1.5, pids=100, shm=1 << 30),
        gpus="device=0,GPU-1",
        ports=(Port(8888, 8888), Port(80, 8080, "127.0.0.1"), Port(53, None, "", "udp"), Port(80, 81, "::1")),
        network_name="web",
        tty=True,
        hostname="gpu7",
        read_only=True,
        stop_signal="SIGINT",
        grace=2.5,
        labels={"team": "vision"},
        called="train",
        init=True,
        restart=Restart(Again.ON_FAILURE, 3),
        health=HealthCheck(("sh", "-c", "curl -f http://127.0.0.1:80"), 1.5, 2.0, 5, 10.0),
    )
