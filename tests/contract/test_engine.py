"""What every engine must do, asked of the fake one and of the embedded one, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import TrainloadError
from trainload.run.model import Limits, RunSpec
from trainload.testing.engine import MemoryEngine
from trainload.testing.people import as_ordinary_user, cannot_be_ordinary
from trainload.testing.rootfs import programs_layer
from trainload.testing.tars import blob

IMAGE = Digest.sha256(b"an image")
OTHER = Digest.sha256(b"another image")


@dataclass(frozen=True, slots=True)
class Ask:
    """A run as plain values, so that it can be sent to a process of another user."""

    command: tuple[str, ...]
    image: str = str(IMAGE)
    user: str = "1000"
    memory: int | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    exit_code: int
    reason: str
    failed: bool
    """The engine raised an error."""


Runner = Callable[[Ask], Answer]

SCRIPT = """
import json, sys
from pathlib import Path
from trainload.digest import Digest
from trainload.errors import ImageError, TrainloadError
from trainload.run.embedded import EmbeddedEngine
from trainload.run.model import Limits, RunSpec
from trainload.run.unpack import LayerBlob
blob, diff_id, home, image, ask = sys.argv[1:]
def layers(digest):
    if str(digest) != image:
        raise ImageError("there is no such image")
    return [LayerBlob(Path(blob), Digest.parse(diff_id), 1)]
engine = EmbeddedEngine(Path(home), layers)
asked = json.loads(ask)
spec = RunSpec(image=Digest.parse(asked["image"]), id="contract", command=tuple(asked["command"]),
               user=asked["user"], workdir="/", env=asked["env"], limits=Limits(memory=asked["memory"]))
try:
    outcome = engine.run(spec)
    answer = {"exit_code": outcome.exit_code, "reason": str(outcome.reason), "failed": False}
except TrainloadError as error:
    answer = {"exit_code": error.exit_code, "reason": str(error), "failed": True}
print("ANSWER" + json.dumps(answer))
"""


def memory_runner() -> Runner:
    engine = MemoryEngine({IMAGE})

    def run(ask: Ask) -> Answer:
        spec = RunSpec(
            image=Digest.parse(ask.image), id="contract", command=ask.command, user=ask.user, workdir="/",
            env=ask.env, limits=Limits(memory=ask.memory),
        )  # fmt: skip
        try:
            outcome = engine.run(spec)
        except TrainloadError as error:
            return Answer(error.exit_code, str(error), failed=True)
        return Answer(outcome.exit_code, str(outcome.reason), failed=False)

    return run


def embedded_runner(folder: Path, *, ordinary: bool) -> Runner:
    layer = blob(folder / "blob", programs_layer())
    home = folder / "home"
    home.mkdir(exist_ok=True)

    def run(ask: Ask) -> Answer:
        arguments = (
            str(layer.path), str(layer.diff_id), str(home / "rootfs"), str(IMAGE), json.dumps(asdict(ask)),
        )  # fmt: skip
        if ordinary:
            done = as_ordinary_user(SCRIPT, *arguments, home=home)
        else:
            import sys

            from trainload.system.process import run as run_process

            done = run_process([sys.executable, "-c", SCRIPT, *arguments], timeout=120)
        line = done.stdout.decode().rpartition("ANSWER")[2]
        assert line.startswith("{"), done.complaint
        return Answer(**json.loads(line))

    return run


@pytest.fixture(scope="module", params=["memory", "embedded as root", "embedded as an ordinary user"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    if request.param == "memory":
        return memory_runner()
    folder = tmp_path_factory.mktemp("engine")
    if request.param == "embedded as root":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        return embedded_runner(folder, ordinary=False)
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.geteuid() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o755)  # pytest's folders are closed to others
    home = folder / "home"
    home.mkdir()
    reason = cannot_be_ordinary(home)
    if reason is not None:
        pytest.skip(reason)
    return embedded_runner(folder, ordinary=True)


def test_a_program_that_ends_well_is_finished(engine: Runner) -> None:
    assert engine(Ask(("sh", "-c", "exit 0"))) == Answer(0, "finished", failed=False)


@pytest.mark.parametrize("code", [1, 2, 42, 255])
def test_the_programs_exit_code_is_the_runs(engine: Runner, code: int) -> None:
    assert engine(Ask(("sh", "-c", f"exit {code}"))) == Answer(code, f"exit code {code}", failed=False)


def test_a_program_that_is_not_there_is_127_as_in_a_shell(engine: Runner) -> None:
    answer = engine(Ask(("no-such-program",)))
    assert (answer.exit_code, answer.failed) == (127, True)
    assert "the image has no program no-such-program" in answer.reason


def test_an_image_that_is_not_there_is_an_error(engine: Runner) -> None:
    assert engine(Ask(("sh", "-c", "exit 0"), image=str(OTHER))).failed
