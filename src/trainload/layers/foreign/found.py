"""From findings to facts: which system, which C library, which accounts, which Pythons with which distributions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from trainload.layers.debian.root import join, normalise
from trainload.layers.foreign.look import Findings
from trainload.limits import DEFAULT
from trainload.lock.found import Facts, FoundPython, Installed
from trainload.plan.model import VENV
from trainload.values import dataclass

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KNOWN = ("/usr/local/bin", "/usr/bin", "/opt/conda/bin", "/opt/venv/bin", "/opt/python/bin")
_NAMES = ("python3", "python")
_INIT = ("usr/bin/tini", "usr/local/bin/tini", "sbin/tini", "usr/sbin/tini", "tini", "usr/bin/dumb-init",
         "usr/local/bin/dumb-init")  # fmt: skip
_PROGRAM = re.compile(r"(?P<prefix>(?:.*/)?)bin/python(?P<minor>3\.[0-9]{1,2})")
_METADATA = re.compile(
    r"(?P<folder>.*/(?:site|dist)-packages)/[^/]+\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)"
)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def facts(found: Findings, env: Mapping[str, str]) -> Facts:
    """What an image of these findings has; ``env`` is its config's environment."""
    system = _System(found)
    release = _pairs(system.text("etc/os-release") or system.text("usr/lib/os-release"))
    status = system.text("var/lib/dpkg/status")
    return Facts(
        distribution=release.get("ID", ""),
        suite=release.get("VERSION_CODENAME", "") or release.get("UBUNTU_CODENAME", ""),
        glibc=_glibc(found, status),
        musl=any("ld-musl-" in path for path in (*found.files, *found.links)),
        pythons=tuple(_pythons(system, env)),
        init=next((f"/{path}" for path in _INIT if system.file(path)), ""),
        passwd=system.text("etc/passwd"),
        group=system.text("etc/group"),
        status=status,
        has_environment=any(
            path.startswith(f"{VENV.lstrip('/')}/") for path in (*found.texts, *found.files, *found.links)
        ),
    )


@dataclass(frozen=True, slots=True)
class _System:
    """Findings with links followed."""

    found: Findings

    def real(self, path: str) -> str:
        """``path`` with the links that are known followed; where one leads outside, as far as it can be told."""
        here, rest, hops = "", [part for part in path.split("/") if part], 0
        while rest:
            step = join(here, rest.pop(0))
            target = self.found.links.get(step)
            led = None if target is None else normalise(here, target)
            if led is None or hops >= DEFAULT.symlink_hops:
                here = step
            else:
                hops += 1
                here, rest = "", [*filter(None, led.split("/")), *rest]
        return here

    def text(self, path: str) -> str:
        return self.found.texts.get(self.real(path), "")

    def file(self, path: str) -> bool:
        return self.real(path) in self.found.files


def _pairs(text: str) -> dict[str, str]:
    """os-release(5)."""
    rows = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in rows}


def _glibc(found: Findings, status: str) -> tuple[int, int] | None:
    """As the library says it, else as its package or its file's name does."""
    said = [version for path, version in found.versions.items() if "/libc" in path or path.startswith("libc")]
    match = re.search(r"^Package: libc6\n(?:.+\n)*?Version: (?:\d+:)?(\d+\.\d+)", status, re.MULTILINE)
    said += [match[1]] if match else []
    named = (re.search(r"/libc-(2\.\d+)\.so$", path) for path in found.links.values())
    said += [name[1] for name in named if name]
    if not said:
        return None
    major, _, minor = said[0].partition(".")
    return int(major), int(minor)


def _pythons(system: _System, env: Mapping[str, str]) -> Iterator[FoundPython]:
    folders = [*(env.get("PATH") or _DEFAULT_PATH).split(":"), *_KNOWN]
    named = [f"{folder}/{name}" for name in _NAMES for folder in folders]
    others = sorted(path for path in system.found.files if _PROGRAM.fullmatch(path))
    # those on the PATH first, whatever they are called: `python3.12` beside a `python3` that is another
    others.sort(key=lambda path: _rank(f"/{path}", folders))
    seen: set[tuple[str, str]] = set()
    for path in (*named, *others):
        program = system.real(path)
        match = _PROGRAM.fullmatch(program)
        if match is None or program not in system.found.files:
            continue
        prefix = _prefix(system, path) or match["prefix"].strip("/")
        if (prefix, program) not in seen:
            seen.add((prefix, program))
            yield _python(system, prefix, program, env)


def _rank(path: str, folders: list[str]) -> int:
    folder = path.rpartition("/")[0]
    return folders.index(folder) if folder in folders else len(folders)


def _prefix(system: _System, path: str) -> str | None:
    """The virtual environment a program is called in: its own link leads out of it."""
    folder = path.strip("/").rpartition("/")[0].rpartition("/")[0]
    prefix = system.real(folder)
    return prefix if join(prefix, "pyvenv.cfg") in system.found.texts else None


def _python(system: _System, prefix: str, program: str, env: Mapping[str, str]) -> FoundPython:
    """The interpreter ``program`` as it is called in ``prefix``: its own, or a virtual environment."""
    match = _PROGRAM.fullmatch(program)
    assert match is not None
    minor, home = match["minor"], match["prefix"].strip("/")
    version = _version(system, program, home, minor, env)
    config = system.found.texts.get(join(prefix, "pyvenv.cfg"))
    if config is None:
        return FoundPython(f"/{program}", version, _installed(system, _site(home, minor)))
    own = join(prefix, f"lib/python{minor}/site-packages")
    shared = re.search(r"^include-system-site-packages *= *true *$", config, re.MULTILINE)
    is_ours = f"/{prefix}" == VENV
    return FoundPython(
        path=f"/{program}",
        version=version,
        installed=_installed(system, (own, *(_site(home, minor) if shared else ()))),
        folders=() if is_ours else (f"/{own}",),
        is_ours=is_ours,
    )


def _site(prefix: str, minor: str) -> tuple[str, ...]:
    """Where an interpreter finds packages, in its order (site; Debian's python3 has its own folders)."""
    places = [join(prefix, f"{lib}/python{minor}/site-packages") for lib in ("lib", "lib64")]
    if prefix != "usr":
        return tuple(places)
    local = [f"usr/local/lib/python{minor}/dist-packages", f"usr/local/lib/python{minor}/site-packages"]
    return (*local, "usr/lib/python3/dist-packages", f"usr/lib/python{minor}/dist-packages", *places)


def _version(system: _System, program: str, prefix: str, minor: str, env: Mapping[str, str]) -> str:
    """The full version: as the program or its library says it, else as the image's makers do."""
    versions = system.found.versions
    if program in versions:
        return versions[program]
    libraries = [join(prefix, "lib/"), join(prefix, "lib64/"), "usr/lib/", "usr/local/lib/"]
    for start in libraries:
        for path, version in versions.items():
            if path.startswith(start) and f"libpython{minor}" in path:
                return version
    told = env.get("PYTHON_VERSION", "")
    if re.fullmatch(rf"{re.escape(minor)}\.\d+(?:(?:a|b|rc)\d+)?", told):
        return told
    pattern = rf"^Package: python{re.escape(minor)}\n(?:.+\n)*?Version: (?:\d+:)?({re.escape(minor)}\.\d+)"
    match = re.search(pattern, system.text("var/lib/dpkg/status"), re.MULTILINE)
    return match[1] if match else minor


def _installed(system: _System, folders: tuple[str, ...]) -> tuple[Installed, ...]:
    """The distributions in ``folders``; of two of one name the first folder's counts."""
    order = {system.real(folder): rank for rank, folder in reversed(list(enumerate(folders)))}
    found: dict[str, tuple[int, Installed]] = {}
    for path, text in sorted(system.found.texts.items()):
        match = _METADATA.fullmatch(path)
        rank = order.get(system.real(match["folder"])) if match else None
        each = None if rank is None else _distribution(text)
        if each is None or rank is None:
            continue
        if each.name not in found or rank < found[each.name][0]:
            found[each.name] = rank, each
    return tuple(found[name][1] for name in sorted(found))


def _distribution(metadata: str) -> Installed | None:
    """A METADATA file's head; None for what no installer would know (core metadata specifications)."""
    fields: dict[str, list[str]] = {}
    for line in metadata.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), []).append(value.strip())
    name, version = fields.get("name", [""])[0], fields.get("version", [""])[0]
    if not _NAME.fullmatch(name) or not _is_version(version):
        return None
    return Installed(
        re.sub(r"[-_.]+", "-", name).lower(),
        version,
        tuple(fields.get("requires-dist", ())),
        tuple(fields.get("provides-extra", ())),
    )


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True
