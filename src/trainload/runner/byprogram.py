"""Docker and Podman by their own program: the words come from the near side, values of the environment in a file.

The container itself outlives us; nothing of ours has to stay beside it.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from trainload.runner.handed import OUTSIDE, handed, has_shell
from trainload.runner.joined import Joined
from trainload.runner.trouble import Trouble

PROGRAMS = ("docker", "podman")
ENV_FILE = "\0env"  # no word of a command line holds a NUL
"""Stands in the words for the file with the environment."""
IMAGE = "\0image"
"""Stands for the image: by what it is, not by its name, which may have moved on."""
CONTAINER = "\0container"
_KEPT = ("Id", "Name", "RestartCount")
_BATCH = 200


class Program:
    """One of them."""

    def __init__(self, name: str) -> None:
        if name not in PROGRAMS:
            raise Trouble("version", said=name)
        self._name = name

    def is_rootless(self) -> bool:
        return self._call(["info", "--format", "{{.Host.Security.Rootless}}"]).strip() == b"true"

    def start(self, charge: dict[str, Any]) -> None:
        """Make the container and start it, unless somebody is to join it first.

        Raises :class:`Trouble`; nothing is left then.
        """
        words, env, container = charge["words"], charge["env"], charge["container"]
        found = (one for one in charge["images"] if self._run(["image", "inspect", one]).returncode == 0)
        image = next(found, None)
        if image is None:
            raise Trouble("image")
        with_env = os.memfd_create("env", 0)
        try:
            os.write(with_env, env.encode("utf-8", "surrogateescape"))
            place = f"/proc/self/fd/{with_env}"
            stands = {ENV_FILE: place, IMAGE: image}
            self._call([stands.get(word, word) for word in words], keep=(with_env,))
        finally:
            os.close(with_env)
        if charge["waits"]:
            return
        try:
            self._call(["start", container])
        except Trouble:
            self._run(["rm", "--force", "--volumes", container])
            raise

    def inspect(self, container: str) -> dict[str, Any] | None:
        """What is needed of ``container inspect``; None when there is no such container."""
        done = self._run(["container", "inspect", container])
        if done.returncode != 0:
            if b"no such container" in done.stderr.lower() or b"no container with name" in done.stderr.lower():
                return None
            raise _failed(done)
        found = json.loads(done.stdout.decode("utf-8", "replace"))[0]
        config, host = found.get("Config") or {}, found.get("HostConfig") or {}
        return {
            **{name: found.get(name) for name in _KEPT},
            "State": found["State"],
            "Config": {
                "Labels": config.get("Labels") or {},
                **{name: config.get(name, False) for name in ("Tty", "OpenStdin")},
            },
            "HostConfig": {"Memory": host.get("Memory") or 0},
        }

    def logs(
        self, container: str, query: dict[str, Any], send: Callable[[dict[str, Any]], None], pulse: float
    ) -> None:
        """Every line as the engine gives it, with its time."""
        words = [self._name, "logs", "--timestamps"]
        words += ["--follow"] if query["follow"] else []
        words += [f"--{name}={query[name]}" for name in ("since", "until", "tail") if query.get(name) is not None]
        with subprocess.Popen(
            [*words, container], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            try:
                _pass_on(child, send, pulse)
            finally:
                child.kill()

    def stop(self, container: str, grace: float | None) -> None:
        """In a process of its own, which nobody waits for: its grace may be longer than this connection."""
        words = [self._name, "stop", *([] if grace is None else [f"--time={round(grace)}"]), container]
        null = subprocess.DEVNULL
        subprocess.Popen(words, stdin=null, stdout=null, stderr=null, start_new_session=True)

    def kill(self, container: str, number: int) -> None:
        self._call(["kill", f"--signal={number}", container])

    def remove(self, container: str) -> None:
        self._call(["rm", "--volumes", container])

    def joined(self, container: str, request: dict[str, Any]) -> Joined:
        """The program itself with the near side's streams: ``exec``, ``attach``, ``start --attach``."""
        with_env = _far_off(os.memfd_create("env", 0))
        try:
            os.write(with_env, request["env"].encode("utf-8", "surrogateescape"))
            stands = {ENV_FILE: f"/proc/self/fd/{with_env}", CONTAINER: container}
            words = [stands.get(word, word) for word in request["words"]]
            terminal, reads = request["terminal"], bool(request["interactive"])
            argv = [self._name, *words]
            if reads and terminal is None and words[0] == "exec" and self._hands_through(container):
                argv = [*OUTSIDE, self._name, *handed(words, request["command"])]
            joined = Joined(argv, terminal, reads=reads, keep=(with_env,))
            joined.gone = signal.SIGKILL  # it would pass a milder one on to what runs
            return joined
        finally:
            os.close(with_env)

    def _hands_through(self, container: str) -> bool:
        if self._name != "podman":
            return False
        said = self._call(["info", "--format", "{{.Host.ServiceIsRemote}}"]).strip()
        found = (self.inspect(container) or {"State": {}})["State"]
        return said == b"false" and has_shell(int(found.get("Pid") or 0))

    def _call(self, words: Sequence[str], keep: Sequence[int] = ()) -> bytes:
        done = self._run(words, keep)
        if done.returncode != 0:
            raise _failed(done)
        return done.stdout

    def _run(self, words: Sequence[str], keep: Sequence[int] = ()) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [self._name, *words], stdin=subprocess.DEVNULL, capture_output=True,
                pass_fds=tuple(keep), check=False,
            )  # fmt: skip
        except OSError as error:
            raise Trouble("engine", said=f"{self._name}: {error.strerror}") from error


def _far_off(number: int) -> int:
    """The descriptor with a larger number: small ones are given away."""
    found = fcntl.fcntl(number, fcntl.F_DUPFD, 10)
    os.close(number)
    return found


def _failed(done: subprocess.CompletedProcess[bytes]) -> Trouble:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    told = [line for line in lines if line.startswith("Error")] or lines[-1:] or ["it said nothing"]
    return Trouble("engine", said=told[0].replace("Error response from daemon: ", "").replace("Error: ", ""))


def _pass_on(child: subprocess.Popen[bytes], send: Callable[[dict[str, Any]], None], pulse: float) -> None:
    assert child.stdout is not None
    assert child.stderr is not None
    rests = {child.stdout.fileno(): b"", child.stderr.fileno(): b""}
    errors = child.stderr.fileno()
    told = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for number in rests:
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(pulse):
                data = os.read(key.fd, 1 << 16)
                lines = (rests[key.fd] + data).split(b"\n")
                rests[key.fd] = lines.pop()
                lines = [line + b"\n" for line in lines]
                if not data:
                    selector.unregister(key.fd)
                    lines += [rests[key.fd]] if rests[key.fd] else []
                for start in range(0, len(lines), _BATCH):
                    texts = [line.decode("utf-8", "surrogateescape") for line in lines[start : start + _BATCH]]
                    send({"messages": texts, "stderr": key.fd == errors})
                    told = time.monotonic()
            if time.monotonic() - told > pulse:
                send({"alive": True})
                told = time.monotonic()
