"""Paths as the configuration may name them: inside the project, and in the image."""

from __future__ import annotations

import posixpath
import re

_SYSTEM_FOLDERS = ("/proc", "/sys", "/dev", "/opt/venv", "/usr", "/etc", "/bin", "/lib", "/sbin", "/boot")


def inside(value: str) -> str | None:
    """A path that stays inside the project, in its one spelling."""
    path = posixpath.normpath(value.replace("\\", "/"))
    return None if not value or path.startswith(("/", "..")) or re.match(r"[A-Za-z]:", path) else path


def image_folder(value: str) -> str | None:
    """An absolute folder of the image that belongs to no system folder, in its one spelling."""
    bad = not value.startswith("/") or "//" in value or re.search(r"[\x00-\x1f\x7f:]", value)
    path = posixpath.normpath(value)
    within = any(path == folder or path.startswith(folder + "/") for folder in _SYSTEM_FOLDERS)
    return None if bad or path == "/" or ".." in value.split("/") or within else path
