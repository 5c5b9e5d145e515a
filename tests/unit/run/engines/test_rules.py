"""What a run needs, which engine takes it, when it starts again, when it is unhealthy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.run.engines.interface import Ability, Health, Lack, needs, shortcomings
from trainload.run.engines.restarts import Attempts, Pulse, again, checked
from trainload.run.engines.table import Choice, first, only
from trainload.run.model import Again, HealthCheck, Limits, Mount, Port, Restart, RunSpec
from trainload.testing.engine import MemoryEngine

SPEC = RunSpec(image=Digest.sha256(b""), id="a", command=("x",), user="0", workdir="/", env={})


@pytest.mark.parametrize(
    ("changed", "needed"),
    [
        ({}, set()),
        ({"limits": Limits(memory=1, cpus=1.0, pids=1)}, {Ability.MEMORY, Ability.CPUS, Ability.PIDS}),
        ({"ports": (Port(80, 80),)}, set()),
        ({"ports": (Port(80, 8080),)}, {Ability.PORTS}),
        ({"ports": (Port(80, 8080),), "network_name": "host"}, set()),
        ({"network_name": "web"}, {Ability.NETWORKS}),
        ({"mounts": (Mount("/a", "/b"), Mount("v", "/v", volume=True))}, {Ability.FOLDERS}),
        ({"health": HealthCheck(("x",))}, {Ability.HEALTH}),
        (
            {"health": HealthCheck(("x",)), "restart": Restart(Again.ALWAYS)},
            {Ability.HEALTH, Ability.RESTART, Ability.RESTART_UNHEALTHY},
        ),
    ],
)
def test_what_a_run_asks_for_is_known_before_it_starts(changed: dict[str, object], needed: set[Ability]) -> None:
    assert needs(replace(SPEC, **changed)) == needed  # type: ignore[arg-type]


def test_a_reason_is_told_once_and_refusals_come_first() -> None:
    soft, hard = Lack(Text("soft")), Lack(Text("hard"), refused=True)
    lacks = {Ability.MEMORY: soft, Ability.CPUS: soft, Ability.NETWORKS: hard}
    assert shortcomings(frozenset(Ability), lacks) == (hard, soft)


@dataclass(slots=True)
class Some(MemoryEngine):
    away: Text | None = None
    missing: Mapping[Ability, Lack] = field(default_factory=dict)

    def unavailable(self) -> Text | None:
        return self.away

    def lacks(self, needed: frozenset[Ability]) -> Mapping[Ability, Lack]:
        return self.missing


AWAY = Some(name="away", away=Text("no daemon"))
WEAK = Some(name="weak", missing={Ability.MEMORY: Lack(Text("no cgroups"))})
POOR = Some(name="poor", missing={Ability.MEMORY: Lack(Text("never"), refused=True)})
GOOD = Some(name="good")
MEMORY = frozenset({Ability.MEMORY})


@pytest.mark.parametrize(
    ("engines", "needed", "chosen", "why"),
    [
        ([WEAK, GOOD], frozenset(), "weak", "the first that works"),
        ([WEAK, GOOD], MEMORY, "good", "weak: no cgroups"),
        ([AWAY, GOOD], frozenset(), "good", "away: no daemon"),
        ([WEAK, AWAY, POOR], MEMORY, "weak", "the first that works"),
        ([POOR, WEAK], MEMORY, "weak", "the first that works"),
    ],
)
def test_auto_takes_the_first_that_does_all_that_is_needed_and_says_why(
    engines: list[Some], needed: frozenset[Ability], chosen: str, why: str
) -> None:
    choice: Choice = first(engines, needed)
    assert (choice.engine.name, str(choice.why)) == (chosen, why)


def test_auto_asks_no_engine_it_does_not_need() -> None:
    def engines() -> object:
        yield GOOD
        raise AssertionError("asked")

    assert first(engines(), MEMORY).engine is GOOD  # type: ignore[arg-type]


def test_without_any_engine_every_reason_is_told() -> None:
    with pytest.raises(RunError) as caught:
        first([AWAY, POOR], MEMORY)
    assert [str(hint) for hint in caught.value.hints] == ["away: no daemon", "poor: never"]


def test_an_engine_that_was_asked_for_is_taken_or_its_reason_told() -> None:
    assert only(WEAK, MEMORY).told == (Lack(Text("no cgroups")),)
    with pytest.raises(RunError, match="the engine away does not work here: no daemon"):
        only(AWAY, frozenset())
    with pytest.raises(RunError, match="never"):
        only(POOR, MEMORY)


@pytest.mark.parametrize(
    ("policy", "code", "stopped", "restarts", "starts"),
    [
        (Restart(), 1, False, 0, False),
        (Restart(Again.ON_FAILURE), 0, False, 0, False),
        (Restart(Again.ON_FAILURE), 1, False, 99, True),
        (Restart(Again.ON_FAILURE, 3), 1, False, 2, True),
        (Restart(Again.ON_FAILURE, 3), 1, False, 3, False),
        (Restart(Again.ALWAYS), 0, False, 7, True),
        (Restart(Again.ALWAYS), 0, True, 0, False),
        (Restart(Again.UNLESS_STOPPED), 1, True, 0, False),
    ],
)
def test_a_program_is_started_again_by_dockers_rules(
    policy: Restart, code: int, stopped: bool, restarts: int, starts: bool
) -> None:
    assert (again(policy, Attempts(restarts), code, 0.0, stopped=stopped) is not None) is starts


def test_the_pause_doubles_up_to_a_minute_and_a_long_run_forgets_it() -> None:
    policy, attempts, pauses = Restart(Again.ALWAYS), Attempts(), []
    for _ in range(12):
        attempts = again(policy, attempts, 1, 0.0, stopped=False) or Attempts()
        pauses.append(attempts.pause)
    assert pauses[:3] == [0.1, 0.2, 0.4] and pauses[-1] == 60.0
    following = again(policy, attempts, 1, 11.0, stopped=False)
    assert following is not None and (following.restarts, following.pause) == (13, 0.1)


def test_failures_in_a_row_make_it_unhealthy_and_none_counts_in_the_start_period() -> None:
    check = HealthCheck(("x",), retries=2, start_period=10.0)
    pulse = checked(check, Pulse(), well=False, age=5.0)
    assert pulse == Pulse()
    pulse = checked(check, pulse, well=False, age=11.0)
    assert pulse.health is Health.STARTING
    assert checked(check, pulse, well=True, age=12.0) == Pulse(Health.HEALTHY)
    assert checked(check, pulse, well=False, age=12.0).health is Health.UNHEALTHY
