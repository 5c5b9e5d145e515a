"""What a value of a lock looks like; anything else is refused (THREATS F04, D09)."""

from __future__ import annotations

import re

HEX = re.compile("[0-9a-f]{64}")
DIGEST = re.compile("sha256:[0-9a-f]{64}")
FILE_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f\x7f]{1,255}")  # NAME_MAX; THREATS F04
PROJECT = re.compile("[a-z0-9]+(?:-[a-z0-9]+)*")  # PEP 503, normalised
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
PYTHON = re.compile(r"3\.[0-9]{1,3}")
FULL_PYTHON = re.compile(r"3\.[0-9]{1,3}\.[0-9]{1,3}(?:[a-z]+[0-9]+)?")
GLIBC = re.compile(r"2\.[0-9]{1,3}")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
PATH = re.compile(r"(?:/[^/\x00-\x1f\x7f]{1,255}){1,40}")
"""Of a program or folder in an image, absolute."""
LINE = re.compile(r"[^\x00-\x1f\x7f]{0,4096}")
DEBIAN_NAME = re.compile("[a-z0-9][a-z0-9+.-]+")  # Debian Policy 5.6.1
DEBIAN_VERSION = re.compile("[A-Za-z0-9.+~:-]+")  # Debian Policy 5.6.12
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
COMMIT = re.compile("[0-9a-f]{40}")
INSIDE = re.compile(r"(?!/)(?!.*(?:^|/)(?:\.{0,2})(?:/|$))[^\x00-\x1f\x7f\\]{1,1024}")
"""A path below some folder: no empty part, no dots."""
CONDA_NAME = re.compile("[a-z0-9_][a-z0-9_.-]*")  # CEP 26
CONDA_VERSION = re.compile("[a-z0-9_.!+-]+", re.IGNORECASE)  # THREATS C05: neither separators nor dots alone
CONDA_BUILD = re.compile("[A-Za-z0-9_.+]+")  # CEP 26
CONDA_PATH = re.compile(r"(?:noarch|linux-64|linux-aarch64)/(?!\.)[A-Za-z0-9_.!+-]+\.(?:conda|tar\.bz2)")
