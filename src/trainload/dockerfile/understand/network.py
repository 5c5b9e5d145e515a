"""Programs of a RUN line that can do nothing without a network, as far as the text shows them.

Some of them say nothing when it is missing: ``curl -s https://… | bash`` and ``apt-get update`` end well then.
"""

from __future__ import annotations

import re

from trainload.dockerfile.understood import RunLine

_START = (
    r"(?:^|[;&|({\n]|\b(?:then|do|else|if|exec|sudo|time|env|-e)\b)[ \t\\\n]*(?:!?[ \t]*[A-Za-z_]\w*=\S*[ \t]+)*"
)
_ADDRESS = r"""["']?(?:https?|ftp)://(?!localhost\b|127\.|\[::1\])"""
_FETCH = re.compile(rf"{_START}(?P<name>curl|wget|aria2c)\b[^;&|\n]*?[ \t=]{_ADDRESS}")
_GIT = re.compile(
    rf"{_START}(?P<name>git[ \t]+(?:-\S+[ \t]+)*clone)\b[^;&|\n]*?[ \t](?:{_ADDRESS}|[\"']?(?:ssh://|git@))"
)
_APT = re.compile(
    rf"{_START}(?:/usr/bin/)?(?P<name>apt(?:-get)?[ \t]+(?:-\S+[ \t]+)*(?:update|(?:dist-|full-)?upgrade))\b"
)


def needs_network(line: RunLine) -> str | None:
    """The first command that fetches something (``git clone``); None: none is seen, or the line says none."""
    if line.network == "none" or line.script is None:
        return None
    script = line.script
    for heredoc in line.heredocs:
        if script.strip() != heredoc.content.strip():  # a file that is written, not the script itself
            script = script.replace(heredoc.content, "")
    script = re.sub(r"(?m)^[ \t]*#.*$", "", script.replace("\\\n", " "))
    found = [match for pattern in (_FETCH, _GIT, _APT) for match in pattern.finditer(script)]
    first = min(found, key=lambda match: match.start("name"), default=None)
    return " ".join(first["name"].split()) if first is not None else None
