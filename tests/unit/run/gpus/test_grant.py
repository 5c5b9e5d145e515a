"""Requests on machines of all kinds, without any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from trainload.errors import RunError, Text
from trainload.run.gpus import cdi
from trainload.run.gpus.driver import FOLDER
from trainload.run.gpus.grant import grant, names
from trainload.run.gpus.host import loaded
from trainload.run.gpus.model import Facts, Grant, HostNode, Link, Node
from trainload.run.gpus.wanted import wanted
from trainload.run.model import Mount
from trainload.testing.gpus import as_json, hook, mount, node, spec

OPEN = HostNode(195, 0, 0o666, 0)
LIB = "/usr/lib/x86_64-linux-gnu"
TOOLKIT = spec(
    {
        "0": {"deviceNodes": [node("/dev/nvidia0", major=195, minor=0)], "hooks": [hook("chmod", "--mode", "755",
              "--path", "/dev/dri")]},
        "1": {"deviceNodes": [node("/dev/nvidia1")]},
        "GPU-aa": {"deviceNodes": [node("/dev/nvidia0")]},
        "all": {"deviceNodes": [node("/dev/nvidia0"), node("/dev/nvidia1")]},
    },
    {
        "env": ["NVIDIA_VISIBLE_DEVICES=void"],
        "deviceNodes": [node("/dev/nvidiactl")],
        "mounts": [mount(f"{LIB}/libcuda.so.550.54.15", f"{LIB}/libcuda.so.550.54.15"),
                   mount("/run/p/socket", "/run/p/socket", "rw", "bind")],
        "hooks": [hook("create-symlinks", "--link", f"libcuda.so.1::{LIB}/libcuda.so"),
                  hook("enable-cuda-compat", "--host-driver-version=550.54.15"),
                  hook("update-ldcache", "--folder", LIB)],
        "additionalGids": [44],
    },
)  # fmt: skip
NODES = {f"/dev/nvidia{name}": OPEN for name in ("0", "1", "ctl", "-uvm", "-uvm-tools")}
MACHINE = Facts(
    specs=(cdi.read(as_json(TOOLKIT), "/etc/cdi/nvidia.json"),),
    nodes=NODES,
    files=frozenset({f"{LIB}/libcuda.so.550.54.15", "/run/p/socket", "/usr/bin/nvidia-smi"}),
    libraries={
        name: f"{LIB}/{name}"
        for name in (
            "libcuda.so.1",
            "libnvidia-ml.so.1",
            "libnvidia-encode.so.1",
            "libcurl.so.4",
            "libcudart.so.12",
        )
    },
    driver="550.54.15",
)
PLAIN = replace(MACHINE, specs=())


def granted(text: str, facts: Facts = MACHINE, env: Mapping[str, str] | None = None) -> Grant:
    return grant(wanted(text), facts, env or {})


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("all", ["all"]), ("1", ["0"]), ("2", ["0", "1"]), ("device=1,0", ["1", "0"]),
        ("device=GPU-aa", ["GPU-aa"]), ("device=nvidia.com/gpu=1", ["1"]),
    ],
)  # fmt: skip
def test_an_engine_that_reads_specifications_gets_their_names(text: str, called: list[str]) -> None:
    asked = wanted(text)
    assert asked is not None
    assert names(asked, MACHINE) == tuple(f"nvidia.com/gpu={name}" for name in called)


def test_names_are_those_of_the_specification_that_is_there() -> None:
    card = {"deviceNodes": [node("/dev/dri/renderD128")]}
    own = spec({"7": card, "9": card}, kind="amd.com/gpu")
    facts = replace(MACHINE, specs=(cdi.read(as_json(own), "a.json"),))
    for text, called in (("all", ["7", "9"]), ("1", ["7"])):
        asked = wanted(text)
        assert asked is not None
        assert names(asked, facts) == tuple(f"amd.com/gpu={name}" for name in called)


@pytest.mark.parametrize(
    ("text", "facts", "says"),
    [
        ("3", MACHINE, "not that many"),
        ("device=7", MACHINE, "there is no GPU 7"),
        ("all", PLAIN, "no CDI specification of nvidia.com/gpu"),
        ("device=vendor.example/card=1", MACHINE, "no CDI specification of vendor.example/card"),
    ],
)
def test_an_engine_is_not_asked_for_devices_that_no_specification_has(text: str, facts: Facts, says: str) -> None:
    asked = wanted(text)
    assert asked is not None
    with pytest.raises(RunError, match=says):
        names(asked, facts)


def nodes(found: Grant) -> list[str]:
    return [one.target for one in found.nodes]


def test_golden_of_a_specification() -> None:
    assert granted("device=0") == Grant(
        nodes=(Node("/dev/nvidiactl", "/dev/nvidiactl"), Node("/dev/nvidia0", "/dev/nvidia0")),
        mounts=(
            Mount(f"{LIB}/libcuda.so.550.54.15", f"{LIB}/libcuda.so.550.54.15", read_only=True),
            Mount("/run/p/socket", "/run/p/socket", read_only=False),
        ),
        env={"NVIDIA_VISIBLE_DEVICES": "void"},
        links=(Link(f"{LIB}/libcuda.so", "libcuda.so.1"),),
        folders=(LIB,),
        groups=(44,),
        driver="550.54.15",
        cuda=True,
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", ["ctl", "0", "1"]),
        ("1", ["ctl", "0"]),
        ("2", ["ctl", "0", "1"]),
        ("device=1", ["ctl", "1"]),
        ("device=1,0", ["ctl", "1", "0"]),
        ("device=GPU-aa", ["ctl", "0"]),
        ("device=nvidia.com/gpu=1", ["ctl", "1"]),
    ],
)
def test_some_of_a_specification(text: str, names: list[str]) -> None:
    assert nodes(granted(text)) == [f"/dev/nvidia{name}" for name in names]


@pytest.mark.parametrize("facts", [MACHINE, PLAIN])
@pytest.mark.parametrize("text", ["3", "device=7"])
def test_what_is_not_there_is_refused(text: str, facts: Facts) -> None:
    with pytest.raises(RunError, match="no GPU|not that many"):
        granted(text, facts)


def test_a_specification_older_than_the_driver_is_refused_with_the_command_that_mends_it() -> None:
    for facts in (
        replace(MACHINE, files=frozenset()),
        replace(MACHINE, nodes={}),
        replace(MACHINE, nodes={**NODES, "/dev/nvidia0": HostNode(1, 3, 0o666, 0)}),
    ):
        with pytest.raises(RunError, match="specification") as caught:
            granted("device=0", facts)
        assert "nvidia-ctk cdi generate" in str(caught.value.hints[0])


def test_another_driver_than_the_specifications_is_told() -> None:
    (note,) = granted("all", replace(MACHINE, driver="570.1.2")).notes
    assert "550.54.15" in str(note)
    assert "570.1.2" in str(note)


def test_D6_somebody_elses_hook_is_never_called_and_refused() -> None:
    evil = spec({"0": {"hooks": [hook("x", path="/opt/vendor/hook")]}})
    with pytest.raises(RunError, match="hook /opt/vendor/hook"):
        granted("all", replace(MACHINE, specs=(cdi.read(as_json(evil), "a.json"),)))


def test_permissions_are_given_to_folders_of_its_own_only() -> None:
    """A node is the host's: whoever changed it inside would change it for everybody."""
    hooks = [hook("chmod", "--mode", "711", "--path", place)
             for place in ("/dev/dri", "/dev/dri/card0", "/dev/nvidia0", "/dev/gone", "/usr/lib")]  # fmt: skip
    own = spec({"0": {"deviceNodes": [node("/dev/dri/card0"), node("/dev/nvidia0")], "hooks": hooks}})
    facts = replace(MACHINE, nodes={**NODES, "/dev/dri/card0": OPEN}, specs=(cdi.read(as_json(own), "a.json"),))
    assert granted("all", facts).modes == (("/dev/dri", 0o711),)


def test_a_hook_of_nvidias_that_is_new_is_told() -> None:
    new = spec({"0": {"hooks": [hook("later", "--x")], "deviceNodes": [node("/dev/nvidia0")]}})
    found = granted("all", replace(MACHINE, specs=(cdi.read(as_json(new), "a.json"),)))
    assert ["later" in str(note) for note in found.notes] == [True]


@pytest.mark.parametrize(
    "words",
    [("create-symlinks", "--link", "a::../b"), ("create-symlinks", "--link", "a"),
     ("update-ldcache", "--folder", "x"), ("create-symlinks", "--link", "a::/x/../../b"),
     ("chmod", "--mode", "u+s", "--path", "/dev/x")],
)  # fmt: skip
def test_L12_a_hook_that_leads_elsewhere_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(RunError, match="cannot be understood"):
        granted(
            "all", replace(MACHINE, specs=(cdi.read(as_json(spec({"0": {"hooks": [hook(*words)]}})), "a.json"),))
        )


def test_golden_of_a_machine_without_a_specification() -> None:
    assert granted("1", PLAIN) == Grant(
        nodes=tuple(Node(path, path) for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm",
                                                  "/dev/nvidia-uvm-tools")),
        mounts=(
            Mount(f"{LIB}/libcuda.so.1", f"{FOLDER}/libcuda.so.1", read_only=True),
            Mount(f"{LIB}/libnvidia-ml.so.1", f"{FOLDER}/libnvidia-ml.so.1", read_only=True),
            Mount("/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi", read_only=True),
        ),
        env={"NVIDIA_VISIBLE_DEVICES": "0"},
        folders=(FOLDER,),
        cuda=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "text", "libraries"),
    [
        ("", "all", ["libcuda.so.1", "libnvidia-ml.so.1"]),
        ("utility", "all", ["libnvidia-ml.so.1"]),
        ("compute,video", "all", ["libcuda.so.1", "libnvidia-encode.so.1"]),
        ("all", "all", ["libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-encode.so.1"]),
        ("utility", "all,capabilities=compute", ["libcuda.so.1"]),
        ("nonsense", "all", ["libcuda.so.1", "libnvidia-ml.so.1"]),
    ],
)
def test_driver_capabilities_choose_the_libraries(said: str, text: str, libraries: list[str]) -> None:
    found = granted(text, PLAIN, {"NVIDIA_DRIVER_CAPABILITIES": said})
    assert [one.target.rpartition("/")[2] for one in found.mounts if "/lib" in one.target] == libraries


def test_a_driver_without_its_library_is_told() -> None:
    (note,) = granted("all", replace(PLAIN, libraries={})).notes
    assert "libcuda.so.1" in str(note)


def test_a_uuid_without_a_specification_says_how_to_get_one() -> None:
    with pytest.raises(RunError, match="GPU-aa") as caught:
        granted("device=GPU-aa", PLAIN)
    assert "nvidia-ctk cdi generate" in str(caught.value.hints[0])


def test_wsl2_has_one_node_for_all() -> None:
    facts = Facts(nodes={"/dev/dxg": OPEN}, files=frozenset({"/usr/lib/wsl"}))
    found = granted("all", facts)
    assert nodes(found) == ["/dev/dxg"]
    assert found.mounts == (Mount("/usr/lib/wsl", "/usr/lib/wsl", read_only=True),)
    assert found.folders == ("/usr/lib/wsl/lib",)
    assert found.env == {}
    assert granted("device=1", facts).env == {"CUDA_VISIBLE_DEVICES": "1"}


def test_amd_brings_nodes_and_the_groups_that_may_open_them() -> None:
    render = HostNode(226, 128, 0o660, 109)
    facts = Facts(nodes={"/dev/kfd": HostNode(234, 0, 0o660, 44), "/dev/dri/renderD128": render,
                         "/dev/dri/renderD129": render, "/dev/dri/card0": render})  # fmt: skip
    assert nodes(granted("all", facts)) == ["/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129"]
    found = granted("device=1", facts)
    assert nodes(found) == ["/dev/kfd", "/dev/dri/renderD129"]
    assert (found.groups, found.cuda) == ((44, 109), False)
    both = replace(facts, nodes={**facts.nodes, **NODES})
    assert "/dev/kfd" not in nodes(granted("all", both))
    assert "/dev/kfd" in nodes(granted("all", both, {"ROCM_PATH": "/opt/rocm"}))


def test_a_machine_without_one_says_so_and_why_its_specification_did_not_help() -> None:
    with pytest.raises(RunError, match="no GPU that can be used") as caught:
        granted("all", Facts(troubles=(MACHINE_TROUBLE,)))
    assert caught.value.hints[0] == MACHINE_TROUBLE
    assert grant(None, Facts(), {}) == Grant()


MACHINE_TROUBLE = Text("x.yaml cannot be read")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56\nGCC version: 12\n",
         "550.54.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n", "570.124.06"),
        ("", None),
    ],
)  # fmt: skip
def test_the_loaded_driver(text: str, version: str | None) -> None:
    assert loaded(text) == version
