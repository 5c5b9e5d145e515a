"""A supervisor whose run ends, is stopped or is unhealthy at an awkward moment."""

from __future__ import annotations

import os
import pickle
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trainload.limits import DEFAULT
from trainload.run.engines.embedded.kept import Kept
from trainload.run.engines.embedded.site import containers
from trainload.run.engines.embedded.supervisor import Charge
from trainload.run.engines.interface import Phase, State
from trainload.run.model import Again, HealthCheck, Restart, RunSpec
from trainload.store.store import Store
from trainload.testing.rootfs import tiny_store

USUAL = "import sys; from trainload.run.engines.embedded.supervisor import main; main(int(sys.argv[1]))"
STOPPED = """
import signal, sys
from trainload.run.engines.embedded import supervisor

real, starts = supervisor.layers_of, []

def layers_of(store):
    layers = real(store)
    def found(image):
        starts.append(image)
        if len(starts) == 2:
            signal.raise_signal(signal.SIGTERM)
        return layers(image)
    return found

supervisor.layers_of = layers_of
supervisor.main(int(sys.argv[1]))
"""
"""A stop comes when a second start asks for its layers."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store") / "home")


@pytest.fixture
def kept(home: Path) -> Iterator[Kept]:
    kept = Kept(containers(home) / secrets.token_hex(6))
    kept.make()
    yield kept
    kept.remove()


def ended(home: Path, kept: Kept, script: str, supervise: str = USUAL, **more: object) -> State:
    """How a run of ``script`` ended; it is waited for."""
    with closing(Store.open(home)) as store:
        image = store.resolve("tiny")
    spec = RunSpec(image, kept.id, ("sh", "-c", script), "0", "/", {}, interactive=False, grace=60.0, **more)  # type: ignore[arg-type]
    out, into = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", supervise, str(into)], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        pass_fds=[into], start_new_session=True,
    ) as supervisor:  # fmt: skip
        os.close(into)
        try:
            _, trouble = supervisor.communicate(pickle.dumps(Charge(home, spec, DEFAULT)), timeout=180)
        except subprocess.TimeoutExpired:
            supervisor.kill()  # its run goes with it
            pytest.fail(f"it goes on: {kept.state()}")
    with os.fdopen(out, "rb") as told:
        assert told.read() == b"started", trouble
    state = kept.state()
    assert state is not None
    return state


def test_a_stop_while_the_next_start_is_prepared_is_not_forgotten(home: Path, kept: Kept) -> None:
    script = "if [ -e /tmp/before ]; then exec sleep 1000; fi; touch /tmp/before; exit 1"
    state = ended(home, kept, script, STOPPED, restart=Restart(Again.ALWAYS))
    assert (state.phase, state.exit_code, state.restarts) == (Phase.ENDED, 143, 1)


def test_a_run_that_ends_while_it_is_asked_whether_it_is_well_is_started_again(home: Path, kept: Kept) -> None:
    """The check ends with it; that is no sign of an unhealthy run, and nobody's wish that it ends."""
    check = HealthCheck(("sleep", "1000"), interval=0.02, timeout=60, retries=1)
    state = ended(home, kept, "sleep 0.4; exit 3", health=check, restart=Restart(Again.ON_FAILURE, 2))
    assert (state.phase, state.exit_code, state.restarts) == (Phase.ENDED, 3, 2)
    assert str(state.reason) == "exit code 3"
