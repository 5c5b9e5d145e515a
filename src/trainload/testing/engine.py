"""An engine in memory: knows a few words of ``sh`` and keeps the contract of every engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from trainload.digest import Digest
from trainload.errors import ImageError, RunError, Text
from trainload.run.model import Outcome, RunSpec


@dataclass(slots=True)
class MemoryEngine:
    """``true``, ``false`` and ``sh -c "exit N"`` run; ``ran`` has every spec that was started."""

    images: Collection[Digest]
    ran: list[RunSpec] = field(default_factory=list)
    name: str = "memory"

    def unavailable(self) -> Text | None:
        return None

    def not_in_force(self, spec: RunSpec) -> tuple[Text, ...]:
        return (Text("limits are not in force: nothing really runs"),) if spec.limits.memory else ()

    def run(self, spec: RunSpec) -> Outcome:
        """See :class:`trainload.run.model.Engine`."""
        if spec.image not in self.images:
            raise ImageError(Text("there is no image {digest}", digest=spec.image))
        code = _exit_code(spec.command)
        if code is None:
            error = RunError(Text("the image has no program {command}", command=spec.command[0]))
            error.exit_code = 127
            raise error
        self.ran.append(spec)
        return Outcome(code, Text("exit code {code}", code=code) if code else Text("finished"), 0.0)


def _exit_code(command: tuple[str, ...]) -> int | None:
    if command[0] == "sh" and command[1:2] == ("-c",) and command[2].startswith("exit "):
        return int(command[2].removeprefix("exit "))
    return {"true": 0, "false": 1}.get(command[0])
