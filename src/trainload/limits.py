"""Limits that bound what hostile input can cost, each with its precedent (tested at limit and limit + 1)."""

from __future__ import annotations

from dataclasses import dataclass

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
    name_length: int = 4_096
    """Linux PATH_MAX."""
    component_length: int = 255
    """Linux NAME_MAX."""
    expansion_size: int = 64 * MiB
    expansion_ratio: int = 50
    """An archive larger than ``expansion_size`` unpacked *and* this many times its packed size: refused (PyPI)."""
    unpacked: int = 50 * GiB
    """``--max-unpacked``."""
    unrecorded: bool = False
    """Accept files of a wheel that its RECORD does not list, ``--allow-unrecorded`` (THREATS W21)."""
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
