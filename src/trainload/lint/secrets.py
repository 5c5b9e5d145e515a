"""Passwords and tokens by the name of their variable and by their form (THREATS F12); values are never shown."""

from __future__ import annotations

import re

from trainload.project.secrets import looks_secret

_NAME = re.compile(
    r"(?:.*_)?(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|SECRET_KEY|SECRETKEY|TOKEN|API_?KEY|ACCESS_KEY(?:_ID)?|PRIVATE_KEY"
    r"|CREDENTIALS|AUTH|PAT)",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"(?:.*_)?(?:MAX|MIN|PAD|EOS|BOS|UNK|MASK|CLS|SEP|SPECIAL|NUM|STOP|DISABLE)_TOKEN|.*NO_AUTH", re.I
)
_NOT_A_VALUE = re.compile(
    r"|true|false|none|null|0|1|/.*|<.*>"
    # which way to log in, and not what with
    r"|oidc|oauth2?|basic|ldaps?|saml2?|kerberos|jwt|mtls|bearer|disabled|enabled|optional|required",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@${}]+:(?P<password>[^/\s@]+)@", re.IGNORECASE)


def named(name: str) -> bool:
    """Whether a variable of this name holds a secret: ``HF_TOKEN``, ``DB_PASSWORD``; not ``MAX_TOKENS``."""
    return _NAME.fullmatch(name) is not None and _HARMLESS.fullmatch(name) is None


def literal(value: str) -> bool:
    """Whether a value stands there itself: not empty, no variable, no path of a secret's file."""
    return "$" not in value and "{{" not in value and _NOT_A_VALUE.fullmatch(value.strip()) is None


def formed(text: str) -> str | None:
    """The kind of secret whose form is in ``text``: a token, or a password in an address."""
    found = looks_secret(text.encode("utf-8", "surrogateescape"))
    if found:
        return found
    match = _IN_URL.search(text)
    return "password in an address" if match and literal(match["password"]) else None
