"""Child processes: argument lists only, both streams drained together, a time limit, no inherited stdin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainload.errors import Text, TrainloadError
from trainload.values import dataclass


class ProcessError(TrainloadError):
    """A program could not be started or took too long."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """What it said on stderr, at most the last 4,000 characters."""
        return self.stderr.decode("utf-8", "replace").strip()[-4000:]


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
) -> Completed:
    """Run ``argv`` to its end; any exit code is returned. ``timeout`` in seconds.

    Raises :class:`ProcessError` when the program is missing or the time is over.
    """
    import subprocess  # a build without a checkout around it starts nobody

    try:
        done = subprocess.run(
            list(argv),
            env=dict(env) if env is not None else None,
            cwd=cwd,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise ProcessError(Text("{program} is not installed", program=argv[0])) from error
    except PermissionError as error:
        raise ProcessError(Text("{program} may not be executed", program=argv[0])) from error
    except subprocess.TimeoutExpired as error:
        raise ProcessError(
            Text("{program} did not end within {seconds} s", program=argv[0], seconds=timeout), retryable=True
        ) from error
    return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
