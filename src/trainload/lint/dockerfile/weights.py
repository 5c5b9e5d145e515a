"""How much packages weigh, in MB as downloaded: for numbers in messages, never for decisions.

The project's lock knows it to the byte; without one there is a table of well-known packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trainload.lint.dockerfile.pip import Install, name_of
from trainload.lint.model import Surroundings

# Wheels for x86_64 of late 2024, with what they bring for CUDA.
_MB = {
    "torch": 2900, "tensorflow": 620, "tensorflow-cpu": 230, "jax": 90, "vllm": 3200, "xgboost": 250,
    "opencv-python": 62, "opencv-python-headless": 50, "scipy": 40, "pyspark": 300, "onnxruntime": 14,
    "onnxruntime-gpu": 290, "numpy": 18, "pandas": 13, "scikit-learn": 13, "matplotlib": 9, "pyarrow": 40,
    "transformers": 10, "spacy": 33, "bitsandbytes": 69, "deepspeed": 2, "ray": 66, "mlflow": 28, "polars": 32,
    "torchvision": 7, "torchaudio": 4, "lightgbm": 4, "paddlepaddle": 180, "mxnet": 45, "cupy-cuda12x": 105,
}  # fmt: skip
_TORCH_CPU = 190
_CUDA_IN_WHEELS = 2700
"""MB of the nvidia-* wheels, triton and torch's own CUDA code beyond what the CPU build has."""


def requirements(text: str) -> list[str]:
    """The requirement lines of a file, without options and comments."""
    lines = (line.partition(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def wanted(install: Install, texts: Mapping[str, str]) -> list[str]:
    """The requirements of an installation, those of its files too where they are known."""
    found = list(install.packages)
    for file in install.files:
        found += requirements(texts.get(file.removeprefix("./"), ""))
    if install.local:
        found += _of_project(texts.get("pyproject.toml", ""))
    return found


def _of_project(text: str) -> list[str]:
    """What ``pip install .`` brings; without what uv takes from an index of its own, which may be another build."""
    import tomllib

    try:
        document = tomllib.loads(text)
        listed = document.get("project", {}).get("dependencies", [])
        apart = document.get("tool", {}).get("uv", {}).get("sources", {})
        return [one for one in listed if isinstance(one, str) and name_of(one) not in apart]
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, RecursionError):
        return []  # its own trouble


@dataclass(frozen=True, slots=True)
class Weight:
    """Of a download."""

    megabytes: int
    """0: nothing is known."""
    exact: bool = False
    """The lock says so; otherwise it is about that."""


def weight(installs: Iterable[Install], around: Surroundings) -> Weight:
    """What is downloaded by all of them."""
    every = list(installs)
    asked = {name_of(one) for install in every for one in wanted(install, around.texts)}
    if around.locked and asked <= around.locked.keys() and any(install.files for install in every):
        return Weight(round(sum(around.locked.values()) / 1e6), exact=True)  # with all that they need
    return Weight(sum(_megabytes(install, around.texts) for install in every))


def cuda_in_wheels(around: Surroundings) -> int:
    """MB of CUDA in the wheels that torch needs."""
    found = [size for name, size in around.locked.items() if name.startswith("nvidia-") or name == "triton"]
    return round(sum(found) / 1e6) if found else _CUDA_IN_WHEELS


def _megabytes(install: Install, texts: Mapping[str, str]) -> int:
    cpu = any(index.rstrip("/").endswith("/cpu") for index in install.indexes)
    return sum(_weight(one, cpu=cpu) for one in dict.fromkeys(map(_marked, wanted(install, texts))))


def _marked(requirement: str) -> str:
    return name_of(requirement) + ("+cpu" if "+cpu" in requirement else "")


def _weight(name: str, *, cpu: bool) -> int:
    plain = name.removesuffix("+cpu")
    return _TORCH_CPU if plain == "torch" and (cpu or plain != name) else _MB.get(plain, 0)


def shown(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"


def names(requirements: Iterable[str]) -> set[str]:
    return {name_of(one) for one in requirements}
