"""What the far side could not do, as errors with a way out. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from trainload.address import Address
from trainload.destinations.ship import troubles
from trainload.errors import HostError, Place, RunError, Text, TrainloadError
from trainload.run.engines.inspected import start_error

_USERNS = (
    Text("there, on Ubuntu 23.10 and newer: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    Text("there, on older Debian: sudo sysctl kernel.unprivileged_userns_clone=1"),
    Text("or install Docker or Podman there"),
)


def told(value: Mapping[str, object], where: str, host: Address, command: str = "") -> TrainloadError:
    """The error for what the far side said; ``command``: the program of a run that was to start."""
    code, said = str(value.get("trouble")), str(value.get("said") or "")
    if code == "engine":
        return start_error(said, command)
    if code == "command":
        return _command(said, value.get("exit_code"))
    if code == "namespaces":
        return RunError(Text("{host} does not let us make namespaces", host=host), got=said, hints=_USERNS)
    if code == "mount":
        missing = "{path}, to be mounted at {target}, does not exist on {host}"
        return RunError(Text(missing, path=value.get("path"), target=said, host=host))
    if code == "copy":
        return RunError(Text("{path} cannot be copied: {reason}", path=value.get("path"), reason=said))
    if code == "one user":
        return RunError(
            Text("a container on {host} has one user only: {user}", host=host, user=said),
            hints=[Text("start the run with --user, or leave --user out here")],
        )
    texts = {
        "layer": (Text("a layer of the image cannot be unpacked on {host}", host=host), ()),
        "zstd": (Text("{host} cannot unpack zstd: its python3 is older than 3.14", host=host),
                 (Text("install Docker or Podman there, or build with another base"),)),
        "bwrap": (Text("bubblewrap is not installed on {host}, and ours is for another machine", host=host),
                  (Text("there: sudo apt-get install bubblewrap"),)),
        "user": (Text("the image does not know this user"), ()),
        "workdir": (Text("the working directory is not in the image"), ()),
        "container": (Text("the container could not be started on {host}", host=host), ()),
        "image": (Text("{host} does not have the image any more", host=host),
                  (Text("run the same command again"),)),
        "running": (Text("it is running"), (Text("stop it first, or use rm -f"),)),
        "ended": (Text("it is not running"), ()),
        "usage": (Text("{host} does not show what it uses", host=host), ()),
        "enter": (Text("the container could not be entered on {host}", host=host), ()),
    }  # fmt: skip
    if code in texts:
        text, hints = texts[code]
        return RunError(text, got=said or None, hints=hints)
    if code == "no run":
        return HostError(Text("{host} knows no run {id}", host=host, id=said), place=Place(where))
    return troubles.told(value, where, host)


def _command(command: str, code: object) -> RunError:
    text = (
        Text("the image has no program {command}", command=command)
        if code == 127
        else Text("{command} is not a program that can be executed", command=command)
    )
    error = RunError(text)
    error.exit_code = int(str(code))
    return error
