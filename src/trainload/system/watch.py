"""Files of a folder that change, as they change: inotify, or polling where there is none (watchfiles)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainload.errors import Text, TrainloadError
from trainload.system.flag import Flag

_QUIET = 50  # milliseconds without a change that end a batch: an editor writes, renames and touches in one go
_LONGEST = 400  # milliseconds that a batch may take; `git checkout` goes on for longer, and makes several
_TICK = 50  # milliseconds without any change after which the caller may look at other things


class WatchError(TrainloadError):
    """The folder cannot be watched."""


def changes(folder: Path, stop: Flag) -> Iterator[frozenset[str]]:
    """Paths relative to ``folder`` that changed together; an empty set now and then. Ends when ``stop`` is set.

    Nothing is missed from the first ``next()`` on, which returns at once; what changes unasked comes later.
    Raises :class:`WatchError` when the machine allows no more watches.
    """
    from watchfiles import watch

    try:
        for found in watch(
            folder, watch_filter=None, debounce=_LONGEST, step=_QUIET, stop_event=stop, rust_timeout=_TICK,
            yield_on_timeout=True, raise_interrupt=False,
        ):  # fmt: skip
            yield frozenset(str(Path(path).relative_to(folder)) for _, path in found)
    except (OSError, RuntimeError) as error:
        raise WatchError(
            Text("{folder} cannot be watched: {reason}", folder=folder, reason=error),
            hints=[
                Text("allow more watches: sudo sysctl fs.inotify.max_user_watches=1048576"),
                Text("or look at the files instead: WATCHFILES_FORCE_POLLING=1"),
            ],
        ) from error
