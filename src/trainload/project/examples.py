"""What values of the configuration look like, for editors, `init` and the documentation."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, object] = {
    "name": "digits", "python": "3.11", "base": "apt:bookworm", "system": ["ffmpeg", "libgl1"],
    "requirements": ["requirements.txt"], "dockerfile": "docker/train.Dockerfile",
    "extras": ["gpu"], "groups": ["train"], "find-links": ["../wheels"],
    "index": "https://packages.example/simple", "extra-index": ["https://packages.example/simple"],
    "accelerator": "cu128", "command": ["python", "train.py"],
    "entrypoint": ["/usr/bin/tini", "--"], "env": {"OMP_NUM_THREADS": "4"},
    "exclude": ["data/**"], "secrets": ["certs/ca.pem"], "platforms": ["linux/amd64", "linux/arm64"],
    "mirrors.pypi": ["https://mirror.example/simple"], "mirrors.apt": ["https://mirror.example/{distribution}"],
    "mirrors.python": ["https://mirror.example/python/{name}"],
    "mirrors.registry": {"docker.io": ["https://mirror.example"]}, "mirrors.hub": ["https://hub.example"],
    "weights": [
        "hf://org/model@v1.0", {"source": "hf://org/other", "include": ["*.safetensors", "*.json"]},
        {"source": "./checkpoints/best", "target": "/models/best"},
    ],
    "mirrors.conda": ["https://mirror.example/conda"], "conda.file": "environment.yml",
    "conda.channel-alias": "https://conda.example",
    "cache.registry": "registry.example/team/cache",
    "run.engine": "docker", "run.gpus": "all", "run.memory": "8g", "run.memory-swap": "10g", "run.cpus": 4,
    "run.pids": 4096, "run.shm": "2g",
    "run.volumes": ["./data:/data:ro"], "run.ports": ["8000:8000"], "limits.max-unpacked": "50g",
    "build.packages": ["build-essential", "python3-dev"], "build.constraints": ["setuptools<81"],
    "variant": "cv", "matrix.variant": ["cv", "nlp"], "matrix.python": ["3.11", "3.12"],
    "matrix.accelerator": ["cpu", "cu128"], "matrix.exclude": [{"python": "3.12", "accelerator": "cu128"}],
    "hosts": {"gpu1": {"address": "me@gpu1.example:2222", "engine": "docker"}},
}  # fmt: skip
"""What a value looks like, where the default does not show it."""
