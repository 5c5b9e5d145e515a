"""``./dev bench [--json] [NAME…]``: splice, spine, unpacking. Nothing here fails for being slow; it tells."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import spine
import splice
import unpacking
from timing import Row

NAMES = ("splice", "spine", "unpacking")


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    given = parser.parse_args()
    names = given.names or NAMES
    wheels = os.environ.get("TRAINLOAD_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")
    area = Path(tempfile.mkdtemp(prefix="trainload-bench-"))
    try:
        rows = []
        for row in measured(names, area, wheels):
            rows.append(row)
            print(f"  {row.what}: {row.figure}", file=sys.stderr)  # noqa: T201 - progress
        if given.json:
            print(json.dumps([vars(row) for row in rows], ensure_ascii=False, indent=2))  # noqa: T201 - data
        else:
            print(table(rows))  # noqa: T201 - data
    finally:
        shutil.rmtree(area, ignore_errors=True)


def measured(names: list[str] | tuple[str, ...], area: Path, wheels: str) -> Iterator[Row]:
    if "splice" in names:
        yield from splice.rows(area, wheels)
    if "spine" in names or "unpacking" in names:
        yield from spine.rows(area, wheels)
    if "unpacking" in names:
        yield from unpacking.rows(area)


def table(rows: list[Row]) -> str:
    cells = [("What", "Figure", "Ratio", "Against", "Target"), *(row.cells() for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(5)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return "\n".join([machine, "", lines[0], "-" * len(lines[0]), *lines[1:]])


if __name__ == "__main__":
    main()
