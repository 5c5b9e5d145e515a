"""A transfer that another process may go on with: it goes on with the version of the file that it began with."""

from __future__ import annotations

from trainload.lock.model import File
from trainload.store.parts import LEAST, Tags
from trainload.system.http import Transfer


def tagged(transfer: Transfer, file: File, tags: Tags) -> Transfer:
    """``transfer``, which asks for the rest of what was begun (If-Range), and writes down which version that is."""
    if (file.size or 0) < LEAST:
        return transfer
    if transfer.done:
        transfer.tag = tags.find(file.sha256, transfer.url)
    write, noted = transfer.write, transfer.tag

    def take(data: bytes) -> object:
        nonlocal noted
        if transfer.tag is not None and transfer.tag != noted:
            noted = transfer.tag
            tags.note(file.sha256, transfer.url, noted)
        return write(data)

    transfer.write = take
    return transfer
