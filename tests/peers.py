"""Real programs from the distribution as peers of tests, each on an ephemeral port of loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_PATIENCE = 20.0  # seconds for a server to listen


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


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until something listens there. Raises :class:`RuntimeError` when ``process`` ended or the patience did."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")
