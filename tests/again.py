"""Tests that failed are run once more, alone: ``./dev test`` does it as CPython's own regrtest does.

The first run writes what failed (``--note-failures``), the second takes up to three of them (``--noted-failures``),
and ends by showing every first failure again. Runs that were interrupted, workers that crashed and modules
that cannot be imported are not noted: running those again proves nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

MOST = 3  # more than a chance or two is a fault
STEPS = ("setup", "call", "teardown")  # a crashed worker is reported with another


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--note-failures", metavar="FILE", help="write there what failed, if it may be run once more")
    parser.addoption("--noted-failures", metavar="FILE", help="run what was noted, and nothing else")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # only the one that hears of all tests
        return
    if file := config.getoption("--note-failures"):
        config.pluginmanager.register(Notes(Path(file)))
    if file := config.getoption("--noted-failures"):
        first = json.loads(Path(file).read_text())
        config.args = list(first)
        config.pluginmanager.register(Again(first))


class Notes:
    """Of the first run: the tests that failed, with their reports."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.failed: dict[str, str] = {}
        self.hopeless = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.hopeless |= report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.hopeless |= report.when not in STEPS
            self.failed.setdefault(report.nodeid, report.longreprtext)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        ended = session.exitstatus == pytest.ExitCode.TESTS_FAILED and not (
            session.shouldfail or session.shouldstop
        )
        if ended and not self.hopeless and 0 < len(self.failed) <= MOST:
            self.file.write_text(json.dumps(self.failed))


class Again:
    """Of the second run: what passed this time. Everything is told last, after pytest's own last line."""

    def __init__(self, first: dict[str, str]) -> None:
        self.first = first
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.passed and report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if set(self.first) - self.passed and session.exitstatus == pytest.ExitCode.OK:  # skipped is not passed
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        lines = [f"\n{f' {nodeid}, the first time ':=^100}\n{report}" for nodeid, report in self.first.items()]
        lines.append("")
        for nodeid in self.first:
            if nodeid in self.passed - self.failed:
                lines.append(f"UNSTABLE {nodeid}: failed, and passed when it was run once more, alone")
            else:
                lines.append(f"FAILED {nodeid}: failed, and did not pass when it was run once more, alone")
        sys.stdout.write("\n".join(lines) + "\n")
