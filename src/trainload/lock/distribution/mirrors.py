"""Public mirrors of the distributions' archives, as data.

Nothing here is trusted: an index counts by its signature, a package by its hash.
"""

from __future__ import annotations

from collections.abc import Mapping

PUBLIC: Mapping[str, tuple[str, ...]] = {
    "debian": (
        "https://mirrors.tuna.tsinghua.edu.cn/debian",
        "https://mirrors.ustc.edu.cn/debian",
        "https://mirrors.kernel.org/debian",
        "https://mirrors.aliyun.com/debian",
        "https://repo.huaweicloud.com/debian",
        "https://ftp.fau.de/debian",
    ),
    "debian-security": (
        "https://mirrors.tuna.tsinghua.edu.cn/debian-security",
        "https://mirrors.ustc.edu.cn/debian-security",
        "https://mirrors.aliyun.com/debian-security",
        "https://repo.huaweicloud.com/debian-security",
    ),
    "ubuntu": (
        "https://mirrors.tuna.tsinghua.edu.cn/ubuntu",
        "https://mirrors.ustc.edu.cn/ubuntu",
        "https://mirrors.kernel.org/ubuntu",
        "https://mirrors.aliyun.com/ubuntu",
        "https://repo.huaweicloud.com/ubuntu",
        "https://ftp.fau.de/ubuntu",
    ),
    "ubuntu-ports": (
        "https://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports",
        "https://mirrors.ustc.edu.cn/ubuntu-ports",
        "https://mirrors.aliyun.com/ubuntu-ports",
        "https://repo.huaweicloud.com/ubuntu-ports",
    ),
}
"""Well-known mirrors for a machine that knows none; asked in this order."""
