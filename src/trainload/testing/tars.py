"""Layer tars written entry by entry, also the ones nobody should write."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from trainload.digest import Digest
from trainload.run.unpack import LayerBlob


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry; ``kind`` is tarfile's type byte."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    pax: dict[str, str] = field(default_factory=dict)
    mtime: int = 0


def folder(name: str, mode: int = 0o755) -> TarEntry:
    return TarEntry(name, kind=tarfile.DIRTYPE, mode=mode)


def symlink(name: str, link: str) -> TarEntry:
    return TarEntry(name, kind=tarfile.SYMTYPE, link=link, mode=0o777)


def hardlink(name: str, link: str) -> TarEntry:
    return TarEntry(name, kind=tarfile.LNKTYPE, link=link)


def tar(*entries: TarEntry) -> bytes:
    """The entries in this order, names as they stand."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.mode = entry.kind, entry.link, entry.mode
            info.uid, info.gid = entry.owner
            info.size, info.mtime = len(entry.data), entry.mtime
            info.pax_headers = entry.pax
            archive.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def blob(at: Path, stream: bytes, *, packed: bytes | None = None, title: str = "layer") -> LayerBlob:
    """``stream`` as a layer blob in the file ``at``, as one gzip member unless ``packed`` says otherwise."""
    data = gzip.compress(stream, 1, mtime=0) if packed is None else packed
    at.write_bytes(data)
    return LayerBlob(at, Digest.sha256(stream), len(data), title)
