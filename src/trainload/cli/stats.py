"""``trainload stats``: what runs use at the moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainload.cli.hostoption import on_option
from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.world import World
from trainload.errors import RunError, Text

if TYPE_CHECKING:
    from trainload.cli.engines import Known
    from trainload.run.engines.interface import Usage

_INTERVAL = 1.0  # seconds between the two looks that tell processor use


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--no-stream", is_flag=True, help="Once, then come back.")
@on_option
@pass_world
def command(world: World, *, runs: tuple[str, ...], no_stream: bool, on: str | None) -> None:
    """Show processor time, memory and processes of running programs."""
    from contextlib import ExitStack

    from trainload.cli.engines import known

    with ExitStack() as stack:
        _show(world, [known(world, word, on, stack) for word in runs], once=no_stream or world.json)


def _show(world: World, found: list[Known], *, once: bool) -> None:
    while found:
        measured = _measured(found)
        heads = [Text("RUN"), Text("NAME"), Text("CPU"), Text("MEMORY"), Text("LIMIT"), Text("PROCESSES")]
        rows: list[list[object]] = [_row(one, usage, cpu) for one, usage, cpu in measured]
        documents = [_document(one, usage, cpu) for one, usage, cpu in measured]
        world.result(documents, table(heads, rows, world.catalogue, right=[2, 3, 4, 5]))
        if once:
            return
        found = [one for one, _, _ in measured]


def _measured(found: list[Known]) -> list[tuple[Known, Usage, float]]:
    """Usage, and the share of one core in the last second, of those that run still."""
    import time

    before = {one.id: (time.monotonic(), _usage(one)) for one in found}
    time.sleep(_INTERVAL)
    measured = []
    for one in found:
        (then, first), now = before[one.id], time.monotonic()
        usage = _usage(one)
        if first is not None and usage is not None:
            measured.append((one, usage, max(0.0, usage.cpu_seconds - first.cpu_seconds) / (now - then)))
    return measured


def _usage(one: Known) -> Usage | None:
    try:
        return one.engine.usage(one.id)
    except RunError:
        return None


def _row(one: Known, usage: Usage, cpu: float) -> list[object]:
    from trainload.run.words import bytes_in_words

    limit = bytes_in_words(usage.memory_limit) if usage.memory_limit else "-"
    return [
        one.id, one.run.called or "-", f"{cpu:.0%}", bytes_in_words(usage.memory), limit, usage.processes
    ]  # fmt: skip


def _document(one: Known, usage: Usage, cpu: float) -> dict[str, object]:
    return {
        "id": one.id,
        "cpu": round(cpu, 4),
        "cpu_seconds": usage.cpu_seconds,
        "memory": usage.memory,
        "memory_limit": usage.memory_limit,
        "processes": usage.processes,
    }
