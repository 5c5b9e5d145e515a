"""Our streams joined with a program's, over a connection."""

from __future__ import annotations

import pytest

from trainload.run.engines.session import Control, Session
from trainload.system.daemon import pair


def test_a_program_that_ended_before_it_read_what_we_said_has_ended(capfd: pytest.CaptureFixture[str]) -> None:
    """A connection closed with something unread in it is reset (unix(7), tcp(7))."""
    ours, theirs = pair()
    ours.sock.sendall(b"never read")
    theirs.sock.sendall(b"\1\0\0\0\0\0\0\4last")
    theirs.close()
    session = Session(ours, Control(send=None, resize=lambda *_: None), tty=False, stdin=False)
    session.run()
    ours.close()
    assert capfd.readouterr().out == "last"
