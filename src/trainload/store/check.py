"""Whether the store holds what it promises: quickly by names and sizes, fully by every byte (I1–I3, I11)."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import ImageError, LayerError, Place, StoreError, Text, TrainloadError
from trainload.image.model import LAYER, LAYER_ZSTD, Descriptor
from trainload.layers.decompress import tar_chunks
from trainload.store.closure import Closure, reach
from trainload.store.content import Content
from trainload.store.facts import SUFFIX as FACT
from trainload.store.index import Names
from trainload.store.layout import Layout, kind_of
from trainload.store.links import Links
from trainload.store.recipes import read_record

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_THREADS = 4
_BROKEN = Digest("sha256", "0" * 64)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    text: Text
    path: Path
    images: tuple[str, ...] = ()
    """Names or digests of the images that cannot be used because of it."""
    damaged: Digest | None = None
    """A blob that `--repair` puts aside."""
    cache: bool = False
    """A file that is only a cache; `--repair` removes it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at and what was found."""

    images: int
    blobs: int
    size: int
    """Bytes of the blobs."""
    full: bool
    findings: tuple[Finding, ...]


def examine(layout: Layout, blobs: Content, names: Names, *, full: bool, moved: Callable[[int], object]) -> Verdict:
    """Look at every image and blob; ``moved`` is told the bytes read so far by the full check."""
    findings: list[Finding] = []
    if not names.untouched and layout.marker.exists():
        text = Text("the list of images was written by another tool, or is damaged: check the names")
        findings.append(Finding(text, layout.index))
    users: dict[Digest, list[str]] = {}
    whole = Closure()
    for label, descriptor in _roots(layout, names):
        try:
            closure = reach(blobs, [descriptor])
        except TrainloadError as error:
            path = Path(error.place.file) if error.place else blobs.path(descriptor.digest)
            findings.append(Finding(error.text, path, (label,)))
            continue
        for unreadable in closure.unreadable:
            path = Path(unreadable.place.file) if unreadable.place else blobs.path(descriptor.digest)
            findings.append(Finding(unreadable.text, path, (label,)))
        whole.blobs.update(closure.blobs)
        whole.diff_ids.update(closure.diff_ids)
        for digest in closure.blobs:
            users.setdefault(digest, []).append(label)
    findings += _absent(blobs, whole, users)
    present = list(_present(blobs))
    findings += _each(blobs, present, whole, users, full=full, moved=moved)
    findings += _caches(layout, full=full)
    size = sum(path.lstat().st_size for path in present)
    return Verdict(len({e.digest for e in names.entries}), len(present), size, full, tuple(findings))


def repair_what_can_be(blobs: Content, verdict: Verdict) -> None:
    """Put damaged blobs aside and remove damaged caches: both are made or fetched again when needed."""
    for finding in verdict.findings:
        if finding.cache:
            finding.path.unlink(missing_ok=True)
    for digest in {finding.damaged for finding in verdict.findings if finding.damaged}:
        blobs.put_aside(digest)


def _roots(layout: Layout, names: Names) -> Iterator[tuple[str, Descriptor]]:
    """What must be whole, and what people call it."""
    yield from ((entry.name or str(entry.digest), entry.descriptor) for entry in names.entries)
    links = Links(layout)
    for repository in sorted(links.repositories()):
        for link in links.manifests(repository):
            if link.root:
                yield f"{repository}@{link.descriptor.digest}", link.descriptor


def _present(blobs: Content) -> Iterator[Path]:
    for folder in blobs.folders.values():
        yield from sorted(folder.iterdir()) if folder.is_dir() else ()


def _caches(layout: Layout, *, full: bool) -> Iterator[Finding]:
    for path in sorted(layout.recipes.iterdir()) if layout.recipes.is_dir() else ():
        if path.suffix == FACT:
            continue
        hex_key = path.name.removesuffix(".json")
        if not _HEX.fullmatch(hex_key) or read_record(path, Digest("sha256", hex_key)) is None:
            yield Finding(Text("a recipe is damaged"), path, cache=True)
    for path in sorted(layout.files.iterdir()) if full and layout.files.is_dir() else ():
        if not path.is_file() or path.is_symlink() or _file_digest(path) != path.name:
            yield Finding(Text("a fetched file is damaged"), path, cache=True)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _absent(blobs: Content, whole: Closure, users: dict[Digest, list[str]]) -> Iterator[Finding]:
    for digest, size in sorted(whole.blobs.items()):
        path, labels = blobs.path(digest), tuple(users[digest])
        if not path.exists() and not path.is_symlink():
            yield Finding(Text("the blob {digest} is missing", digest=digest.short), path, labels)
        elif blobs.has(digest) and not blobs.has(digest, size):
            text = Text("the blob {digest} has not the size its image says", digest=digest.short)
            yield Finding(text, path, labels, digest)


def _each(
    blobs: Content,
    present: Iterable[Path],
    whole: Closure,
    users: dict[Digest, list[str]],
    *,
    full: bool,
    moved: Callable[[int], object],
) -> list[Finding]:
    from concurrent.futures import ThreadPoolExecutor

    done = [0]

    def look(path: Path) -> Finding | None:
        try:
            digest = Digest.parse(f"{path.parent.name}:{path.name}")
        except ImageError:
            return Finding(Text("a file that is no blob lies among the blobs"), path)
        labels = tuple(users.get(digest, ()))
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            return Finding(Text("a blob is {kind}, not a file", kind=kind_of(mode)), path, labels)
        text = _content(blobs, digest, whole) if full else _touched(blobs, digest)
        done[0] += path.lstat().st_size
        moved(done[0])
        return Finding(text, path, labels, digest) if text else None

    with ThreadPoolExecutor(_THREADS if full else 1) as pool:
        return [finding for finding in pool.map(look, present) if finding is not None]


def _touched(blobs: Content, digest: Digest) -> Text | None:
    return None if blobs.sound(digest) else Text("the blob {digest} is damaged", digest=digest.short)


def _content(blobs: Content, digest: Digest, whole: Closure) -> Text | None:
    try:
        if not blobs.matches(digest):
            return Text("the blob {digest} is damaged", digest=digest.short)
    except StoreError as error:
        return error.text
    diff_id, media_type = whole.diff_ids.get(digest, (None, ""))
    unpacked = tar_digest(blobs, digest, media_type, diff_id.algorithm) if diff_id is not None else None
    if unpacked is None or unpacked[0] == diff_id:
        return None
    return Text("the layer {digest} does not unpack to what its image says", digest=digest.short)


def tar_digest(
    blobs: Content, digest: Digest, media_type: str, algorithm: str = "sha256", most: int | None = None
) -> tuple[Digest, int] | None:
    """The digest of a layer's tar stream and its bytes; None for a compression we do not know.

    Zeros when it is broken, or longer than ``most`` bytes.
    """
    if not media_type.endswith("gzip") and media_type not in (LAYER, LAYER_ZSTD):
        return None
    state, size = hashlib.new(algorithm), 0
    with blobs.open(digest) as blob:
        try:
            for chunk in tar_chunks(blob, Place(str(blobs.path(digest)))):
                state.update(chunk)
                size += len(chunk)
                if most is not None and size > most:
                    return _BROKEN, size
        except (OSError, LayerError):
            return _BROKEN, size
    return Digest(algorithm, state.hexdigest()), size
