"""Running a piece of Python as an ordinary user, for tests that are started by root."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainload.system.process import Completed, run

NOBODY = 65534
# root's own folder hides the interpreter on some machines: show only that part of it, to us alone; likewise files
# of theirs in place of the machine's own
_SHOW = """
set -e
mount --make-rshared /
while [ -n "$1" ]; do
    mount --bind "$1" "$2"; shift 2
done
shift
while [ -n "$1" ]; do
    mount --bind "$1" /mnt; top=/$(echo "$1" | cut -d/ -f2)
    mount -t tmpfs -o mode=755 none "$top"; mkdir -p "$1"; mount --bind /mnt "$1"; umount /mnt; shift
done
shift
exec setpriv --reuid "$0" --regid "$0" --clear-groups --reset-env "$@"
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the machine need not know."""

    uid: int = NOBODY
    """The group's number, too."""
    files: tuple[tuple[Path, str], ...] = ()
    """Files that are there for this person in place of the machine's own: (file, where)."""


SOMEBODY = Person()


def with_more_ids(folder: Path, name: str = "trainee", uid: int = 54321, first: int = 2_000_000) -> Person:
    """A user with 65,536 further ids, as ``adduser`` makes them; their files lie in ``folder``."""
    lines = {
        "/etc/passwd": f"{name}:x:{uid}:{uid}::/:/bin/sh\n",
        "/etc/group": f"{name}:x:{uid}:\n",
        "/etc/subuid": f"{name}:{first}:65536\n",
        "/etc/subgid": f"{name}:{first}:65536\n",
    }
    for path, line in lines.items():
        (folder / Path(path).name).write_text(Path(path).read_text(encoding="utf-8") + line, encoding="utf-8")
    return Person(uid, tuple((folder / Path(path).name, path) for path in lines))


def as_ordinary_user(
    script: str, *arguments: str, home: Path, env: Mapping[str, str] | None = None, person: Person = SOMEBODY
) -> Completed:
    """Run ``script`` with this interpreter as ``person``, or as we are if we are not root.

    ``home`` is theirs from then on. :func:`cannot_be_ordinary` says whether it works.
    """
    argv = [sys.executable, "-c", script, *arguments]
    words = {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin", **(env or {})}
    if os.geteuid() != 0:
        return run(argv, env=words, timeout=120)
    os.chown(home, person.uid, person.uid)
    given = [f"{name}={value}" for name, value in words.items()]
    return run([*become(person), "env", *given, *argv], timeout=120)


def become(person: Person) -> list[str]:
    """Before a command of root's: ``person`` runs it, with an empty environment."""
    files = [str(word) for pair in person.files for word in pair]
    return ["unshare", "--mount", "sh", "-c", _SHOW, str(person.uid), *files, "", *hidden(), ""]


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
