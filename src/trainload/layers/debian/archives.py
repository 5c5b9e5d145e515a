"""apt's list of archives inside a ``dev`` image: the distribution's own suites on public mirrors, tried in turn.

The lock keeps no addresses and the image's digest may not depend on the machine, so the image names public
mirrors in one plain file per archive; ``mirror+file`` (apt-transport-mirror(1)) falls back from one to the next.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainload.layers.debian.root import Root
from trainload.lock.distribution.suites import SUITES

MIRRORS: Mapping[str, tuple[str, ...]] = {
    "debian": (
        "https://mirrors.kernel.org/debian", "https://mirrors.tuna.tsinghua.edu.cn/debian",
        "https://mirrors.ustc.edu.cn/debian",
    ),
    "debian-security": (
        "https://mirrors.tuna.tsinghua.edu.cn/debian-security", "https://mirrors.ustc.edu.cn/debian-security",
    ),
    "ubuntu": (
        "https://mirrors.kernel.org/ubuntu", "https://mirrors.tuna.tsinghua.edu.cn/ubuntu",
        "https://mirrors.ustc.edu.cn/ubuntu",
    ),
    "ubuntu-ports": (
        "https://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports", "https://mirrors.ustc.edu.cn/ubuntu-ports",
    ),
}  # fmt: skip
_FOLDER = "etc/apt/mirrors"
_HEAD = "# Addresses, the lowest priority is asked first (apt-transport-mirror(1)); add yours with priority:0\n"
_KEYRINGS = ("usr/share/keyrings/{}-archive-keyring.pgp", "usr/share/keyrings/{}-archive-keyring.gpg")


def install(root: Root, suite: str, architecture: str) -> None:
    """Write the lists into ``root``, if apt is there and the suite is known."""
    known = SUITES.get(suite)
    if known is None or not root.has("usr/bin/apt-get"):
        return
    keyring = next((path for each in _KEYRINGS if root.has(path := each.format(known.distribution))), None)
    stanzas = []
    for pocket in known.pockets_for(architecture):
        lines = [
            "Types: deb",
            f"URIs: mirror+file:/{_FOLDER}/{pocket.archive}.list",
            f"Suites: {pocket.suite}",
            f"Components: {' '.join(known.components)}",
            *([f"Signed-By: /{keyring}"] if keyring else []),
        ]
        stanzas.append("".join(f"{line}\n" for line in lines))
    for archive in sorted({pocket.archive for pocket in known.pockets_for(architecture)}):
        lines = [f"{mirror}\tpriority:{number}\n" for number, mirror in enumerate(MIRRORS[archive], 1)]
        text = _HEAD + "".join(lines)
        root.write(f"{_FOLDER}/{archive}.list", text.encode())
    root.write(f"etc/apt/sources.list.d/{known.distribution}.sources", "\n".join(stanzas).encode())
