"""What looks like a secret by its name, outside a project (THREATS P08)."""

from __future__ import annotations

from trainload.project.ignore import parse
from trainload.project.secrets import HARMLESS, NAMES

_SECRETS = parse(name for name, _ in NAMES)
_HARMLESS = parse(HARMLESS)


def secret_name(path: str) -> str | None:
    """What kind of secret a path is by its name, if any."""
    parts = path.lower().split("/")
    rule = _SECRETS.find_within(parts)
    if rule is None or _HARMLESS.find(parts, folder=False) is not None:
        return None
    return next(kind for name, kind in NAMES if name == rule.text)
