"""uv as a process: what it is asked, and its complaints in our words."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainload.errors import LockError, Text
from trainload.system import process
from trainload.values import dataclass, field

_NO_WHEEL = re.compile(r"Wheels are required for `([^`]+)`")
_UNKNOWN = re.compile(r"Because (\S+) was not found in the package registry")
_NO_VERSION = re.compile(r"there is no version of (\S+?),? ")
_FILE = re.compile(r"https?://[^\s`'\"()]+\.whl(?![^\s`'\"()])")
"""The address of a wheel in a complaint."""
_OF_PYTORCH = re.compile(r"/whl/(?:cpu|cu\d+|rocm[\d.]+|xpu)\b")
"""What an index of PyTorch's builds has in its path."""
_TIMEOUT = 1800.0  # seconds; resolving a large project on a slow link takes minutes, never half an hour
_NOT_OURS = frozenset(
    {
        # UV_PYTHON would replace the interpreter we name; an active environment is none of the project's business
        "UV_PYTHON", "VIRTUAL_ENV", "UV_OUTPUT_FILE",
        # what may be built is ours to say (THREATS D7)
        "UV_NO_BINARY", "UV_NO_BINARY_PACKAGE", "UV_NO_BUILD", "UV_NO_BUILD_PACKAGE",
    }
)  # fmt: skip
_OURS = {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_COLOR": "never", "UV_PYTHON_DOWNLOADS": "never"}


@dataclass(frozen=True, slots=True)
class Uv:
    """Runs uv. Its own environment (``UV_…``) and the project's ``[tool.uv]`` hold, so that it asks the
    indexes the user has set up for it.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    offline: bool = False
    python: str = sys.executable
    """Some Python; uv asks for one even where only another version is resolved for."""
    program: str | None = None
    """None: the uv we depend on."""
    at_once: int | None = None
    """Requests at the same time, unless the environment says; None: as many as uv makes by itself, dozens."""

    def run(self, verb: str, arguments: Sequence[str], cwd: Path) -> process.Completed:
        """Run ``uv VERB`` to its end in ``cwd``. Raises :class:`ProcessError` when it cannot be started."""
        from uv import find_uv_bin

        flags = ["--offline"] if self.offline else []
        if verb != "python list":
            flags.append(f"--python={self.python}")
        environ = {name: value for name, value in self.environ.items() if name not in _NOT_OURS}
        if self.at_once is not None:
            environ.setdefault("UV_CONCURRENT_DOWNLOADS", str(self.at_once))
        return process.run(
            [self.program or find_uv_bin(), *verb.split(), *flags, *arguments],
            env={**environ, **_OURS},
            cwd=cwd,
            timeout=_TIMEOUT,
        )


def is_network_failure(done: process.Completed) -> bool:
    """Whether uv could not reach an index (rather than finding no solution)."""
    return "error sending request" in done.complaint or "Request failed after" in done.complaint


def needs_build(done: process.Completed) -> tuple[str, ...]:
    """Packages uv says it would have to build, sorted."""
    return tuple(sorted(set(_NO_WHEEL.findall(done.complaint))))


class NeedsBuild(LockError):
    """Nothing but the source of :attr:`names` would do."""

    names: frozenset[str] = frozenset()


def explain(done: process.Completed, *, backend: str | None = None) -> LockError:
    """uv's failure as an error with its own first lines and what to do."""
    said = _essence(done.complaint)
    unbuilt = needs_build(done)
    if is_network_failure(done):
        return _unreachable(said, backend)
    if "network was disabled" in done.complaint:
        return LockError("this cannot be locked offline", got=said, hints=[Text("run again with a network")])
    if unbuilt:
        error = NeedsBuild(
            Text("{packages}: no wheel fits, and nothing is built while locking", packages=", ".join(unbuilt)),
            got=said,
            hints=[
                Text(
                    'build one with `pip wheel --no-deps -w wheels {name}`, and set find-links = ["wheels"]',
                    name=unbuilt[0],
                ),
                Text("or ask for a version that has a wheel for Linux and this Python"),
            ],
        )
        error.names = frozenset(unbuilt)
        return error
    if "No solution found" in done.complaint:
        return _no_solution(said)
    return LockError("uv could not lock the Python packages", got=said)


def _unreachable(said: str, backend: str | None) -> LockError:
    file = _FILE.search(said)
    if file is not None and "/simple/" not in file[0]:
        return LockError(
            Text("{url} could not be reached", url=file[0]),
            got=said,
            hints=[
                Text("check the address, the network or a proxy; or write name==version to take it of an index")
            ],
            retryable=True,
        )
    hints = [Text("check the network or a proxy; name an index you can reach as index in [tool.trainload]")]
    if backend is not None and _OF_PYTORCH.search(said):
        hints.insert(0, _backend_hint(backend))
    return LockError("a package index could not be reached", got=said, hints=hints, retryable=True)


def _no_solution(said: str) -> LockError:
    """A wrong name, a wrong version and requirements that exclude each other all end so for uv."""
    unknown = _UNKNOWN.search(said)
    if unknown is not None:
        return LockError(
            Text("the package index has no package {name}", name=unknown[1]),
            got=said,
            hints=[
                Text("check how it is spelled; a package of your own goes into a find-links folder or an index")
            ],
        )
    versions = sorted(set(_NO_VERSION.findall(said)))
    if len(versions) == 1 and said.count("you require") == 1:
        return LockError(Text("there is no version that fits {requirement}", requirement=versions[0]), got=said)
    return LockError("the requirements contradict each other", got=said)


def _backend_hint(backend: str) -> Text:
    return Text(
        'accelerator = "{backend}" takes torch from PyTorch\'s own index; put a torch wheel into a find-links '
        'folder, or set accelerator = "cuda" to take the build the package index has',
        backend=backend,
    )


def _essence(complaint: str) -> str:
    """The first lines of a complaint on one line: no warnings, no repeated causes."""
    lines = [line.strip() for line in complaint.splitlines()]
    kept = [line.removeprefix("error: ").removeprefix("cause: ") for line in lines if line]
    kept = [line for line in kept if not line.startswith(("warning:", "hint:", "WARNING"))]
    text = " ".join(kept)
    return text if len(text) <= 800 else text[:799] + "…"
