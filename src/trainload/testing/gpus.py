"""CDI specifications as NVIDIA's toolkit writes them, and a driver library that can be loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HOOK = "/usr/bin/nvidia-cdi-hook"


def hook(verb: str, *words: str, path: str = _HOOK) -> dict[str, Any]:
    """As ``nvidia-ctk cdi generate`` (1.17) writes hooks."""
    return {"hookName": "createContainer", "path": path, "args": [path.rpartition("/")[2], verb, *words]}


def node(path: str, **more: object) -> dict[str, Any]:
    return {"path": path, **more}


def mount(host: str, container: str, *options: str) -> dict[str, Any]:
    return {
        "hostPath": host,
        "containerPath": container,
        "options": list(options or ("ro", "nosuid", "nodev", "bind")),
    }


def spec(
    devices: Mapping[str, Mapping[str, Any]], edits: Mapping[str, Any] | None = None, **more: object
) -> dict[str, Any]:
    """A document; ``devices``: name → container edits."""
    return {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [{"name": name, "containerEdits": dict(own)} for name, own in devices.items()],
        "containerEdits": dict(edits or {}),
        **more,
    }


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


def as_yaml(document: object) -> bytes:
    """The toolkit's own form: block style, texts that look like numbers in quotes."""
    import yaml

    return bytes(yaml.safe_dump({"---": document}["---"], sort_keys=False, encoding="utf-8"))


def driver_library(places: Sequence[str] = ("/lib", "/usr/lib")) -> bytes | None:
    """A shared library whose soname is ``libcuda.so.1``: zstd's, whose name is as long. None: it is not here."""
    for place in places:
        for found in sorted(Path(place).glob("*-linux-gnu/libzstd.so.1")):
            return found.read_bytes().replace(b"libzstd.so.1\0", b"libcuda.so.1\0")
    return None
