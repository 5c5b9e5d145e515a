"""What a file of an image is there for, told by its path and its package. Pure."""

from __future__ import annotations

import re
from enum import StrEnum

from trainload.image.contents import Placed
from trainload.limits import MiB


class FileKind(StrEnum):
    """In the order in which they are shown."""

    GPU = "gpu"
    WEIGHTS = "weights"
    PYTHON = "python"
    BYTECODE = "bytecode"
    DISTRIBUTION = "distribution"
    CODE = "code"
    CACHE = "cache"
    OTHER = "other"


_GPU_LIBRARY = re.compile(
    r"lib(?:cu(?:blas|dnn|fft|rand|solver|sparse|da|pti|file|tensor)|nv|nccl|nppi?|npp|accinj64|OpenCL|caffe2_nvrtc"
    r"|roc|hip|MIOpen|rccl|amdhip64|hsa)[A-Za-z0-9_-]*(?:\.so|\.a\b|_static)"
)
_GPU_FOLDER = re.compile(r"(?:.*/)?(?:usr/local/cuda[^/]*|opt/rocm[^/]*|opt/nvidia|site-packages/nvidia)/.*")
_GPU_PACKAGE = re.compile(
    r"nvidia-.*|cuda-.*|libcu(?:dnn|blas|fft|rand|solver|sparse).*|libnccl.*|libnpp.*|rocm-.*"
)
_WEIGHTS = re.compile(
    r".*\.(?:safetensors|gguf|ggml|pt|pth|ckpt|onnx|h5|hdf5|keras|tflite|engine|msgpack|npz|bin|model)",
    re.IGNORECASE,
)
_WEIGHT_FOLDER = re.compile(r"(?:.*/)?(?:huggingface/hub|torch/hub|modelscope/hub|models--[^/]+)/.*")
_WEIGHT_SIZE = MiB
_CACHE = re.compile(
    r"(?:root|home/[^/]+)/\.(?:cache|npm|conda/pkgs)/.* | var/cache/(?:apt|apk|dnf|yum)/.* | var/lib/apt/lists/.*"
    r"| opt/(?:mini)?conda3?/pkgs/.* | tmp/.*",
    re.VERBOSE,
)
_PYTHON = re.compile(r"(?:.*/)?(?:site|dist)-packages/.*|opt/venv/.*")
_SYSTEM = re.compile(r"(?:usr/(?!local/|src/)|bin/|sbin/|lib|etc/|var/|boot/).*")


def kind_of(placed: Placed, workdir: str) -> FileKind:
    """``workdir``: the image's, with its first slash; what lies below it and is no package's is the project's."""
    path, package = placed.entry.path, placed.package
    manager = package.manager if package else ""
    if _is_gpu(placed):
        return FileKind.GPU
    if not package and _is_weights(placed):
        return FileKind.WEIGHTS
    if path.endswith((".pyc", ".pyo")):
        return FileKind.BYTECODE
    if manager in ("python", "conda") or (not package and _PYTHON.fullmatch(path)):
        return FileKind.PYTHON
    if manager:
        return FileKind.DISTRIBUTION
    if _CACHE.fullmatch(path):
        return FileKind.CACHE
    if workdir.strip("/") and path.startswith(workdir.strip("/") + "/"):
        return FileKind.CODE
    return FileKind.DISTRIBUTION if _SYSTEM.fullmatch(path) else FileKind.OTHER


def is_gpu_library(name: str) -> bool:
    """Whether a file of that name is a library of CUDA or ROCm."""
    return _GPU_LIBRARY.match(name) is not None


def _is_gpu(placed: Placed) -> bool:
    path, package = placed.entry.path, placed.package
    if package is not None and _GPU_PACKAGE.fullmatch(package.name):
        return True
    return _GPU_FOLDER.fullmatch(path) is not None or is_gpu_library(path.rpartition("/")[2])


def _is_weights(placed: Placed) -> bool:
    path = placed.entry.path
    if placed.entry.size < _WEIGHT_SIZE:
        return False
    return _WEIGHT_FOLDER.fullmatch(path) is not None or _WEIGHTS.fullmatch(path) is not None
