"""Tests that failed are run once more, alone: ``./dev test`` does it as CPython's own regrtest does.

The first run writes what failed (``--note-failures``). ``python -m tests.again FILE ARGS…`` then runs up to three
of them, each in a process of its own, so that none finds the ruins of another in a fixture they share, and ends by
showing every first failure again. Runs that were interrupted, workers that crashed and modules that cannot be
imported are not noted: running those again proves nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

MOST = 3  # more than a chance or two is a fault
TOLD = 20  # while the run goes on: one that runs out of disk, or is stopped, may never come to its summary
STEPS = ("setup", "call", "teardown")  # a crashed worker is reported with another


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--note-failures", metavar="FILE", help="write there what failed, if it may be run once more")
    parser.addoption("--again", metavar="TEST", help="run this one, whatever else is named")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # only the one that hears of all tests
        return
    if file := config.getoption("--note-failures"):
        config.pluginmanager.register(Notes(config, Path(file)))
    if test := config.getoption("--again"):
        config.args = [test]
        config.pluginmanager.register(Again())


class Notes:
    """Of the first run: the tests that failed, with their reports. The first ones are told at once."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        self.config = config
        self.file = file
        self.failed: dict[str, str] = {}
        self.hopeless = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.hopeless |= report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.hopeless |= report.when not in STEPS
            self.failed.setdefault(report.nodeid, report.longreprtext)
            if len(self.failed) <= TOLD:
                self._tell(report)

    def _tell(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if isinstance(terminal, pytest.TerminalReporter):
            terminal.ensure_newline()
            why = next((line for line in report.longreprtext.splitlines() if line.startswith("E ")), "")
            terminal.write_line(f"{report.when} failed: {report.nodeid} {why[1:].strip()[:200]}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        ended = session.exitstatus == pytest.ExitCode.TESTS_FAILED and not (
            session.shouldfail or session.shouldstop
        )
        if ended and not self.hopeless and 0 < len(self.failed) <= MOST:
            self.file.write_text(json.dumps(self.failed))


class Again:
    """Of a second run, of one test: only one that passes is well."""

    def __init__(self) -> None:
        self.passed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed |= report.passed and report.when == "call"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self.passed and session.exitstatus == pytest.ExitCode.OK:  # skipped is not passed
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def main(words: Sequence[str]) -> int:
    """``words``: the file of the first run, and its arguments. All is well when all passed this time."""
    first: dict[str, str] = json.loads(Path(words[0]).read_text())
    passed = [test for test in first if _passes_alone(test, words[1:])]
    sys.stdout.write("\n".join(_told(first, passed)) + "\n")
    return int(len(passed) < len(first))


def _passes_alone(test: str, args: Sequence[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-p", "tests.again", *args, "-n", "0", "--again", test]
    return subprocess.run(command, check=False).returncode == 0


def _told(first: Mapping[str, str], passed: Sequence[str]) -> list[str]:
    """Everything, after pytest's own last line."""
    lines = [f"\n{f' {test}, the first time ':=^100}\n{report}" for test, report in first.items()]
    lines.append("")
    for test in first:
        if test in passed:
            lines.append(f"UNSTABLE {test}: failed, and passed when it was run once more, alone")
        else:
            lines.append(f"FAILED {test}: failed, and did not pass when it was run once more, alone")
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
