"""Our terminal joined with a detached run that has one, or whose standard input is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainload.cli.world import World
from trainload.errors import Text

if TYPE_CHECKING:
    from trainload.cli.engines import Known


def join(world: World, found: Known) -> int:
    """Until its end, whose exit code this is; 0 when the user leaves it."""
    from trainload.cli.engines import records

    state = found.engine.attach(found.id)
    if state is None:
        name = found.run.called or found.id
        world.say(Text("the run goes on; trainload attach {name} joins it again", name=name))
        return 0
    code = state.exit_code if state.exit_code is not None else records(world).find(found.id).exit_code
    records(world).settle(world.now)
    return code or 0
