"""An independent judge of the store's invariants I1–I6: it shares no code with ``trainload.store``.

``python -m trainload.testing.verifier HOME`` prints what is wrong, one line each, and exits 1 if anything is.
It reads only; after a crash ``tmp/`` and ``leases/`` may hold leftovers, with ``--clean`` they may not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REF = "org.opencontainers.image.ref.name"


def violations(home: Path, *, clean: bool = False) -> list[str]:
    """Every broken promise of the store at ``home``; ``clean``: nothing may be left over either (I6)."""
    if not home.exists() or not any(home.iterdir()):
        return []
    folders = (home / "blobs" / "sha256", home / "blobs" / "sha512", home / "files" / "sha256")
    found = [line for folder in folders for line in _content(folder)]
    found += _layout(home)
    found += _pushed(home)
    if clean:
        found += _leftovers(home)
    return found


def images(home: Path) -> dict[str, str]:
    """Name → digest of every named image, straight from ``index.json``."""
    index = json.loads((home / "index.json").read_bytes())
    return {
        entry["annotations"][REF]: entry["digest"]
        for entry in index["manifests"]
        if REF in entry.get("annotations", {})
    }


def snapshot(home: Path) -> dict[str, str]:
    """Path → digest of everything that counts: what must be byte-identical after a failure."""
    kept = {}
    for folder, _, names in os.walk(home):
        for name in names:
            path = Path(folder, name)
            inside = str(path.relative_to(home))
            if inside.split("/", maxsplit=1)[0] not in ("locks", "leases", "tmp", "incoming") and path.is_file():
                kept[inside] = hashlib.sha256(path.read_bytes()).hexdigest()
    return kept


def _content(folder: Path) -> Iterator[str]:
    """I1: each file hashes to its name."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        mode = path.lstat().st_mode
        if not re.fullmatch(r"[0-9a-f]{64}" if folder.name == "sha256" else r"[0-9a-f]{128}", path.name):
            yield f"I1 {path} is not named by a hash"
        elif not stat.S_ISREG(mode):
            yield f"I1 {path} is not a regular file"
        elif hashlib.new(folder.name, path.read_bytes()).hexdigest() != path.name:
            yield f"I1 {path} does not hold what its name says"
        elif stat.S_IMODE(mode) & 0o222:
            yield f"I1 {path} can be written to"


def _layout(home: Path) -> Iterator[str]:
    """I2 and I3: the documents parse, and all they need is there."""
    paths = [home / "oci-layout", home / "index.json"]
    if not (home / "trainload.json").exists() and not all(path.exists() for path in paths):
        blobs = home / "blobs" / "sha256"
        if blobs.is_dir() and any(blobs.iterdir()):
            yield "I2 blobs without a layout"
        return  # died while it was made
    try:
        layout, index = (json.loads(path.read_bytes()) for path in paths)
    except (OSError, ValueError) as error:
        yield f"I2 {error}"
        return
    if layout != {"imageLayoutVersion": "1.0.0"}:
        yield f"I2 oci-layout is {layout}"
    if index.get("schemaVersion") != 2 or not isinstance(index.get("manifests"), list):
        yield "I2 index.json is no index"
        return
    names = [entry.get("annotations", {}).get(REF) for entry in index["manifests"]]
    twice = {name for name in names if name is not None and names.count(name) > 1}
    if twice:
        yield f"I2 names given twice: {sorted(twice)}"
    for entry in index["manifests"]:
        yield from _reachable(home, entry, depth=0)


def _pushed(home: Path) -> Iterator[str]:
    """I3 for the registry server: what was pushed by digest and not deleted is whole, and so are loose blobs."""
    for link in sorted((home / "repositories").glob("**/_manifests/*")):
        document = json.loads(link.read_bytes())
        if document["root"]:
            digest = link.name.replace("-", ":", 1)
            descriptor = {"digest": digest, "size": document["size"], "mediaType": document["mediaType"]}
            yield from _reachable(home, descriptor, depth=0)
    for link in sorted((home / "repositories").glob("**/_blobs/*")):
        algorithm, _, digits = link.name.partition("-")
        if not (home / "blobs" / algorithm / digits).is_file():
            yield f"I3 {link} leads to nothing"


def _reachable(home: Path, descriptor: dict[str, Any], depth: int) -> Iterator[str]:
    algorithm, _, digits = descriptor["digest"].partition(":")
    path = home / "blobs" / algorithm / digits
    if not path.is_file() or path.stat().st_size != descriptor["size"]:
        yield f"I3 {descriptor['digest']} is missing or has another size"
        return
    if depth > 4 or not re.search(r"manifest|index", descriptor["mediaType"]):
        return
    document = json.loads(path.read_bytes())
    children = [*document.get("manifests", ()), *document.get("layers", ())]
    if "config" in document:
        children.append(document["config"])
    for child in children:
        if re.search("nondistributable|foreign", child["mediaType"]):
            continue  # its owner hands it out
        yield from _reachable(home, child, depth + 1)


def _leftovers(home: Path) -> Iterator[str]:
    """I6: nothing unfinished, no lease, no lock of finished work."""
    for folder in ("tmp", "leases", "incoming"):
        if (home / folder).is_dir():
            yield from (f"I6 {folder}/{name} is left over" for name in sorted(os.listdir(home / folder)))
    if (home / "locks").is_dir():
        names = sorted(os.listdir(home / "locks"))
        yield from (f"I6 locks/{name} is left over" for name in names if name.startswith("work-"))


def main(argv: list[str]) -> int:
    clean = "--clean" in argv
    found = [line for home in argv if home != "--clean" for line in violations(Path(home), clean=clean)]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
