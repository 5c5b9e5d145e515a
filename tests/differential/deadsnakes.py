"""An archive beside the distribution's, as a PPA is: one package, a Python that Ubuntu 22.04 does not have."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.conda_python import python_spec

from trainload.testing.debs import Item, MadeDeb

DEPENDS = "libc6 (>= 2.35), libexpat1, zlib1g, libffi8, libssl3, libbz2-1.0, liblzma5"

_OTHERS = ("lib/python3.11/site-packages", "lib/python3.11/distutils")
"""Not in the package there: Ubuntu's ``python3-distutils`` owns the second, for all its Pythons."""


def files(prefix: str) -> dict[str, bytes]:
    """Paths on a server below ``prefix`` → content; the index is not signed."""
    deb = _package().bytes()
    pool = "pool/main/p/python3.11/python3.11_3.11.9-1+jammy1_amd64.deb"
    stanza = (
        "Package: python3.11\nVersion: 3.11.9-1+jammy1\nArchitecture: amd64\n"
        "Maintainer: Nobody <nobody@host.example>\n"
        f"Installed-Size: 20000\nDepends: {DEPENDS}\nFilename: {pool}\nSize: {len(deb)}\n"
        f"SHA256: {hashlib.sha256(deb).hexdigest()}\nSection: python\nPriority: optional\n"
        "Description: made by hand\n"
    ).encode()
    listed = f" {hashlib.sha256(stanza).hexdigest()} {len(stanza)} main/binary-amd64/Packages\n"
    release = (
        "Origin: LP-PPA-deadsnakes\nSuite: jammy\nCodename: jammy\nArchitectures: amd64\nComponents: main\n"
        f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{listed}"
    ).encode()
    dists = f"{prefix}/dists/jammy"
    asked = pool.replace("+", "%2b")  # as apt asks for it
    debs = {f"{prefix}/{path}": deb for path in (pool, asked)}
    return {**debs, f"{dists}/Release": release, f"{dists}/main/binary-amd64/Packages": stanza}


def _package() -> MadeDeb:
    items = []
    for path, content in python_spec().files.items():
        if path == "bin/python3.11":
            items.append(Item(f"./usr/{path}", content.data, 0o755))
        elif path.startswith("lib/python3.11/") and not path.startswith(_OTHERS):
            own = path.endswith("/site.py")
            data = Path("/usr/lib/python3.11/site.py").read_bytes() if own else content.data
            items.append(Item(f"./usr/{path}", data))
    return MadeDeb(
        "python3.11",
        version="3.11.9-1+jammy1",
        fields={"Depends": DEPENDS, "Installed-Size": "20000"},
        compression="gz",
    ).lists(*items)
