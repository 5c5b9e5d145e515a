"""Where a conda of an image keeps its environments, what is in them, and how it is configured."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.interpreter import Caller, find_program
from trainload.dockerfile.installs import CondaActive
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import ConfigError, Text
from trainload.project.conda import yaml
from trainload.resolve.conda.lock import Identity
from trainload.values import dataclass, field

META, HISTORY = "conda-meta", "conda-meta/history"
_BASE = ("base", "root")
_HARMLESS = frozenset({
    "CONDA_DIR", "CONDA_HOME", "CONDA_VERSION", "CONDA_AUTO_UPDATE_CONDA", "CONDA_ALWAYS_YES", "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV", "CONDA_EXE", "CONDA_SHLVL", "CONDA_PYTHON_EXE", "CONDA_SOLVER", "CONDA_CHANNELS",
    "CONDA_PLUGINS_AUTO_ACCEPT_TOS", "CONDA_CHANNEL_ALIAS", "CONDA_CHANNEL_PRIORITY", "CONDA_OVERRIDE_CUDA",
    "CONDA_PKGS_DIRS", "CONDA_ENV", "CONDA_ENV_NAME", "CONDA_PROMPT_MODIFIER",
    "MAMBA_ROOT_PREFIX", "MAMBA_EXE", "MAMBA_VERSION", "MAMBA_USER", "MAMBA_USER_ID", "MAMBA_USER_GID",
    "MAMBA_NO_LOW_SPEED_LIMIT", "MAMBA_DOCKERFILE_ACTIVATE", "MAMBA_ALWAYS_YES", "MAMBA_SKIP_ACTIVATE",
})  # fmt: skip
"""Variables that conda reads as options (``CONDA_…``) and that are accounted for, or that only images know."""
_PLAIN = frozenset({
    "always_yes", "auto_activate", "auto_activate_base", "auto_update_conda", "changeps1", "env_prompt",
    "notify_outdated_conda", "show_channel_urls", "solver", "report_errors", "ssl_verify", "quiet", "verbosity",
    "remote_connect_timeout_secs", "remote_read_timeout_secs", "remote_max_retries", "default_threads",
    "repodata_threads", "fetch_threads", "execute_threads", "extract_threads", "pip_interop_enabled",
    "safety_checks", "plugins", "experimental", "pkgs_dirs", "channels", "channel_priority", "channel_alias",
    "default_channels",
})  # fmt: skip
_PRIORITIES = {"strict": "strict", "flexible": "flexible", "disabled": "disabled", "true": "flexible",
               "false": "disabled"}  # fmt: skip
_ADDRESS = re.compile(r"https?://[^\s@]+")
_ROWS = re.compile(r"^# update specs: (\[.*\])$", re.MULTILINE)
_ACTIVATION = ("etc/conda/activate.d", "etc/conda/env_vars.d")


@dataclass(frozen=True, slots=True)
class Configured:
    """What of conda's configuration decides which packages come."""

    channels: tuple[str, ...] = ()
    priority: str | None = None
    alias: str | None = None
    default_channels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """An environment. Paths have no first slash."""

    path: str
    root: str
    """The prefix that conda itself lies in."""
    there: tuple[Identity, ...] = ()
    """Sorted by name."""
    exists: bool = False
    requested: tuple[str, ...] = ()
    """What was asked for so far, as its history has it."""
    documents: Mapping[str, str] = field(default_factory=dict)
    """Name of a package → the path of its record."""


def family(tool: str) -> str:
    """``conda``, ``mamba`` or ``micromamba``."""
    return tool.rpartition("/")[2]


def find_prefix(tool: str, environment: str | None, ground: Ground, env: Mapping[str, str]) -> Prefix:
    """Raises :class:`Beyond` for a conda that is not as it usually is."""
    root = _root(tool, ground, env)
    name = environment if environment is not None else env.get("CONDA_PREFIX") or "base"
    if environment is None and not env.get("CONDA_PREFIX") and env.get("CONDA_DEFAULT_ENV", "base") not in _BASE:
        name = env["CONDA_DEFAULT_ENV"]
    if "/" in name:
        path = ground.real(name)
    else:
        if any(env.get(each) for each in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS")):
            raise Beyond(Text("environments that lie elsewhere"))
        path = root if name in _BASE else f"{root}/envs/{name}"
    if not path or len(path) > 80 or not re.fullmatch(r"[A-Za-z0-9_./-]+", path):
        raise Beyond(Text("the environment {name}", name=name))
    return read_prefix(path, root, ground)


def read_prefix(path: str, root: str, ground: Ground) -> Prefix:
    documents, found = {}, []
    for name in ground.folder(f"{path}/{META}"):
        parts = name.removesuffix(".json").rsplit("-", 2)
        if name.endswith(".json") and len(parts) == 3:
            found.append(Identity(*parts))
            documents[parts[0]] = f"{path}/{META}/{name}"
    if ground.find(f"{path}/{META}/pinned") is not None or ground.find(f"{path}/{META}/frozen") is not None:
        raise Beyond(Text("{file} of the image changes what is installed", file=f"/{path}/{META}/pinned"))
    exists = ground.find(f"{path}/{META}") is not None
    history = (ground.read(f"{path}/{HISTORY}") or b"").decode("utf-8", "replace") if exists else ""
    there = tuple(sorted(found, key=lambda each: each.name))
    return Prefix(path, root, there, exists, _requested(history, {each.name for each in there}), documents)


def _requested(history: str, names: set[str]) -> tuple[str, ...]:
    """conda.history: the last specification of each package that is there."""
    found: dict[str, str] = {}
    for row in _ROWS.findall(history):
        try:
            specs = ast.literal_eval(row)
        except (ValueError, SyntaxError):
            raise Beyond(Text("{file}, which is not as usual", file=HISTORY)) from None
        for spec in map(str, specs):
            name = re.split(r"[=<>!~ \[]", spec.rpartition("::")[2], maxsplit=1)[0].lower()
            if name in names:
                found[name] = spec
    return tuple(found[name] for name in sorted(found))


def _root(tool: str, ground: Ground, env: Mapping[str, str]) -> str:
    program = find_program(tool, ground, env)
    if program is None:
        raise Beyond(Text("the image has no {program}", program=tool))
    if family(tool) == "micromamba":
        root = env.get("MAMBA_ROOT_PREFIX", "").strip("/")
        if not root:
            raise Beyond(Text("a micromamba whose root prefix is not set"))
        return ground.real(root)
    folder = ground.real(program).rpartition("/")[0]
    root, _, last = folder.rpartition("/")
    if last not in ("bin", "condabin") or ground.find(f"{root}/{HISTORY}") is None or "/envs/" in f"/{root}/":
        raise Beyond(Text("the image's {program} is none that is known", program=tool))
    return root


def configured(tool: str, prefix: Prefix, ground: Ground, caller: Caller) -> Configured:
    """Of the image's files and variables. Raises :class:`Beyond` for what would change the answer otherwise."""
    env, home = caller.env, caller.home.strip("/")
    for name in sorted(env):
        if name.startswith(("CONDA_", "MAMBA_")) and name not in _HARMLESS:
            raise Beyond(Text("the variable {name}, which is an option of {tool}", name=name, tool=family(tool)))
    places = ["etc/conda", "var/lib/conda", prefix.root, f"{home}/.config/conda", f"{home}/.conda", home]
    places += [prefix.path] if prefix.path != prefix.root else []
    files = [f"{place}/{name}" for place in places for name in ("condarc", ".condarc")]
    files += [f"{place}/.mambarc" for place in places]
    files += [value.strip("/") for name in ("CONDARC", "MAMBARC") if (value := env.get(name))]
    found = Configured()
    for file in files:
        data = ground.read(file) if ground.find(file) is not None else None
        if data is not None:
            found = _over(found, _read(data, file))
    for place in places:
        if ground.folder(f"{place}/condarc.d"):
            raise Beyond(Text("{file} of the image changes what is installed", file=f"/{place}/condarc.d"))
    return _over(found, _of_variables(env))


def _of_variables(env: Mapping[str, str]) -> Configured:
    channels = tuple(name.strip() for name in re.split("[,&]", env.get("CONDA_CHANNELS", "")) if name.strip())
    priority = env.get("CONDA_CHANNEL_PRIORITY")
    rule = _PRIORITIES.get(priority.lower()) if priority else None
    return Configured(channels, rule, env.get("CONDA_CHANNEL_ALIAS"))


def _over(low: Configured, high: Configured) -> Configured:
    """conda joins lists, the stronger file's first; of everything else the stronger one's counts."""
    return Configured(
        tuple(dict.fromkeys((*high.channels, *low.channels))),
        high.priority or low.priority,
        high.alias or low.alias,
        high.default_channels if high.default_channels is not None else low.default_channels,
    )


def _read(data: bytes, file: str) -> Configured:
    try:
        top = yaml.parse(data.decode("utf-8", "replace"), file)
    except ConfigError as error:
        raise Beyond(Text("{file}, which is not as usual", file=f"/{file}")) from error
    if isinstance(top, yaml.Scalar) and top.is_null:
        return Configured()
    if not isinstance(top, yaml.Mapping):
        raise Beyond(Text("{file}, which is not as usual", file=f"/{file}"))
    for key in top.pairs:
        if key not in _PLAIN:
            raise Beyond(Text("{path} has {line}", path=f"/{file}", line=key))
    priority = _scalar(top.pairs.get("channel_priority"))
    defaults = top.pairs.get("default_channels")
    return Configured(
        _texts(top.pairs.get("channels"), file),
        _PRIORITIES.get(priority.lower()) if priority else None,
        _scalar(top.pairs.get("channel_alias")) or None,
        _texts(defaults, file) if defaults is not None else None,
    )


def _scalar(node: yaml.Node | None) -> str:
    return node.text if isinstance(node, yaml.Scalar) and not node.is_null else ""


def _texts(node: yaml.Node | None, file: str) -> tuple[str, ...]:
    if node is None or (isinstance(node, yaml.Scalar) and node.is_null):
        return ()
    items = node.items if isinstance(node, yaml.Sequence) else ()
    found = tuple(_scalar(item) for item in items)
    for name in found:
        address = "://" in name
        if not name or "/t/" in name or name[0] in "./" or (address and not _ADDRESS.fullmatch(name)):
            raise Beyond(Text("{path} has {line}", path=f"/{file}", line="channels"))
    return found


def activated(active: CondaActive, ground: Ground, caller: Caller) -> Mapping[str, str]:
    """The variables of a command in an environment, as far as pip sees them. Raises :class:`Beyond`."""
    prefix = find_prefix(active.tool, active.environment, ground, caller.env)
    if not prefix.exists:
        raise Beyond(Text("the environment {name}, which is not there", name=active.environment or "base"))
    script = f"{prefix.root}/bin/activate" if active.script == "activate" else active.script.strip("/")
    if script and ground.find(script) is None:
        raise Beyond(Text("the file {path}, which is not there", path=f"/{script}"))
    files = [f"{folder}/{name}" for folder in _ACTIVATION for name in ground.folder(f"{prefix.path}/{folder}")]
    for file in [*files, f"{META}/state"]:
        data = ground.read(f"{prefix.path}/{file}") if ground.find(f"{prefix.path}/{file}") is not None else None
        if data is not None and re.search(rb"\b(PIP_|UV_|PYTHON)", data):
            raise Beyond(Text("{file} of the image changes what is installed", file=f"/{prefix.path}/{file}"))
    path = caller.env.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return {**caller.env, "PATH": f"/{prefix.path}/bin:{path}"}
