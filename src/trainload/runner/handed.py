r"""What a further program in Podman's container reads is handed to it as it is, instead of going through Podman.

Podman hears a program over a socket of its monitor, which carries the input, too. Where the program left some of
that unread, the socket fails when the monitor ends, before what was said is read (SEQPACKET of unix(7): ECONNRESET
comes first): on a busy machine a short program's words were lost four times out of five. A descriptor that is
handed through (``--preserve-fds``) takes the input off that socket; a shell in the container puts it in its place.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

_SHELL = "/bin/sh"
_COMPLAINT = 'Error: exec: \\"$1\\": executable file not found in \\$PATH'
"""As the runtime says it."""
_INSIDE = f'command -v "$1" >/dev/null || {{ echo "{_COMPLAINT}" >&2; exit 127; }}; exec "$@" <&3 3<&-'
OUTSIDE = ("sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh")
"""Before ``podman``: our standard input becomes the descriptor that is handed through."""


def has_shell(pid: int) -> bool:
    """Whether the container whose first process that is has one, as far as we may look."""
    return pid > 0 and os.path.lexists(f"/proc/{pid}/root{_SHELL}")


def handed(words: Sequence[str], command: Sequence[str]) -> list[str]:
    """``podman exec`` as it would be called, to the same with its input as descriptor 3; it ends in ``command``."""
    options = [word for word in words[: len(words) - len(command)] if word != "--interactive"]
    return [options[0], "--preserve-fds=1", *options[1:], _SHELL, "-c", _INSIDE, "sh", *command]
