"""Small conda channels, made byte by byte: packages of both forms, and the index that solvers read."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PLACEHOLDER = "/" + "/".join(["placehold" * 5] * 5)
"""What a package was built in; real ones have 255 characters, so that every prefix fits."""
MTIME = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Content:
    """One path of a package. What is None is what it should be; the rest is how it lies."""

    data: bytes = b""
    mode: int = 0o644
    link: str | None = None
    """A symbolic link's target."""
    hard: str | None = None
    """A hard link's earlier member."""
    placeholder: str | None = None
    binary: bool = False
    mtime: int = MTIME
    listed: bool = True
    """Whether ``paths.json`` has it."""
    present: bool = True
    """Whether the archive has it."""
    sha256: str | None = None
    size: int | None = None
    kind: bytes = b""
    """Another tar type."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A package to be made."""

    name: str
    version: str = "1.0"
    build: str = "0"
    files: Mapping[str, Content] = field(default_factory=dict)
    subdir: str = "linux-64"
    depends: Sequence[str] = ()
    constrains: Sequence[str] = ()
    noarch: str | None = None
    entry_points: Sequence[str] = ()
    run_exports: Sequence[str] = ()
    form: str = ".conda"
    index: Mapping[str, object] = field(default_factory=dict)
    """Other values of ``index.json``."""
    info: Mapping[str, bytes] = field(default_factory=dict)
    """Other documents of ``info/``."""

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def file(self) -> str:
        return f"{self.stem}{self.form}"

    def index_json(self) -> dict[str, object]:
        values: dict[str, object] = {
            "name": self.name, "version": self.version, "build": self.build, "build_number": 0,
            "depends": list(self.depends), "constrains": list(self.constrains), "subdir": self.subdir,
            "license": "MIT", "timestamp": MTIME * 1000,
        }  # fmt: skip
        return {**values, **({"noarch": self.noarch} if self.noarch else {}), **self.index}


def package(spec: Spec) -> bytes:
    """The archive of ``spec``."""
    documents = _documents(spec)
    info = [(f"info/{name}", Content(data)) for name, data in documents.items()]
    files = [(path, content) for path, content in spec.files.items() if content.present]
    if spec.form == ".tar.bz2":
        return bz2.compress(_tar([*info, *files]))
    return conda(spec.stem, _tar(info), _tar(files))


def conda(stem: str, info: bytes, content: bytes) -> bytes:
    """A ``.conda`` file of two tars."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        members = {
            "metadata.json": b'{"conda_pkg_format_version": 2}',
            f"pkg-{stem}.tar.zst": zstd(content),
            f"info-{stem}.tar.zst": zstd(info),
        }
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd as codec
    else:
        from backports import zstd as codec
    return codec.compress(data, 3)


def _documents(spec: Spec) -> dict[str, bytes]:
    listed = {path: content for path, content in spec.files.items() if content.listed}
    paths = [_path(path, content, spec.files) for path, content in sorted(listed.items())]
    documents = {
        "index.json": _json(spec.index_json()),
        "paths.json": _json({"paths": paths, "paths_version": 1}),
        "about.json": _json({"summary": spec.name}),
        "files": "".join(f"{path}\n" for path in sorted(listed)).encode(),
    }
    if spec.noarch == "python":
        noarch = {"type": "python", **({"entry_points": list(spec.entry_points)} if spec.entry_points else {})}
        documents["link.json"] = _json({"noarch": noarch, "package_metadata_version": 1})
    if spec.run_exports:
        documents["run_exports.json"] = _json({"weak": list(spec.run_exports)})
    return {**documents, **spec.info}


def _path(path: str, content: Content, files: Mapping[str, Content]) -> dict[str, object]:
    target = content.link or content.hard
    data = content.data if target is None else files.get(target, content).data
    found: dict[str, object] = {
        "_path": path,
        "path_type": "hardlink" if content.link is None else "softlink",
        "sha256": content.sha256 or hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data) if content.size is None else content.size,
    }
    if content.placeholder is not None:
        found |= {
            "file_mode": "binary" if content.binary else "text", "prefix_placeholder": content.placeholder,
        }  # fmt: skip
    return found


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _tar(members: Sequence[tuple[str, Content]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in members:
            info = tarfile.TarInfo(path)
            info.mode, info.mtime = content.mode, content.mtime
            if content.kind:
                info.type = content.kind
            elif content.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, content.link
            elif content.hard is not None:
                info.type, info.linkname = tarfile.LNKTYPE, content.hard
            else:
                info.size = len(content.data)
            tar.addfile(info, io.BytesIO(content.data) if info.isreg() else None)
    return out.getvalue()


def write_channel(folder: Path, specs: Sequence[Spec]) -> dict[str, bytes]:
    """A channel in ``folder`` with these packages; their archives by file name."""
    made: dict[str, bytes] = {}
    for subdir in sorted({"noarch", "linux-64", "linux-aarch64", *(spec.subdir for spec in specs)}):
        (folder / subdir).mkdir(parents=True, exist_ok=True)
        index: dict[str, dict[str, object]] = {".conda": {}, ".tar.bz2": {}}
        for spec in specs:
            if spec.subdir != subdir:
                continue
            data = made[spec.file] = package(spec)
            (folder / subdir / spec.file).write_bytes(data)
            index[spec.form][spec.file] = {
                **spec.index_json(),
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            }
        document = {
            "info": {"subdir": subdir}, "packages": index[".tar.bz2"], "packages.conda": index[".conda"],
            "removed": [], "repodata_version": 1,
        }  # fmt: skip
        (folder / subdir / "repodata.json").write_bytes(_json(document))
    return made
