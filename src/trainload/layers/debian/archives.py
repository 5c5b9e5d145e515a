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


def install(root: Root, suite: str, architecture: str) -> None:
    """Write the list into ``root``, if apt is there and the suite is known."""
    known = SUITES.get(suite)
    if known is None or not root.has("usr/bin/apt-get"):
        return
    keyring = next((path for each in _KEYRINGS if root.has(path := each.format(known.distribution))), None)
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
