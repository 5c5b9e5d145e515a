"""NVIDIA's driver, its specification, WSL2, AMD; and whether the locked CUDA runs on them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.doctor.families import driver as driver_commands
from trainload.doctor.finding import Finding, Status
from trainload.doctor.machine import Machine
from trainload.errors import Text
from trainload.lock.model import Lock
from trainload.run.gpus.driver import WSL_NODE
from trainload.run.gpus.grant import NVIDIA, version_of
from trainload.run.gpus.model import CUDA, Facts

Version = tuple[int, ...]

NEWEST: tuple[tuple[Version, Version], ...] = (
    ((580, 65), (13, 0)), ((575, 51), (12, 9)), ((570, 26), (12, 8)), ((560, 28), (12, 6)), ((555, 42), (12, 5)),
    ((550, 54), (12, 4)), ((545, 23), (12, 3)), ((535, 54), (12, 2)), ((530, 30), (12, 1)), ((525, 60), (12, 0)),
    ((520, 61), (11, 8)), ((515, 43), (11, 7)), ((450, 80), (11, 0)),
)  # fmt: skip
"""Driver → the newest CUDA it was made for (CUDA Toolkit release notes, table 3)."""
_LEAST = {13: (580, 0), 12: (525, 60), 11: (450, 80)}
"""Every minor version of one CUDA runs from this driver on (minor version compatibility)."""
_BUILDS = {13: "cu130", 12: "cu126", 11: "cu118"}
"""Of each CUDA the build that torch has had for longest."""
_GPU, _SPEC, _LOCKED = Text("GPU"), Text("CDI specification"), Text("locked CUDA")
_GENERATE = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"


def numbers(text: str) -> Version:
    return tuple(int(part) for part in re.findall(r"[0-9]+", text)[:3])


def served(driver: str) -> Version | None:
    """The newest CUDA a driver was made for."""
    return next((cuda for least, cuda in NEWEST if numbers(driver) >= least), None)


def gpus(machine: Machine, *, wanted: bool, lock: Lock | None) -> Iterator[Finding]:
    """``wanted``: the project's runs ask for GPUs (``run.gpus``)."""
    facts = machine.gpus()
    nodes = [path for path in facts.nodes if re.fullmatch(r"/dev/nvidia[0-9]+", path)]
    if nodes:
        yield from _nvidia(machine, facts, len(nodes))
        yield from _specification(facts)
    elif WSL_NODE in facts.nodes:
        yield _wsl(facts)
    elif "/dev/kfd" in facts.nodes:
        yield Finding(_GPU, Status.OK, Text("an AMD GPU with its driver"), "/dev/kfd")
    else:
        yield _none(machine, facts, wanted=wanted)
    if lock is not None and facts.driver is not None:
        yield from _locked(machine, facts.driver, lock)


def _nvidia(machine: Machine, facts: Facts, count: int) -> Iterator[Finding]:
    tried = "/proc/driver/nvidia/version"
    if facts.driver is None:
        text = Text("device nodes are there, and the driver is not loaded")
        yield Finding(_GPU, Status.WARNING, text, tried, ("sudo modprobe nvidia", *driver_commands(machine)))
        return
    cuda = ".".join(map(str, served(facts.driver) or ())) or "?"
    text = Text("{count} of NVIDIA's, driver {version}, for CUDA up to {cuda}", count=count, version=facts.driver,
                cuda=cuda)  # fmt: skip
    yield Finding(_GPU, Status.OK, text, tried)
    if CUDA not in facts.libraries:
        text = Text("the linker does not find the driver's library {library}", library=CUDA)
        mend = ("sudo ldconfig", *driver_commands(machine))
        yield Finding(_GPU, Status.WARNING, text, "/etc/ld.so.cache", mend)
    said = machine.ask("nvidia-smi", "-L") if machine.program("nvidia-smi") else None
    if said is not None and said.exit_code != 0:
        words = (said.stdout + said.stderr).strip().splitlines()
        mend = ("sudo reboot",) if "mismatch" in " ".join(words) else driver_commands(machine)
        text = Text("nvidia-smi says: {reason}", reason=words[-1] if words else "?")
        yield Finding(_GPU, Status.WARNING, text, "nvidia-smi -L", mend)


def _specification(facts: Facts) -> Iterator[Finding]:
    for trouble in facts.troubles:
        yield Finding(_SPEC, Status.WARNING, trouble, "/etc/cdi", (_GENERATE,))
    specs = [spec for spec in facts.specs if spec.kind == NVIDIA]
    if not specs:
        text = Text("none: GPUs are found without it; UUIDs and Podman need one")
        yield Finding(_SPEC, Status.OK, text, "/etc/cdi, /var/run/cdi")
        return
    file = specs[0].file
    edits = [one for spec in specs for one in (spec.edits, *spec.devices.values())]
    mounts = [mount.host_path for one in edits for mount in one.mounts]
    gone = [path for path in mounts if path not in facts.files]
    gone += [node.host_path for one in edits for node in one.nodes if node.host_path not in facts.nodes]
    version = version_of(mounts)
    if gone:
        text = Text("{path}, which it names, is not there: it is older than the driver", path=gone[0])
    elif version is not None and facts.driver is not None and version != facts.driver:
        text = Text("it is for the driver {version}, and {loaded} is loaded", version=version, loaded=facts.driver)
    else:
        yield Finding(_SPEC, Status.OK, Text("as new as the driver"), file)
        return
    yield Finding(_SPEC, Status.WARNING, text, file, (_GENERATE,))


def _wsl(facts: Facts) -> Finding:
    if "/usr/lib/wsl" in facts.files:
        return Finding(_GPU, Status.OK, Text("that of Windows, through WSL2"), WSL_NODE)
    text = Text(
        "WSL2 shows a GPU, and Windows' driver is not there: install NVIDIA's driver in Windows, none in Linux"
    )
    return Finding(_GPU, Status.WARNING, text, "/usr/lib/wsl", ("wsl.exe --update", "wsl.exe --shutdown"))


def _none(machine: Machine, facts: Facts, *, wanted: bool) -> Finding:
    text = Text("none that can be used: programs run on the processor")
    if wanted:
        text = Text("none that can be used, and the project's runs ask for one (run.gpus)")
        return Finding(_GPU, Status.PROBLEM, text, "/dev/nvidia*", driver_commands(machine))
    return Finding(_GPU, Status.OK, text, "/dev/nvidia*, /dev/dxg, /dev/kfd")


def cuda_of(lock: Lock) -> Version | None:
    """The CUDA of a lock's torch: its accelerator, the runtime's wheel, or torch's local version."""
    found = re.fullmatch(r"cu(\d{2})(\d)", lock.accelerator)
    if found:
        return int(found[1]), int(found[2])
    for package in lock.packages:
        if re.fullmatch(r"nvidia-cuda-runtime(?:-cu\d+)?", package.name):
            return numbers(package.version)[:2]
    for package in lock.packages:
        if package.name == "torch" and (local := re.search(r"\+cu(\d{2})(\d)$", package.version)):
            return int(local[1]), int(local[2])
    return None


def _locked(machine: Machine, driver: str, lock: Lock) -> Iterator[Finding]:
    cuda = cuda_of(lock)
    if cuda is None:
        return
    words, least, best = _written(cuda), _LEAST.get(cuda[0]), made_for(cuda)
    if least is None or numbers(driver) < least:
        text = Text("CUDA {cuda} needs the driver {least} or newer, best {best}; {version} is loaded", cuda=words,
                    least=_written(least or best), best=_written(best), version=driver)  # fmt: skip
        mend = (*driver_commands(machine), f"trainload lock --accelerator {_fitting(driver)} --save")
        yield Finding(_LOCKED, Status.PROBLEM, text, "pylock.trainload.toml", mend)
    elif cuda > (served(driver) or (0,)):
        text = Text("CUDA {cuda} runs on the driver {version}; what compiles for the GPU at run time needs {best}",
                    cuda=words, version=driver, best=_written(best))  # fmt: skip
        yield Finding(_LOCKED, Status.WARNING, text, "pylock.trainload.toml", driver_commands(machine))
    else:
        text = Text("CUDA {cuda} runs on the driver {version}", cuda=words, version=driver)
        yield Finding(_LOCKED, Status.OK, text, "pylock.trainload.toml")


def made_for(cuda: Version) -> Version:
    """The first driver that was made for a CUDA; for one that is newer than we know, the newest we know."""
    return min((driver for driver, newest in NEWEST if newest >= cuda), default=NEWEST[0][0])


def _fitting(driver: str) -> str:
    """The accelerator whose torch runs on a driver."""
    return next((build for major, build in _BUILDS.items() if numbers(driver) >= _LEAST[major]), "cpu")


def _written(version: Version) -> str:
    return ".".join(map(str, version))
