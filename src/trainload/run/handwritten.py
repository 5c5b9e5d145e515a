"""Executables of a few instructions, written by hand: they need nothing of the image they run in (ELF gABI).

:data:`EXIT` ends with 0. :data:`FRONT` goes before an interactive shell: bubblewrap starts programs in a process
group of outside, whose number is 0 inside, and dash, which gives the terminal back to it at its end, fails with 2.
It makes a group of its own, takes the terminal for it, and becomes ``argv[1]`` with the arguments behind that.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from trainload.platform import Platform

Code = Mapping[str, tuple[int, bytes]]
"""Architecture → the machine's number in ELF, and instructions."""
EXIT: Code = {
    "amd64": (62, bytes.fromhex("31ffb83c0000000f05")),  # xor edi,edi; mov eax,60; syscall
    "arm64": (183, bytes.fromhex("000080d2a80b80d2010000d4")),  # mov x0,#0; mov x8,#93; svc #0
}
FRONT: Code = {  # each line: one system call; SIGTTOU is blocked meanwhile, or taking the terminal would stop it
    "amd64": (62, bytes.fromhex(
        "31ff31f6b86d0000000f05"  # setpgid(0, 0)
        "680000200031ff4889e631d241ba08000000b80e0000000f05"  # rt_sigprocmask(SIG_BLOCK, {SIGTTOU}, NULL, 8)
        "b8270000000f05"  # getpid()
        "5031ffbe105400004889e2b8100000000f05"  # ioctl(0, TIOCSPGRP, &pid)
        "58bf010000004889e631d241ba08000000b80e0000000f0558"  # rt_sigprocmask(SIG_UNBLOCK, …)
        "488b0424488b7c2410488d742418488d54c410b83b0000000f05"  # execve(argv[1], argv + 2, environ)
        "bf7e000000b83c0000000f05"  # exit(126)
    )),
    "arm64": (183, bytes.fromhex(
        "000080d2010080d2481380d2010000d4"
        "ff4300d10104a0d2e10300f9000080d2e1030091020080d2030180d2e81080d2010000d4"
        "881580d2010000d4"
        "e00700f9000080d201828ad2e2230091a80380d2010000d4"
        "200080d2e1030091020080d2030180d2e81080d2010000d4"
        "ff430091e30340f9e00b40f9e1630091e26f238b42400091a81b80d2010000d4"
        "c00f80d2a80b80d2010000d4"
    )),
}  # fmt: skip
_AT = 0x400000
_HEADERS = 64 + 56


def executable(code: Code, architecture: str = "") -> bytes:
    """For programs of ``architecture``, ours by default."""
    machine, instructions = code[architecture or Platform.host().architecture]
    size = _HEADERS + len(instructions)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, _AT + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, _AT, _AT, size, size, 0x1000) + instructions
