"""The process that stays with a run where there is no engine: its log, its end, its signals (docs/adr/0037).

It leaves the connection's session before anything runs, has no file on the disk and no open end of the connection.
It holds ``lock`` as long as it lives, so nobody has to guess; when it is killed, its container goes with it. A
program's terminal is ours: we lead its session, and it has a process group of its own there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from trainload.runner.home import Home, open_lock
from trainload.runner.trouble import Trouble, trouble_of
from trainload.runner.unpack import remove

_MOMENT, _SOON = 0.25, 0.02
_ROOM = 4096
"""Bytes of a state: a block of most file systems, so that a longer one needs no other."""
_FRESH = "state.json.new"
_LAST_WORDS = 2.0
"""Seconds for what is still in the pipes once the program is gone."""
_FOR_LATER = ("env", "user", "workdir", "hostname", "command")
"""What a further program in the container gets, too: kept in memory, for its values may be secrets."""
_KEYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
_USUAL = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def begin(home: Home, folder: Path, charge: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Unpack what is missing and start the program; it runs when this returns. Raises :class:`Trouble`."""
    lock = open_lock(folder / "lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # it lives from here on, whoever asks while it is unpacked
        _begin(home, folder, charge, tell, lock)
    finally:
        os.close(lock)


def _begin(
    home: Home, folder: Path, charge: dict[str, Any], tell: Callable[[dict[str, Any]], None], lock: int
) -> None:
    from trainload.runner.unpack import forget_unused, unpacked

    with home.lock("gc", shared=True):
        layers = unpacked(home.path, charge["layers"], tell)
    used = {link.resolve().parent.name for link in (home.path / "hosted").glob("*/l/*")}
    forget_unused(home.path, used | {layer.name for layer in layers})
    charge = {**charge, "bwrap": _bwrap(home, charge), "mounts": _mounts(home, folder, charge)}
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            os.setsid()
            if os.fork() == 0:
                _keep(folder, charge, layers, into, lock)
        finally:
            os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    with os.fdopen(out, "rb") as report:
        told = report.read()
    if told != b"started":
        found = json.loads(told.decode()) if told else {"trouble": "container", "said": "its keeper ended"}
        raise Trouble(found.pop("trouble"), **found)


def _bwrap(home: Home, charge: dict[str, Any]) -> str:
    """bubblewrap as it came along, verified by its name when it came; else the one that is installed here."""
    files = charge["tool"]
    if not files:
        found = shutil.which("bwrap")
        if found is None:
            raise Trouble("bwrap", said=os.uname().machine)
        return found
    name = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    tools = home.path / "hosted" / "tools"
    if not (tools / name).exists():
        fresh = tools / f"{name}.{os.getpid()}"
        for path, digest in files:
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(home.blobs / digest.split(":")[1]), str(fresh / path))
            (fresh / path).chmod(0o500)
        try:
            fresh.rename(tools / name)
        except OSError:
            shutil.rmtree(str(fresh))  # somebody else was quicker
    return str(tools / name / files[0][0])


def _mounts(home: Home, folder: Path, charge: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The host's own files, and what the user mounts: a folder, or a volume that is kept here."""
    etc = folder / "etc"
    etc.mkdir(exist_ok=True)
    name = charge["hostname"]
    texts = {
        "hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{name}\n",
        "hostname": name + "\n",
    }
    if charge["network"]:
        texts["hosts"] += _text("/etc/hosts")
        texts["resolv.conf"] = _text("/etc/resolv.conf")
    found = []
    for file, text in texts.items():
        (etc / file).write_text(text)
        found.append((str(etc / file), f"/etc/{file}", False))
    for source, target, read_only, kind in charge["mounts"]:
        place = Path(source)
        if kind == "volume":
            place = home.path / "volumes" / source
            place.mkdir(parents=True, exist_ok=True)
        elif kind == "folder" and not read_only and not place.exists():
            place.mkdir(parents=True)  # as Docker does
        found.append((str(place), target, read_only))
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _keep(folder: Path, charge: dict[str, Any], layers: list[Path], report: int, lock: int) -> None:
    """The keeper's whole life."""
    try:
        _leave(report, lock)
        os.write(lock, str(os.getpid()).encode())
        (folder / "log").touch()  # whoever follows it may be quicker than the program's first word
        keeper = _Keeper(folder, charge, layers)
        try:
            keeper.start()
        except Trouble as trouble:
            os.write(report, json.dumps({"trouble": trouble.code, **trouble.facts}).encode())
            return
        os.write(report, b"started")
        os.close(report)
        keeper.until_end()
        for name in ("upper", "work", "flat", "merged"):
            remove(folder / name)  # overlayfs closes folders of its own to ordinary users
    except OSError as error:
        told = trouble_of(error)
        os.write(report, json.dumps({"trouble": "container", **told.facts}).encode())


def _leave(*kept: int) -> None:
    """No terminal, no end of the connection, no habits of the runner."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in kept:
            try:
                os.close(fd)
            except OSError:
                continue  # the descriptor of the listing itself
    os.chdir("/")
    for one in _USUAL:
        signal.signal(one, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class _Keeper:
    def __init__(self, folder: Path, charge: dict[str, Any], layers: list[Path]) -> None:
        self._folder, self._charge, self._layers = folder, charge, layers
        self._stopping = False
        self._deadline: float | None = None
        self._grace = 0.0
        self._forced = False
        self._asked = False
        """The program was asked to end."""
        (folder / _FRESH).write_bytes(b" " * _ROOM)  # the program may fill the disk before it is written down
        self._letter = os.memfd_create("letter", os.MFD_CLOEXEC)
        os.write(self._letter, json.dumps({name: charge[name] for name in _FOR_LATER}).encode())
        self._state: dict[str, Any] = {"phase": "starting", "pid": None, "letter": self._letter}
        self._state.update(terminal=charge["terminal"], open=charge["terminal"] or charge["open"])
        self._reports = bytearray()
        self._gate = _gate() if charge["waits"] else None

    def start(self) -> None:
        """Raises :class:`Trouble` when it does not come to a start."""
        from trainload.runner.speech import Speech

        for one in (*_KEYS, signal.SIGPIPE):
            signal.signal(one, _deaf)  # not SIG_IGN: the program would inherit that
        signal.signal(signal.SIGTERM, self._stop)
        self._speech = Speech(self._folder, self._charge, self._met)
        errors_out, errors_in = os.pipe()
        self._status, status_in = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            self._become(status_in, errors_in)
        for fd in (errors_in, status_in):
            os.close(fd)
        self._speech.open()
        with os.fdopen(errors_out, "rb") as errors:
            told = errors.read()
        if told:
            found = json.loads(told.decode())
            raise Trouble(found.pop("trouble"), **found)
        first = b""
        while not first.endswith(b"\n"):
            data = os.read(self._status, 1)
            if not data:
                os.waitpid(self._child, 0)
                raise Trouble("container", said=self._speech.complaint() or "bubblewrap ended")
            first += data
        pid = int(json.loads(first.decode())["child-pid"])
        self._state.update(phase="running", pid=pid, started=_now())
        self._write()

    def _become(self, status: int, errors: int) -> None:
        from trainload.runner.container import become

        try:
            if not self._charge["terminal"]:
                os.setsid()
            os.umask(0o022)  # the program's own, as in any container
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            self._speech.become()
            os.set_inheritable(errors, False)
            become(self._charge, self._layers, self._folder, status, errors, self._gate)
        finally:
            os._exit(1)

    def _met(self) -> None:
        """Somebody is attached: a program that waits for that begins."""
        if self._gate is not None:
            os.write(self._gate, b"1")
            os.close(self._gate)
            self._gate = None

    def until_end(self) -> None:
        """Write down what it says until it is gone, then how it ended."""
        from trainload.runner.lines import Log

        log = Log(self._folder / "log")
        self._speech.begin(log, self._status, self._reports)
        code = self._pump()
        log.close()
        forced = self._grace if self._forced else None
        self._state.update(phase="ended", ended=_now(), exit_code=code, forced=forced)
        self._write()
        self._speech.close()

    def _pump(self) -> int:
        ended, silence = None, 0.0
        while True:
            more = self._speech.turn(_MOMENT)
            self._mind_the_deadline()
            if ended is None:
                pid, status = os.waitpid(self._child, 0 if self._speech.is_over else os.WNOHANG)
                ended, silence = (status, time.monotonic() + _LAST_WORDS) if pid else (None, 0.0)
            if ended is not None and (self._speech.is_over or (not more and time.monotonic() > silence)):
                return self._exit_code(ended, bytes(self._reports))

    def _exit_code(self, status: int, reports: bytes) -> int:
        for line in reports.splitlines():
            report = json.loads(line.decode())
            if "exit-code" in report and not self._forced:
                return int(report["exit-code"])
        if self._forced or os.WIFSIGNALED(status):
            return 128 + (signal.SIGKILL if self._forced else os.WTERMSIG(status))
        return os.WEXITSTATUS(status)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _mind_the_deadline(self) -> None:
        if self._stopping and self._deadline is None and not self._forced:
            try:
                self._grace = float((self._folder / "wish").read_text())
            except (OSError, ValueError):
                self._grace = float(self._charge["grace"])
            if self._gate is not None:  # nothing has begun that could be asked
                self._grace = 0.0
            self._deadline = time.monotonic() + self._grace
        if self._deadline is not None and not self._asked:
            self._asked = send(self._state["pid"], int(self._charge["stop_signal"]))
        if self._deadline is not None and time.monotonic() >= self._deadline and not self._forced:
            self._forced, self._stopping = True, False
            _signal(self._state["pid"], signal.SIGKILL)

    def _write(self) -> None:
        """On a full disk in the room that it has: what the program wrote there is no reason to forget its end."""
        data = json.dumps(self._state).encode().ljust(_ROOM)
        fresh, known = self._folder / _FRESH, self._folder / "state.json"
        try:
            with fresh.open("r+b" if fresh.exists() else "wb") as file:
                file.write(data)
                file.truncate()
            fresh.replace(known)
        except OSError:
            if not known.exists():
                raise
            with known.open("r+b") as file:
                file.write(data)


def _deaf(number: int, frame: object) -> None:
    return


def _gate() -> int:
    """A pipe as one descriptor: with both ends in the same hands it has no end before somebody writes."""
    out, into = os.pipe()
    both = os.open(f"/proc/self/fd/{out}", os.O_RDWR | os.O_CLOEXEC)
    os.close(out)
    os.close(into)
    return both


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()  # noqa: UP017 - Python 3.8


def lives(folder: Path) -> bool:
    """Whether the run's keeper is there."""
    try:
        fd = os.open(str(folder / "lock"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def tell(folder: Path, number: int) -> None:
    """Send the keeper a signal; who holds the lock wrote its pid there. Raises :class:`Trouble`."""
    if not lives(folder) or not (pid := (folder / "lock").read_text()):
        raise Trouble("ended")
    _signal(int(pid), number)


def signal_program(folder: Path, number: int) -> None:
    """Send the program a signal, as soon as it is there. Raises :class:`Trouble` when it does not run."""
    while lives(folder) and (folder / "state.json").exists():
        if send(json.loads((folder / "state.json").read_text())["pid"], number):
            return
        time.sleep(_SOON)
    raise Trouble("ended")


def send(first: int, number: int) -> bool:
    """To the program, the child of the container's first process; whether there is one.

    That process itself heeds nothing from outside (pid_namespaces(7)) but SIGKILL.
    """
    try:
        children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()
    except OSError:
        children = []
    if children:
        _signal(int(children[0]), number)
    return bool(children)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise Trouble("forbidden", said=error.strerror) from error
