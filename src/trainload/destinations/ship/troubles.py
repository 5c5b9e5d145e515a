"""The runner's troubles as errors with a way out (THREATS S06). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from trainload.address import Address
from trainload.errors import HostError, Place, Text

_ANOTHER = Text("`--to FOLDER` names another folder there")


def told(value: Mapping[str, object], where: str, host: Address, need: int | None = None) -> HostError:
    """The error for what the far side said about the store at ``where``; ``need`` in bytes."""
    code, said = str(value.get("trouble")), value.get("said")
    texts = {
        "full": (Text("the disk of {host} is full", host=host), [
            Text("`trainload gc` there removes what no image needs, if Trainload is installed there"), _ANOTHER]),
        "forbidden": (Text("the store on {host} may not be written", host=host), [_ANOTHER]),
        "owner": (Text("the store on {host} belongs to another user", host=host), [_ANOTHER]),
        "not a store": (Text("the folder on {host} holds something else than a store", host=host), [_ANOTHER]),
        "newer": (Text("the store on {host} was written by a newer Trainload", host=host),
                  [Text("upgrade trainload here"), _ANOTHER]),
        "version": (Text("the runner on {host} speaks another version", host=host),
                    [Text("install one Trainload only: parts of two are mixed here")]),
        "locks": (Text("the file system under the store on {host} does not support locks", host=host),
                  [Text("`--to FOLDER` names a folder on a local disk there")]),
        "index": (Text("the list of images in the store on {host} cannot be read", host=host), [_ANOTHER]),
        "bytes": (Text("other bytes arrived on {host} than were sent, and were not kept", host=host),
                  [Text("run the same command again"), Text("`trainload verify --full` checks the image here")]),
        "missing": (Text("a blob went away on {host} while the image was sent", host=host),
                    [Text("run the same command again")]),
    }  # fmt: skip
    text, hints = texts.get(code, (Text("the store on {host} could not be used", host=host), [_ANOTHER]))
    place = Place(f"{host}:{value['path']}") if value.get("path") else Place(where)
    return HostError(
        text, place=place, got=said or None, want=None if need is None else f"{need:,} bytes", hints=hints
    )
