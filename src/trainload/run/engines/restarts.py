"""When a program that ended is started again, and when it counts as unhealthy: Docker's rules, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainload.run.engines.interface import Health
from trainload.run.model import Again, HealthCheck, Restart

_FIRST, _LONGEST = 0.1, 60.0  # moby: restartmanager, backoffMultiplier 2, maxRestartTimeout
_LONG_ENOUGH = 10.0  # seconds after which a start counts as a success (moby: defaultTimeout …)


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is known when a program ended."""

    restarts: int = 0
    """How often it was started again so far."""
    pause: float = 0.0
    """Seconds before the last restart."""


def again(policy: Restart, attempts: Attempts, exit_code: int, lasted: float, *, stopped: bool) -> Attempts | None:
    """The next attempt with its pause before it, or None: it ended for good."""
    failed = policy.again is Again.ON_FAILURE and exit_code != 0
    if stopped or not (failed or policy.again in (Again.ALWAYS, Again.UNLESS_STOPPED)):
        return None
    if failed and policy.most is not None and attempts.restarts >= policy.most:
        return None
    pause = _FIRST if lasted >= _LONG_ENOUGH or not attempts.pause else min(attempts.pause * 2, _LONGEST)
    return Attempts(attempts.restarts + 1, pause)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the checks so far said."""

    health: Health = Health.STARTING
    failures: int = 0
    """In a row."""


def checked(check: HealthCheck, pulse: Pulse, *, well: bool, age: float) -> Pulse:
    """After one more check; ``age``: seconds since the program started."""
    if well:
        return Pulse(Health.HEALTHY)
    if pulse.health is Health.STARTING and age < check.start_period:
        return pulse
    failures = pulse.failures + 1
    return Pulse(Health.UNHEALTHY, failures) if failures >= check.retries else replace(pulse, failures=failures)
