"""What a keeper reads of a program that has ended already."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.calling import small_disk

from trainload.runner import keeper
from trainload.runner.keeper import _Keeper
from trainload.runner.lines import Log
from trainload.runner.speech import Speech

ROOM = 1 << 20
"""Bytes of the program's pipe: it ends before any of it is read."""
CHARGE: dict[str, Any] = {
    **dict.fromkeys(("env", "user", "workdir", "hostname", "command")), "terminal": False, "open": False,
    "waits": False, "grace": 10.0, "stop_signal": 15,
}  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_the_program_fills_at_once_has_room_for_its_state(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k"):
        one = _Keeper(tmp_path / "small", CHARGE, [])
        with contextlib.suppress(OSError):
            (tmp_path / "small" / "model").write_bytes(bytes(1 << 20))
        for phase in ("running", "ended"):
            one._state["phase"] = phase
            one._write()
            assert json.loads((tmp_path / "small" / "state.json").read_bytes())["phase"] == phase
    os.close(one._letter)


def test_what_was_said_last_is_read_to_its_end_however_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keeper that the machine had no time for is late before it begins: here its patience is none at all."""
    monkeypatch.setattr(keeper, "_LAST_WORDS", -1.0)
    (tmp_path / "log").touch()
    one = _Keeper(tmp_path, CHARGE, [])
    one._speech = Speech(tmp_path, CHARGE, lambda: None)
    lines = b"".join(b"step %05d\n" % number for number in range(30_000))
    one._child = os.fork()
    if one._child == 0:
        one._speech.become()
        fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, ROOM)
        os.write(1, lines)
        os._exit(3)
    one._speech.open()
    os.waitid(os.P_PID, one._child, os.WEXITED | os.WNOWAIT)
    status, other = os.pipe()  # somebody has the other end still, as bubblewrap may
    log = Log(tmp_path / "log")
    one._speech.begin(log, status, one._reports)
    code = one._pump()
    log.close()
    one._speech.close()
    os.close(status)
    os.close(other)
    os.close(one._letter)
    assert code == 3
    assert (tmp_path / "log").read_bytes().count(b"step ") == 30_000
