"""What every test may count on."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, however long one takes: a machine with much to do finds nothing, and chance finds
# nothing in somebody else's change. `--hypothesis-profile search` looks for new ones.
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("search", settings.get_profile("same"), derandomize=False, max_examples=1000)
settings.load_profile("same")

# A shell that starts us in the background, or nohup, leaves these ignored, and our children would inherit that:
# tests of interrupts would then test the shell.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where ``./dev test`` installs what tests need, one that is skipped for lack of it is a fault of ``dev``."""
    report = yield
    if report.skipped and os.environ.get("CI") and os.geteuid() == 0 and isinstance(report.longrepr, tuple):
        why = str(report.longrepr[2])
        if "not installed" in why:
            report.outcome = "failed"
            report.longrepr = f"E {why}: ./dev test has to install it"
    return report
