"""What it means that a locked file could not be had."""

from __future__ import annotations

from collections.abc import Sequence

from trainload.errors import FetchError, Text
from trainload.lock.model import File
from trainload.system.wire import shown


class WrongBytesError(FetchError):
    """The bytes are not the ones that were locked; they were not kept (THREATS W32, D13)."""

    def __init__(self, file: File, url: str, got: str, *, others: bool = False) -> None:
        """``others``: other addresses are left that were not asked."""
        self.others = others
        super().__init__(
            Text("{file} is not the file that was locked; it was not kept", file=file.name),
            got=f"{got} from {shown(url)}",
            want=f"sha256:{file.sha256}",
            hints=[
                Text("somebody changed the file, or a mirror or proxy is broken: try another network or mirror"),
                Text("only if you trust the new file, lock it: trainload lock"),
            ],
        )


def worst(file: File, failures: Sequence[FetchError]) -> FetchError:
    """What to tell of several failures: wrong bytes first, then what the file's own address said."""
    if not failures:
        return FetchError(
            Text("no address of {file} is known", file=file.name),
            hints=[Text("set a mirror in [tool.trainload.mirrors]")],
        )
    for error in failures:
        if isinstance(error, WrongBytesError):
            return error
    from trainload.system.http import StatusError

    last = failures[-1]
    if isinstance(last, StatusError) and last.status in (404, 410):
        return FetchError(
            Text("{file} is no longer where it was locked; its project may have withdrawn it", file=file.name),
            got=f"{last.text}: {last.got}",
            hints=[
                Text("take another version of it: trainload lock --upgrade NAME"),
                Text("or put the locked file into a find-links folder, if you still have it"),
            ],
        )
    return last
