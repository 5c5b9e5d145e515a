"""Asks the build backend of an sdist (PEP 517) in the sandbox, where alone package code may run (THREATS D7).

An ordinary user inside, over the image's own base and Python, without network, with nothing of this machine but an
empty folder for the answers, with a fixed environment, for a limited time. What it answers is as untrusted as the
sdist: read by others with limits, never executed here.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trainload.digest import Digest
from trainload.errors import BackendError, Text
from trainload.image.model import Layer
from trainload.layers.sdist import BUILDER, PLACE
from trainload.plan.model import CONDA, VENV
from trainload.plan.sources import Job
from trainload.run.embedded import Changing, EmbeddedEngine
from trainload.run.model import Limits, Mount, Outcome, RunSpec
from trainload.run.unpack import LayerBlob
from trainload.system import scratch
from trainload.system.tree import DiskTree

T = TypeVar("T")

OUT = "/build/out"
_EPOCH = "315532800"  # 1980-01-01, the first time a zip archive can hold; reproducible-builds.org SOURCE_DATE_EPOCH
_PROCESSES = 1024
"""More than ``make -j`` of any machine; a fork bomb stays small where control groups do not hold it."""
_LARGEST_FILE = 8 << 30
"""Bytes; an endless file ends there."""
_ENV = {
    "PATH": f"{VENV}/bin:{CONDA}/bin:/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "SOURCE_DATE_EPOCH": _EPOCH,
}
_LAST = 12
"""Lines of a failed build that are shown."""
_TAIL = 64 << 10
_NO_COMPILER = re.compile(
    r"(?:directory|found): ?'?[^'\n]*(?:gcc|g\+\+|\bcc|\bc\+\+|clang)\b"
    r"|(?:gcc|g\+\+|cc)' failed: No such file|Python\.h: No such"
    r"|no acceptable C compiler|Unknown compiler\(s\)|No CMAKE_C(?:XX)?_COMPILER could be found",
    re.IGNORECASE,
)
"""How setuptools, meson and CMake say that there is no compiler, or no header of Python."""

PROGRAM = f"""
import json, os, resource, sys
sys.path[:] = [p for p in sys.path if p]  # not the working folder
job, out = json.loads(sys.argv[1]), {OUT!r}
os.umask(0o022)
resource.setrlimit(resource.RLIMIT_NPROC, ({_PROCESSES}, {_PROCESSES}))
resource.setrlimit(resource.RLIMIT_FSIZE, ({_LARGEST_FILE}, {_LARGEST_FILE}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for folder, folders, files in os.walk("."):
    for name in folders + files:
        os.utime(os.path.join(folder, name), ({_EPOCH}, {_EPOCH}), follow_symlinks=False)

def ask(hook):
    import importlib
    sys.path[:0] = [os.path.abspath(p) for p in job["path"]]
    module, _, inside = job["backend"].partition(":")
    backend = importlib.import_module(module)
    for name in filter(None, inside.split(".")):
        backend = getattr(backend, name)
    if hook == "requires":
        asked = getattr(backend, "get_requires_for_build_wheel", lambda settings: [])(None)
        answer = json.dumps([str(requirement) for requirement in asked])
        with open(os.path.join(out, "requires.json"), "w", encoding="utf-8") as file:
            file.write(answer)
    elif hook == "metadata" and hasattr(backend, "prepare_metadata_for_build_wheel"):
        made = backend.prepare_metadata_for_build_wheel(out, None)
        os.rename(os.path.join(out, made), os.path.join(out, "dist-info"))
    else:
        os.mkdir(os.path.join(out, "wheel"))
        backend.build_wheel(os.path.join(out, "wheel"), None, None)

for hook in job["hooks"]:
    child = os.fork()  # each hook in a process of its own (PEP 517, build environment)
    if not child:
        code = 1
        try:
            ask(hook)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        sys.exit(code if code > 0 else 128 - code)
"""


@dataclass(frozen=True, slots=True)
class Backends:
    """Runs backends over given layers."""

    rootfs: Path
    """Where layers are unpacked."""
    blob: Callable[[Digest], Path]
    logs: Path
    """Where the words of failed builds are kept."""

    def ask(self, job: Job, below: Sequence[Layer], take: Callable[[DiskTree], T]) -> T:
        """Run the hooks of ``job`` over ``below``, the last of which is the source; ``take`` reads the answers.

        Answers: ``requires.json``, ``dist-info/METADATA`` or a file in ``wheel/``. Raises :class:`BackendError`
        with the last lines and where all of them are, :class:`RunError` where the sandbox cannot be used.
        """
        blobs = [
            LayerBlob(self.blob(layer.descriptor.digest), layer.diff_id, layer.descriptor.size) for layer in below
        ]
        with scratch.folder("build") as folder:
            out, log = folder / "out", folder / "log"
            out.mkdir()
            out.chmod(0o777)  # for the user inside, where owners cannot be mapped; nobody else gets to it
            log.touch()
            spec = _spec(job, out, log)
            outcome = EmbeddedEngine(self.rootfs, lambda _: blobs, limits=job.limits).run(spec, _WRITABLE)
            if outcome.exit_code != 0:
                raise self.failure(job, log, outcome)
            return take(DiskTree(out))

    def failure(self, job: Job, log: Path, outcome: Outcome) -> BackendError:
        """What to say of a backend that failed and said what is in ``log``, which is kept."""
        kept = self.logs / f"{job.label.replace(' ', '-').replace('/', '-')}.log"
        self.logs.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, kept)
        said = _tail(log)
        lines = [line for line in said.splitlines() if line.strip()][-_LAST:]
        hints = [Text("everything it said is in {file}", file=kept)]
        if _NO_COMPILER.search(said):
            hints.insert(
                0,
                Text('for a compiler set build.packages = ["build-essential", "python3-dev"] in [tool.trainload]'),
            )
        elif "No module named 'pkg_resources'" in said:
            hints.insert(0, Text('it needs an older setuptools: set build.constraints = ["setuptools<81"]'))
        elif "No module named" in said:
            hints.insert(
                0, Text("it needs something it does not ask for; a wheel of it in find-links avoids the build")
            )
        error = BackendError(
            Text("{package} could not be built from source: {reason}", package=job.label, reason=outcome.reason),
            hints=hints,
        )
        error.said = tuple(lines)
        return error


_WRITABLE = Changing(lambda upper: None, lambda upper: None)
"""Builds write beside their sources: a root that can only be read is no way."""


def _spec(job: Job, out: Path, log: Path) -> RunSpec:
    asked = {"backend": job.system.backend, "path": list(job.system.path), "hooks": list(job.hooks)}
    return RunSpec(
        image=Digest.sha256(b""),  # the engine is given the layers themselves
        id=secrets.token_hex(6),
        # with -I or -E Python would not look at its hash seed
        command=(f"{VENV}/bin/python", "-s", "-c", PROGRAM, json.dumps(asked)),
        user=str(BUILDER),
        workdir=f"/{PLACE}",
        env=_ENV,
        mounts=(Mount(str(out), OUT),),
        limits=Limits(pids=_PROCESSES),
        network=False,
        interactive=False,
        step=True,
        hostname="localhost",
        seconds=job.seconds,
        log=str(log),
    )


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return file.read().decode("utf-8", "replace")
