"""Running a piece of Python as an ordinary user, for tests that are started by root."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from trainload.system.process import Completed, run

NOBODY = 65534
# root's own folder hides the interpreter on some machines: show only that part of it, to us alone
_SHOW = """
set -e
while [ -n "$1" ]; do
    mount --bind "$1" /mnt; top=/$(echo "$1" | cut -d/ -f2)
    mount -t tmpfs -o mode=755 none "$top"; mkdir -p "$1"; mount --bind /mnt "$1"; umount /mnt; shift
done
shift
exec setpriv --reuid "$0" --regid "$0" --clear-groups --reset-env "$@"
"""


def as_ordinary_user(script: str, *arguments: str, home: Path, env: Mapping[str, str] | None = None) -> Completed:
    """Run ``script`` with this interpreter as ``nobody``, or as we are if we are not root.

    ``home`` is theirs from then on. :func:`cannot_be_ordinary` says whether it works.
    """
    argv = [sys.executable, "-c", script, *arguments]
    words = {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin", **(env or {})}
    if os.geteuid() != 0:
        return run(argv, env=words, timeout=120)
    os.chown(home, NOBODY, NOBODY)
    given = [f"{name}={value}" for name, value in words.items()]
    return run(
        ["unshare", "--mount", "sh", "-c", _SHOW, str(NOBODY), *hidden(), "", "env", *given, *argv], timeout=120
    )


def hidden() -> list[str]:
    """Where the interpreter lies, when others may not go there."""
    place = Path(sys.base_prefix).resolve()
    return [str(place)] if any(not folder.stat().st_mode & 0o001 for folder in place.parents) else []


def cannot_be_ordinary(home: Path) -> str | None:
    """Why :func:`as_ordinary_user` does not work here; None when it does."""
    missing = [name for name in ("unshare", "setpriv") if not shutil.which(name)]
    if missing and os.geteuid() == 0:
        return f"needs {missing[0]}"
    done = as_ordinary_user("import trainload.run.embedded", home=home)
    return None if done.exit_code == 0 else f"an ordinary user cannot start this Python: {done.complaint[-200:]}"
