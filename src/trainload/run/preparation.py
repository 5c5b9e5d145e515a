"""Between fork and exec: join the layers, look inside, make mount points, and become bubblewrap.

Runs in a child process whose namespaces are its own, so nothing here changes the machine. What goes wrong is
sent to the parent as JSON over a pipe that closes on exec.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from trainload.errors import RunError, Text, TrainloadError
from trainload.run import kernel, overlay, staging
from trainload.run.bwrap import PLACE_OF_FRONT, Sandbox, arguments
from trainload.run.gpus.furnish import furnish
from trainload.run.gpus.model import NONE, Grant
from trainload.run.handwritten import FRONT, executable
from trainload.run.inside import Inside, Person
from trainload.run.model import Mount, RunSpec
from trainload.run.overlay import Way
from trainload.run.seccomp import terminal_filter
from trainload.run.started import find_command
from trainload.values import dataclass, replace

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # moby: DefaultPathEnvUnix
_SCRATCH = ("/tmp", "/run", "/var/tmp")  # noqa: S108 - the container's own


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the parent knows before it forks."""

    spec: RunSpec
    bwrap: str
    way: Way
    layers: tuple[Path, ...]
    """Base first; one, when flattened."""
    run: Path
    """The run's own folder: ``upper``, ``work``, ``merged``, ``etc``."""
    mounts: tuple[Mount, ...]
    """The user's and the host's files (``/etc/hosts`` …)."""
    hostname: str
    shm: int
    terminal: bool
    gpus: Grant = NONE


class WayFailed(RunError):
    """The layers cannot be joined in this way; the next may work."""


def become_container(prepared: Prepared, status: int, errors: int) -> NoReturn:
    """Never returns: bubblewrap runs in this process, or it exits after telling why over ``errors``."""
    try:
        if prepared.spec.log is not None:
            _speak_into(prepared.spec.log)
        _prepare_and_exec(prepared, status)
    except TrainloadError as error:
        _tell(errors, error)
    except OSError as error:
        _tell(errors, RunError(Text("the container could not be started: {reason}", reason=_told(error))))
    os._exit(1)


def _speak_into(log: str) -> None:
    """Nothing of our terminal reaches the program, not even through its parent's descriptors."""
    silence = os.open("/dev/null", os.O_RDONLY)
    words = os.open(log, os.O_WRONLY | os.O_APPEND)
    for descriptor, number in ((silence, 0), (words, 1), (words, 2)):
        os.dup2(descriptor, number)


def _told(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _tell(errors: int, error: TrainloadError) -> None:
    def plain(text: Text) -> list[object]:
        return [text.template, {key: str(value) for key, value in text.values.items()}]

    told = {
        "way": isinstance(error, WayFailed),
        "text": plain(error.text),
        "hints": [plain(hint) for hint in error.hints],
        "got": None if error.got is None else str(error.got),
        "want": None if error.want is None else str(error.want),
        "exit_code": error.exit_code,
    }
    os.write(errors, json.dumps(told).encode())


def told_error(data: bytes) -> RunError:
    """The error a child told with :func:`become_container`."""
    told = json.loads(data)
    kind = WayFailed if told["way"] else RunError
    error = kind(
        Text(told["text"][0], **told["text"][1]),
        got=told["got"],
        want=told["want"],
        hints=[Text(template, **values) for template, values in told["hints"]],
    )
    error.exit_code = told["exit_code"]
    return error


def _prepare_and_exec(prepared: Prepared, status: int) -> NoReturn:
    root_user = os.geteuid() == 0
    _enter(root_user)
    try:
        root = overlay.join(prepared.way, prepared.layers, prepared.run)
    except OSError as error:
        raise WayFailed(Text("the layers cannot be joined: {reason}", reason=_told(error))) from error
    inside = Inside(root)
    spec, gpus = prepared.spec, prepared.gpus
    person = inside.person(spec.user)
    person = replace(person, groups=tuple(sorted({*person.groups, *gpus.groups})))
    owner = (person.uid, person.gid) if root_user else None
    workdir = inside.workdir(spec.workdir, owner)
    _make_tmp(inside)
    scratch = _SCRATCH if prepared.way is Way.READ_ONLY else ()
    for place in ("/proc", "/dev", "/sys", *scratch):
        inside.make_folder(place)  # a read-only root cannot get them later
    drivers = tuple(_mount_point(inside, mount) for mount in gpus.mounts)
    furnished = furnish(inside, gpus, drivers, prepared.run / "etc")
    mounts = (*drivers, *furnished.mounts, *(_mount_point(inside, mount) for mount in prepared.mounts))
    env = _environment(spec, person, prepared, furnished.env)
    found = find_command(inside, mounts, spec.command, env, workdir)
    shell = prepared.terminal and is_interactive_shell(spec.command)
    devices = tuple((node.source, node.target) for node in gpus.nodes)
    stage, namespace = staging.Stage(prepared.bwrap, root, mounts, devices), None
    if root_user:
        namespace = staging.all_ids(person)
        stage = staging.stage(prepared.bwrap, root, mounts, devices, person, swap=not spec.step)
        staging.become(person)
    writable = prepared.way is not Way.READ_ONLY and not spec.read_only
    sandbox = Sandbox(
        root=str(stage.root),
        writable=writable,
        uid=person.uid,
        gid=person.gid,
        user_namespace=namespace,
        status=status,
        workdir=workdir,
        env=env,
        hostname=prepared.hostname,
        network=spec.network,
        shm=prepared.shm,
        mounts=stage.mounts,
        devices=stage.devices,
        links=tuple((link.path, link.target) for link in gpus.links if link.path.startswith("/dev/")),
        modes=gpus.modes,
        scratch=scratch,
        terminal=prepared.terminal,
        seccomp=_in_memory("filter", terminal_filter()) if prepared.terminal else None,
        front=_in_memory("front", executable(FRONT)) if shell else None,
    )
    _exec(stage.bwrap, sandbox, (PLACE_OF_FRONT, found, *spec.command) if shell else spec.command)


def is_interactive_shell(command: Sequence[str]) -> bool:
    """A shell that looks after process groups itself: it has neither a command nor a script.

    Other programs stay in ours, so that Ctrl-Z stops them and us together.
    """
    shells, options = {"sh", "dash", "bash", "ash", "zsh", "ksh", "mksh"}, command[1:]
    plain = all(re.fullmatch(r"--[a-z-]+|-[a-bd-z]+", option) for option in options)
    return command[0].rpartition("/")[2] in shells and plain


def _enter(root_user: bool) -> None:  # noqa: FBT001 - says who we are
    try:
        if root_user:
            kernel.own_mount_namespace()
        else:
            kernel.own_user_namespace()
    except OSError as error:
        raise RunError(
            Text("this machine does not let us make namespaces: {reason}", reason=_told(error)),
            hints=(
                "Ubuntu 23.10 and newer: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
                "older Debian: sudo sysctl kernel.unprivileged_userns_clone=1",
                "inside a container: start it with --privileged, or with --security-opt seccomp=unconfined",
            ),
        ) from error


def _make_tmp(inside: Inside) -> None:
    tmp = inside.resolve("/tmp")  # noqa: S108 - the container's own
    if not inside.at(tmp).exists():
        inside.make_folder(tmp)
        inside.at(tmp).chmod(0o1777)


def _mount_point(inside: Inside, mount: Mount) -> Mount:
    make = inside.make_folder if Path(mount.source).is_dir() else inside.make_file
    return replace(mount, target=make(mount.target))


def _environment(spec: RunSpec, person: Person, prepared: Prepared, paths: Mapping[str, str]) -> Mapping[str, str]:
    """As Docker: PATH, HOSTNAME, HOME and TERM where the image and the user say nothing.

    ``paths``: folders that go before those of the image.
    """
    env = {"PATH": PATH, "HOSTNAME": prepared.hostname, "HOME": person.home}
    if Path(spec.command[0]).name == "tini":
        env["TINI_SUBREAPER"] = ""  # bwrap's own reaper is pid 1; tini complains unless told
    if prepared.terminal:
        env["TERM"] = os.environ.get("TERM", "xterm")
    env.update(spec.env)
    env.update(prepared.gpus.env)
    for name, value in paths.items():
        env[name] = f"{value}:{env[name]}" if env.get(name) else value
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise RunError(Text("{name} is not a name or value of an environment", name=name))
    return env


def _in_memory(name: str, data: bytes) -> int | None:
    """A descriptor from which ``data`` can be read; None for nothing."""
    if not data:
        return None
    descriptor = os.memfd_create(name, 0)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _exec(bwrap: str, sandbox: Sandbox, command: Sequence[str]) -> NoReturn:
    words = _in_memory("arguments", b"".join(os.fsencode(word) + b"\0" for word in arguments(sandbox)))
    kept = {sandbox.status, sandbox.user_namespace, sandbox.seccomp, sandbox.front, words}
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2:
            try:
                os.set_inheritable(descriptor, descriptor in kept)
            except OSError:
                continue  # the descriptor of the listing itself
    argv = [bwrap, "--args", str(words), "--", *command]
    os.execve(bwrap, argv, {"PATH": PATH, "LC_ALL": "C"})  # noqa: S606 - there is no shell on purpose
