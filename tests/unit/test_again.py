"""Which failed tests ``./dev test`` runs once more, and what it says of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

UNSTABLE = """
from pathlib import Path

def test_fails_once():
    seen = Path("seen")
    if not seen.exists():
        seen.touch()
        assert "a race" == "won"

def test_passes():
    pass
"""


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the project's folder: the tests are a package there."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(Path(__file__).parents[2]))


def run(pytester: pytest.Pytester, *options: str) -> tuple[int, str]:
    result = pytester.runpytest_inprocess("-p", "tests.again", *options)
    return int(result.ret), result.stdout.str()


def twice(pytester: pytest.Pytester, **files: str) -> tuple[tuple[int, str], tuple[int, str]]:
    """What ``./dev test`` does."""
    pytester.makepyfile(**files)
    first = run(pytester, "--note-failures", "noted")
    assert Path("noted").exists(), first[1]
    second = pytester.run(sys.executable, "-m", "tests.again", "noted")
    return first, (int(second.ret), second.stdout.str())


def test_an_unstable_test_is_named_last_with_its_first_failure(pytester: pytest.Pytester) -> None:
    first, second = twice(pytester, test_it=UNSTABLE)
    assert first[0] == 1
    assert second[0] == 0
    assert "1 passed" in second[1]  # and no other test was run
    said = second[1].splitlines()
    assert said[-1] == ("UNSTABLE test_it.py::test_fails_once: failed, and passed when it was run once more, alone")
    assert 'assert "a race" == "won"' in second[1]


def test_a_failure_is_told_while_the_others_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=UNSTABLE)
    said = run(pytester, "--note-failures", "noted")[1]
    told = "call failed: test_it.py::test_fails_once AssertionError: assert 'a race' == 'won'"
    assert told in said.split("= FAILURES =")[0].splitlines()


def test_a_test_that_fails_again_is_a_failure(pytester: pytest.Pytester) -> None:
    files = {"test_it": UNSTABLE, "test_more": "def test_never(): raise ValueError('always')"}
    _, second = twice(pytester, **files)
    assert second[0] == 1
    assert second[1].splitlines()[-2:] == [
        "UNSTABLE test_it.py::test_fails_once: failed, and passed when it was run once more, alone",
        "FAILED test_more.py::test_never: failed, and did not pass when it was run once more, alone",
    ]


def test_a_test_that_is_skipped_the_second_time_has_not_passed(pytester: pytest.Pytester) -> None:
    text = "import pytest\n" + UNSTABLE.replace(
        "if not seen", "if seen.exists(): pytest.skip('why')\n    if not seen"
    )
    _, second = twice(pytester, test_it=text)
    assert second[0] == 1
    assert second[1].splitlines()[-1].startswith("FAILED test_it.py::test_fails_once")


def test_each_is_alone(pytester: pytest.Pytester) -> None:
    """What one leaves in a fixture of the module is not there for the next."""
    text = """
import pytest
@pytest.fixture(scope="module")
def shared(): return []
def test_ruins_it(shared):
    shared.append(1)
    assert False
def test_needs_it(shared): assert shared == []
"""
    _, second = twice(pytester, test_it=text)
    assert second[0] == 1
    assert second[1].splitlines()[-2:] == [
        "FAILED test_it.py::test_ruins_it: failed, and did not pass when it was run once more, alone",
        "UNSTABLE test_it.py::test_needs_it: failed, and passed when it was run once more, alone",
    ]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n): assert n < 0", 1),
        ("import nothing_of_this_name", 2),
        ("def test_it(): pass", 0),
    ],
    ids=["too many failed", "no import", "passed"],
)
def test_other_ends_are_final(pytester: pytest.Pytester, text: str, end: int) -> None:
    pytester.makepyfile(text)
    assert run(pytester, "--note-failures", "noted")[0] == end
    assert not Path("noted").exists()


def test_a_run_that_was_stopped_is_final(pytester: pytest.Pytester) -> None:
    """The rest was never run: what stopped it may pass, and says nothing about that."""
    pytester.makepyfile("def test_it(): assert False\ndef test_that(): pass")
    for stop in ("-x", "--maxfail=1"):
        assert run(pytester, "--note-failures", "noted", stop)[0] == 1
        assert not Path("noted").exists()


def test_a_worker_that_crashes_is_final(pytester: pytest.Pytester) -> None:
    """Also what cannot be imported there: with workers pytest ends as it does when a test failed."""
    pytester.makepyfile(test_one="import os\ndef test_it(): os._exit(1)", test_two="def test_it(): assert False")
    assert run(pytester, "--note-failures", "noted", "-n", "1")[0] == 1
    assert not Path("noted").exists()


@pytest.mark.parametrize(("ci", "end"), [("true", 1), ("", 0)])
def test_ci_skips_nothing_for_lack_of_a_program(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, end: int
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has programs installed")
    monkeypatch.setenv("CI", ci)
    pytester.makeconftest("from tests.conftest import pytest_runtest_makereport")
    text = "import pytest\n@pytest.mark.skipif(True, reason='buildah is not installed')\ndef test_it(): pass"
    pytester.makepyfile(text)
    status, said = run(pytester)
    assert status == end
    assert ("buildah is not installed: ./dev test has to install it" in said) == bool(end)
