"""Changes that mean nothing: what programs and package managers leave behind while they work."""

from __future__ import annotations

import re

_NOISE = re.compile(
    r"""(
      (tmp|run|proc|sys|dev|var/tmp|var/run|var/lock)(/.*)?
    | var/(log|cache|spool|mail|backups)(/.*)? | var/lib/(apt|dpkg|systemd|ucf|pam|update-notifier)(/.*)?
    | var/lib/(dbus/machine-id|shells\.state) | etc/(machine-id|ld\.so\.cache|\.pwd\.lock|mtab|\.updated)
    | etc/(passwd|group|shadow|gshadow|subuid|subgid)-
    | (.*/)?__pycache__(/.*)? | .*\.py[co] | (.*/)?\.cache(/.*)? | (.*/)?\.(npm|nv|triton|ipython|jupyter)(/.*)?
    | (.*/)?\.local/share/(Trash|jupyter|nano|recently-used.*)(/.*)? | (.*/)?\.local/state(/.*)?
    | (.*/)?\.[a-z_]*_?history | (.*/)?\.(lesshst|viminfo|wget-hsts|sudo_as_admin_successful|node_repl_history)
    | (.*/)?\.nano(/.*)? | (.*/)?\.[^/]+\.sw[op] | (.*/)?\.config/(matplotlib|pip|uv|htop)(/.*)?
    | (.*/)?\.ipynb_checkpoints(/.*)? | (.*/)?\.(pytest|mypy|ruff)_cache(/.*)? | core(\.[0-9]+)?
    | (.*/)?\.wh\.[^/]* | (opt|usr/local)/([^/]+/)?\.lock  # uv's, in an environment
    )""",
    re.VERBOSE,
)
_BY_INSTALLING = re.compile(
    r"""(
      etc/(passwd|group|shadow|gshadow|shells|subuid|subgid|environment|mailcap|nanorc)
    | etc/(alternatives|rc[0-6S]\.d|ssl/certs|ca-certificates|systemd|init\.d|cron\.[a-z]+|pam\.d)(/.*)?
    | etc/(python3?[^/]*|ca-certificates\.conf)(/.*)?
    | etc/(ld\.so\.conf\.d|fonts|X11|xml|sgml|emacs|dconf|vulkan|OpenCL|apparmor\.d)(/.*)?
    | var/lib/.* | usr/share/(info/dir|mime|icons|applications|glib-2\.0|fonts|man|doc|gtk.*|vim/.*)(/.*)?
    | usr/lib/.*/(gconv-modules\.cache|loaders\.cache|immodules\.cache|giomodule\.cache)
    | usr/(local/)?(s?bin|lib|share|include|etc|games|src|man)/?
    | (usr/)?s?bin/[^/]+ | usr/lib/python3(/.*)?
    )""",
    re.VERBOSE,
)


def is_noise(path: str) -> bool:
    """Caches, logs, histories, locks, bytecode, what lies in memory when it runs."""
    return _NOISE.fullmatch(path) is not None


def is_made_by_installing(path: str) -> bool:
    """What scripts of distribution packages make or change; it counts only where such packages were installed."""
    return _BY_INSTALLING.fullmatch(path) is not None
