"""One owner for each path of the image (THREATS D5): who puts what where, and whether two mean the same file."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from trainload.errors import LayerError, ManyErrors, Place, Text
from trainload.layers.wheel import Wheel, read_wheel
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import File
from trainload.plan.model import VENV


@dataclass(frozen=True, slots=True)
class Claim:
    """What a package puts at a path: equal claims are the same file."""

    sha256: bytes
    size: int
    mode: int


Claims = Mapping[str, Claim]
"""By image path, without the first slash."""


def claims(file: File, stream: BinaryIO, python: str, limits: Limits = DEFAULT, *, prefix: str = VENV) -> Claims:
    """What the wheel ``file`` puts into the image, from its directory and RECORD. Raises :class:`LayerError`."""
    return claims_of(read_wheel(stream, file.name, python, limits, prefix=prefix))


def claims_of(wheel: Wheel) -> Claims:
    return {item.path: Claim(item.sha256, item.size, item.mode) for item in wheel.items}


def claims_told(found: Claims) -> bytes:
    """To be remembered; see :func:`claims_from`."""
    rows = [[path, claim.sha256.hex(), claim.size, claim.mode] for path, claim in found.items()]
    return json.dumps(rows, separators=(",", ":")).encode()


def claims_from(told: bytes) -> Claims:
    return {path: Claim(bytes.fromhex(sha256), size, mode) for path, sha256, size, mode in json.loads(told)}


def check_ownership(owners: Mapping[str, Claims]) -> None:
    """Raises the :class:`LayerError` of every path that two owners claim with different files (THREATS W27).

    ``owners``: claims by the owner's name, a wheel's file name. The same bytes with the same mode may be
    claimed by many.
    """
    found: dict[str, tuple[str, Claim]] = {}
    clashes: dict[tuple[str, str], list[str]] = {}
    for owner, its_claims in owners.items():
        for path, claim in its_claims.items():
            first = found.setdefault(path, (owner, claim))
            if first[1] != claim:
                clashes.setdefault((first[0], owner), []).append(path)
    for path in _folders(found):
        if path in found:
            below = next(other for other in found if other.startswith(f"{path}/"))
            clashes.setdefault((found[path][0], found[below][0]), []).append(path)
    errors = [_clash(first, second, sorted(paths)) for (first, second), paths in sorted(clashes.items())]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ManyErrors(errors)


def case_clashes(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of paths that a file system ignoring case or Unicode form would hold as one (THREATS W28)."""
    seen: dict[str, str] = {}
    for path in sorted(set(paths)):
        key = path.lower() if path.isascii() else unicodedata.normalize("NFKC", path).casefold()
        first = seen.setdefault(key, path)
        if first != path:
            yield first, path


def check_portable(paths: Iterable[str], where: str) -> None:
    """No file system may take two of the image's ``paths`` for one (THREATS W28, ``--portable``).

    ``where``: what the paths are of. Raises :class:`LayerError` naming the first pair.
    """
    clashes = list(case_clashes(paths))
    if clashes:
        first, second = clashes[0]
        raise LayerError(
            Text(
                "{count} pairs of files differ only in case or form of letters, such as /{first} and /{second}",
                count=len(clashes), first=first, second=second,
            ),
            place=Place(where, second),
            hints=[Text("leave one of the two out, or build without --portable: Linux holds both")],
        )  # fmt: skip


def runs_at_start(path: str) -> bool:
    """Whether Python runs the file by itself when it starts (THREATS W29)."""
    folder, _, name = path.rpartition("/")
    if not folder.endswith("/site-packages"):
        return False
    return name.endswith((".pth", ".egg-link")) or name in ("sitecustomize.py", "usercustomize.py")


def _folders(paths: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return folders


def _clash(first: str, second: str, paths: list[str]) -> LayerError:
    more = Text("{first} and {second} both have {path}, and {count} more files, with different content",
                first=first, second=second, path=f"/{paths[0]}", count=len(paths) - 1)  # fmt: skip
    one = Text("{first} and {second} both have {path}, with different content",
               first=first, second=second, path=f"/{paths[0]}")  # fmt: skip
    return LayerError(
        more if len(paths) > 1 else one,
        place=Place(second, paths[0]),
        hints=[Text("depend on one of the two only, or on releases that do not overlap")],
    )
