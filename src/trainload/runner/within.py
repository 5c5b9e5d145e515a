"""Into a container that runs without an engine: its namespaces, its user, what bubblewrap left it.

Namespaces are joined one by one, because the call that takes a process (Linux 5.8) is too young for many servers.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from trainload.runner.container import Inside, environment
from trainload.runner.joined import Joined
from trainload.runner.keeper import lives
from trainload.runner.trouble import Trouble

_NS_GET_USERNS = 0xB701  # linux/nsfs.h, Linux 4.9
_NAMES = ("ipc", "uts", "net", "cgroup", "pid", "mnt")
_PDEATHSIG, _NO_NEW_PRIVS, _CAPBSET_DROP = 1, 38, 24  # linux/prctl.h
_MOST_CAPABILITIES = 64
_OF_ROOT = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31})
"""linux/capability.h: the numbers of container._CAPABILITIES."""
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_MOST_DESCRIPTORS = 1 << 20


class Container:
    """A running one."""

    def __init__(self, folder: Path) -> None:
        """``folder``: of the run. Raises :class:`Trouble` when it does not run."""
        if not lives(folder):
            raise Trouble("ended")
        try:
            state = json.loads((folder / "state.json").read_bytes().decode())
            first = int(state["pid"])
            children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()
            self.pid = int(children[0])
            letter = f"/proc/{int((folder / 'lock').read_text())}/fd/{int(state['letter'])}"
            self.charge: dict[str, Any] = json.loads(Path(letter).read_bytes().decode())
        except (OSError, ValueError, IndexError, TypeError, KeyError):
            raise Trouble("ended") from None

    def enter(self) -> None:
        """For a process that forks next: only its children are in the pid namespace."""
        spaces = {name: f"/proc/{self.pid}/ns/{name}" for name in (*_NAMES, "user")}
        other = [name for name, path in spaces.items() if _differs(path, f"/proc/self/ns/{name}")]
        opened = {name: os.open(spaces[name], os.O_RDONLY | os.O_CLOEXEC) for name in other}
        user = opened.pop("user", None)
        if user is not None and "mnt" in opened:  # bubblewrap may have one user namespace in another
            owner = fcntl.ioctl(opened["mnt"], _NS_GET_USERNS)
            same = os.path.samestat(os.fstat(owner), os.fstat(user))
            _join(owner, "user")
            user = None if same else user
        for name in _NAMES:
            if name in opened:
                _join(opened[name], name)
        if user is not None:
            _join(user, "user")

    def joined(self, request: Mapping[str, Any]) -> Joined:
        """A further program in it. Raises :class:`Trouble`."""
        inside = Inside(f"/proc/{self.pid}/root")
        run_as = inside.person(self.charge["user"])
        uid, _, home = inside.person(request["user"]) if request["user"] else run_as
        if uid != run_as[0]:
            raise Trouble("one user", said=self.charge["user"] or "0")
        workdir = request["workdir"] or self.charge["workdir"]
        env = {**environment(self.charge, home), **request["env"]}
        if request["terminal"] is not None:
            env.setdefault("TERM", request["term"] or "xterm")
        told, tell = os.pipe()

        def before() -> None:
            try:
                self._before(uid, workdir)
            except OSError as error:
                where = f"{error.filename}: " if error.filename else ""
                os.write(tell, f"{where}{error.strerror}".encode("utf-8", "replace"))
                raise

        try:
            return Joined(
                request["command"], request["terminal"], reads=bool(request["interactive"]), env=env, before=before
            )
        except (Trouble, RuntimeError) as error:  # subprocess: what `before` raises is a SubprocessError or this
            os.close(tell)
            tell = -1
            said = os.read(told, 4096).decode("utf-8", "replace")
            if said:
                raise Trouble("enter", said=said) from None
            raise error if isinstance(error, Trouble) else Trouble("enter", said=str(error)) from None
        finally:
            os.close(told)
            if tell >= 0:
                os.close(tell)

    def _before(self, uid: int, workdir: str) -> None:
        """In the child: become the container's, in the second process; the first waits for it."""
        self.enter()
        program = os.fork()
        if program:
            _wait_for(program)
        os.umask(0o022)
        os.setsid()
        os.chdir(workdir)
        libc = ctypes.CDLL(None, use_errno=True)
        kept = _OF_ROOT if uid == 0 else frozenset()
        for number in set(range(_MOST_CAPABILITIES)) - kept:
            if libc.prctl(_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) < 0:
                if ctypes.get_errno() == errno.EINVAL:
                    break  # this kernel has no more
                raise OSError(ctypes.get_errno(), "prctl")
        libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
        libc.prctl(_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


def _differs(one: str, other: str) -> bool:
    try:
        return os.readlink(one) != os.readlink(other)  # noqa: PTH115
    except FileNotFoundError:
        return False  # a kernel without this kind


def _join(space: int, name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(space, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"setns {name}")
    os.close(space)


def _wait_for(program: int) -> NoReturn:
    """Be the program for whoever waits for us; nothing of theirs stays open."""
    os.closerange(3, _MOST_DESCRIPTORS)

    def forward(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(program, number)

    for one in _FORWARDED:
        signal.signal(one, forward)
    os.closerange(0, 3)
    _, status = os.waitpid(program, 0)
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def in_it(container: Container, work: Callable[[], object]) -> int:
    """Fork a child that does ``work`` inside, as the container's own user; its pid. It ends badly if it cannot."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            container.enter()
            os.chdir("/")
            work()
            code = 0
        finally:
            os._exit(code)
    return child
