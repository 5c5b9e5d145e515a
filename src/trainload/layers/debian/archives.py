"""apt's list of archives inside a ``dev`` image: the distribution's own suites, on a public mirror.

The lock keeps no addresses and the image's digest may not depend on the machine, so the image names one mirror
that holds all archives; the user's own goes into the same file. (apt's ``mirror+file`` with several would try
them in turn, but apt 2.6 was seen to wait for minutes on one that does not answer.)
"""

from __future__ import annotations

from trainload.layers.debian.root import Root
from trainload.lock.distribution.mirrors import PUBLIC
from trainload.lock.distribution.suites import SUITES

_KEYRINGS = ("usr/share/keyrings/{}-archive-keyring.pgp", "usr/share/keyrings/{}-archive-keyring.gpg")


_ONE_LINE = frozenset({"jammy"})
"""Suites whose own images have ``/etc/apt/sources.list``, which Dockerfiles edit; the others have deb822 files."""
_TRUSTED = "etc/apt/trusted.gpg.d"


def install(root: Root, suite: str, architecture: str, *, usual: bool = False) -> None:
    """Write the list into ``root``, if apt is there and the suite known; ``usual``: as its own images have it."""
    known = SUITES.get(suite)
    if known is None or not root.has("usr/bin/apt-get"):
        return
    keyring = next((path for each in _KEYRINGS if root.has(path := each.format(known.distribution))), None)
    if usual and suite in _ONE_LINE:
        option = f" [signed-by=/{keyring}]" if keyring and not any(root.below(f"{_TRUSTED}/")) else ""
        rows = [
            f"deb{option} {PUBLIC[pocket.archive][0]} {pocket.suite} {' '.join(known.components)}\n"
            for pocket in known.pockets_for(architecture)
        ]
        root.write("etc/apt/sources.list", "".join(rows).encode())
        return
    stanzas = []
    for pocket in known.pockets_for(architecture):
        lines = [
            "Types: deb",
            f"URIs: {PUBLIC[pocket.archive][0]}",
            f"Suites: {pocket.suite}",
            f"Components: {' '.join(known.components)}",
            *([f"Signed-By: /{keyring}"] if keyring else []),
        ]
        stanzas.append("".join(f"{line}\n" for line in lines))
    root.write(f"etc/apt/sources.list.d/{known.distribution}.sources", "\n".join(stanzas).encode())
