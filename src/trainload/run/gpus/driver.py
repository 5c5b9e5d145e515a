"""GPUs of a machine without a specification: the driver's nodes and libraries as they are found. Pure.

NVIDIA's container library chooses by the same lists (libnvidia-container: src/nvc_info.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from trainload.errors import RunError, Text
from trainload.run.gpus.model import CUDA, Facts, Grant, HostNode, Link, Node
from trainload.run.gpus.wanted import Wanted
from trainload.run.model import Mount

FOLDER = "/usr/local/nvidia/lib64"
"""nvidia-docker's place; CUDA images have it in LD_LIBRARY_PATH already."""
WSL = "/usr/lib/wsl"
WSL_NODE = "/dev/dxg"
CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
LIBRARIES: Mapping[str, str] = {
    "utility": "nvidia-(?:ml|cfg|nscq)",
    "compute": "cuda|cudadebugger|nvidia-(?:opencl|gpucomp|ptxjitcompiler|fatbinaryloader|allocator|compiler|nvvm"
    "|pkcs11(?:-openssl3)?)",
    "video": "nvcuvid|vdpau_nvidia|nvidia-(?:encode|opticalflow)",
    "graphics": "nvoptix|(?:GLX|EGL|GLESv2|GLESv1_CM)_nvidia|nvidia-(?:eglcore|glcore|tls|glsi|fbc|rtcore|glvkspirv"
    "|cbl|egl-gbm|egl-wayland)",
    "ngx": "nvidia-ngx",
}
"""Capability → libraries, ``lib`` before and ``.so`` after."""
PROGRAMS: Mapping[str, Sequence[str]] = {
    "utility": ("/usr/bin/nvidia-smi", "/usr/bin/nvidia-debugdump"),
    "compute": ("/usr/bin/nvidia-cuda-mps-control", "/usr/bin/nvidia-cuda-mps-server"),
}
_USUAL = frozenset({"utility", "compute"})
"""Without NVIDIA_DRIVER_CAPABILITIES (nvidia-container-toolkit: image.DefaultDriverCapabilities)."""
_NODE = re.compile(r"/dev/nvidia([0-9]+)")
_RENDER = re.compile(r"/dev/dri/renderD([0-9]+)")


def nvidia(wanted: Wanted, facts: Facts, env: Mapping[str, str]) -> Grant | None:
    """None: this machine has none. Raises :class:`RunError` when it has not those that are asked for."""
    there = sorted(int(match[1]) for path in facts.nodes if (match := _NODE.fullmatch(path)))
    if not there:
        return _wsl(wanted, facts) if WSL_NODE in facts.nodes else None
    chosen = _numbers(wanted, there)
    nodes = [f"/dev/nvidia{number}" for number in chosen] + [path for path in CONTROL if path in facts.nodes]
    able = capabilities(wanted, env)
    pattern = re.compile(
        f"lib(?:{'|'.join(LIBRARIES[name] for name in sorted(able & LIBRARIES.keys()))})\\.so\\..*"
    )
    libraries = {name: path for name, path in facts.libraries.items() if pattern.fullmatch(name)}
    programs = [path for name in sorted(able & PROGRAMS.keys()) for path in PROGRAMS[name] if path in facts.files]
    return Grant(
        nodes=tuple(Node(path, path) for path in nodes),
        mounts=(
            *(Mount(path, f"{FOLDER}/{name}", read_only=True) for name, path in libraries.items()),
            *(Mount(path, path, read_only=True) for path in programs),
        ),
        env={"NVIDIA_VISIBLE_DEVICES": ",".join(map(str, chosen))},
        folders=(FOLDER,),
        groups=tuple(sorted(needed_groups(facts.nodes[path] for path in nodes))),
        cuda="compute" in able,
        notes=(*facts.troubles, *_without_cuda(libraries, able)),
    )


def capabilities(wanted: Wanted, env: Mapping[str, str]) -> frozenset[str]:
    """What of the driver goes in: as ``--gpus`` says, else as NVIDIA_DRIVER_CAPABILITIES of the run says."""
    said = frozenset(filter(None, env.get("NVIDIA_DRIVER_CAPABILITIES", "").split(",")))
    able = wanted.capabilities or said or _USUAL
    return frozenset(LIBRARIES) if "all" in able else able & LIBRARIES.keys() or _USUAL


def _without_cuda(libraries: Mapping[str, str], able: frozenset[str]) -> tuple[Text, ...]:
    if CUDA in libraries or "compute" not in able:
        return ()
    return (Text("the driver's library {library} was not found on this machine: CUDA will not work", library=CUDA),)


def _numbers(wanted: Wanted, there: Sequence[int]) -> Sequence[int]:
    if wanted.names:
        unknown = [name for name in wanted.names if not name.isdecimal()]
        if unknown:
            raise RunError(
                Text("GPU {name} can only be found by its name with a CDI specification", name=unknown[0]),
                hints=(
                    "write one: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
                    "or use its number",
                ),
            )
        missing = [name for name in wanted.names if int(name) not in there]
        if missing:
            raise RunError(Text("there is no GPU {number}", number=missing[0]), want=", ".join(map(str, there)))
        return [int(name) for name in wanted.names]
    if wanted.count is not None and wanted.count > len(there):
        raise RunError(Text("there are not that many GPUs"), got=wanted.count, want=f"at most {len(there)}")
    return there[: wanted.count]


def _wsl(wanted: Wanted, facts: Facts) -> Grant:
    """Windows' driver: one node for all GPUs; CUDA itself is asked to show only some of them."""
    names = wanted.names or tuple(map(str, range(wanted.count or 0)))
    if any(not name.isdecimal() and name != "all" for name in names):
        raise RunError("WSL2 knows GPUs by number only", want="--gpus all, or device=0")
    chosen = ",".join(name for name in names if name != "all")
    return Grant(
        nodes=(Node(WSL_NODE, WSL_NODE),),
        mounts=(Mount(WSL, WSL, read_only=True),) if WSL in facts.files else (),
        env={"CUDA_VISIBLE_DEVICES": chosen} if chosen else {},
        links=(Link("/usr/bin/nvidia-smi", f"{WSL}/lib/nvidia-smi"),),
        folders=(f"{WSL}/lib",),
        groups=tuple(sorted(needed_groups([facts.nodes[WSL_NODE]]))),
        cuda=True,
        notes=facts.troubles,
    )


def amd(wanted: Wanted, facts: Facts) -> Grant | None:
    """ROCm lies in the image; of the machine it needs the nodes, and the groups that may open them."""
    found = sorted((int(match[1]), path) for path in facts.nodes if (match := _RENDER.fullmatch(path)))
    if "/dev/kfd" not in facts.nodes or not found:
        return None
    chosen = _numbers(wanted, range(len(found)))
    nodes = ["/dev/kfd", *(found[number][1] for number in chosen)]
    return Grant(
        nodes=tuple(Node(path, path) for path in nodes),
        groups=tuple(sorted(needed_groups(facts.nodes[path] for path in nodes))),
        notes=facts.troubles,
    )


def needed_groups(nodes: Iterable[HostNode]) -> set[int]:
    """Groups without which nobody but root opens these nodes."""
    return {node.gid for node in nodes if node.gid and node.mode & 0o060 == 0o060 and node.mode & 0o006 != 0o006}
