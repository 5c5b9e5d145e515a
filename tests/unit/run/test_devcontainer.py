"""``devcontainer.json`` as the specification has it (devcontainers/spec: devContainer.base.schema.json)."""

from __future__ import annotations

import re
from collections.abc import Callable

from trainload.run.devcontainer import Container, document


def is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def are_texts(value: object) -> bool:
    return isinstance(value, list) and all(is_text(item) for item in value)


def are_ports(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= 65535 for item in value)


def are_variables(value: object) -> bool:
    return isinstance(value, dict) and all(is_text(name) and isinstance(text, str) for name, text in value.items())


def is_host(value: object) -> bool:
    """``hostRequirements``; ``gpu`` may also be "optional" or an object."""
    if not isinstance(value, dict) or not set(value) <= {"cpus", "memory", "storage", "gpu"}:
        return False
    cpus, memory = value.get("cpus", 1), value.get("memory", "1gb")
    return type(cpus) is int and cpus >= 1 and re.fullmatch(r"\d+([tgmk]b)?", memory) is not None


SCHEMA: dict[str, Callable[[object], bool]] = {
    "name": is_text, "image": is_text, "initializeCommand": are_texts, "workspaceFolder": is_text,
    "workspaceMount": is_text, "mounts": are_texts, "remoteUser": is_text,
    "updateRemoteUserUID": lambda value: isinstance(value, bool), "init": lambda value: isinstance(value, bool),
    "overrideCommand": lambda value: isinstance(value, bool), "containerEnv": are_variables,
    "forwardPorts": are_ports, "runArgs": are_texts, "hostRequirements": is_host,
    "customizations": lambda value: isinstance(value, dict),
}  # fmt: skip
BARE = Container("digits", "localhost/trainload/digits:latest", "/app", "app", 1000)
FULL = Container(
    "digits", "registry.example/team/digits:v1", "/app", "app", 1000, "docker", {"A": ""},
    [("${localWorkspaceFolder}/data", "/data", True, False), ("cache", "/cache", False, True)],
    [6006], "all", 2**30, 4 * 2**30, 1.5, ["trainload", "--version"],
)  # fmt: skip


def test_every_property_is_one_of_the_schema_and_has_its_type() -> None:
    for container in (BARE, FULL):
        for name, value in document(container).items():
            assert SCHEMA[name](value), (name, value)
    assert set(document(FULL)) == set(SCHEMA)
    assert "features" not in document(FULL), "the image is complete"


def test_an_image_needs_the_folder_mounted_where_its_code_is() -> None:
    found = document(BARE)
    assert found["workspaceFolder"] == "/app"
    assert found["workspaceMount"] == "source=${localWorkspaceFolder},target=/app,type=bind"


def test_mounts_are_dockers_words() -> None:
    assert document(FULL)["mounts"] == [
        "source=${localWorkspaceFolder}/data,target=/data,type=bind,readonly",
        "source=cache,target=/cache,type=volume",
    ]


def test_all_gpus_are_asked_for_once_and_some_by_the_engines_option() -> None:
    found = document(FULL)
    assert found["hostRequirements"] == {"gpu": True, "cpus": 2, "memory": "4096mb"}
    assert found["runArgs"] == ["--shm-size=1073741824"], "editors add --gpus all for the requirement"
    some = document(Container("x", "x", "/", "app", gpus="device=0,1"))
    assert some["runArgs"] == ["--gpus=device=0,1"] and "hostRequirements" not in some


def test_podman_has_cdi_devices_and_its_own_way_to_keep_files_ours() -> None:
    for gpus, names in (("all", ["all"]), ("2", ["0", "1"]), ("device=3", ["3"])):
        found = document(Container("x", "x", "/", "app", 1000, "podman", gpus=gpus))
        devices = [f"--device=nvidia.com/gpu={name}" for name in names]
        assert found["runArgs"] == [*devices, "--userns=keep-id:uid=1000,gid=1000"]
        assert found["updateRemoteUserUID"] is False
