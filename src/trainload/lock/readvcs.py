"""Reads what a lock takes from version control (PEP 751 § packages.vcs), strictly."""

from __future__ import annotations

from collections.abc import Callable

from trainload.errors import Text
from trainload.lock.document import Table
from trainload.lock.grammar import COMMIT, FILE_NAME, HEX, INSIDE, LINE
from trainload.lock.model import Commit, File


def read_repository(table: Table, refusal: Callable[[str], Text | None]) -> File:
    """The archive of a commit. ``refusal``: why an address may not stand in a lock."""
    vcs = table.table("vcs")
    vcs.only(("type", "url", "requested-revision", "commit-id", "subdirectory"))
    vcs.text("type", want="git")
    if vcs.values.get("type") != "git":
        vcs.wrong("type", "has a wrong value", want="git")
    url = vcs.text("url", want="an https address")
    reason = refusal(url)
    if reason is not None:
        vcs.wrong("url", reason)
    archive = table.table("tool").table("trainload").table("archive")
    archive.only(("name", "size", "sha256"))
    return File(
        archive.text("name", FILE_NAME, want="a file name"),
        archive.text("sha256", HEX, want="64 hexadecimal digits"),
        archive.optional_number("size"),
        Commit(
            url,
            vcs.text("commit-id", COMMIT, want="40 hexadecimal digits"),
            vcs.optional_text("subdirectory", INSIDE, want="a folder") or "",
            vcs.optional_text("requested-revision", LINE, want="a revision") or "",
        ),
    )
