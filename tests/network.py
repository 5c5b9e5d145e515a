"""Whether what tests need can be reached from here: a failure is skipped only where it cannot."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from trainload.errors import FetchError
from trainload.resolve.archives import find_archives
from trainload.resolve.uv import Uv, is_network_failure
from trainload.system import scratch
from trainload.system.http import Http


@cache
def index_answers() -> bool:
    """uv reaches a package index, as this machine configures it."""
    with scratch.folder("probe") as folder:
        (folder / "requirements.txt").write_text("idna\n")
        words = ["requirements.txt", "-q", "-o", "out.txt", "--only-binary=:all:"]
        done = Uv(dict(os.environ)).run("pip compile", words, Path(folder))
        return done.exit_code == 0 or not is_network_failure(done)


@cache
def archive_answers(distribution: str = "debian", suite: str = "bookworm") -> bool:
    """The first archive of the distribution that would be asked does."""
    try:
        archive = find_archives().of(distribution)[0].url
        Http(connect_timeout=5).get(f"{archive}/dists/{suite}/InRelease", limit=1 << 20)
    except FetchError:
        return False
    return True
