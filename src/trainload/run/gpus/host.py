"""What this machine has of GPUs: specifications, device nodes, the driver's libraries. The edge of ``gpus/``."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from trainload.errors import ConfigError, Text
from trainload.layers.debian.ldcache import FLAGS, decode
from trainload.platform import Platform
from trainload.run.gpus import cdi, driver
from trainload.run.gpus.grant import grant, names
from trainload.run.gpus.model import Facts, Grant, HostNode
from trainload.run.gpus.wanted import wanted
from trainload.run.model import RunSpec
from trainload.system.process import ProcessError, run

FOLDERS = ("/etc/cdi", "/var/run/cdi")
"""CDI SPEC.md: what is in the second one was made since the machine started, and wins."""
VARIABLE = "TRAINLOAD_CDI_FOLDERS"
"""Other folders, with colons between them."""
_LISTED = re.compile(r"\s*(\S+) \(libc6,(?:x86-64|AArch64)[^)]*\) => (\S+)")
_LARGEST = 4 << 20


def granted(spec: RunSpec, environ: Mapping[str, str]) -> Grant:
    """What a run's ``--gpus`` becomes on this machine. Raises :class:`RunError`."""
    asked = wanted(spec.gpus)
    return Grant() if asked is None else grant(asked, facts(folders(environ)), spec.env)


def named(spec: RunSpec, environ: Mapping[str, str]) -> tuple[str, ...]:
    """A run's GPUs as CDI names of this machine, for an engine that takes those. Raises :class:`RunError`."""
    asked = wanted(spec.gpus)
    return () if asked is None else names(asked, facts(folders(environ)))


def folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where specifications lie, the ones that win last."""
    chosen = environ.get(VARIABLE)
    return tuple(Path(folder) for folder in (chosen.split(":") if chosen else FOLDERS))


def facts(folders: Sequence[Path], root: Path = Path("/")) -> Facts:
    """``root``: where the machine's own files lie; tests have another one."""
    specs, troubles = specifications(folders)
    edits = [one for spec in specs for one in (spec.edits, *spec.devices.values())]
    named = {node.host_path for one in edits for node in one.nodes}
    dev = root / "dev"
    for folder, pattern in ((dev, "nvidia*"), (dev, "dxg"), (dev, "kfd"), (dev / "dri", "*")):
        named |= {f"/{path.relative_to(root)}" for path in folder.glob(pattern)}
    files = {mount.host_path for one in edits for mount in one.mounts}
    files |= {driver.WSL, *(path for paths in driver.PROGRAMS.values() for path in paths)}
    return Facts(
        specs=specs,
        troubles=troubles,
        nodes={path: node for path in named if (node := _node(root / path.lstrip("/"))) is not None},
        files=frozenset(path for path in files if (root / path.lstrip("/")).exists()),
        libraries=_libraries(root),
        driver=loaded(_text(root / "proc/driver/nvidia/version")),
    )


def specifications(folders: Iterable[Path]) -> tuple[tuple[cdi.Spec, ...], tuple[Text, ...]]:
    """Those that win first; and what is wrong with files that are there."""
    specs: list[cdi.Spec] = []
    troubles: list[Text] = []
    for folder in folders:
        here: list[cdi.Spec] = []
        for path in sorted(folder.glob("*")):
            if path.suffix not in (".json", ".yaml", ".yml"):
                continue
            try:
                data, doubt = _trusted(path)
                here.append(cdi.read(data, str(path)))
            except OSError as error:
                doubt = Text("{file} cannot be read: {reason}", file=path, reason=error.strerror)
            except ConfigError as error:
                doubt = Text("a CDI specification is left out: {reason}", reason=error)
            troubles += [doubt] if doubt else []
        specs = here + specs
    return tuple(specs), tuple(troubles)


def _trusted(path: Path) -> tuple[bytes, Text | None]:
    """The file, and whether somebody could write it who may not mount what he likes into containers."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "no regular file")
        data = file.read(_LARGEST + 1)
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        text = "{file} can be changed by others than root: sudo chown root {file}; sudo chmod 644 {file}"
        return data, Text(text, file=path)
    return data, None


def _node(path: Path) -> HostNode | None:
    try:
        status = path.stat()
    except OSError:
        return None
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return HostNode(os.major(status.st_rdev), os.minor(status.st_rdev), stat.S_IMODE(status.st_mode), status.st_gid)


def _libraries(root: Path) -> dict[str, str]:
    """soname → file, for programs of this machine's own architecture."""
    try:
        cache = (root / "etc/ld.so.cache").read_bytes()
    except OSError:
        return {}
    return libraries_of(cache, _ldconfig, Platform.host().architecture)


def libraries_of(cache: bytes, listed: Callable[[], str], architecture: str) -> dict[str, str]:
    """soname → file, by the dynamic linker's ``cache``; ``listed``: what ``ldconfig -p`` says. Pure."""
    entries = decode(cache)
    found: dict[str, str] = {}
    if entries is None:  # an older format, or with choices by processor: ldconfig can read its own file
        for name, path in _LISTED.findall(listed()):
            found.setdefault(name, path)
        return found
    flags = FLAGS[architecture]
    for entry in entries:
        if entry.flags == flags:
            found.setdefault(entry.soname, entry.path)
    return found


def _ldconfig() -> str:
    for program in ("ldconfig", "/sbin/ldconfig"):
        try:
            return run([program, "-p"], timeout=10).stdout.decode("utf-8", "replace")
        except ProcessError:
            continue
    return ""


def loaded(text: str) -> str | None:
    """The version in ``/proc/driver/nvidia/version``, of the proprietary or the open kernel module."""
    found = re.search(r"^NVRM version: .*?\b(\d{3,}\.\d+(?:\.\d+)?)\b", text, re.MULTILINE)
    return found[1] if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
