"""What a scenario costs at least, whatever tool does it: measured here, in the same run."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.measure import best, timed
from benchmarks.side.builders import UV
from benchmarks.side.materials import Materials, Sort
from benchmarks.side.shipping import EDITED, FIRST, least
from benchmarks.side.transfers import AFTER_BUMP, COLD_PULL, IMPORT
from benchmarks.splice import floor_on_two_threads

_TIMES = 2
_PIECE = 1 << 20


def of_building(made: Materials, sort: Sort) -> Mapping[str, float]:
    """Scenario → seconds.

    From nothing: the wheels are inflated and both streams hashed, and their bytes sent; the longer of the two,
    since they can go on side by side. After an edit: a Python starts, and some kilobytes are sent.
    """
    wheels = chosen(made, sort)

    def send(wheel: Path) -> None:
        with wheel.open("rb") as file:
            _send(made, file.read)

    inflated = best(_TIMES, lambda: timed(lambda: _each(floor_on_two_threads, wheels)))
    sent = best(_TIMES, lambda: timed(lambda: _each(send, wheels)))
    started = best(_TIMES, lambda: timed(lambda: subprocess.run([sys.executable, "-I", "-c", ""], check=True)))
    small = best(_TIMES, lambda: timed(lambda: _send(made, _once(os.urandom(4000)))))
    large = sort.bumps[0][0].partition("==")[0].replace("-", "_")
    bumped = [wheel for wheel in wheels if wheel.name.startswith(f"{large}-")]
    again = best(_TIMES, lambda: timed(lambda: _each(floor_on_two_threads, bumped)))
    moved = best(_TIMES, lambda: timed(lambda: _each(send, bumped)))
    return {
        "cold build": inflated,
        "cold build, pushed": max(inflated, sent),
        "nothing changed": started,
        "one line of code edited, pushed": started + small,
        "one line of code edited, running": 2 * started,
        "one small package added, pushed": started + small,
        "one large package in another version, pushed": started + max(again, moved),
        "second machine: nothing here, all in the registry, pushed": started + small,
    }


def of_moving(made: Materials, older: str, newer: str, folder: Path) -> Mapping[str, float]:
    """Scenario → seconds. Pulling: the bytes of the layers come, are hashed and written; of a newer image those
    that the older one lacks. Shipping: their bytes go over ssh; after an edit: there is a connection.
    """
    first, second = _layers(made, older), _layers(made, newer)
    fresh = {digest: size for digest, size in second.items() if digest not in first}
    path = older.partition("/")[2].rpartition(":")[0]

    def fetch(layers: Mapping[str, int]) -> float:
        return best(2, lambda: timed(lambda: _fetch(made, path, layers, folder)))

    moved, connected = least(sum(first.values()), folder / "floor")
    return {COLD_PULL: fetch(first), AFTER_BUMP: fetch(fresh), FIRST: moved, EDITED: connected}


def weight(made: Materials, sort: Sort) -> int:
    """Bytes of an image at least: its base's, and its wheels'."""
    return sum(_layers(made, made.base).values()) + sum(wheel.stat().st_size for wheel in chosen(made, sort))


def of_import(python: Path, sort: Sort) -> Mapping[str, float]:
    """The same import in a virtual environment, its files in memory and its bytecode there."""
    argv = [str(python), "-c", sort.imports]
    return {IMPORT: best(_TIMES, lambda: timed(lambda: subprocess.run(argv, check=True, capture_output=True)))}


def _layers(made: Materials, target: str) -> Mapping[str, int]:
    """Digest → bytes of what an image in the registry consists of."""
    path, _, tag = target.partition("/")[2].rpartition(":")
    connection = http.client.HTTPConnection(made.host, timeout=60)
    kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    connection.request("GET", f"/v2/{path}/manifests/{tag}", headers={"Accept": kinds})
    return {one["digest"]: one["size"] for one in json.loads(connection.getresponse().read())["layers"]}


def _fetch(made: Materials, path: str, layers: Mapping[str, int], folder: Path) -> None:
    connection = http.client.HTTPConnection(made.host, timeout=60)
    for digest in layers:
        connection.request("GET", f"/v2/{path}/blobs/{digest}")
        answer, sha256 = connection.getresponse(), hashlib.sha256()
        with (folder / "layer").open("wb") as out:
            while piece := answer.read(_PIECE):
                sha256.update(piece)
                out.write(piece)
        assert digest == f"sha256:{sha256.hexdigest()}", digest


def _each(work: Callable[[Path], None], wheels: Sequence[Path]) -> None:
    for wheel in wheels:
        work(wheel)


def chosen(made: Materials, sort: Sort) -> list[Path]:
    """The wheels that go in, as pip would choose them."""
    asked = made.folder / f"{sort.name}.txt"
    asked.write_text(sort.requirements)
    words = ["-q", "--no-header", "--no-annotate", "--python-version", "3.11"]
    argv = [UV, "pip", "compile", *words, "--no-index", "--find-links", str(made.wheels), str(asked)]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    found = []
    for line in lines:
        name, _, version = line.partition("==")
        found += list(made.wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    return found


def _once(data: bytes) -> Callable[[int], bytes]:
    pieces = iter([data])
    return lambda size: next(pieces, b"")


def _send(made: Materials, read: Callable[[int], bytes]) -> None:
    """One blob into the registry as plainly as it goes: a session, and its bytes in one request."""
    sha256, pieces = hashlib.sha256(), []
    while piece := read(_PIECE):
        sha256.update(piece)
        pieces.append(piece)
    connection = http.client.HTTPConnection(made.host, timeout=60)
    connection.request("POST", "/v2/floor/blobs/uploads/")
    answer = connection.getresponse()
    answer.read()
    location = answer.headers["Location"].split(made.host, 1)[-1]
    joint = "&" if "?" in location else "?"
    size = str(sum(map(len, pieces)))
    connection.request(
        "PUT", f"{location}{joint}digest=sha256:{sha256.hexdigest()}", iter(pieces), {"Content-Length": size}
    )
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201, answer.status
