"""``/etc/ld.so.cache`` as ldconfig writes it (glibc, elf/cache.c: struct cache_file_new, 1.1)."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cmp_to_key

from trainload.layers.debian.elf import Library
from trainload.layers.debian.root import Node, Root
from trainload.layers.tarread import MemberKind
from trainload.values import dataclass

CONFIGURATION = "etc/ld.so.conf"
_LDCONFIG = "usr/sbin/ldconfig"
_HEADER = struct.Struct("<20sIIB3xI12x")
_MAGIC = b"glibc-ld.so.cache1.1"
_ENTRY = struct.Struct("<iIIIQ")
_LITTLE_ENDIAN = 2
FLAGS = {"amd64": 0x0303, "arm64": 0x0A03}
"""FLAG_ELF_LIBC6 with FLAG_X8664_LIB64 or FLAG_AARCH64_LIB64 (sysdeps/generic/ldconfig.h)."""
_SYSTEM = ("/lib", "/usr/lib")
_NAME = re.compile(r"(lib.*|ld-.*)\.so(\..*)?")


@dataclass(frozen=True, slots=True)
class Cached:
    """A library the linker finds by its soname."""

    soname: str
    path: str
    flags: int


def install(root: Root, libraries: Mapping[str, Library], architecture: str) -> None:
    """Write the cache of the ``libraries``, known by their real paths, into ``root``."""
    root.write("etc/ld.so.cache", encode(search(root, libraries, architecture)))
    if root.has(f"{_LDCONFIG}.real") and not root.has("bin/sh"):
        # Ubuntu's is a shell script around the program; ctypes.util.find_library asks it what there is
        root.nodes[_LDCONFIG] = Node(MemberKind.SYMLINK, 0o777, target="ldconfig.real")


def extend(root: Root, old: bytes, libraries: Mapping[str, Library], architecture: str) -> bytes | None:
    """The cache ``old`` of a base image with what else ``libraries`` brings; None for one that is best left alone.

    System folders are searched without it too.
    """
    known = decode(old)
    if known is None:
        return None
    places = {(each.soname, each.path) for each in known}
    more = [each for each in search(root, libraries, architecture) if (each.soname, each.path) not in places]
    return encode(sorted([*known, *more], key=cmp_to_key(newest_first)))


def decode(data: bytes) -> list[Cached] | None:
    """The entries of a cache; None for one of the old format, or that chooses by processor (glibc-hwcaps)."""
    if len(data) < _HEADER.size:
        return None
    magic, count, _, _, _ = _HEADER.unpack_from(data)
    if magic != _MAGIC or _HEADER.size + count * _ENTRY.size > len(data):
        return None
    found = []
    for number in range(count):
        flags, name, path, _, hwcap = _ENTRY.unpack_from(data, _HEADER.size + number * _ENTRY.size)
        if hwcap or max(name, path) >= len(data):
            return None
        found.append(Cached(_string(data, name), _string(data, path), flags))
    return found


def _string(data: bytes, at: int) -> str:
    return data[at : max(at, data.find(b"\0", at))].decode("utf-8", "surrogateescape")


def search(root: Root, libraries: Mapping[str, Library], architecture: str) -> list[Cached]:
    """What ldconfig would put into the cache, in its order."""
    found: dict[str, Cached] = {}
    seen: set[str] = set()
    for folder in _folders(root, architecture):
        real = root.real(folder)
        if real is None or real in seen:
            continue
        seen.add(real)
        for soname in _sonames(root, real, libraries, architecture):
            found.setdefault(soname, Cached(soname, posixpath.join(folder, soname), FLAGS[architecture]))
    return sorted(found.values(), key=cmp_to_key(newest_first))


def encode(entries: Iterable[Cached]) -> bytes:
    """The file's bytes; string offsets count from its beginning."""
    entries = list(entries)
    start = _HEADER.size + _ENTRY.size * len(entries)
    strings = bytearray()
    places: dict[str, int] = {}

    def place(text: str) -> int:
        if text not in places:
            places[text] = start + len(strings)
            strings.extend(text.encode("utf-8", "surrogateescape") + b"\0")
        return places[text]

    rows = b"".join(_ENTRY.pack(entry.flags, place(entry.soname), place(entry.path), 0, 0) for entry in entries)
    header = _HEADER.pack(_MAGIC, len(entries), len(strings), _LITTLE_ENDIAN, 0)
    return header + rows + bytes(strings)


def _folders(root: Root, architecture: str) -> list[str]:
    multiarch = {"amd64": "x86_64", "arm64": "aarch64"}[architecture] + "-linux-gnu"
    return [*_configured(root, CONFIGURATION, 0), f"/lib/{multiarch}", f"/usr/lib/{multiarch}", *_SYSTEM]


def _configured(root: Root, path: str, depth: int) -> Iterator[str]:
    """Folders of ld.so.conf and what it includes (ldconfig(8))."""
    text = root.text(path)
    for line in (text or b"").decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].split()
        if words[:1] == ["include"] and depth < 10:
            for pattern in words[1:]:
                whole = posixpath.join("/", posixpath.dirname(path), pattern).lstrip("/")
                parent = posixpath.dirname(whole)
                for name, _ in list(root.below(parent)):
                    if posixpath.dirname(name) == parent and fnmatch.fnmatchcase(name, whole):
                        yield from _configured(root, name, depth + 1)
        elif len(words) == 1 and words[0].startswith("/"):
            yield words[0].rstrip("/")


def _sonames(root: Root, folder: str, libraries: Mapping[str, Library], architecture: str) -> Iterator[str]:
    """Names in ``folder`` that are sonames of what they lead to."""
    for path, node in root.below(folder):
        name = posixpath.basename(path)
        if posixpath.dirname(path) != folder or not _NAME.fullmatch(name):
            continue
        library = libraries.get(root.real(path) or "")
        if library is None or library.architecture != architecture:
            continue
        link = node.kind is MemberKind.SYMLINK
        if library.soname == name or (library.soname is None and (not link or re.search(r"\.so\.\d+$", name))):
            yield name


def newest_first(one: Cached, other: Cached) -> int:
    """The order of a cache; sorting by it keeps the order of equal names, of which the linker takes the first."""
    return _order(other.soname, one.soname)


def _order(one: str, other: str) -> int:
    """glibc's _dl_cache_libcmp: digits by their value and after everything else; ld.so searches by it."""
    left, right = _runs(one), _runs(other)
    for a, b in zip(left, right, strict=False):
        if isinstance(a, int) != isinstance(b, int):
            return 1 if isinstance(a, int) else -1
        if a != b:
            return 1 if a > b else -1  # type: ignore[operator]
    return len(left) - len(right)


def _runs(name: str) -> list[int | str]:
    return [int(run) if run[0] in "0123456789" else run for run in re.findall(r"[0-9]+|[^0-9]", name)]
