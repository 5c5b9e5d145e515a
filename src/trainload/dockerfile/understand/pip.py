"""``pip install`` and ``uv pip install``: what is asked for, as pip's command line reads it (pip.pypa.io/cli)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from packaging.requirements import InvalidRequirement

from trainload import nesting
from trainload.dockerfile.steps import InstallPython, Nothing, PlacedStep
from trainload.dockerfile.understand.options import Options, Table, read
from trainload.dockerfile.understand.words import Beyond
from trainload.errors import Text

_PIP = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?pip(?:3(?:\.[0-9]{1,2})?)?")
_PYTHON = re.compile(r"(?:/[A-Za-z0-9_./-]+/)?python(?:3(?:\.[0-9]{1,2})?)?")
_FLAGS = {
    "--no-cache-dir": "no-cache", "--no-cache": "no-cache", "-U": "upgrade", "--upgrade": "upgrade",
    "--pre": "pre", "--no-deps": "no-deps", "--force-reinstall": "reinstall",
    "--break-system-packages": "system", "-q": "plain", "--quiet": "plain", "-v": "plain", "--verbose": "plain",
    "--no-progress": "plain", "--no-index": "no-index",
}  # fmt: skip
_VALUED = {
    "-r": "file", "-c": "constraint", "--constraint": "constraint", "-i": "index", "--index-url": "index",
    "--extra-index-url": "extra-index", "--prefix": "prefix", "-f": "find-links", "--find-links": "find-links",
}  # fmt: skip
_PIP_TABLE = Table(
    flags={
        **_FLAGS, "--user": "user", "--disable-pip-version-check": "plain", "--no-input": "plain",
        "--no-warn-script-location": "plain", "--no-warn-conflicts": "plain", "--no-color": "plain",
        "--no-python-version-warning": "plain", "--prefer-binary": "binary",
    },
    valued={
        **_VALUED, "--requirement": "file", "--pypi-url": "index", "--root-user-action": "plain",
        "--progress-bar": "plain", "--timeout": "plain", "--default-timeout": "plain", "--retries": "plain",
        "--upgrade-strategy": "strategy", "--only-binary": "only-binary",
    },
)  # fmt: skip
_UV_TABLE = Table(
    flags={
        **_FLAGS, "-n": "no-cache", "--system": "system", "--reinstall": "reinstall",
        "--no-build": "binary", "--no-python-downloads": "plain",
    },
    valued={
        **_VALUED, "--requirements": "file", "--requirement": "file", "--constraints": "constraint",
        "--default-index": "index", "--index": "extra-index", "--link-mode": "plain",
    },
)  # fmt: skip
HARMLESS = frozenset(
    {
        "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION", "PIP_DEFAULT_TIMEOUT",
        "PIP_TIMEOUT", "PIP_RETRIES", "PIP_NO_INPUT", "PIP_PROGRESS_BAR", "PIP_NO_COLOR", "PIP_QUIET",
        "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_BREAK_SYSTEM_PACKAGES", "PIP_PREFER_BINARY",
        "PIP_NO_WARN_SCRIPT_LOCATION", "PIP_CACHE_DIR", "PIP_FIND_LINKS", "PIP_NO_INDEX",
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
    }
)  # fmt: skip
_PLACES = frozenset({"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "CONDA_PREFIX"})
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
    places = _PLACES | ({"VIRTUAL_ENV"} if is_uv else set())
    for name in sorted(env):
        if name.startswith(prefix) and name not in known:
            raise Beyond(
                Text("the variable {name}, which is an option of {tool}", name=name, tool=prefix.lower()[:-1])
            )
        if name in places:
            raise Beyond(Text("the variable {name}, which changes where Python packages lie", name=name))


def _install(
    tool: tuple[str, ...], requirements: Sequence[str], options: Options, env: Mapping[str, str], workdir: str
) -> InstallPython:
    _check_values(options)
    for text in requirements:
        _check_requirement(text)
    files = tuple(_path(workdir, path) for path in options.all("file"))
    constraints = tuple(_path(workdir, path) for path in options.all("constraint"))
    if not requirements and not files:
        raise Beyond(Text("{command} without a package", command=f"{' '.join(tool)} install"))
    start = "UV" if tool[0] == "uv" else "PIP"
    index = options.one("index") or env.get(f"{start}_INDEX_URL") or env.get(f"{start}_DEFAULT_INDEX")
    extra = options.all("extra-index") or tuple(env.get(f"{start}_EXTRA_INDEX_URL", "").split())
    system = "system" in options.flags or any(
        env.get(name, "").lower() not in _NO
        for name in (f"{start}_BREAK_SYSTEM_PACKAGES", f"{start}_SYSTEM_PYTHON")
    )
    prefix = options.one("prefix")
    return InstallPython(
        tool=tool,
        requirements=tuple(requirements),
        files=files,
        constraints=constraints,
        index=index or None,
        extra_indexes=extra,
        find_links=_links(options.all("find-links"), env.get(f"{start}_FIND_LINKS", ""), workdir),
        no_index="no-index" in options.flags or env.get(f"{start}_NO_INDEX", "").lower() not in _NO,
        prereleases="pre" in options.flags,
        user="user" in options.flags,
        upgrade="upgrade" in options.flags,
        reinstall="reinstall" in options.flags,
        dependencies="no-deps" not in options.flags,
        prefix=_path(workdir, prefix) if prefix is not None else None,
        system=system,
        cache_kept=not _no_cache(options, env, start),
    )


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
    if "user" in options.flags and options.one("prefix") is not None:
        raise Beyond(Text("--user and --prefix together"))


def _check_requirement(text: str) -> None:
    """Names with versions only: paths, addresses and archives have to be built or looked at."""
    try:
        requirement = nesting.requirement(text)
    except InvalidRequirement:
        raise Beyond(Text("the requirement {text}", text=text)) from None
    if requirement.url is not None or text.lower().endswith((".whl", ".zip", ".tar.gz")):
        raise Beyond(Text("the requirement {text}", text=text))


def _path(workdir: str, path: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path) or path == "-":
        raise Beyond(Text("the file {path}", path=path))
    return posixpath.normpath(posixpath.join(workdir, path))
