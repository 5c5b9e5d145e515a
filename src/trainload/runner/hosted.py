"""Runs that outlive the connection that began them: a folder each, beside the store's own.

``hosted/ID/``: ``run.json`` says what it is, ``out/N`` are the folders that are brought back. What runs without an
engine also has ``state.json``, ``log`` and ``lock``, which its keeper holds as long as it lives.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainload.runner import outputs
from trainload.runner.byprogram import PROGRAMS, Program
from trainload.runner.home import Home
from trainload.runner.trouble import Trouble

FOLDER = "hosted"
EMBEDDED = "embedded"
VERBS = frozenset(
    {
        "facts", "gpus", "exist", "start", "states", "logs", "wait", "stop", "kill", "remove", "outputs", "read",
        "join", "usage", "copy", "weights",
    }
)  # fmt: skip
_ID = re.compile(r"[0-9a-z]{6,64}")
_PULSE = 10.0
"""Seconds of silence after which we say that we are there; nobody listening then ends us."""
_MOMENT = 0.5
"""Seconds between two looks at whether an engine's container ended."""
_CAP_SYS_RESOURCE = 24  # linux/capability.h


class Hosted:
    """Answers what concerns runs."""

    def __init__(
        self, home: Home, send: Callable[[dict[str, Any]], None], raw: Callable[[bytes], None],
        receive: Callable[[], tuple[int, bytes]],
    ) -> None:  # fmt: skip
        """``send`` and ``raw`` raise :class:`Gone` when nobody listens, ``receive`` when nobody speaks."""
        self._home = home
        self._send = send
        self._raw = raw
        self._receive = receive

    def answer(self, request: dict[str, Any]) -> None:
        """Raises :class:`Trouble`."""
        found = getattr(self, "_" + request["do"])(request)
        self._send({"done": request["do"], **(found or {})})

    def _facts(self, request: dict[str, Any]) -> dict[str, object]:
        return {**facts(str(request["engine"])), "folder": str(self._folder(request["run"]))}

    def _gpus(self, request: dict[str, Any]) -> dict[str, object]:
        from trainload.runner.gpus import seen

        return seen(os.environ)

    def _exist(self, request: dict[str, Any]) -> dict[str, object]:
        from trainload.runner.gpus import nodes

        paths = [str(path) for path in request["paths"]]
        return {"files": [path for path in paths if Path(path).exists()], "nodes": nodes(paths)}

    def _start(self, request: dict[str, Any]) -> None:
        """A folder for the run and its outputs, then the run itself; nothing stays when it does not start."""
        folder, engine, charge = self._folder(request["run"]), request["engine"], request["charge"]
        folder.mkdir(parents=True, mode=0o700)
        for number in range(int(request["outputs"])):
            place = folder / "out" / str(number)
            place.mkdir(parents=True)
            place.chmod(0o777)  # whoever the image's user is; nobody else gets through the folder above
        if request["weights"]:
            from trainload.runner.weights import hold

            hold(folder, request["weights"])
        _write(folder / "run.json", {"engine": engine, "container": charge.get("container"), **request["run_json"]})
        try:
            if engine == EMBEDDED:
                from trainload.runner.keeper import begin

                begin(self._home, folder, charge, self._send)
            else:
                Program(engine).start(charge)
        except BaseException:
            shutil.rmtree(str(folder), ignore_errors=True)
            raise

    def _states(self, request: dict[str, Any]) -> dict[str, object]:
        """Every run that is here, or the one that is asked for."""
        runs = self._home.path / FOLDER
        names = [request["run"]] if request.get("run") else sorted(os.listdir(str(runs))) if runs.is_dir() else []
        found = []
        for name in names:
            note = _read(runs / name / "run.json") if _ID.fullmatch(name) else None
            if note is not None:
                found.append({"id": name, "note": note, **self._state(runs / name, note)})
        return {"states": found}

    def _state(self, folder: Path, note: dict[str, Any]) -> dict[str, object]:
        if note["engine"] in PROGRAMS:
            return {"inspect": Program(note["engine"]).inspect(note["container"])}
        from trainload.runner.keeper import lives

        living = lives(folder)  # asked first: the end is written before the lock is free
        return {"lives": living, "state": _read(folder / "state.json")}

    def _logs(self, request: dict[str, Any]) -> None:
        folder, note = self._known(request)
        if note["engine"] in PROGRAMS:
            Program(note["engine"]).logs(note["container"], request, self._send, _PULSE)
            return
        from trainload.runner.keeper import lives
        from trainload.runner.lines import follow

        for batch in follow(folder / "log", (lambda: lives(folder)) if request["follow"] else None, _PULSE):
            self._send({"lines": batch} if batch else {"alive": True})

    def _wait(self, request: dict[str, Any]) -> dict[str, object]:
        """Until it ended for good."""
        folder, note = self._known(request)
        told = time.monotonic()
        while True:
            state = self._state(folder, note)
            if not _is_running(state):
                return {"states": [{"id": request["run"], "note": note, **state}]}
            if time.monotonic() - told > _PULSE:
                self._send({"alive": True})
                told = time.monotonic()
            time.sleep(_MOMENT)

    def _stop(self, request: dict[str, Any]) -> None:
        """Ask it to end; it is not waited for, so that a connection that breaks makes no difference."""
        folder, note = self._known(request)
        grace = request.get("grace")
        if note["engine"] in PROGRAMS:
            Program(note["engine"]).stop(note["container"], grace)
            return
        from trainload.runner.keeper import tell

        if grace is not None:
            (folder / "wish").write_text(repr(float(grace)))
        tell(folder, signal.SIGTERM)

    def _kill(self, request: dict[str, Any]) -> None:
        folder, note = self._known(request)
        if note["engine"] in PROGRAMS:
            Program(note["engine"]).kill(note["container"], int(request["signal"]))
            return
        from trainload.runner.keeper import signal_program

        signal_program(folder, int(request["signal"]))

    def _remove(self, request: dict[str, Any]) -> None:
        folder, note = self._known(request)
        state = self._state(folder, note)
        if _is_running(state):
            raise Trouble("running")
        if note["engine"] in PROGRAMS and state["inspect"] is not None:
            Program(note["engine"]).remove(note["container"])
        outputs.remove(folder)

    def _outputs(self, request: dict[str, Any]) -> dict[str, object]:
        folder, _ = self._known(request)
        skipped = outputs.listed(folder / "out", self._send)
        return {"skipped": skipped}

    def _read(self, request: dict[str, Any]) -> dict[str, object]:
        folder, _ = self._known(request)
        return outputs.sent(folder / "out", request, self._send, self._raw)

    def _join(self, request: dict[str, Any]) -> dict[str, object]:
        """A further program in it, or its own streams: what the near side types goes there meanwhile."""
        folder, note = self._known(request)
        if note["engine"] in PROGRAMS:
            joined = Program(note["engine"]).joined(note["container"], request)
        elif request.get("own"):
            from trainload.runner.guest import visit

            visit(folder, request, self._send, self._receive, _PULSE)
            return {"exit_code": 0}
        else:
            from trainload.runner.within import Container

            joined = Container(folder).joined(request)
        return {"exit_code": joined.run(self._send, self._receive, _PULSE)}

    def _weights(self, request: dict[str, Any]) -> dict[str, object]:
        from trainload.runner.weights import folder_of

        return {"folder": str(folder_of(self._home, request, self._send))}

    def _usage(self, request: dict[str, Any]) -> dict[str, object]:
        from trainload.runner.usage import usage

        folder, note = self._known(request)
        if note["engine"] in PROGRAMS:
            found = Program(note["engine"]).inspect(note["container"]) or {"State": {}, "HostConfig": {}, "Id": ""}
            if not found["State"].get("Pid"):
                raise Trouble("ended")
            limit = found["HostConfig"]["Memory"] or None
            return {**usage(int(found["State"]["Pid"]), str(found["Id"])), "memory_limit": limit}
        from trainload.runner.within import Container

        return {**usage(Container(folder).pid, ""), "memory_limit": None}

    def _copy(self, request: dict[str, Any]) -> dict[str, object]:
        from trainload.runner import copies

        folder, note = self._known(request)
        path = str(request["path"])
        if note["engine"] in PROGRAMS:
            return copies.by_program(note["engine"], note["container"], path, self._send, self._raw)
        from trainload.runner.within import Container

        return copies.from_container(Container(folder), path, self._send, self._raw)

    def _folder(self, run: str) -> Path:
        if not _ID.fullmatch(run):
            raise Trouble("version", said="another kind of id")
        return self._home.path / FOLDER / run

    def _known(self, request: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        folder = self._folder(request["run"])
        note = _read(folder / "run.json")
        if note is None:
            raise Trouble("no run", said=request["run"])
        return folder, note


def facts(engine: str) -> dict[str, object]:
    """What the near side must know of this machine."""
    return {
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "machine": os.uname().machine,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "open_files": min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20),
        "may_raise_limits": _may_raise_limits(),
        "rootless": engine == "podman" and Program(engine).is_rootless(),
        "bwrap": shutil.which("bwrap"),
    }


def _may_raise_limits() -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def _is_running(state: dict[str, Any]) -> bool:
    if "lives" in state:
        return bool(state["lives"])
    found = state["inspect"]
    status = ((found or {}).get("State") or {}).get("Status")
    return status in ("created", "running", "restarting", "paused", "initialized", "configured", "stopping")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes().decode())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, value: dict[str, Any]) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(value))
    fresh.replace(path)
