"""Between fork and exec: join the layers in namespaces of our own, look inside, and become bubblewrap.

The user may be anybody: root is used as an ordinary user is, with one id, so nothing needs rights or helpers. What
goes wrong is told over a pipe that closes on exec.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import stat
from pathlib import Path
from typing import Any

from trainload.runner.trouble import Trouble
from trainload.runner.unpack import remove, resolved

_NEWUSER, _NEWNS = 0x10000000, 0x00020000
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # moby: DefaultPathEnvUnix
_OPTIONS = ("userxattr,volatile", "userxattr", "")
"""For kernels since 5.11, 5.11 without volatile, and Ubuntu's older ones."""
_SCRATCH = ("/tmp", "/run", "/var/tmp")  # noqa: S108 - the container's own
_FRESH = ("/proc", "/sys", "/dev")
_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip
_FRONT = "/dev/.trainload"
"""As in trainload.run.bwrap: what makes a program on a terminal the first of its own process group."""
_SMALL = 1 << 20
_LARGEST_ID = 2**31 - 1


def become(
    charge: dict[str, Any], layers: list[Path], folder: Path, status: int, errors: int, gate: int | None
) -> None:
    """Never returns; the program begins when something comes through ``gate``."""
    try:
        _become(charge, layers, folder, status, gate)
    except Trouble as trouble:
        os.write(errors, json.dumps({"trouble": trouble.code, **trouble.facts}).encode())
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        os.write(errors, json.dumps({"trouble": "container", "said": told}).encode())
    os._exit(1)


def _become(charge: dict[str, Any], layers: list[Path], folder: Path, status: int, gate: int | None) -> None:
    _own_namespaces()
    root, writable = _joined(layers, folder)
    inside = Inside(str(root))
    uid, gid, home = inside.person(charge["user"])
    workdir = inside.folder(charge["workdir"])
    if any(workdir == place or workdir.startswith(place + "/") for place in _FRESH):
        raise Trouble("workdir", said=charge["workdir"])
    for place in (*_FRESH, *_SCRATCH):
        inside.folder(place)
    if writable:
        os.chmod(inside.at(inside.folder("/tmp")), 0o1777)  # noqa: PTH101, S103, S108
    mounts = [(source, inside.point(source, target), only) for source, target, only in charge["mounts"]]
    links = charge["links"]
    for path, target in links:
        if writable and not path.startswith("/dev/"):
            inside.link(path, target)
    env = environment(charge, home)
    found = _check_command(inside, charge["command"][0], env, workdir, mounts)
    front = _in_memory(base64.b64decode(charge["front"])) if charge["front"] else None
    writable = writable and not charge["read_only"]
    words = [
        "--unshare-user", "--uid", str(uid), "--gid", str(gid),
        "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
        *([] if charge["network"] else ["--unshare-net"]),
        "--hostname", charge["hostname"], "--cap-drop", "ALL",
        *(word for name in (_CAPABILITIES if uid == 0 else ()) for word in ("--cap-add", name)),
        "--bind" if writable else "--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev",
        "--perms", "1777", "--size", str(charge["shm"]), "--tmpfs", "/dev/shm",  # noqa: S108
        "--mqueue", "/dev/mqueue", "--ro-bind-try", "/sys", "/sys",
        *(word for place in (() if writable else _SCRATCH) for word in ("--perms", "1777", "--tmpfs", place)),
        *(word for source, target, only in mounts for word in ("--ro-bind" if only else "--bind", source, target)),
        *(word for source, target in charge["nodes"] for word in ("--dev-bind", source, target)),
        *(word for path, target in links if path.startswith("/dev/") for word in ("--symlink", target, path)),
        *(word for path, mode in charge["modes"] for word in ("--chmod", f"{mode:o}", path)),
        "--clearenv", *(word for name, value in sorted(env.items()) for word in ("--setenv", name, value)),
        "--chdir", workdir, "--die-with-parent", "--json-status-fd", str(status),
        *([] if front is None else ["--perms", "0755", "--ro-bind-data", str(front), _FRONT]),
        *([] if gate is None else ["--block-fd", str(gate)]),
    ]  # fmt: skip
    command = charge["command"] if front is None else [_FRONT, found, *charge["command"]]
    _exec(charge["bwrap"], words, command, {status, gate, front})


def _exec(bwrap: str, words: list[str], command: list[str], kept: set[int | None]) -> None:
    """The words go over a descriptor: no value of the environment is seen in the list of processes."""
    letter = _in_memory(b"".join(os.fsencode(word) + b"\0" for word in words))
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:
            try:
                os.set_inheritable(fd, fd in {letter, *kept})
            except OSError:
                continue  # the descriptor of the listing itself
    os.execve(bwrap, [bwrap, "--args", str(letter), "--", *command], {"PATH": _PATH, "LC_ALL": "C"})  # noqa: S606


def _in_memory(data: bytes) -> int:
    """A descriptor from which ``data`` can be read."""
    found = os.memfd_create("words", 0)
    os.write(found, data)
    os.lseek(found, 0, os.SEEK_SET)
    return found


def _own_namespaces() -> None:
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEWUSER | _NEWNS) != 0:
        raise Trouble("namespaces", said=os.strerror(ctypes.get_errno()))
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise Trouble("namespaces", said=error.strerror) from error


def _joined(layers: list[Path], folder: Path) -> tuple[Path, bool]:
    """Where the root lies, and whether it can be written."""
    marks = [json.loads((layer / "done.json").read_bytes().decode()) for layer in layers]
    if all(mark["plain"] for mark in marks):
        links = folder / "l"
        links.mkdir(exist_ok=True)
        for number, layer in enumerate(layers):  # short names: mount(2) takes a page of text
            (links / str(number)).symlink_to(layer / "fs")
        for name in ("upper", "work", "merged"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "upper").chmod(0o755)
        os.chdir(str(folder))
        lower = ":".join(f"l/{number}" for number in range(len(layers) - 1, -1, -1))
        libc = ctypes.CDLL(None, use_errno=True)
        for options in _OPTIONS:
            text = f"lowerdir={lower},upperdir=upper,workdir=work" + (f",{options}" if options else "")
            if libc.mount(b"overlay", b"merged", b"overlay", ctypes.c_ulong(0), text.encode()) == 0:
                return folder / "merged", True
    flat = folder / "flat"
    flat.mkdir(exist_ok=True)
    for layer, mark in zip(layers, marks):  # noqa: B905 - Python 3.8
        _flatten(layer / "fs", flat, mark)
    return flat, False


def flatten(layer: Path, flat: Path) -> None:
    """Put an unpacked layer over what is there."""
    _flatten(layer / "fs", flat, json.loads((layer / "done.json").read_bytes().decode()))


def _flatten(layer: Path, flat: Path, mark: dict[str, Any]) -> None:
    """Put a layer over what is there; files are the same ones (hard links), so nothing may be written."""
    for path in mark["opaque"]:
        place = flat / path
        if place.is_dir() and not place.is_symlink():
            remove(place)
    for path in mark["whiteouts"]:
        _away(flat / path)
    for path, folders, files in os.walk(str(layer)):
        inner = os.path.relpath(path, str(layer))
        (flat / inner).mkdir(exist_ok=True)
        for name in list(folders):
            place = flat / inner / name
            if Path(path, name).is_symlink():
                files.append(name)
            elif place.is_symlink() or not place.is_dir():
                _away(place)
        for name in files:
            source, place = Path(path, name), flat / inner / name
            if stat.S_ISCHR(source.lstat().st_mode):
                continue
            _away(place)
            os.link(str(source), str(place), follow_symlinks=False)


def _away(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        remove(place)
    elif os.path.lexists(str(place)):
        place.unlink()


class Inside:
    """Paths of the image, while nothing runs in it."""

    def __init__(self, root: str) -> None:
        self._root = root

    def at(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))  # noqa: PTH118

    def resolve(self, path: str) -> str:
        return "/" + resolved(self._root, path)

    def folder(self, path: str) -> str:
        """Resolved, and made where missing."""
        found = self.resolve(path)
        os.makedirs(self.at(found), 0o755, exist_ok=True)  # noqa: PTH103
        return found

    def link(self, path: str, target: str) -> None:
        """As ``ln -sf``; a folder of the image stays."""
        above, _, name = path.rpartition("/")
        place = os.path.join(self.at(self.folder(above or "/")), name)  # noqa: PTH118
        if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
            return
        if os.path.lexists(place):
            os.unlink(place)  # noqa: PTH108
        os.symlink(target, place)  # noqa: PTH211

    def point(self, source: str, target: str) -> str:
        """Where ``source`` is mounted: something of its kind."""
        if not os.path.exists(source):  # noqa: PTH110
            raise Trouble("mount", path=source, said=target)
        if os.path.isdir(source):  # noqa: PTH112
            return self.folder(target)
        found = self.resolve(target)
        self.folder(found.rpartition("/")[0])
        if not os.path.lexists(self.at(found)):
            os.close(os.open(self.at(found), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))
        return found

    def lines(self, path: str) -> list[list[str]]:
        try:
            with open(self.at(self.resolve(path)), encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
                return [line.split(":") for line in file.read(_SMALL).splitlines()]
        except OSError:
            return []

    def person(self, user: str) -> tuple[int, int, str]:
        """uid, gid and home of ``uid``, ``uid:gid``, ``name`` or ``name:group``."""
        wanted, _, group = (user or "0").partition(":")
        known = [line for line in self.lines("/etc/passwd") if len(line) >= 6]
        line = next((one for one in known if wanted in (one[0], one[2])), None)
        if line is None and not wanted.isdecimal():
            raise Trouble("user", said=wanted)
        uid = int(line[2] if line is not None else wanted)
        gid = int(line[3]) if line is not None else 0
        if group:
            groups = [one for one in self.lines("/etc/group") if len(one) >= 3]
            found = next((one for one in groups if group in (one[0], one[2])), None)
            if found is None and not group.isdecimal():
                raise Trouble("user", said=group)
            gid = int(found[2] if found is not None else group)
        if not (0 <= uid <= _LARGEST_ID and 0 <= gid <= _LARGEST_ID):
            raise Trouble("user", said=user)
        return uid, gid, (line[5] if line is not None else "") or "/"

    def is_executable(self, path: str) -> bool | None:
        """None: there is nothing."""
        place = self.at(self.resolve(path))
        if not os.path.lexists(place):
            return None
        found = os.stat(place)  # noqa: PTH116
        return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)


def environment(charge: dict[str, Any], home: str) -> dict[str, str]:
    env = {"PATH": _PATH, "HOSTNAME": charge["hostname"], "HOME": home}
    if charge["command"][0].rpartition("/")[2] == "tini":
        env["TINI_SUBREAPER"] = ""  # bwrap's own reaper is pid 1
    env.update(charge["env"])
    return env


def _check_command(
    inside: Inside, command: str, env: dict[str, str], workdir: str, mounts: list[tuple[str, str, bool]]
) -> str:
    """Where it lies. Docker's 126 and 127, known before the start."""
    if "/" in command:
        places = [command if command.startswith("/") else f"{workdir}/{command}"]
    else:
        places = [f"{folder or workdir}/{command}" for folder in env["PATH"].split(":")]
    found = [inside.is_executable(place) for place in places]
    if any(found):
        return places[found.index(True)]
    for place in places:
        if any(inside.resolve(place).startswith(target + "/") for _, target, _ in mounts):
            return place  # it lies in a mounted folder, which is not seen yet
    raise Trouble("command", said=command, exit_code=127 if all(one is None for one in found) else 126)
