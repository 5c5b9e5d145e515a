"""What ``dpkg --configure`` needs and what is kept of its work; pure (dpkg(1), deb-triggers(5)).

Left out is what differs from day to day or must never be in an image: logs, backups, locks, caches with times,
machine ids, host keys, and what a run leaves in ``/tmp`` and ``/run``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from trainload.layers.debian.deb import ControlFile
from trainload.layers.debian.scripts import CONFIGURES, unmodelled

STATUS = "var/lib/dpkg/status"
INFO = "var/lib/dpkg/info"
INSTALLED, UNPACKED = "install ok installed", "install ok unpacked"
_PACKAGE = re.compile(r"^Package: *(\S+)", re.MULTILINE)
_STATUS = re.compile(r"^Status: *(.+?) *$", re.MULTILINE)
_ERROR = "dpkg: error processing package "

_LEFT_OUT = re.compile(
    r"""(
      (proc|sys|dev)(/.*)? | (tmp|run|var/tmp)/.+
    | var/log/.+
    | var/cache/(ldconfig/aux-cache|man/.+|apt/.+) | var/lib/apt/.+
    | var/(cache/debconf|lib/dpkg)/.*-old
    | var/lib/dpkg/(lock|lock-frontend|triggers/Lock|updates/.+|tmp\.ci(/.*)?)
    | etc/(passwd|group|shadow|gshadow|subuid|subgid)- | etc/\.pwd\.lock
    | etc/machine-id | var/lib/dbus/machine-id | var/lib/systemd/random-seed
    | etc/ssh/ssh_host_.*_key(\.pub)?
    | usr/(local/)?share/fonts/(.*/)?\.uuid | var/cache/fontconfig/[0-9a-f]{8}-[0-9a-f-]+-.*  # random
    | usr/sbin/policy-rc\.d
    | root/\..+_history
    | (.*/)?__pycache__(/.*)?
    )""",
    re.VERBOSE,
)


def to_configure(scripts: Mapping[str, bytes]) -> tuple[str, ...]:
    """Packages whose ``postinst`` (``scripts``: package → its text) does something that is not modelled, sorted."""
    return tuple(
        package
        for package, content in sorted(scripts.items())
        if unmodelled(package, {CONFIGURES: ControlFile(content, 0o755)})
    )


def unpacked(status: bytes, packages: Collection[str]) -> bytes:
    """dpkg's status, as if ``packages`` had been unpacked and not configured yet."""
    stanzas = status.decode("utf-8", "surrogateescape").split("\n\n")
    changed = [
        _STATUS.sub(f"Status: {UNPACKED}", stanza, count=1) if _name(stanza) in packages else stanza
        for stanza in stanzas
    ]
    return "\n\n".join(changed).encode("utf-8", "surrogateescape")


def not_installed(status: bytes) -> tuple[str, ...]:
    """Packages that are in any other state than installed."""
    stanzas = status.decode("utf-8", "surrogateescape").split("\n\n")
    states = {_name(stanza): match[1] for stanza in stanzas if (match := _STATUS.search(stanza))}
    return tuple(name for name, state in sorted(states.items()) if state != INSTALLED)


def owner(path: str, lists: Mapping[str, bytes]) -> str:
    """The package whose list (package → ``.list``) names ``path``; empty when none does."""
    line = f"/{path}".encode("utf-8", "surrogateescape")
    return next((package for package, text in sorted(lists.items()) if line in text.split(b"\n")), "")


@dataclass(frozen=True, slots=True)
class Failure:
    """A script that failed."""

    package: str
    lines: tuple[str, ...]
    """What it said last."""


def failures(output: str, most: int = 5) -> tuple[Failure, ...]:
    """The packages whose own script failed, as dpkg tells it; not those that only wait for them."""
    found = []
    for part in re.split(r"^(?=Setting up |Processing triggers )", output, flags=re.MULTILINE):
        said, _, rest = part.partition(_ERROR)
        if rest and "dependency problems" not in rest.split("\n")[1]:
            lines = [line.strip() for line in said.split("\n")[1:] if line.strip()]
            found.append(Failure(rest.partition(" ")[0], tuple(lines[-most:])))
    return tuple(found)


def left_out(path: str) -> bool:
    """Whether changes of ``path`` do not go into the layer."""
    return _LEFT_OUT.fullmatch(path) is not None


def without_dates(shadow: bytes) -> bytes:
    """``/etc/shadow`` without the days of change, which would be the day of the build (shadow(5))."""
    rows = [line.split(b":") for line in shadow.split(b"\n")]
    return b"\n".join(b":".join([*row[:2], b"", *row[3:]]) if len(row) > 3 else row[0] for row in rows)


def _name(stanza: str) -> str:
    match = _PACKAGE.search(stanza)
    return match[1] if match else ""
