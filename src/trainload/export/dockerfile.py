"""The project as a Dockerfile: stages for the base, the packages, and what runs; pure text."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainload.export import conda, weights
from trainload.lock.model import ImageBase, Lock
from trainload.lock.select import Selection
from trainload.plan.base import INTERPRETER, environment_of
from trainload.plan.model import CONDA, VENV, HealthConfig, Plan
from trainload.project.dependencies import EXPORTED
from trainload.project.model import Project

PUBLIC: Mapping[str, str] = {
    "bookworm": "debian:bookworm-slim", "trixie": "debian:trixie-slim", "jammy": "ubuntu:22.04",
    "noble": "ubuntu:24.04",
}  # fmt: skip
"""The public image nearest to a base composed from a suite's packages."""
_WORD = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_OURS = ("PATH", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the Dockerfile is made from."""

    project: Project
    lock: Lock
    plan: Plan
    selection: Selection
    base: str
    """With its digest."""
    requirements: str
    """The file beside it; empty: there are no packages."""
    wheels: str = ""
    """A folder of the context with all wheels; empty: an index has them."""
    sources: tuple[str, ...] = ()
    """Packages that are built from source."""
    urls: Mapping[str, str] = field(default_factory=dict)
    """Where weights are fetched from, by sha256."""
    conda: str = conda.IMAGE
    """The image with micromamba; counts where the lock has conda packages."""

    @property
    def apart(self) -> tuple[str, ...]:
        """What of the context does not go in with the code."""
        return (*((self.wheels,) if self.wheels else ()), *weights.of_project(self.plan))


def dockerfile(wanted: Wanted) -> str:
    """The text, without the health check that a server gets."""
    parts = [_head(wanted), _base(wanted)]
    if wanted.lock.interpreter is not None:
        parts.append(_interpreter(wanted))
    if wanted.lock.conda is not None:
        parts.append(conda.stage(wanted.lock, wanted.conda, wanted.wheels))
    if wanted.lock.conda is None or wanted.requirements:
        parts.append(_packages(wanted))
    if weights.recipes(wanted.plan):
        parts.append(weights.stage(wanted.plan, wanted.urls))
    if wanted.apart:
        parts.append(_code(wanted))
    parts.append(_final(wanted))
    return "\n\n".join(parts) + "\n"


def nearest(lock: Lock) -> str:
    """The base by its public name; what the lock knows by digest comes with it."""
    if isinstance(lock.base, ImageBase):
        return f"{lock.base.reference.partition('@')[0]}@{lock.base.digest}"
    return PUBLIC[lock.base.suite]


def _head(wanted: Wanted) -> str:
    lines = [
        f"# {wanted.plan.name}: {EXPORTED}, from pylock.trainload.toml.",
        "# After a change of the project: export it again. What it makes is equivalent to the image of trainload",
        "# build, not equal to it: apt decides here which versions of Debian's packages it takes.",
    ]
    if (wanted.requirements or wanted.lock.conda is not None) and not wanted.wheels:
        lines.append("# The cache mount needs BuildKit (Docker since 23.0, or DOCKER_BUILDKIT=1) or buildah.")
    return "\n".join(lines)


def _base(wanted: Wanted) -> str:
    names = _runtime_packages(wanted)
    lines = [f"FROM {wanted.base} AS base"]
    if names:
        lines += _apt(names)
    return "\n".join(lines)


def _runtime_packages(wanted: Wanted) -> list[str]:
    base = wanted.lock.base
    if isinstance(base, ImageBase):
        return sorted(base.requested)
    names = {"ca-certificates", "tzdata", *base.system}
    if wanted.lock.interpreter is None and wanted.lock.conda is None:
        names.add("python3")
    if "/usr/bin/tini" in wanted.plan.config.entrypoint:
        names.add("tini")
    if base.profile == "dev":
        names |= {"git", "curl", "procps"}
    return sorted(names)


def _apt(names: Sequence[str]) -> list[str]:
    return [
        "RUN apt-get update \\",
        "    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\",
        *(f"        {name} \\" for name in names),
        "    && rm -rf /var/lib/apt/lists/*",
    ]


def _interpreter(wanted: Wanted) -> str:
    """A Python of its own, as the lock has it."""
    archive = wanted.selection.interpreter
    assert archive is not None
    url = getattr(archive.location, "url", "")
    source = f"{wanted.wheels}/{archive.name}" if wanted.wheels else url
    return "\n".join([
        "FROM base AS python",
        f"ADD {source} /tmp/fetched/" if not wanted.wheels else f"COPY {source} /tmp/fetched/",
        f'RUN echo "{archive.sha256}  $(ls /tmp/fetched/*)" | sha256sum --check \\',
        "    && tar -xzf /tmp/fetched/* -C /opt",
    ])  # fmt: skip


def _packages(wanted: Wanted) -> str:
    environment = environment_of(wanted.lock, wanted.plan.platform)
    lines = ["FROM base AS build"]
    more = [*wanted.project.settings.build.value.packages]
    if wanted.lock.interpreter is not None:
        lines.append(f"COPY --from=python {INTERPRETER} {INTERPRETER}")
    elif wanted.lock.conda is not None:
        lines.append(f"COPY --from=conda {CONDA} {CONDA}")
    elif wanted.requirements and _needs_venv(wanted):
        more.append(f"python{wanted.lock.python}-venv")
    if wanted.sources:
        more += ["build-essential", *(["python3-dev"] if _of_distribution(wanted) else [])]
    if more:
        lines += _apt(sorted(set(more)))
    site = "--system-site-packages " if environment.system_site_packages else ""
    if not wanted.requirements:  # an environment without packages
        return "\n".join([*lines, f"RUN {environment.interpreter} -m venv --without-pip {VENV}"])
    made, pip = f"RUN {environment.interpreter} -m venv {site}{VENV}", f"{VENV}/bin/pip"
    if wanted.lock.conda is not None:
        made, pip = conda.pip()
    lines.append(made)
    install = f"{pip} install --require-hashes --no-deps"
    if not wanted.project.settings.bytecode.value:
        install += " --no-compile"
    lines.append(f"COPY {wanted.requirements} /tmp/")
    name = wanted.requirements.rpartition("/")[2]
    if wanted.wheels:
        lines += [
            f"COPY {wanted.wheels} /tmp/wheels",
            f"RUN {install} --no-cache-dir --no-index --find-links=/tmp/wheels -r /tmp/{name}",
        ]
    else:
        lines += [
            "# another index, or a mirror: --build-arg PIP_INDEX_URL=https://…/simple",
            "ARG PIP_INDEX_URL",
            "RUN --mount=type=cache,target=/root/.cache/pip \\",
            *_passwords(wanted),
            f"    {install} -r /tmp/{name}",
        ]
    if wanted.lock.conda is None:
        lines[-1] += " \\"
        lines.append(f"    && {VENV}/bin/pip uninstall -y -q {_tools(wanted)}")
    return "\n".join(lines)


def _passwords(wanted: Wanted) -> list[str]:
    """An index of the project's own may want a password: pip reads it from a file that stays outside."""
    if not any(wanted.project.settings.indexes.value):
        return []
    return ["    --mount=type=secret,id=netrc,target=/root/.netrc \\"]


def _of_distribution(wanted: Wanted) -> bool:
    return wanted.lock.interpreter is None and wanted.lock.conda is None


def _needs_venv(wanted: Wanted) -> bool:
    """Whether the Python on a base image is a distribution's, which has its venv apart."""
    return environment_of(wanted.lock, wanted.plan.platform).interpreter.startswith("/usr/bin/")


def _tools(wanted: Wanted) -> str:
    """What the environment got only to install the rest."""
    asked = {item.name for item in wanted.selection.python}
    return " ".join(name for name in ("setuptools", "pip") if name not in asked)


def _code(wanted: Wanted) -> str:
    """The context without what only the build needs, or what has layers of its own."""
    workdir = wanted.plan.config.workdir
    gone = " ".join(shlex.quote(f"{workdir}/{path}") for path in wanted.apart)
    return "\n".join(["FROM base AS code", f"COPY . {workdir}/", f"RUN rm -rf {gone}"])


def _final(wanted: Wanted) -> str:
    config = wanted.plan.config
    uid = wanted.project.settings.user.value
    lines = ["FROM base"]
    if wanted.lock.interpreter is not None:
        lines.append(f"COPY --from=python {INTERPRETER} {INTERPRETER}")
    if wanted.lock.conda is not None:
        lines += conda.taken("build" if wanted.requirements else "conda", wanted.plan)
    else:
        lines.append(f"COPY --from=build {VENV} {VENV}")
    if weights.recipes(wanted.plan):
        lines.append(weights.TAKEN)
    lines += _labels(wanted)
    lines += _environment(wanted)
    if uid:
        lines += [
            f"RUN (getent passwd {uid} >/dev/null || useradd --uid {uid} --create-home app) \\",
            f"    && install --directory --owner={uid} --group={uid} {config.workdir}",
        ]
    lines.append(f"WORKDIR {config.workdir}")
    owner = f"--chown={uid}:{uid} " if uid else ""
    if wanted.apart:
        lines.append(f"COPY --from=code {owner}{config.workdir}/ ./")
    else:
        lines.append(f"COPY {owner}. ./")
    lines += [f"EXPOSE {port}" for port in config.ports]
    if config.stop_signal:
        lines.append(f"STOPSIGNAL {config.stop_signal}")
    lines.append(f"USER {uid}" if uid else "# trainload: ignore[root] the project says user = 0")
    lines += _health(config.health)
    lines.append(f"ENTRYPOINT {json.dumps(config.entrypoint, ensure_ascii=False)}")
    if config.command:
        lines.append(f"CMD {json.dumps(config.command, ensure_ascii=False)}")
    return "\n".join(lines)


def _health(health: HealthConfig | None) -> list[str]:
    if health is None or not health.test:
        return []
    if health.test[0] == "NONE":
        return ["HEALTHCHECK NONE"]
    times = {
        "interval": health.interval, "timeout": health.timeout, "start-period": health.start_period,
        "start-interval": health.start_interval,
    }  # fmt: skip
    options = [f"--{name}={value // 1_000_000}ms " for name, value in times.items() if value]
    options += [f"--retries={health.retries} "] if health.retries else []
    words = json.dumps(health.test[1:], ensure_ascii=False) if health.test[0] == "CMD" else health.test[1]
    return [f"HEALTHCHECK {''.join(options)}CMD {words}"]


def _labels(wanted: Wanted) -> list[str]:
    below = wanted.plan.base.config.labels if wanted.plan.base is not None else {}
    own = {name: value for name, value in wanted.plan.config.labels.items() if below.get(name) != value}
    labels = {"org.opencontainers.image.title": wanted.plan.name, **own}
    return [f"LABEL {_quoted(name)}={_quoted(value)}" for name, value in sorted(labels.items())]


def _environment(wanted: Wanted) -> list[str]:
    """What is not the base's already; the path as a whole, so that it is the same."""
    below = wanted.plan.base.config.env if wanted.plan.base is not None else {}
    env = {name: value for name, value in wanted.plan.config.env.items() if below.get(name) != value}
    pairs = [
        f"{name}={_quoted(value)}"
        for name, value in sorted(env.items(), key=lambda one: (one[0] not in _OURS, one))
    ]
    if not pairs:
        return []
    return ["ENV " + " \\\n    ".join(pairs)]


def _quoted(value: str) -> str:
    """One word of a Dockerfile, nothing in it expanded."""
    if _WORD.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
