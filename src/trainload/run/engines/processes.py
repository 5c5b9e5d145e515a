"""What the processes of a container on this machine use: those of its pid namespace, as /proc shows them."""

from __future__ import annotations

import os
from pathlib import Path

from trainload.run.engines.interface import Usage

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(pid: int, memory_limit: int | None) -> Usage:
    """Of the container whose first process is ``pid``; shared memory counts with each process that has it.

    Raises :class:`OSError` when that has ended.
    """
    space = Path(f"/proc/{pid}/ns/pid").readlink()
    ticks = pages = count = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if (entry / "ns" / "pid").readlink() != space:
                continue
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()  # a name may be cut within a letter
            ticks += sum(int(field) for field in fields[11:15])  # proc(5): utime stime cutime cstime
            pages += int((entry / "statm").read_text(encoding="ascii").split()[1])
            count += 1
        except OSError:
            continue  # another user's, or gone
    return Usage(ticks / _TICK, pages * _PAGE, memory_limit, count)
