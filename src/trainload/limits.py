"""Limits that bound what hostile input can cost, each with its precedent (tested at limit and limit + 1)."""

from __future__ import annotations

from trainload.errors import Text
from trainload.values import dataclass, replace

KiB, MiB, GiB = 1024, 1024**2, 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes unless the name says otherwise."""

    manifest: int = 4 * MiB
    """OCI distribution-spec: registries should accept at least 4 MiB; containerd reads no more."""
    config: int = 4 * MiB
    error_body: int = MiB
    index_depth: int = 4
    index_children: int = 1_000
    archive_members: int = 200_000
    """Also of the code layer: ``limits.max-members``."""
    name_length: int = 4_096
    """Linux PATH_MAX."""
    component_length: int = 255
    """Linux NAME_MAX."""
    expansion_size: int = 64 * MiB
    expansion_ratio: int = 50
    """An archive larger than ``expansion_size`` unpacked *and* this many times its packed size: refused
    (PyPI), ``limits.max-ratio``."""
    unpacked: int = 50 * GiB
    """Of one archive or layer: ``--max-unpacked``, ``limits.max-unpacked``."""
    unrecorded: bool = False
    """Accept files of a wheel that its RECORD does not list, ``--allow-unrecorded`` (THREATS W21)."""
    portable: bool = False
    """Refuse names that other systems take for the same, ``--portable`` (THREATS W28)."""
    zstd_window: int = 128 * MiB
    """``zstd --long=27``."""
    tar_header: int = MiB
    """A pax or long-name record."""
    symlink_hops: int = 40
    """Linux MAXSYMLINKS."""
    redirects: int = 5
    document: int = 16 * MiB
    """A lock, requirements or configuration file."""
    nesting: int = 100
    """Depth of a TOML, JSON or YAML document."""


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which of the limits the user may set, and how; the others are protocols' and Linux's own."""

    max_unpacked: int = DEFAULT.unpacked
    max_members: int = DEFAULT.archive_members
    max_ratio: int = DEFAULT.expansion_ratio

    def limits(self, *, unrecorded: bool = False, portable: bool = False) -> Limits:
        return replace(
            DEFAULT,
            unpacked=self.max_unpacked,
            archive_members=self.max_members,
            expansion_ratio=self.max_ratio,
            unrecorded=unrecorded,
            portable=portable,
        )


def accepting(key: str, value: object) -> Text:
    """The hint how to raise a limit that the user may set."""
    return Text("if you trust it, accept it: limits.{key} = {value} in the configuration", key=key, value=value)
