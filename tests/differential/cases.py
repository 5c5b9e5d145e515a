"""The corpus: what each Dockerfile is for, what its image says when it is run, and who builds it beside us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    placed: int
    """RUN lines that have to be placed; fewer is a step back."""
    says: str = ""
    """Part of what ``run`` prints; empty: it serves."""
    port: int = 0
    paths: tuple[str, ...] = ("/",)
    answers: str = ""
    """Part of what the server answers."""
    ends: int = 0
    """The exit code; of a server, after it was asked to stop: 137 where its first process does not hear of it."""
    healthy: bool = False
    """It has a health check that turns healthy."""
    whole: bool = False
    """Only in the whole comparison: it needs the distribution's archives, a large base, or Docker's engine."""
    buildkit: bool = False
    """Docker builds it with BuildKit: the classic builder does not know all of it, or does not do the same."""
    differs: Mapping[str, str] = field(default_factory=dict)
    """Paths that differ on purpose from what an older builder makes → why."""


_WORKDIR = "WORKDIR makes it the user's, as BuildKit does; the older builders make it root's"
_JUPYTER = "opt/conda/envs/science/bin/jupyter"
_LAUNCHER = "rattler, which stands in for conda, gives its group the right to write; conda does not"
CASES = (
    Case("01-cuda-deadsnakes", 2, "torch 2.1.0 tqdm 4.66.1 cuda 12.1.1 /workspace", whole=True),
    Case("02-slim-requirements", 1, "2.2.0 1.26.0 4.40.0 ['--epochs', '3'] /usr/local", whole=True),
    Case("03-multistage-user", 1, "/root/.local/lib/python3.11/site-packages/flask/__init__.py 3.0.0", whole=True),
    Case("04-weights", 1, "AutoModel of distilbert-base-uncased", whole=True),
    Case("05-nonroot", 2, "999 999 /home/appuser/app"),
    Case(
        "06-uvicorn-health",
        2,
        port=80,
        paths=("/", "/health", "/docs", "/gone"),
        answers='{"Hello":"World"}',
        healthy=True,
        whole=True,
    ),
    Case(
        "07-miniconda-jupyter",
        1,
        port=8888,
        paths=("/", "/notebooks/a.ipynb"),
        answers="notebooks",
        whole=True,
        differs={_JUPYTER: _LAUNCHER},
    ),
    Case(
        "08-torchserve",
        1,
        port=8080,
        paths=("/ping", "/predictions/mnist", "/gone"),
        answers='[["mnist.pt", "handler.py"], 1000, "/home/model-server"]',
        whole=True,
    ),
    Case(
        "09-tf-serving",
        0,
        port=8501,
        paths=("/v1/models/half_plus_two", "/"),
        answers='"version": "123", "state": "AVAILABLE"',
        ends=137,
        whole=True,
    ),
    Case("10-entrypoint-python", 2, "(3, 10) 3.0.0 ['main.py']", whole=True),
    Case("11-venv-builder", 1, "/opt/venv 3.0.0 ['now']", whole=True, buildkit=True),
    Case("12-pytorch-base", 5, "2.1.0 4.66.1 1001 Europe/Berlin", whole=True),
    Case("13-hf-space", 2, port=7860, answers='"World!"}', buildkit=True, differs={"home/user/app": _WORKDIR}),
    Case("14-args-stages", 0, "hi from /opt/app", whole=True),
    Case("15-wheels-gunicorn", 3, port=5000, answers='{"where":"/home/appuser","who":10001}', whole=True),
    Case(
        "16-cron-supervisor",
        4,
        port=8080,
        answers="up",
        whole=True,
        differs={"var/spool/cron/crontabs/www-data": "crontab writes the day into it"},
    ),
)
