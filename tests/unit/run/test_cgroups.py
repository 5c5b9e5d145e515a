"""Where limits can be set: from the kernel's texts, for v1, hybrid and v2 machines."""

from __future__ import annotations

from pathlib import Path

from trainload.run.cgroups import Hierarchy, hierarchy, settings
from trainload.run.model import Limits

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_a_hybrid_machine_has_the_old_controllers(tmp_path: Path) -> None:
    own = "5:cpu,cpuacct:/\n4:memory:/a/b\n3:pids:/user\n0::/user\n"
    top = tmp_path / "sys/fs/cgroup"
    assert hierarchy(V1, own, tmp_path) == Hierarchy(
        1, {"cpu": top / "cpu,cpuacct", "memory": top / "memory/a/b", "pids": top / "pids/user"}
    )


def test_a_container_sees_its_own_part_of_the_tree(tmp_path: Path) -> None:
    mounts = "35 31 0:32 /docker/123 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    found = hierarchy(mounts, "4:memory:/docker/123/inner\n", tmp_path)
    assert found.folders == {"memory": tmp_path / "sys/fs/cgroup/memory/inner"}
    outside = hierarchy(mounts, "4:memory:/elsewhere\n", tmp_path)
    assert outside.folders == {"memory": tmp_path / "sys/fs/cgroup/memory"}


def test_v2_counts_where_it_offers_controllers(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup/user.slice"
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text("cpuset cpu memory\n")
    mounts = "30 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
    assert hierarchy(mounts, "0::/user.slice\n", tmp_path) == Hierarchy(2, {"memory": group, "cpu": group})


def test_the_files_hold_what_docker_would_write() -> None:
    limits = Limits(memory=1000, cpus=1.5, pids=7)
    assert settings(limits, 2) == (
        ("memory.max", "1000"), ("memory.swap.max", "1000"), ("cpu.max", "150000 100000"), ("pids.max", "7"),
    )  # fmt: skip
    assert settings(limits, 1) == (
        ("memory.limit_in_bytes", "1000"), ("memory.memsw.limit_in_bytes", "2000"),
        ("cpu.cfs_quota_us", "150000"), ("pids.max", "7"),
    )  # fmt: skip
    assert settings(Limits(memory=1000, memory_swap=1200), 2)[1] == ("memory.swap.max", "200")
    assert settings(Limits(memory=1000, memory_swap=-1), 2)[1] == ("memory.swap.max", "max")
