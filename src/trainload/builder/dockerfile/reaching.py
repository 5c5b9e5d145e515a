"""RUN lines that fetch something, before any of them is run without a network."""

from __future__ import annotations

from collections.abc import Iterable

from trainload.builder.dockerfile.bench import Wanted
from trainload.dockerfile.program import RunStep
from trainload.dockerfile.understand.network import needs_network
from trainload.dockerfile.understood import Opaque, Understanding
from trainload.errors import ConfigError, Place, Problems, Text

_GIVE = Text("give it one: --network default (trainload run: --build-network); what it fetches is locked by nobody")


def check_networks(runs: Iterable[tuple[RunStep, Understanding]], wanted: Wanted, file: str) -> None:
    """Raises :class:`ConfigError`, all lines at once: some programs end well and silently without a network."""
    problems = Problems()
    for step, understood in runs if not _is_settled(wanted) else ():
        if wanted.place and not isinstance(understood, Opaque):
            continue
        program = needs_network(step.run)
        if program is not None:
            why = [understood.reason] if isinstance(understood, Opaque) else []
            problems.add(
                ConfigError(
                    Text("RUN {command} needs a network, and none is given", command=program),
                    place=Place(file, line=step.line),
                    got=" ".join(step.text.split())[:160],
                    hints=[
                        _GIVE,
                        *(
                            Text("the line is run, not placed, because of this: {reason}", reason=one)
                            for one in why
                        ),
                        Text("or run it without one, as it stands: --network none, or RUN --network=none …"),
                    ],
                )
            )
    problems.check()


def _is_settled(wanted: Wanted) -> bool:
    """The command line gives a network, or says that there is to be none."""
    return wanted.network or wanted.network_asked == "none"


def told(reason: Text, step: RunStep, wanted: Wanted) -> Text:
    """Why a line is run, and what it needs for that."""
    program = None if _is_settled(wanted) else needs_network(step.run)
    if program is None:
        return reason
    text = "{reason}; {command} needs a network: build with --network default"
    return Text(text, reason=reason, command=program)
