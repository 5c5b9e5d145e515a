"""A specification is read whole, or refused with the key that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from trainload.errors import ConfigError
from trainload.run.gpus.cdi import VERSIONS, DeviceNode, Edits, Hook, SpecMount, read
from trainload.testing.gpus import as_json, as_yaml, hook, mount, node, spec

FULL = spec(
    {"0": {"deviceNodes": [node("/dev/nvidia0", hostPath="/dev/other", major=195, minor=0, permissions="rw")]},
     "GPU-1a": {}, "all": {"env": ["A=b=c"]}},
    {"mounts": [mount("/a", "/b"), {"hostPath": "/c", "containerPath": "/d"}],
     "hooks": [hook("chmod", "--mode", "755")], "additionalGids": [44], "env": ["NVIDIA_VISIBLE_DEVICES=void"]},
)  # fmt: skip


@pytest.mark.parametrize(("data", "file"), [(as_json(FULL), "a.json"), (as_yaml(FULL), "a.yaml")])
def test_both_forms_say_the_same(data: bytes, file: str) -> None:
    found = read(data, file)
    assert found.kind == "nvidia.com/gpu"
    assert found.devices["0"] == Edits(nodes=(DeviceNode("/dev/nvidia0", "/dev/other", 195, 0, "rw"),))
    assert found.devices["all"].env == ("A=b=c",)
    path = "/usr/bin/nvidia-cdi-hook"
    assert found.edits == Edits(
        env=("NVIDIA_VISIBLE_DEVICES=void",),
        mounts=(SpecMount("/a", "/b", ("ro", "nosuid", "nodev", "bind")), SpecMount("/c", "/d")),
        hooks=(Hook("createContainer", path, ("nvidia-cdi-hook", "chmod", "--mode", "755")),),
        groups=(44,),
    )


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_every_version(version: str) -> None:
    assert read(as_json({**FULL, "cdiVersion": version}), "a.json").devices.keys() == {"0", "GPU-1a", "all"}


def edits(**more: object) -> dict[str, Any]:
    return spec({"0": more})


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({**FULL, "cdiVersion": "0.2.0"}, "cdiVersion"),
        ({**FULL, "cdiVersion": 1}, "cdiVersion"),
        ({**FULL, "kind": "gpu"}, "kind"),
        ({**FULL, "more": 1}, "more"),
        ({**FULL, "devices": []}, "devices"),
        ({**FULL, "devices": [{"name": "0"}, {"name": "0"}]}, "devices[1].name"),
        ({**FULL, "devices": [{"name": 0}]}, "devices[0].name"),
        (edits(netDevices=[]), "devices[0].containerEdits.netDevices"),
        (edits(env=["A"]), "devices[0].containerEdits.env[0]"),
        (edits(env=["A=\0"]), "devices[0].containerEdits.env[0]"),
        (edits(deviceNodes=[node("/etc/passwd")]), "devices[0].containerEdits.deviceNodes[0].path"),
        (edits(deviceNodes=[node("/dev/../etc")]), "devices[0].containerEdits.deviceNodes[0].path"),
        (edits(deviceNodes=[node("/dev/x", major=-1)]), "devices[0].containerEdits.deviceNodes[0].major"),
        (edits(deviceNodes=[node("/dev/x", type="p")]), "devices[0].containerEdits.deviceNodes[0].type"),
        (edits(mounts=[mount("/a", "/")]), "devices[0].containerEdits.mounts[0].containerPath"),
        (edits(mounts=[mount("/a", "/proc/1")]), "devices[0].containerEdits.mounts[0].containerPath"),
        (edits(mounts=[mount("/a", "b")]), "devices[0].containerEdits.mounts[0].containerPath"),
        (edits(mounts=[mount("/a", "/b", "suid")]), "devices[0].containerEdits.mounts[0].options"),
        (edits(mounts=[{**mount("/a", "/b"), "type": "overlay"}]), "devices[0].containerEdits.mounts[0].type"),
        (edits(additionalGids=["44"]), "devices[0].containerEdits.additionalGids[0]"),
        ([], None),
    ],
)
def test_D6_what_is_wrong_is_refused_with_its_key(document: object, key: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        read(as_json(document), "a.json")
    assert caught.value.place is not None
    assert (caught.value.place.file, caught.value.place.inside) == ("a.json", key)
