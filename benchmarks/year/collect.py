"""``python -m benchmarks.year.collect INDEX [FROM TO]``: writes ``releases.json``, what the simulation is fed with.

``INDEX`` is a package index that speaks PEP 691 with upload times and sizes (PEP 700), and files in
ranges, such as ``https://index.example/simple``. Kept of each release: the day it came, and the size of the
wheel that a Linux machine with CPython 3.11 takes.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import urllib.request
import zipfile
from collections.abc import Sequence, Set
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

DATA = Path(__file__).with_name("releases.json")
PACKAGES = (
    "torch", "torchvision", "torchaudio", "transformers", "tokenizers", "safetensors", "huggingface-hub",
    "datasets", "accelerate", "peft", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "matplotlib", "pillow",
    "opencv-python-headless", "onnx", "onnxruntime", "xgboost", "lightgbm", "wandb", "tensorboard", "fastapi",
    "pydantic-core", "uvicorn", "tqdm", "sentencepiece", "einops",
)  # fmt: skip
"""What AI projects name; torch's pinned parts (nvidia-*, triton) come with it."""
_ABIS = {"cp311", "abi3", "none"}
_MACHINE = re.compile(r"any|manylinux\S*_x86_64|linux_x86_64")
_HEADERS = {"Accept": "application/vnd.pypi.simple.v1+json", "User-Agent": "trainload-benchmarks"}


def fits(tags: frozenset[Tag]) -> bool:
    """Whether CPython 3.11 on x86-64 Linux takes it."""
    return any(
        tag.abi in _ABIS
        and _MACHINE.fullmatch(tag.platform)
        and (tag.interpreter in ("cp311", "py3") or (tag.abi == "abi3" and int(tag.interpreter[3:] or 0) <= 11))
        for tag in tags
    )


class Remote(io.RawIOBase):
    """A file on a server, read in ranges: of a wheel of a gigabyte its directory and one member are enough."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size, self._at = url, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        last = min(self._at + len(buffer), self._size) - 1
        if last < self._at:
            return 0
        headers = {**_HEADERS, "Range": f"bytes={self._at}-{last}"}
        with urllib.request.urlopen(urllib.request.Request(self._url, headers=headers), timeout=60) as answer:  # noqa: S310
            assert answer.status == 206, "the index gives no ranges"
            data: bytes = answer.read()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Index:
    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")

    def _read(self, url: str) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(url, headers=_HEADERS), timeout=60) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content

    @cache  # noqa: B019 - one index for the whole run
    def wheels(self, name: str) -> tuple[tuple[Version, dict[str, Any]], ...]:
        """Every final release's wheel for the target; of several the smallest is taken later."""
        found = []
        for file in json.loads(self._read(f"{self._address}/{name}/"))["files"]:
            try:
                _, version, _, tags = parse_wheel_filename(file["filename"])
            except InvalidWheelFilename:
                continue
            if not version.is_prerelease and not file.get("yanked") and fits(tags):
                found.append((version, file))
        return tuple(found)

    def requirements(self, file: dict[str, Any], extras: Set[str]) -> list[Requirement]:
        """Of a wheel on Linux, with ``extras``."""
        with zipfile.ZipFile(Remote(file["url"], file["size"])) as wheel:
            name = next(one for one in wheel.namelist() if one.endswith(".dist-info/METADATA"))
            metadata = Metadata.from_email(wheel.read(name), validate=False)
        here = {"platform_system": "Linux", "platform_machine": "x86_64", "sys_platform": "linux"}
        return [
            one
            for one in metadata.requires_dist or []
            if one.marker is None or any(one.marker.evaluate({**here, "extra": extra}) for extra in (*extras, ""))
        ]

    def parts(self, file: dict[str, Any], extras: Set[str], day: str) -> dict[str, dict[str, Any]]:
        """What a wheel brings of CUDA: name → release, the newest of that day that its requirements allow."""
        found: dict[str, dict[str, Any]] = {}
        for one in self.requirements(file, extras):
            name = canonicalize_name(one.name)
            if not name.startswith(("nvidia-", "cuda-", "triton")):
                continue
            fitting = [
                (version, each)
                for version, each in self.wheels(name)
                if one.specifier.contains(version) and each["upload-time"][:10] <= day
            ]
            version, chosen = max(fitting, key=lambda pair: pair[0])
            found[name] = {"version": str(version), "size": chosen["size"]}
            found |= self.parts(chosen, one.extras, day)
        return found


def releases(index: Index, name: str, first: str, last: str) -> list[dict[str, Any]]:
    """Those of the year, and the last one before it, oldest first."""
    found: dict[Version, dict[str, Any]] = {}
    for version, file in index.wheels(name):
        if version not in found or file["size"] < found[version]["size"]:
            found[version] = file
    rows = [
        {"version": str(version), "date": file["upload-time"][:10], "size": file["size"], "file": file}
        for version, file in sorted(found.items(), key=lambda item: (item[1]["upload-time"], item[0]))
    ]
    before = [row for row in rows if row["date"] < first]
    newest = max(before, key=lambda row: Version(row["version"]), default=None)
    return [*([newest] if newest else []), *(row for row in rows if first <= row["date"] <= last)]


def collect(index: Index, first: str, last: str) -> dict[str, Any]:
    packages: dict[str, list[dict[str, Any]]] = {}
    for name in PACKAGES:
        packages[name] = releases(index, name, first, last)
        sys.stderr.write(f"{name}: {len(packages[name])}\n")
    parts: dict[str, dict[str, int]] = {}
    for row in packages["torch"]:
        brought = index.parts(row["file"], set(), row["date"])
        row["brings"] = {name: part["version"] for name, part in sorted(brought.items())}
        for name, part in brought.items():
            parts.setdefault(name, {})[part["version"]] = part["size"]
        sys.stderr.write(f"torch {row['version']}: {len(brought)} parts\n")
    for name, sizes in sorted(parts.items()):
        packages[name] = [{"version": one, "size": size} for one, size in sorted(sizes.items())]
    for rows in packages.values():
        for row in rows:
            row.pop("file", None)
    return {
        "source": "the Python Package Index, PEP 691 pages with upload times and sizes, METADATA of torch's wheels",
        "read": date.today().isoformat(),
        "first": first,
        "last": last,
        "target": "CPython 3.11 on x86-64 Linux",
        "packages": packages,
    }


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index")
    parser.add_argument("--first", default="2025-10-01")
    parser.add_argument("--last", default="2026-09-30")
    given = parser.parse_args(words)
    document = collect(Index(given.index), given.first, given.last)
    DATA.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
