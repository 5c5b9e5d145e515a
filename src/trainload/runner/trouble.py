"""Errors that are told to the near side, which has the words for them."""

from __future__ import annotations

import errno


class Trouble(Exception):
    """Something that cannot be done; ``code`` is a word both sides know, ``facts`` fill its text."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


def trouble_of(error: OSError) -> Trouble:
    """What the operating system said."""
    code = "system"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        code = "full"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        code = "forbidden"
    return Trouble(code, path=str(error.filename or ""), said=error.strerror or str(error))
