"""Names of images: which float, and what pins those that tutorials use."""

from __future__ import annotations

import re

# Tags that exist in the public registries; of each the one that most of its users could have meant.
_PINS: dict[str, dict[str, str]] = {
    "python": {"": "{python}", "slim": "{python}-slim", "3": "{python}", "3-slim": "{python}-slim",
               "alpine": "{python}-alpine",
               "slim-bookworm": "{python}-slim-bookworm", "bookworm": "{python}-bookworm"},
    "ubuntu": {"": "22.04", "rolling": "22.04"}, "debian": {"": "12", "stable": "12", "stable-slim": "12-slim"},
    "alpine": {"": "3.20"}, "busybox": {"": "1.36"}, "node": {"": "22", "slim": "22-slim"},
    "nginx": {"": "1.27"}, "redis": {"": "7.4"}, "postgres": {"": "16"}, "mysql": {"": "8.4"},
    "nvidia/cuda": {"": "12.4.1-runtime-ubuntu22.04"},
    "nvcr.io/nvidia/pytorch": {"": "24.10-py3"}, "nvcr.io/nvidia/tritonserver": {"": "24.10-py3"},
    "pytorch/pytorch": {"": "2.6.0-cuda12.4-cudnn9-runtime"},
    "pytorch/torchserve": {"": "0.12.0-cpu", "latest-cpu": "0.12.0-cpu", "latest-gpu": "0.12.0-gpu"},
    "tensorflow/tensorflow": {"": "2.18.0", "latest-gpu": "2.18.0-gpu", "latest-jupyter": "2.18.0-jupyter"},
    "tensorflow/serving": {"": "2.18.0", "latest-gpu": "2.18.0-gpu"},
    "vllm/vllm-openai": {"": "v0.8.5"}, "ollama/ollama": {"": "0.5.4"},
    "continuumio/miniconda3": {"": "24.9.2-0"}, "continuumio/anaconda3": {"": "2024.10-1"},
    "condaforge/miniforge3": {"": "24.9.2-0"}, "condaforge/mambaforge": {"": "24.9.2-0"},
    "mambaorg/micromamba": {"": "2.0.5"}, "rayproject/ray": {"": "2.40.0", "latest-gpu": "2.40.0-gpu"},
    "ghcr.io/astral-sh/uv": {"": "0.5.11"}, "ghcr.io/mlflow/mlflow": {"": "v2.19.0"},
    "prom/prometheus": {"": "v2.55.1"}, "grafana/grafana": {"": "11.4.0"}, "qdrant/qdrant": {"": "v1.12.4"},
    "quay.io/jupyter/pytorch-notebook": {"": "2024-10-07"}, "quay.io/jupyter/scipy-notebook": {"": "2024-10-07"},
    "jupyter/scipy-notebook": {"": "2023-10-20"}, "jupyter/tensorflow-notebook": {"": "2023-10-20"},
}  # fmt: skip
_FLOATING = re.compile(r"(?:latest|nightly|main|master|edge|stable|rolling|dev)(?:-.*)?|.*-(?:latest|nightly)")
_PYTHON_FLOATS = re.compile(r"3?-?(?:slim|alpine|bookworm|bullseye|trixie|slim-(?:bookworm|bullseye|trixie))?")
_USUAL_PYTHON = "3.11"
"""Most releases of torch and tensorflow of the last years have wheels for it."""
_NOT_ROOT = re.compile(
    r"(?:quay\.io/)?jupyter/|mambaorg/micromamba|pytorch/torchserve|:nonroot|bitnami/|chainguard/|cgr\.dev/"
    r"|nginx-unprivileged|registry\.access\.redhat\.com/ubi[0-9]+/python|openshift/|sagemaker-distribution"
)


def split(image: str) -> tuple[str, str, str]:
    """Name without Docker Hub's own prefixes, tag and digest; empty where there is none."""
    rest, _, digest = image.partition("@")
    name, tag = rest, ""
    if ":" in rest.rpartition("/")[2]:
        name, _, tag = rest.rpartition(":")
    return name.removeprefix("docker.io/").removeprefix("library/"), tag, digest


def floats(image: str) -> bool:
    """Whether the reference means something else next month: no tag, ``latest``, ``python:3-slim``."""
    name, tag, digest = split(image)
    if digest or not name or "$" in image:
        return False
    if name == "python" and _PYTHON_FLOATS.fullmatch(tag):
        return True
    return not tag or _FLOATING.fullmatch(tag) is not None


def pinned(image: str, python: str | None = None) -> str | None:
    """The reference with a tag that stays, where one is known; ``python`` is the project's version."""
    name, tag, _ = split(image)
    tags = _PINS.get(name, {})
    found = tags.get("" if tag == "latest" else tag)
    if found is None:
        return None
    prefix = image[: image.index(name)]
    return f"{prefix}{name}:{found.format(python=python or _USUAL_PYTHON)}"


def runs_as_user(image: str) -> bool:
    """Whether the image's own USER is known to be somebody else than root."""
    return _NOT_ROOT.search(image) is not None
