"""The far side of a session, whichever end is quicker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainload.address import Address
from trainload.destinations.ship.there import There
from trainload.errors import HostError


class Late(There):
    """Says its first word when the far side has ended already."""

    def _send(self, command: str, *words: str) -> None:
        process = self.session._process
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        super()._send(command, *words)


@pytest.mark.parametrize("kind", [There, Late])
def test_the_words_of_an_account_that_runs_nothing_are_told(tmp_path: Path, kind: type[There]) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\necho this account is closed; echo 'ask ada' >&2; exit 1\n")
    (tmp_path / "ssh").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with pytest.raises(HostError, match="ended too early") as caught, kind(Address("gpu1"), environ=environ):
        pass
    assert caught.value.said == ("ask ada", "this account is closed")
