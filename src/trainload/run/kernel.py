"""The few Linux calls Python has no word for: namespaces, the new mount API, subreaper.

Used between fork and exec only, apart from :func:`become_subreaper`. Every function raises :class:`OSError`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_MOVE_MOUNT_F_EMPTY_PATH, _CLOEXEC, _AT_FDCWD = 4, 1, -100
_OPEN_TREE_CLONE, _AT_EMPTY_PATH, _AT_RECURSIVE, _MOUNT_ATTR_IDMAP = 1, 0x1000, 0x8000, 0x00100000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_SECCOMP = 1, 24, 22
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_SECCOMP_MODE_FILTER, _MOST_CAPABILITIES = 2, 64
_NAMESPACES = {
    "user": CLONE_NEWUSER, "mnt": CLONE_NEWNS, "pid": 0x20000000, "ipc": 0x08000000, "uts": 0x04000000,
    "net": 0x40000000, "cgroup": 0x02000000,
}  # fmt: skip
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

IdMap = Sequence[tuple[int, int, int]]
"""(first inside, first outside, how many), as in ``/proc/PID/uid_map``."""


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _call(number: int, what: str, *arguments: object) -> int:
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *wide), what)


def unshare(flags: int) -> None:
    _checked(_LIBC.unshare(flags), "unshare")


def own_user_namespace() -> None:
    """Become the root of a new user and mount namespace in which only we exist."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


def own_mount_namespace() -> None:
    """A copy of the mounts whose changes nobody else sees; needs root."""
    unshare(CLONE_NEWNS)
    _checked(_LIBC.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "mount / private")


def user_namespace(uids: IdMap, gids: IdMap, owner: tuple[int, int] = (0, 0)) -> int:
    """A descriptor of a new user namespace with these maps; ``owner`` (uid, gid) may do all in it; needs root."""
    ready_out, ready_in = os.pipe()
    done_out, done_in = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(done_in)
            os.setresgid(owner[1], owner[1], owner[1])
            os.setresuid(owner[0], owner[0], owner[0])
            unshare(CLONE_NEWUSER)
            os.write(ready_in, b"1")
            os.read(done_out, 1)
            code = 0
        finally:
            os._exit(code)
    try:
        os.close(ready_in)
        if not os.read(ready_out, 1):
            raise PermissionError(1, "user namespaces are not allowed", "unshare")
        for name, lines in (("uid_map", uids), ("gid_map", gids)):
            text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in lines)
            Path(f"/proc/{child}/{name}").write_text(text, encoding="ascii")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for descriptor in (ready_out, done_out, done_in):
            os.close(descriptor)
        os.waitpid(child, 0)


def mount_overlay(lowers: Sequence[str], upper: str, work: str, merged: str) -> None:
    """Join any number of folders (Linux 6.5, up to 500), ``lowers`` from the top to the base.

    ``volatile``: what a run writes is thrown away with it, and without this the end of the mount would wait until
    the disk has everything else that was written meanwhile, freshly unpacked layers above all (overlayfs.rst).
    """
    fs = _call(_FSOPEN, "fsopen", b"overlay", _CLOEXEC)
    try:
        options = [("lowerdir+", path) for path in lowers] + [("upperdir", upper), ("workdir", work)]
        for key, value in options:
            _call(_FSCONFIG, f"overlay {key}", fs, _SET_STRING, key.encode(), os.fsencode(value), 0)
        for flag in (b"userxattr", b"volatile"):
            _call(_FSCONFIG, f"overlay {flag.decode()}", fs, _SET_FLAG, flag, None, 0)
        _call(_FSCONFIG, "overlay", fs, _CMD_CREATE, None, None, 0)
        mount = _call(_FSMOUNT, "fsmount", fs, _CLOEXEC, 0)
    finally:
        os.close(fs)
    put_tree(mount, merged)


def mount_overlay_by_text(lower: str, upper: str, work: str, merged: str) -> None:
    """Join one folder with a writable one by ``mount(2)`` (Linux 5.11)."""

    def quoted(path: str) -> str:
        return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")

    options = f"lowerdir={quoted(lower)},upperdir={quoted(upper)},workdir={quoted(work)},userxattr,volatile"
    target, text = os.fsencode(merged), os.fsencode(options)
    _checked(_LIBC.mount(b"overlay", target, b"overlay", ctypes.c_ulong(0), text), "mount overlay")


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def copy_of_tree(source: str) -> int:
    """A descriptor of ``source`` with all that is mounted below it, not yet seen anywhere (Linux 5.2)."""
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC
    return _call(_OPEN_TREE, f"open_tree {source}", _AT_FDCWD, os.fsencode(source), flags)


def map_ids(tree: int, namespace: int) -> None:
    """Show the owners of a copied tree as a user namespace maps them (Linux 5.12); needs root."""
    attributes = _MountAttributes(_MOUNT_ATTR_IDMAP, 0, 0, namespace)
    size, flags = ctypes.sizeof(attributes), _AT_EMPTY_PATH | _AT_RECURSIVE
    _call(_MOUNT_SETATTR, "mount_setattr", tree, b"", flags, ctypes.byref(attributes), size)


def put_tree(tree: int, target: str) -> None:
    """Mount a copied or made tree at ``target`` and close its descriptor."""
    try:
        place = os.fsencode(target)
        _call(_MOVE_MOUNT, "move_mount", tree, b"", _AT_FDCWD, place, _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def mount_memory(target: str) -> None:
    """An empty folder in memory at ``target``."""
    kind, data = b"tmpfs", b"mode=755"
    _checked(_LIBC.mount(kind, os.fsencode(target), kind, ctypes.c_ulong(0), data), f"mount {target}")


def become_subreaper() -> None:
    """Orphans among our descendants become our children, so that their exit code reaches us."""
    _checked(_LIBC.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "prctl subreaper")


def die_with_parent() -> None:
    """SIGKILL us when the thread that forked us dies."""
    _checked(_LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl pdeathsig")


def enter(pid: int) -> None:
    """Join every namespace of a process that is not ours; of the pid namespace, children only (Linux 5.8)."""
    flags = 0
    for name, flag in _NAMESPACES.items():
        ours, theirs = (Path(f"/proc/{who}/ns/{name}").readlink() for who in ("self", pid))
        flags |= flag if ours != theirs else 0
    process = os.pidfd_open(pid)
    try:
        _checked(_LIBC.setns(process, flags), "setns")
    finally:
        os.close(process)


def keep_capabilities(kept: Collection[int]) -> None:
    """Give up all others for ourselves and whatever we execute, and never gain any by a set-id program."""
    for number in range(_MOST_CAPABILITIES):
        if number not in kept and _LIBC.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) < 0:
            if ctypes.get_errno() != errno.EINVAL:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "prctl capbset")
            break  # this kernel has no more
    _checked(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "prctl no_new_privs")


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter (struct sock_filter[]); needs :func:`keep_capabilities` before."""
    if program:
        told = _FilterProgram(len(program) // 8, program)
        _checked(_LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(told)), "seccomp")
