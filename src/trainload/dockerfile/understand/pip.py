"""``pip install`` and ``uv pip install``: what is asked for, as pip's command line reads it (pip.pypa.io/cli)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from packaging.requirements import InvalidRequirement

from trainload import nesting
from trainload.dockerfile.installs import InstallPython, Project
from trainload.dockerfile.steps import Nothing, PlacedStep
from trainload.dockerfile.understand.options import Options, Table, read
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text

_PIP = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?pip(?:3(?:\.[0-9]{1,2})?)?")
_PYTHON = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?python(?:3(?:\.[0-9]{1,2})?)?")
_FLAGS = {
    "--no-cache-dir": "no-cache", "--no-cache": "no-cache", "-U": "upgrade", "--upgrade": "upgrade",
    "--pre": "pre", "--no-deps": "no-deps", "--force-reinstall": "reinstall",
    "--break-system-packages": "system", "-q": "plain", "--quiet": "plain", "-v": "plain", "--verbose": "plain",
    "--no-progress": "plain", "--no-index": "no-index", "--require-hashes": "hashes",
    "--no-build-isolation": "shared",
}  # fmt: skip
_VALUED = {
    "-r": "file", "-c": "constraint", "--constraint": "constraint", "-i": "index", "--index-url": "index",
    "--extra-index-url": "extra-index", "--prefix": "prefix", "-f": "find-links", "--find-links": "find-links",
    "-t": "target", "--target": "target", "-e": "editable", "--editable": "editable",
}  # fmt: skip
_PIP_TABLE = Table(
    flags={
        **_FLAGS, "--user": "user", "--disable-pip-version-check": "plain", "--no-input": "plain",
        "--no-warn-script-location": "plain", "--no-warn-conflicts": "plain", "--no-color": "plain",
        "--no-python-version-warning": "plain", "--prefer-binary": "binary", "--compile": "plain",
        "--no-compile": "plain", "--use-pep517": "plain",
    },
    valued={
        **_VALUED, "--requirement": "file", "--pypi-url": "index", "--root-user-action": "plain",
        "--progress-bar": "plain", "--timeout": "plain", "--default-timeout": "plain", "--retries": "plain",
        "--upgrade-strategy": "strategy", "--only-binary": "only-binary",
        "--trusted-host": "trusted", "--cache-dir": "plain",
    },
)  # fmt: skip
_UV_TABLE = Table(
    flags={
        **_FLAGS, "-n": "no-cache", "--system": "system", "--reinstall": "reinstall",
        "--break-system-packages": "plain",
        "--no-build": "binary", "--no-python-downloads": "plain", "--compile-bytecode": "plain",
        "--compile": "plain", "--no-compile-bytecode": "plain", "--no-compile": "plain",
    },
    valued={
        **_VALUED, "--requirements": "file", "--requirement": "file", "--constraints": "constraint",
        "--default-index": "index", "--index": "extra-index", "--link-mode": "plain",
        "--allow-insecure-host": "plain", "--trusted-host": "plain", "--cache-dir": "plain",
        "-p": "python", "--python": "python",
    },
)  # fmt: skip
HARMLESS = frozenset(
    {
        "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION", "PIP_DEFAULT_TIMEOUT",
        "PIP_TIMEOUT", "PIP_RETRIES", "PIP_NO_INPUT", "PIP_PROGRESS_BAR", "PIP_NO_COLOR", "PIP_QUIET",
        "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_BREAK_SYSTEM_PACKAGES", "PIP_PREFER_BINARY",
        "PIP_NO_WARN_SCRIPT_LOCATION", "PIP_CACHE_DIR", "PIP_FIND_LINKS", "PIP_NO_INDEX",
        "PIP_TRUSTED_HOST", "PIP_COMPILE", "PIP_NO_COMPILE", "PIP_NO_PYTHON_VERSION_WARNING", "PIP_VERBOSE",
        # whom pip trusts: we trust whom this machine trusts, and what comes is locked by its hash
        "PIP_CERT", "PIP_USER", "PIP_PRE", "PIP_CONSTRAINT",
        # set by images to say which version they brought, read by no pip
        "PIP_VERSION",
    }
)  # fmt: skip
"""Variables that pip reads as options (``PIP_…``) and that are accounted for."""
UV_HARMLESS = frozenset(
    {
        "UV_SYSTEM_PYTHON", "UV_NO_CACHE", "UV_CACHE_DIR", "UV_LINK_MODE", "UV_HTTP_TIMEOUT", "UV_NO_PROGRESS",
        "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_PYTHON_DOWNLOADS",
        "UV_BREAK_SYSTEM_PACKAGES", "UV_CONCURRENT_DOWNLOADS", "UV_FIND_LINKS", "UV_NO_INDEX",
        "UV_COMPILE_BYTECODE", "UV_INSECURE_HOST", "UV_FROZEN", "UV_LOCKED", "UV_PROJECT_ENVIRONMENT",
        "UV_TOOL_BIN_DIR", "UV_TOOL_DIR", "UV_PYTHON_INSTALL_DIR", "UV_PYTHON_PREFERENCE", "UV_NO_DEV",
        "UV_CONCURRENT_INSTALLS", "UV_CONCURRENT_BUILDS", "UV_NATIVE_TLS", "UV_LOCK_TIMEOUT",
        "UV_NO_MANAGED_PYTHON",
    }
)  # fmt: skip
_PLACES = frozenset({"PYTHONHOME", "PYTHONUSERBASE", "CONDA_PREFIX"})
_WHEEL = re.compile(r"https?://[^\s@?#]+\.whl(?:#sha256=[0-9a-f]{64})?")
_FOLDER = re.compile(r"[./]")
"""Beginnings of what is no name of a package."""
_NO = frozenset({"", "0", "false", "off", "no", "n", "f"})


def is_pip(words: Sequence[str]) -> bool:
    """Whether this calls pip, or uv as pip."""
    return _tool(words) is not None


def read_pip(words: Sequence[str], env: Mapping[str, str], workdir: str) -> tuple[PlacedStep, ...]:
    """What a call of pip does; ``env``: all variables it sees. Raises :class:`Beyond`."""
    tool = _tool(words)
    assert tool is not None
    is_uv = tool[0] == "uv"
    _check_variables(env, is_uv=is_uv)
    called = " ".join(tool)
    rest = list(words[len(tool) :])
    options = read(called, rest, _UV_TABLE if is_uv else _PIP_TABLE)
    verb, *requirements = options.rest or [""]
    if (verb, *requirements) == ("cache", "purge"):
        return (Nothing(f"{called} cache purge"),)
    if verb != "install" or rest.index("install") != _first(rest, options):
        raise Beyond(Text("{command}", command=f"{called} {verb}".strip()))
    return (_install(tool, requirements, options, env, workdir),)


def _first(rest: Sequence[str], options: Options) -> int:
    """Where the verb stands: pip takes only options of its own before it."""
    return rest.index(options.rest[0])


def _tool(words: Sequence[str]) -> tuple[str, ...] | None:
    if words and _PIP.fullmatch(words[0]):
        return (words[0],)
    if len(words) > 2 and _PYTHON.fullmatch(words[0]) and tuple(words[1:3]) == ("-m", "pip"):
        return tuple(words[:3])
    if tuple(words[:2]) == ("uv", "pip"):
        return ("uv", "pip")
    return None


def _check_variables(env: Mapping[str, str], *, is_uv: bool) -> None:
    prefix, known = ("UV_", UV_HARMLESS) if is_uv else ("PIP_", HARMLESS)
    for name in sorted(env):
        if name.startswith(prefix) and name not in known:
            raise Beyond(
                Text("the variable {name}, which is an option of {tool}", name=name, tool=prefix.lower()[:-1])
            )
        if name in _PLACES:
            raise Beyond(Text("the variable {name}, which changes where Python packages lie", name=name))


def _install(
    tool: tuple[str, ...], requirements: Sequence[str], options: Options, env: Mapping[str, str], workdir: str
) -> InstallPython:
    _check_values(options)
    projects = [project_of(text, workdir, editable=True) for text in options.all("editable")]
    projects += [project_of(text, workdir) for text in requirements if _FOLDER.match(text)]
    requirements = [text for text in requirements if not _FOLDER.match(text)]
    for text in requirements:
        check_requirement(text)
    files = tuple(_path(workdir, path) for path in options.all("file"))
    told = () if tool[0] == "uv" else env.get("PIP_CONSTRAINT", "").split()
    constraints = tuple(_path(workdir, path) for path in (*told, *options.all("constraint")))
    if not requirements and not files and not projects:
        raise Beyond(Text("{command} without a package", command=f"{' '.join(tool)} install"))
    start = "UV" if tool[0] == "uv" else "PIP"
    index = options.one("index") or env.get(f"{start}_INDEX_URL") or env.get(f"{start}_DEFAULT_INDEX")
    extra = (*env.get(f"{start}_EXTRA_INDEX_URL", "").split(), *options.all("extra-index"))
    told_system = env.get("UV_SYSTEM_PYTHON" if start == "UV" else "PIP_BREAK_SYSTEM_PACKAGES", "")
    system = "system" in options.flags or is_yes(told_system)
    prefix, target = options.one("prefix"), options.one("target")
    user = "user" in options.flags or is_yes(env.get("PIP_USER", "") if start == "PIP" else "")
    if user and (prefix is not None or target is not None):
        raise Beyond(Text("options of {command} that exclude each other", command="pip"))
    return InstallPython(
        tool=tool,
        requirements=tuple(requirements),
        files=files,
        constraints=constraints,
        index=index or None,
        extra_indexes=extra,
        find_links=_links(options.all("find-links"), env.get(f"{start}_FIND_LINKS", ""), workdir),
        trusted=(*env.get("PIP_TRUSTED_HOST", "").split(), *options.all("trusted")),
        no_index="no-index" in options.flags or is_yes(env.get(f"{start}_NO_INDEX", "")),
        prereleases="pre" in options.flags or is_yes(env.get("PIP_PRE", "") if start == "PIP" else ""),
        user=user,
        upgrade="upgrade" in options.flags,
        reinstall="reinstall" in options.flags,
        dependencies="no-deps" not in options.flags,
        prefix=_path(workdir, prefix) if prefix is not None else None,
        system=system,
        hashes="hashes" in options.flags,
        target=_path(workdir, target) if target is not None else None,
        projects=tuple(projects),
        isolated="shared" not in options.flags,
        cache_kept=not _no_cache(options, env, start),
        folder=workdir if start == "UV" else None,
        python=_python(options.one("python"), workdir),
    )


def _python(given: str | None, workdir: str) -> str | None:
    """A path; a version or a name would have uv look for it. Raises :class:`Beyond`."""
    if given is not None and "/" not in given and not given.startswith("."):
        raise Beyond(Text("uv that looks for a Python itself"))
    return None if given is None else _path(workdir, given)


def _links(given: Sequence[str], variable: str, workdir: str) -> tuple[str, ...]:
    """pip splits the variable at spaces, uv at commas; an option goes before it."""
    return tuple(link_of(link, workdir) for link in given or re.split(r"[\s,]+", variable.strip()) if link)


def link_of(link: str, folder: str) -> str:
    """An address as it is, a folder as an absolute path. Raises :class:`Beyond` for anything else."""
    if re.fullmatch(r"https?://[^\s@]+", link):
        return link
    return _path(folder, link.removeprefix("file://") if link.startswith("file:///") else link)


def _no_cache(options: Options, env: Mapping[str, str], start: str) -> bool:
    name = "UV_NO_CACHE" if start == "UV" else "PIP_NO_CACHE_DIR"
    return "no-cache" in options.flags or name in env


def _check_values(options: Options) -> None:
    if options.one("strategy") not in (None, "only-if-needed"):
        raise Beyond(Text("the option {option} of {command}", option="--upgrade-strategy", command="pip"))
    if set(options.all("only-binary")) - {":all:"}:
        raise Beyond(Text("the option {option} of {command}", option="--only-binary", command="pip"))
    for address in (*options.all("index"), *options.all("extra-index")):
        if not re.fullmatch(r"https?://[^\s@]+", address):
            raise Beyond(Text("the index {address}", address=re.sub(r"//[^/]*@", "//…@", address)))
    places = [name for name in ("prefix", "target") if options.one(name) is not None]
    if len([*places, *({"user"} & options.flags)]) > 1:
        raise Beyond(Text("options of {command} that exclude each other", command="pip"))


def project_of(text: str, workdir: str, *, editable: bool = False) -> Project:
    """``.``, ``./x[extra]``, ``/app``. Raises :class:`Beyond` for what is no folder."""
    match = re.fullmatch(
        r"((?:\.{1,2}|/)[A-Za-z0-9_./-]*|[A-Za-z0-9_-][A-Za-z0-9_./-]*/?)(?:\[([a-zA-Z0-9_.,\s-]+)\])?", text
    )
    if match is None or match[1].endswith((".whl", ".zip", ".gz", ".txt")):
        raise Beyond(Text("the requirement {text}", text=text))
    extras = tuple(
        re.sub(r"[-_.]+", "-", one.strip()).lower() for one in (match[2] or "").split(",") if one.strip()
    )
    return Project(posixpath.normpath(posixpath.join(workdir, match[1])), extras, editable)


def is_yes(text: str) -> bool:
    """As pip reads a setting that is on or off."""
    return text.strip().lower() not in _NO


def check_requirement(text: str) -> None:
    """Names with versions, and addresses of wheels. Raises :class:`Beyond`: a path or a source has to be built."""
    if _WHEEL.fullmatch(text):
        return
    try:
        requirement = nesting.requirement(text)
    except InvalidRequirement:
        raise Beyond(Text("the requirement {text}", text=text)) from None
    if requirement.url is not None and _WHEEL.fullmatch(requirement.url):
        return
    if requirement.url is not None or text.lower().endswith((".whl", ".zip", ".tar.gz")):
        raise Beyond(Text("the requirement {text}", text=text))


def _path(workdir: str, path: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path) or path == "-":
        raise Beyond(Text("the file {path}", path=path))
    return posixpath.normpath(posixpath.join(workdir, path))
