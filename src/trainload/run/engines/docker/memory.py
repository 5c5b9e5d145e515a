"""Whether the memory limit killed something of a container, when its own state does not say so.

containerd sends the end of a program and the word that memory ran out one by one, and Docker believes them in the
order in which they come: where the end is first, ``OOMKilled`` stays false for good (moby: daemon/monitor.go).
The other word still becomes an event. Seen on a machine with more to do than it has cores.
"""

from __future__ import annotations

import json
from datetime import timedelta

from trainload.run.engines.docker.api import Api
from trainload.run.engines.inspected import Document, moment

_LATER = timedelta(seconds=3)
"""So long after an end by SIGKILL the word may still come; measured: milliseconds."""
_SIGKILL = 137


def ran_out(api: Api, container: Document) -> bool:
    """Of what ``GET /containers/ID/json`` said. Waits only where the end is that fresh."""
    state = container["State"]
    began, ended = moment(state.get("StartedAt")), moment(state.get("FinishedAt"))
    limited = bool(container["HostConfig"].get("Memory"))
    if state.get("Running") or not limited or state.get("OOMKilled") or not state["ExitCode"]:
        return False
    if began is None or ended is None:
        return False
    if state["ExitCode"] == _SIGKILL:
        ended += _LATER
    asked = {
        "since": f"{began.timestamp():.6f}", "until": f"{ended.timestamp():.6f}",
        "filters": json.dumps({"container": [container["Id"]], "event": ["oom"]}),
    }  # fmt: skip
    with api.stream("GET", "/events", asked) as answer:
        return bool(answer.body.read(1))  # it ends by itself once `until` is past
