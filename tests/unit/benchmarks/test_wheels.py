"""Made-up wheels are wheels: Python's reader and our strict one take them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from benchmarks.budget import Deadline
from benchmarks.scaling import Site, exponent
from benchmarks.wheels import WheelWriter

from trainload.layers.wheel import read_wheel


def test_members_come_out_as_they_went_in(tmp_path: Path) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    block = bytes(range(256)) * 16
    with WheelWriter(path, "x-1.dist-info") as wheel:
        wheel.add("x/a,b.py", b"pass\n", mode=0o100755)
        wheel.add("x/empty.py", b"")
        wheel.add_repeated("x/lib.so", block, 3)
    with zipfile.ZipFile(path) as read:
        assert read.testzip() is None
        assert read.read("x/a,b.py") == b"pass\n"
        assert read.read("x/lib.so") == block * 3
        assert read.getinfo("x/a,b.py").external_attr >> 16 == 0o100755
        assert read.read("x-1.dist-info/RECORD").decode().startswith('"x/a,b.py",sha256=')


def test_more_members_than_the_old_directory_can_count(tmp_path: Path) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    with WheelWriter(path, "x-1.dist-info") as wheel:
        for number in range(66_000):
            wheel.add(f"{number}", b"")
    with zipfile.ZipFile(path) as read:
        assert len(read.infolist()) == 66_001


def test_wheels_of_the_scaling_part_are_accepted(tmp_path: Path) -> None:
    site = Site(tmp_path, Deadline(1))
    [name] = site.filed(30, tmp_path)
    path = tmp_path / f"{name.replace('-', '_')}-1-py3-none-any.whl"
    with path.open("rb") as file:
        read = read_wheel(file, path.name, "3.11")
    assert len(read.items) == 30 + 5  # METADATA, WHEEL, RECORD, INSTALLER, REQUESTED


def test_the_exponent_of_a_straight_line_is_one_and_noise_says_nothing() -> None:
    assert round(exponent([(10, 1.0), (100, 10.0), (1000, 100.0)]), 6) == 1
    assert round(exponent([(10, 1.0), (100, 100.0)]), 6) == 2
    assert exponent([(10, 0.01), (100, 0.05)]) == 0
