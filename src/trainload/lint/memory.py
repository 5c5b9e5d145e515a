"""Who needs more shared memory than the 64 MiB that engines give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trainload.errors import Text
from trainload.lint.launch import launches, spreads, trains, worker_option
from trainload.lint.model import Surroundings
from trainload.lint.servers import server
from trainload.lint.shell import Command

USUAL = "8g"
"""What is proposed: eight workers with batches of some hundred megabytes."""


def bus_error() -> Text:
    """What too little of it leads to."""
    return Text("/dev/shm has 64 MiB by default: a worker that needs more dies of SIGBUS in the middle of a run")  # noqa: S108 - a container's


def needs(
    commands: tuple[Command, ...], environ: Mapping[str, str], around: Surroundings, *, own_code: bool
) -> Text | None:
    """Why a container needs a large /dev/shm, or None. ``own_code``: it runs the code around the file."""
    for command in commands:
        option = worker_option(command.texts)
        if option:
            return Text("{option} passes batches between processes through /dev/shm", option=option)
        if _tensor_parallel(command.texts):
            return Text("tensor parallel processes speak with each other through /dev/shm")
    for launch in launches(commands):
        if launch.several:
            return _nccl()
    if any(spreads(command.texts) for command in commands):
        return _nccl()
    for name in ("NUM_WORKERS", "DATALOADER_NUM_WORKERS", "DATALOADER_WORKERS"):
        if environ.get(name, "0").isdigit() and int(environ.get(name, "0")) > 0:
            return Text(
                "{option} passes batches between processes through /dev/shm", option=f"{name}={environ[name]}"
            )
    seen = around.workers
    if seen and own_code and (not commands or _may_train(commands)):
        return Text(
            "{file}:{line} starts DataLoader workers ({code}), which pass batches through /dev/shm",
            file=seen.file, line=seen.line, code=seen.text,
        )  # fmt: skip
    return None


def _nccl() -> Text:
    return Text("NCCL's processes on one machine speak with each other through /dev/shm")


def _tensor_parallel(words: Iterable[str]) -> bool:
    listed = list(words)
    for index, word in enumerate(listed):
        name, equals, value = word.partition("=")
        if name in ("--tensor-parallel-size", "-tp", "--tp", "--tp-size", "--num-shard"):
            value = value if equals else listed[index + 1] if index + 1 < len(listed) else ""
            return value.isdigit() and int(value) > 1
    return False


def _may_train(commands: tuple[Command, ...]) -> bool:
    """Python, but no server; a training by its name in any case."""
    if any(trains(command.texts) for command in commands):
        return True
    pythons = [c for c in commands if c.name.startswith("python") or c.name in ("accelerate", "deepspeed", "uv")]
    return bool(pythons) and server(commands) is None
