"""Servers of models by the command that starts them: their port, and what tells that they live."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainload.lint.shell import Command

_INTERPRETER = re.compile(r"(python|pypy)[0-9.]*")


@dataclass(frozen=True, slots=True)
class Server:
    """A program that waits for requests."""

    program: str
    port: int
    path: str | None
    """What answers 200 once it is ready; None: nothing that is known."""
    python: bool
    """It runs on Python, so that Python can ask it."""
    start: int = 60
    """Seconds it may take to come up."""


_KNOWN = {
    "uvicorn": Server("uvicorn", 8000, None, python=True),
    "gunicorn": Server("gunicorn", 8000, None, python=True),
    "hypercorn": Server("hypercorn", 8000, None, python=True),
    "fastapi": Server("fastapi", 8000, None, python=True),
    "flask": Server("flask", 5000, None, python=True),
    "waitress-serve": Server("waitress-serve", 8080, None, python=True),
    "streamlit": Server("streamlit", 8501, "/_stcore/health", python=True),
    "torchserve": Server("torchserve", 8080, "/ping", python=True),
    "tensorflow_model_server": Server("tensorflow_model_server", 8501, None, python=False),
    "tf_serving_entrypoint.sh": Server("tensorflow_model_server", 8501, None, python=False),
    "vllm": Server("vllm", 8000, "/health", python=True, start=600),
    "tritonserver": Server("tritonserver", 8000, "/v2/health/ready", python=True, start=300),
    "text-generation-launcher": Server("text-generation-launcher", 80, "/health", python=True, start=600),
    "bentoml": Server("bentoml", 3000, "/readyz", python=True),
    "mlserver": Server("mlserver", 8080, "/v2/health/ready", python=True),
    "sglang": Server("sglang", 30000, "/health", python=True, start=600),
    "trtllm-serve": Server("trtllm-serve", 8000, "/health", python=True, start=600),
    "lmdeploy": Server("lmdeploy", 23333, "/health", python=True, start=600),
    "ollama": Server("ollama", 11434, None, python=False),
    "serve": Server("serve", 8000, "/-/healthz", python=True, start=120),  # Ray's
    "mlflow": Server("mlflow", 5000, "/health", python=True),
    "label-studio": Server("label-studio", 8080, "/health", python=True),
    "granian": Server("granian", 8000, None, python=True),
    "daphne": Server("daphne", 8000, None, python=True),
    "chainlit": Server("chainlit", 8000, None, python=True),
    "panel": Server("panel", 5006, None, python=True),
    "tensorboard": Server("tensorboard", 6006, None, python=True),
    "voila": Server("voila", 8866, None, python=True),
    "manage.py": Server("manage.py runserver", 8000, None, python=True),
    "http.server": Server("http.server", 8000, None, python=True),
}
_MODULES = {
    "uvicorn": "uvicorn", "gunicorn": "gunicorn", "hypercorn": "hypercorn", "flask": "flask",
    "streamlit": "streamlit",
    "vllm.entrypoints.openai.api_server": "vllm", "vllm.entrypoints.api_server": "vllm",
    "sglang.launch_server": "sglang", "fastapi": "fastapi", "granian": "granian", "daphne": "daphne",
    "mlflow": "mlflow", "chainlit": "chainlit", "http.server": "http.server",
}  # fmt: skip
_VERB = {"fastapi": ("run", "dev"), "flask": ("run",), "streamlit": ("run",), "vllm": ("serve",),
         "bentoml": ("serve",), "mlserver": ("start",), "serve": ("run",), "mlflow": ("server", "ui"),
         "ollama": ("serve",), "lmdeploy": ("api_server",), "chainlit": ("run",), "panel": ("serve",),
         "label-studio": ("start",), "manage.py": ("runserver",)}  # fmt: skip
_PLACE_AT_THE_END = frozenset({"http.server", "manage.py runserver"})
"""Their port is an argument, without an option."""
_IMAGES = {
    "vllm/vllm-openai": "vllm", "pytorch/torchserve": "torchserve", "tensorflow/serving": "tensorflow_model_server",
}  # fmt: skip
_PORT = re.compile(r"--(?:port|bind|rest_api_port|server\.port|http-port)|-b|-p")
_REST = re.compile("--rest_api_port")
_ADDRESS = re.compile(r"(?:.*:)?([0-9]{1,5})")


def server(commands: Sequence[Command]) -> Server | None:
    """The server that ``commands`` end in, with its port."""
    found = started(commands)
    return _with_port(_KNOWN[found[0]], found[1]) if found is not None else None


def started(commands: Sequence[Command]) -> tuple[str, Sequence[str]] | None:
    """Which server ``commands`` end in, and the words behind its name."""
    for command in commands:
        words = command.texts
        rest: Sequence[str]
        name, rest = command.name, words[1:]
        if _INTERPRETER.fullmatch(name) and len(rest) > 1 and rest[0] == "-m":
            module, name, rest = rest[1], _MODULES.get(rest[1], ""), rest[2:]
            if name != module and name:  # a module for serving alone: it has no verbs
                return name, rest
        elif _INTERPRETER.fullmatch(name) and "manage.py" in rest[:2]:
            name, rest = "manage.py", rest[rest.index("manage.py") + 1 :]
        elif name in ("uv", "poetry", "pdm", "conda", "micromamba", "opentelemetry-instrument") and rest:
            found = _inside(rest)
            if found is None:
                continue
            name, rest = found
        if name in _VERB and not any(word in _VERB[name] for word in rest[:4]):
            continue
        if name in _KNOWN and not _stops(rest):
            return name, rest
    return None


def image_server(image: str) -> Server | None:
    """The server whose image this is, started by its own entry point."""
    name = image.partition("@")[0]
    name = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    known = _IMAGES.get(name.removeprefix("docker.io/"))
    return _KNOWN[known] if known else None


def _inside(rest: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """``uv run uvicorn …``: the program that another one starts."""
    for index, word in enumerate(rest):
        if word in _KNOWN:
            return word, rest[index + 1 :]
    return None


def _stops(rest: Sequence[str]) -> bool:
    return any(word in ("--stop", "--version", "--help") for word in rest)


def _with_port(known: Server, rest: Sequence[str]) -> Server:
    ports = _REST if any(word.startswith("--rest_api_port") for word in rest) else _PORT  # not that of gRPC
    for index, word in enumerate(rest):
        name, equals, value = word.partition("=")
        if known.program in _PLACE_AT_THE_END and _ADDRESS.fullmatch(word):
            value, equals = word, "="
        elif not ports.fullmatch(name):
            continue
        value = value if equals else rest[index + 1] if index + 1 < len(rest) else ""
        if match := _ADDRESS.fullmatch(value):
            return Server(known.program, int(match[1]), known.path, python=known.python, start=known.start)
    return known
