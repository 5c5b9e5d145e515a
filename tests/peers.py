"""Real programs from the distribution as peers of tests, each on an ephemeral port of loopback."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pytest

from trainload.testing import people

_PATIENCE = 180.0  # seconds for a server to listen, or for its sessions to end
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
ENV = {"PATH": PATH, "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def needs(*programs: str) -> None:
    """Skips the test where a program is not installed."""
    missing = [program for program in programs if shutil.which(program, path=PATH) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def call(*argv: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> str:
    """What a program that must succeed prints."""
    whole = {**ENV, **(env or {})}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, env=whole)
    assert done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
    return done.stdout


@contextmanager
def podman_of_our_own(folder: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Podman's command line with folders of its own, and its environment."""
    needs("podman")
    if os.geteuid() != 0:
        pytest.skip("podman without root needs subuids")
    runtime = "runc" if shutil.which("runc", path=PATH) else "crun"  # crun refuses hybrid cgroups
    config = folder / "containers.conf"
    config.write_text('[containers]\ndefault_ulimits = []\n[engine]\nevents_logger = "file"\n')
    with short_folder("podman-") as short:  # podman: at most 50 characters
        roots = ["--root", f"{short}/root", "--runroot", f"{short}/run", "--tmpdir", f"{short}/tmp"]
        engine = ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", runtime]
        yield ["podman", *roots, *engine], {"CONTAINERS_CONF": str(config)}


@contextmanager
def short_folder(prefix: str) -> Iterator[str]:
    """For an engine, which may still be clearing up when it is removed."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as short:
        try:
            yield short
        finally:
            unmount_below(Path(short))


@contextmanager
def docker_daemon(base: Path, network: OtherNetwork | None = None) -> Iterator[str]:
    """A Docker daemon of our own, in another network if one is given; the address of its socket."""
    needs("dockerd", "docker")
    if Docker.missing():
        pytest.skip(Docker.missing())
    with Docker(base, driver="vfs", network=network) as daemon:
        yield daemon.host


class OtherNetwork:
    """A network namespace with one line to here and to nowhere else; a context manager."""

    def __init__(self) -> None:
        needs("ip", "nsenter")
        if os.geteuid() != 0:
            pytest.skip("only root makes network namespaces that others can enter")
        number = os.getpid() % 0x4000
        self.name = f"trainload-{number:x}"
        self._here = f"tl{number:x}a"
        net = f"10.231.{number >> 6 & 255}.{(number & 63) * 4}".rsplit(".", 1)
        self.address, self._ours = (f"{net[0]}.{int(net[1]) + last}" for last in (2, 1))

    def __enter__(self) -> OtherNetwork:
        there = f"tl{os.getpid() % 0x4000:x}b"
        call("ip", "netns", "add", self.name)
        try:
            call("ip", "link", "add", self._here, "type", "veth", "peer", "name", there, "netns", self.name)
        except AssertionError:
            call("ip", "netns", "del", self.name)
            pytest.skip("pairs of network devices are not allowed here")
        call("ip", "addr", "add", f"{self._ours}/30", "dev", self._here)
        call("ip", "link", "set", self._here, "up")
        for words in (["addr", "add", f"{self.address}/30", "dev", there], ["link", "set", there, "up"],
                      ["link", "set", "lo", "up"]):  # fmt: skip
            call(*self.enter, "ip", *words)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call("ip", "link", "del", self._here)  # with the namespace it would go sooner or later
        call("ip", "netns", "del", self.name)

    @property
    def enter(self) -> tuple[str, ...]:
        """Before a command: it runs there."""
        return ("nsenter", f"--net=/run/netns/{self.name}")  # `ip netns exec` would hide the control groups


class Sshd:
    """OpenSSH's server with keys, a home and a PATH of its own, for whoever runs the tests; a context manager."""

    def __init__(
        self, folder: Path, programs: Sequence[str] = (), environ: Mapping[str, str] | None = None,
        settings: Sequence[str] = (), network: OtherNetwork | None = None, person: people.Person | None = None,
    ) -> None:  # fmt: skip
        """``programs``: what is installed there besides a shell: names, or paths whose last part is the name.

        ``settings``: further lines of sshd_config, which go first and so decide. ``person``: whose machine it is;
        None: ours.
        """
        needs("sshd", "ssh", "ssh-keygen")
        self.folder, self.home = folder, folder / "home"
        self.port = free_port()
        self._programs, self._settings, self._network = programs, settings, network
        self._host = network.address if network else "127.0.0.1"
        self._person = person
        self._environ = dict(environ or {})

    def __enter__(self) -> Sshd:
        for path in (self.home, self.folder / "there", self.folder / "here"):
            path.mkdir(parents=True)
        for key in ("host", "user"):
            call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))
        for name in ("sh", "bash", "sort", "xargs", *self._programs):
            found = name if "/" in name else shutil.which(name, path=f"/usr/bin:{PATH}")
            (self.folder / "there" / Path(name).name).symlink_to(str(found))
        environ = {"HOME": str(self.home), "PATH": str(self.folder / "there"), **self._environ}
        lines = [
            *self._settings, f"Port {self.port}", f"ListenAddress {self._host}", f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.folder}/user.pub", "PidFile none", "StrictModes no", "UsePAM no",
            "PasswordAuthentication no", "SetEnv " + " ".join(f'"{k}={v}"' for k, v in environ.items()),
        ]  # fmt: skip
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        self.write_client()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        enter = self._network.enter if self._network else ()
        if self._person is not None:
            enter = tuple(people.become(self._person))
            for path in (self.folder, *self.folder.rglob("*")):
                if path.name not in ("user", "config", "known", "here"):  # those are of this side
                    os.chown(path, self._person.uid, self._person.uid, follow_symlinks=False)
        argv = [*enter, str(shutil.which("sshd", path=PATH)), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENV)
        wait_for_port(self.port, self._process, self._host)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def wait_for_sessions(self) -> None:
        """Until nothing of them runs any more: what sshd started goes on for a while when its line is cut."""
        theirs = f"\0HOME={self.home}\0".encode()
        end = time.monotonic() + _PATIENCE
        while any(theirs in b"\0" + bytes_of(path) for path in Path("/proc").glob("[0-9]*/environ")):
            assert time.monotonic() < end, "a session does not end"
            time.sleep(0.05)

    def write_client(self, known: str | None = None) -> None:
        """The configuration of this side; ``known``: what it knows of the host's key instead of the truth."""
        key = known if known is not None else f"peer {(self.folder / 'host.pub').read_text()}"
        (self.folder / "known").write_text(key)
        config = [
            f"IdentityFile {self.folder}/user", "IdentitiesOnly yes", f"UserKnownHostsFile {self.folder}/known",
            "GlobalKnownHostsFile none", "HostKeyAlias peer",
        ]  # fmt: skip
        (self.folder / "config").write_text("\n".join(config) + "\n")
        program = self.folder / "here" / "ssh"
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{self.folder}/config" "$@"\n')
        program.chmod(0o755)

    @property
    def pid(self) -> int:
        """Of the server; its sessions are its children."""
        return self._process.pid

    @property
    def environ(self) -> dict[str, str]:
        """For programs of this side: their ssh finds the keys."""
        return {**ENV, "PATH": f"{self.folder}/here:{PATH}"}

    def words(self) -> list[str]:
        """Of ssh's command line, to come here."""
        return ["-p", str(self.port), self.address().rpartition(":")[0]]

    def address(self, port: int | None = None) -> str:
        name = "trainee" if self._person is not None else pwd.getpwuid(os.geteuid()).pw_name
        return f"{name}@{self._host}:{port or self.port}"


class DockerRegistry:
    """Debian's ``docker-registry`` with a folder of its own; used as a context manager."""

    def __init__(
        self, folder: Path, settings: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        """``settings``: further lines of its YAML configuration."""
        self._folder = folder
        self._settings = settings
        self._environ = environ
        self.port = free_port()

    @staticmethod
    def missing() -> str:
        """Why it cannot run here; empty when it can."""
        return "" if shutil.which("docker-registry") else "docker-registry is not installed"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> DockerRegistry:
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "config.yml"
        lines = [
            "version: 0.1", "log: {level: error, accesslog: {disabled: true}}",
            f"storage: {{filesystem: {{rootdirectory: {self._folder / 'data'}}}, delete: {{enabled: true}}}}",
            f"http: {{addr: '{self.host}', secret: trainload}}", *self._settings,
        ]  # fmt: skip
        config.write_text("\n".join(lines) + "\n")
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(self._environ) if self._environ is not None else None,
            )  # fmt: skip
        wait_for_port(self.port, self._process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


class Meter:
    """A port of loopback that leads to another one, and counts the bytes that pass; used as a context manager."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._guard = threading.Lock()
        self.moved = 0
        """Bytes, both ways together."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Meter:
        self._waiting = threading.Thread(target=self._accept)
        self._waiting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept(2)
        self._waiting.join()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as far:
            back = threading.Thread(target=self._pass, args=(far, near), daemon=True)
            back.start()
            self._pass(near, far)
            back.join()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                with self._guard:
                    self.moved += len(data)
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def bytes_of(path: Path) -> bytes:
    """Of a file that may go at any time, as those in /proc; then there are none."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_MANY = 2000
_PORTS = itertools.count(os.getpid())


def free_port() -> int:
    """One that nobody takes until we do: below those that the kernel gives away, and each worker has its own."""
    for number in itertools.islice(_PORTS, _MANY):
        port = 20_000 + _WORKER % 6 * _MANY + number % _MANY
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def wait_for_port(port: int, process: subprocess.Popen[bytes], host: str = "127.0.0.1") -> None:
    """Until something listens there. Raises :class:`RuntimeError` when ``process`` ended or the patience did."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex((host, port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")


class Docker:
    """Debian's ``dockerd`` with folders and a socket of its own and no network of containers; needs root.

    Used as a context manager.
    """

    def __init__(
        self, folder: Path, driver: str | None = None, network: OtherNetwork | None = None,
        programs: Path | None = None,
    ) -> None:  # fmt: skip
        """``driver``: of its storage; None: its own choice. ``programs``: a folder it looks into first."""
        self._enter = network.enter if network else ()
        self._path = f"{programs}:{PATH}" if programs else PATH
        self._folder = folder
        self._driver = ["--storage-driver", driver] if driver else []
        self._short = Path(tempfile.mkdtemp(prefix="docker-"))  # a socket's path has at most 107 bytes
        self.host = f"unix://{self._short}/docker.sock"

    @staticmethod
    def missing() -> str:
        """Why it cannot run here; empty when it can."""
        if os.geteuid() != 0:
            return "dockerd needs root"
        return "" if shutil.which("dockerd", path=PATH) else "dockerd is not installed"

    def __enter__(self) -> Docker:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._enter, "dockerd", "-H", self.host, "--bridge=none", "--iptables=false",
                 "--data-root", str(self._folder / "data"), "--exec-root", str(self._short / "exec"),
                 "--pidfile", str(self._folder / "pid"), *self._driver],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "PATH": self._path},
            )  # fmt: skip
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                self.__exit__(None, None, None)
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        for folder in (self._folder, self._short):
            unmount_below(folder)
        shutil.rmtree(self._short, ignore_errors=True)

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        asked = ["docker", "-H", self.host, "version"]
        return subprocess.run(asked, capture_output=True, env=ENV, check=False).returncode == 0


def unmount_below(folder: Path) -> None:
    """What an engine left mounted, whoever still uses it: the folder could not be removed otherwise."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    for place in reversed([line.split()[1] for line in mounts]):
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)


class Podman:
    """Debian's ``podman`` with a storage of its own; used as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # conmon's sockets lie there: in a long path containers are neither cleaned up nor started again
        self._short = tempfile.mkdtemp(prefix="podman-")
        self.environ = {"CONTAINERS_CONF": str(folder / "conf"), "CONTAINERS_STORAGE_CONF": str(folder / "storage")}

    @staticmethod
    def missing() -> str:
        """Why it cannot run here; empty when it can."""
        if os.geteuid() != 0:
            return "a private storage of Podman needs root here"
        return "" if shutil.which("podman") else "podman is not installed"

    def __enter__(self) -> Podman:
        self._folder.mkdir(parents=True, exist_ok=True)
        # crun refuses hybrid control groups, runc does not
        runtime = "runc" if shutil.which("runc", path=PATH) else "crun"
        # Debian's own default, whether or not a journal runs here
        (self._folder / "conf").write_text(
            f'[containers]\nlog_driver = "journald"\n[engine]\nruntime = "{runtime}"\nevents_logger = "journald"\n'
        )
        (self._folder / "storage").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self._short}/root"\nrunroot = "{self._short}/run"\n'
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(
            ["podman", "rm", "--all", "--force", "--time", "0"], env={**os.environ, **self.environ}, check=False,
            capture_output=True,
        )  # fmt: skip
        unmount_below(Path(self._short))
        shutil.rmtree(self._short, ignore_errors=True)


class RootlessPodman:
    """Debian's ``podman`` as an ordinary user with subordinate ids, who lives in a folder of their own.

    Used as a context manager. Root makes that user up: the machine's own files stay as they are.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="podman-"))
        self.home = self._folder / "home"
        self.person = people.SOMEBODY
        self.environ = {
            "CONTAINERS_CONF": str(self._folder / "conf"), "XDG_RUNTIME_DIR": str(self._folder / "run"),
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        }  # fmt: skip

    @staticmethod
    def missing() -> str:
        """Why it cannot run here; empty when it can."""
        for program, package in (("podman", "podman"), ("newuidmap", "uidmap")):
            if shutil.which(program) is None:
                return f"{package} is not installed"
        name = pwd.getpwuid(os.geteuid()).pw_name
        known = Path("/etc/subuid")
        if os.geteuid() != 0 and not (known.exists() and f"{name}:" in known.read_text(encoding="utf-8")):
            return "/etc/subuid gives this user no further ids"
        return ""

    def __enter__(self) -> RootlessPodman:
        self._folder.chmod(0o755)
        run = self._folder / "run"
        for place in (self.home, run):
            place.mkdir()
        if os.geteuid() == 0:
            self.person = people.with_more_ids(self._folder)
            os.chown(run, self.person.uid, self.person.uid)
        run.chmod(0o700)
        runtime = "runc" if shutil.which("runc", path=PATH) else "crun"  # crun refuses hybrid control groups
        (self._folder / "conf").write_text(f'[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\n')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for words in (["rm", "--all", "--force", "--time", "0"], ["unshare", "rm", "-rf", str(self.home)]):
            self.podman(*words)
        with contextlib.suppress(OSError, ValueError):  # it keeps their namespaces
            os.kill(int((self._folder / "run/libpod/tmp/pause.pid").read_text()), signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def podman(self, *words: str) -> str:
        """What it says to ``words``, good or bad."""
        script = "import os, sys; os.execvp('podman', ['podman', *sys.argv[1:]])"
        done = people.as_ordinary_user(script, *words, home=self.home, env=self.environ, person=self.person)
        return done.stdout.decode() + done.complaint
