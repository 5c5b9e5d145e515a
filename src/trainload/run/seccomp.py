"""A system call filter for programs that share the user's terminal.

Who holds a terminal could push characters into its input, to be read by the user's own shell after the run
(``TIOCSTI``, ``TIOCLINUX``; CVE-2017-5226). Those two requests fail with EPERM; everything else is allowed
(seccomp(2), classic BPF; linux/bpf_common.h).
"""

from __future__ import annotations

import platform
import struct

_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_NUMBER, _ARCHITECTURE, _REQUEST = 0, 4, 24  # offsets in struct seccomp_data; the request is argument 1, low word
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# machine → (AUDIT_ARCH, number of ioctl) of every calling convention it has
_IOCTLS = {
    "x86_64": ((0xC000003E, 16), (0xC000003E, 0x40000000 + 514), (0x40000003, 54)),  # and x32, i386
    "aarch64": ((0xC00000B7, 29), (0x40000028, 54)),  # and arm
}


def terminal_filter(machine: str = "") -> bytes:
    """The filter for a kernel's architecture (default: ours); empty where we have none."""
    program = b""
    for architecture, number in _IOCTLS.get(machine or platform.machine(), ()):
        program += b"".join(
            (
                _instruction(_LOAD, _ARCHITECTURE),
                _instruction(_JUMP_EQUAL, architecture, otherwise=6),
                _instruction(_LOAD, _NUMBER),
                _instruction(_JUMP_EQUAL, number, otherwise=4),
                _instruction(_LOAD, _REQUEST),
                _instruction(_JUMP_EQUAL, _TIOCSTI, then=1),
                _instruction(_JUMP_EQUAL, _TIOCLINUX, otherwise=1),
                _instruction(_RETURN, _EPERM),
            )
        )
    return program + _instruction(_RETURN, _ALLOW) if program else b""


def _instruction(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """struct sock_filter; jumps count instructions to skip."""
    return struct.pack("=HBBI", code, then, otherwise, value)
