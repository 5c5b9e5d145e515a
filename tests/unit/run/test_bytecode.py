"""The program that compiles: the order of hashes must not show in what it writes (cpython #129724)."""

from __future__ import annotations

import sys

from trainload.run.bytecode import PROGRAM
from trainload.system.process import run


def test_nothing_is_compiled_while_the_order_of_hashes_is_not_fixed() -> None:
    done = run([sys.executable, "-I", "-c", PROGRAM], env={"PYTHONHASHSEED": "0"})
    assert done.exit_code == 1
    assert "the order of hashes is not fixed" in done.complaint
