"""Every planted fault is found where it is, nothing is found in clean files, and what is mended is without fault.

The files are what tutorials show. A fault is named by its rule and by a piece of the lines it stands on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from trainload.lint.around import Folder
from trainload.lint.check import check, mended
from trainload.lint.drivers import cuda_of
from trainload.lint.kinds import kind_of
from trainload.lint.model import Surroundings
from trainload.lint.table import RULES
from trainload.testing.tree import MemoryTree

CORPUS = Path(__file__).parent / "corpus"

_TRAIN = "from torch.utils.data import DataLoader\n\nloader = DataLoader(data, batch_size=64, num_workers=4)\n"
_BESIDE: Mapping[str, Mapping[str, str | bytes]] = {
    "pip-latest.Dockerfile": {
        "requirements.txt": "torch==2.3.0\nnumpy\n", "train.py": "print(1)\n", ".python-version": "3.12\n",
    },
    "context.Dockerfile": {
        "requirements.txt": "numpy\n", "train.py": "print(1)\n", "data/train/0001.jpg": b"\xff" * 2_000_000,
        "best.pt": b"\0" * 900_000, ".env": "A=1\n", "keys/id_rsa": "x\n", "notes/ideas.pt": b"\0",
        ".dockerignore": "notes\n",
    },
    "compose-workers.yaml": {"train.py": _TRAIN},
    "launch.Dockerfile": {"train.py": _TRAIN},
    "gradio.Dockerfile": {
        "requirements.txt": "gradio\n", "app.py": "import gradio\ngradio.Interface(f, 'text', 'text').launch()\n",
    },
    "weights-folder.Dockerfile": {"src/a.py": "x", "models/m.safetensors": b"\0" * 3_000_000},
    "project-on-cuda.Dockerfile": {
        "pyproject.toml": "[project]\nname = 'x'\nversion = '1'\ndependencies = ['torch==2.3.0']\n",
    },
    "nvidia-base.Dockerfile": {"requirements.txt": "transformers==4.46.0\ntorch\n", "train.py": _TRAIN},
    "cuda-wheels.Dockerfile": {"requirements.txt": "torch==2.6.0\n", "src/train.py": "x = 1\n"},
    "slim.Dockerfile": {"train.py": _TRAIN, "data/a.csv": "1", ".env": "A=1", ".dockerignore": "data\n.env\n"},
}  # fmt: skip
"""What lies beside a file, where a rule looks there."""
_COMMON: Mapping[str, Surroundings] = {
    "mirror.Dockerfile": Surroundings(index="https://mirror.example/simple"),
    "driver.Dockerfile": Surroundings(driver=cuda_of("470.82.01")),
}

FAULTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "apt-alone.Dockerfile": (
        ("apt-update-alone", "RUN apt-get update"), ("apt-yes", "RUN apt-get install curl"),
    ),
    "checkpoints.Dockerfile": (("weights-in-code", "COPY checkpoints/*.pt"),),
    "conda.Dockerfile": (
        ("floating-image", "FROM continuumio/miniconda3"), ("code-first", "COPY . /opt/project"),
        ("conda-cache", "conda env create"), ("pip-cache", "pip install jupyterlab"), ("root", "CMD"),
    ),
    "context.Dockerfile": (
        ("secret", "COPY . /app"), ("secret", "COPY . /app"), ("weights-in-code", "COPY . /app"),
    ),
    "cpu-on-cuda.Dockerfile": (("torch-cuda", "--index-url https://wheels.example/whl/cpu"),),
    "cuda-deadsnakes.Dockerfile": (
        ("cuda-twice", "FROM nvidia/cuda:11.8.0-cudnn8-runtime"), ("apt-lists", "add-apt-repository"),
        ("pip-cache", "torch==2.1.0"), ("torch-cuda", "whl/cu121"),
    ),
    "driver.Dockerfile": (("torch-cuda", "torch==2.4.1"),),
    "editable.Dockerfile": (
        ("floating-image", "FROM python:3-slim"), ("code-first", "COPY . /app"), ("apt-lists", "apt-get clean"),
        ("secret", "git clone https://bot:"), ("root", "CMD"),
    ),
    "fastapi.Dockerfile": (("no-healthcheck", "uvicorn"), ("root", "EXPOSE 80")),
    "gunicorn-multi.Dockerfile": (("no-healthcheck", "gunicorn"), ("root", "EXPOSE 8080")),
    "heredoc.Dockerfile": (
        ("apt-lists", "RUN <<EOF"), ("floating-image", "uv:latest"), ("pip-cache", "uv sync"),
        ("no-healthcheck", "vllm"), ("root", "CMD"),
    ),
    "launch.Dockerfile": (
        ("shared-memory", "docker run --gpus all"), ("cuda-twice", "12.1.1-runtime"),
        ("torch-launch", "torch.distributed.launch"),
    ),
    "mirror.Dockerfile": (("slow-index", "pip install"),),
    "pip-latest.Dockerfile": (
        ("floating-image", "python:latest"), ("code-first", "COPY . ."), ("pip-cache", "pip install"),
        ("root", "CMD"),
    ),
    "pytorch-base.Dockerfile": (("torch-cuda", "torch==2.1.0+cu118"), ("secret", "wandb login")),
    "secrets.Dockerfile": (
        ("secret", "ARG HF_TOKEN"), ("secret", "ENV WANDB_API_KEY"), ("secret", "RUN echo"),
        ("secret", "COPY .env"),
    ),
    "passwords.Dockerfile": (("secret", "RUN useradd -m ada"), ("secret", "<<<"), ("secret", "abcdef")),
    "tfserving.Dockerfile": (
        ("floating-image", "tensorflow/serving"), ("no-healthcheck", "FROM"), ("root", "FROM"),
    ),
    "torchserve.Dockerfile": (("floating-image", "latest-gpu"), ("no-healthcheck", "torchserve")),
    "weights.Dockerfile": (("weights-in-code", "model.safetensors"), ("weights-in-code", "COPY data/")),
    "compose-capabilities.yaml": (
        ("floating-image", "vllm/vllm-openai:latest"), ("secret", "HUGGING_FACE_HUB_TOKEN"),
        ("gpu-reservation", "driver: nvidia"),
    ),
    "compose-count-and-ids.yaml": (("shared-memory", "train:"), ("gpu-reservation", "count: 1")),
    "compose-home.yaml": (("torch-launch", "--master-addr=localhost"), ("gpu-reservation", "devices:")),
    "compose-runtime.yaml": (
        ("obsolete-version", "version:"), ("gpu-runtime", "runtime: nvidia"), ("secret", "JUPYTER_TOKEN"),
    ),
    "compose-shapes.yaml": (
        ("gpu-reservation", "devices:\n            driver: nvidia"), ("gpu-reservation", "[[gpu]]"),
        ("gpu-reservation", "device_ids: [0, 1]"), ("gpu-reservation", "{driver: nvidia, count: all}"),
        ("gpu-reservation", "limits:"), ("gpu-reservation", "gpus: 2"),
    ),
    "compose-two-nodes.yaml": (
        ("shared-memory", "node0:"), ("torch-launch", "torchrun --nnodes=2"), ("shared-memory", "shm_size: 64m"),
        ("torch-launch", "torch.distributed.launch"),
    ),
    "compose-workers.yaml": (("shared-memory", "train:"),),
    "compose-wrong-place.yaml": (
        ("obsolete-version", "version:"), ("gpu-reservation", "devices:"), ("floating-image", "postgres"),
        ("secret", "POSTGRES_PASSWORD"),
    ),
    "deployment-gpu.yaml": (
        ("shared-memory", "name: vllm"), ("floating-image", "vllm/vllm-openai"), ("gpu-limits", "vllm/vllm-openai"),
        ("secret", "HF_TOKEN"),
    ),
    "job-no-service.yaml": (
        ("job-name", "bert-pretraining-wikipedia"), ("headless-service", "subdomain: bert"),
        ("gpu-limits", "nvcr.io/nvidia/pytorch"), ("torch-launch", "torch.distributed.launch"),
    ),
    "job-not-indexed.yaml": (
        ("job-not-indexed", "parallelism: 4"), ("job-backoff", "parallelism: 4"),
        ("job-restart-policy", "OnFailure"), ("job-subdomain", "--master-addr=resnet-0"),
    ),
    "job-one-pod.yaml": (
        ("torch-launch", "--master-addr=127.0.0.1"), ("torch-sizes", "--nnodes=2"),
        ("gpu-limits", "nvidia.com/gpus"),
    ),
    "job-service.yaml": (
        ("headless-service", "name: gpt"), ("headless-service", "name: gpt"), ("headless-service", "app: gpt"),
        ("job-backoff", "parallelism: 2"), ("job-completions", "completions: 4"),
        ("host-network-port", "hostNetwork: true"), ("torch-launch", "--nnodes=2"),
        ("torch-sizes", "--nproc-per-node=4"), ("gpu-limits", "nvidia.com/gpu: 4"),
        ("shared-memory", "emptyDir: {}"),
    ),
    "job-shm.yaml": (
        ("job-restart-policy", "containers:"), ("shared-memory", "name: finetune"),
        ("gpu-limits", "nvidia.com/gpu: 1"), ("secret", "WANDB_API_KEY"),
    ),
    "jobset.yaml": (
        ("jobset-restart", "replicatedJobs:"), ("job-backoff", "parallelism: 4"),
        ("job-restart-policy", "OnFailure"), ("torch-launch", "--node-rank=0"),
        ("torch-sizes", "--nproc-per-node=8"),
    ),
    "kueue.yaml": (
        ("queue-suspend", "name: sweep"), ("job-backoff", "backoffLimit: 6"), ("shared-memory", "name: sweep"),
        ("literal-variable", "$JOB_COMPLETION_INDEX"),
    ),
    "compose-jupyter.yaml": (
        ("floating-image", "jupyter/tensorflow-notebook"), ("gpu-reservation", "resources:"),
        ("shared-memory", "trainer:"), ("gpu-runtime", "runtime: nvidia"), ("secret", "AWS_SECRET_ACCESS_KEY"),
    ),
    "compose-ollama.yaml": (
        ("obsolete-version", "version:"), ("floating-image", "ollama/ollama"),
        ("gpu-reservation", "capabilities: gpu"), ("floating-image", "open-webui:main"),
        ("secret", "OPENAI_API_KEY"),
    ),
    "flask.Dockerfile": (
        ("code-first", "ADD . /app"), ("pip-cache", "pip install --upgrade pip"), ("secret", "OPENAI_API_KEY"),
        ("no-healthcheck", "flask"), ("root", "flask"),
    ),
    "gradio.Dockerfile": (
        ("cuda-twice", "12.1.0-devel"), ("apt-update-alone", "RUN apt update"), ("pip-cache", "torchvision"),
        ("torch-cuda", "whl/cu118"), ("code-first", "COPY . /workspace"), ("pip-cache", "-r requirements.txt"),
        ("root", "EXPOSE 7860"), ("no-healthcheck", "python3 app.py"), ("listens-inside", "python3 app.py"),
    ),
    "hf.Dockerfile": (
        ("floating-image", "transformers-pytorch-gpu:latest"), ("secret", "ARG HUGGINGFACE_TOKEN"),
        ("secret", "RUN huggingface-cli login"), ("pip-cache", "pip install ."), ("root", "ENTRYPOINT"),
    ),
    "job-ddp.yaml": (
        ("job-backoff", "parallelism: 2"), ("job-not-indexed", "parallelism: 2"),
        ("job-restart-policy", "containers:"), ("shared-memory", "name: worker"),
        ("floating-image", "ddp:latest"), ("job-subdomain", "--master_addr=ddp-0"),
    ),
    "mamba.Dockerfile": (
        ("floating-image", "mambaorg/micromamba"), ("code-first", "COPY . /app"),
        ("conda-cache", "micromamba install"), ("apt-lists", "build-essential"), ("root", "CMD"),
    ),
    "pod-gpu.yaml": (
        ("shared-memory", "name: cuda"), ("floating-image", "pytorch/pytorch"), ("gpu-limits", "nvidia.com/gpu"),
        ("secret", "HF_TOKEN"),
    ),
    "tgi.yaml": (
        ("shared-memory", "name: tgi"), ("floating-image", "text-generation-inference:latest"),
        ("secret", "HUGGING_FACE_HUB_TOKEN"), ("gpu-limits", "nvidia.com/gpu: 2"),
    ),
    "yolo.Dockerfile": (
        ("floating-image", "ultralytics/ultralytics"), ("apt-lists", "libgl1"), ("pip-cache", "opencv-python"),
        ("weights-in-code", "yolov8n.pt"), ("root", "CMD"),
    ),
    "shell-in-run.Dockerfile": (("apt-lists", "bash -c"), ("pip-cache", "bash -c")),
    "torch-arg.Dockerfile": (("torch-cuda", "torch==${TORCH}+${CU}"),),
    "over-nvidia.Dockerfile": (("cuda-twice", "torch==2.5.0"),),
    "wrong-lists.Dockerfile": (("apt-lists", "/var/lib/apt/list/*"),),
    "weights-folder.Dockerfile": (("weights-in-code", "COPY src models"),),
    "data-archive.Dockerfile": (("weights-in-code", "ADD data.tar.gz"),),
    "project-on-cuda.Dockerfile": (("cuda-twice", "12.1.0-runtime"),),
    "server-words.Dockerfile": (("secret", "LABEL"), ("no-healthcheck", "flask"), ("listens-inside", "flask")),
    "listens.Dockerfile": (
        ("plain-index", "mirror.example"), ("plain-index", "10.0.0.7"), ("listens-inside", "uvicorn"),
    ),
    "listens-bind.Dockerfile": (("listens-inside", "127.0.0.1:9000 main:app"),),
    "compose-reservation.yaml": (("gpu-reservation", "reservation:"),),
    "compose-slips.yaml": (("shared-memory", "shm-size"), ("gpu-reservation", "capability:")),
    "compose-ranks.yaml": (("torch-launch", "MASTER_ADDR: localhost"), ("torch-launch", "MASTER_ADDR=127.0.0.1")),
    "compose-same-rank.yaml": (("torch-launch", "--node_rank 0"),),
    "compose-secrets.yaml": (
        ("secret", "HF_TOKEN"), ("secret", "--api-key"), ("gpu-reservation", "driver: NVIDIA"),
        ("gpu-reservation", "[GPU]"), ("gpu-reservation", "gpus: [all]"), ("gpu-reservation", "count: 0"),
        ("shared-memory", "scale:"),
    ),
    "config-secret.yaml": (("secret", "HF_TOKEN"), ("floating-image", "busybox"), ("secret", "--token")),
    "job-localhost.yaml": (("torch-launch", "127.0.0.1"),),
    "job-loopback.yaml": (("torch-launch", "NCCL_SOCKET_IFNAME"),),
    "jobset-short-name.yaml": (
        ("jobset-restart", "replicatedJobs:"), ("job-restart-policy", "OnFailure"), ("job-subdomain", "js-w-0-0"),
    ),
    "trainjob.yaml": (("trainjob-launch", "--nnodes=2"), ("trainjob-overrides", "podTemplateOverrides")),
}  # fmt: skip


def files(folder: str) -> list[Path]:
    return sorted((CORPUS / folder).iterdir())


def surroundings(path: Path) -> Surroundings:
    tree = MemoryTree({path.name: path.read_bytes(), **_BESIDE.get(path.name, {})})
    return Folder.read(tree, _COMMON.get(path.name)).around(path.name, kind_of(path.read_text()))


def test_the_corpus_is_as_large_as_was_promised() -> None:
    assert len(files("faulty")) >= 40
    assert len(files("clean")) >= 40
    assert {path.name for path in files("faulty")} == set(FAULTS)


def test_every_rule_has_a_planted_fault() -> None:
    planted = {
        (kind_of((CORPUS / "faulty" / name).read_text()), rule) for name in FAULTS for rule, _ in FAULTS[name]
    }
    assert {(rule.kind, rule.id) for rule in RULES} == planted


@pytest.mark.parametrize("path", files("faulty"), ids=lambda path: path.name)
def test_every_planted_fault_is_found_on_its_lines_and_nothing_else(path: Path) -> None:
    found = check(path.name, path.read_text(), surroundings(path))
    left = list(found)
    for rule, piece in FAULTS[path.name]:
        match = next((one for one in left if one.rule == rule and piece in "\n".join(one.lines)), None)
        assert match is not None, (rule, piece, [(one.rule, one.lines) for one in left])
        left.remove(match)
    assert [(one.rule, one.flaw.line, str(one.flaw.why)) for one in left] == []


@pytest.mark.parametrize("path", files("clean"), ids=lambda path: path.name)
def test_nothing_is_found_in_a_clean_file(path: Path) -> None:
    found = check(path.name, path.read_text(), surroundings(path))
    assert [(one.rule, one.flaw.line, str(one.flaw.why)) for one in found] == []


@pytest.mark.parametrize("path", files("clean"), ids=lambda path: path.name)
def test_a_clean_file_is_left_byte_for_byte(path: Path) -> None:
    result = mended(path.name, path.read_text(), surroundings(path), risky=True)
    assert (result.text, result.done, result.added) == (path.read_text(), (), {})


@pytest.mark.parametrize("path", files("faulty"), ids=lambda path: path.name)
def test_what_is_mended_is_a_whole_file_without_the_fault(path: Path) -> None:
    text, around = path.read_text(), surroundings(path)
    result = mended(path.name, text, around, risky=True)
    assert kind_of(result.text) is kind_of(text)
    again = check(path.name, result.text, around)  # it is read again: what was written is a file of its kind
    elsewhere = {one.rule for one in result.done if all(edit.file for edit in one.flaw.mend)}
    assert {one.rule for one in again if one.flaw.mend} <= elsewhere


@pytest.mark.parametrize("path", files("faulty"), ids=lambda path: path.name)
def test_fix_does_not_touch_lines_without_a_fault(path: Path) -> None:
    text, around = path.read_text(), surroundings(path)
    result = mended(path.name, text, around, risky=True)
    touched = {line for one in result.done for line in one.lines}
    touched |= {line for one in result.done for edit in one.flaw.mend for line in edit.lines}
    kept = [line for line in text.splitlines() if line not in touched and line.strip()]
    missing = [line for line in kept if line not in result.text.splitlines()]
    moved = {edit.first for one in result.done for edit in one.flaw.mend if edit.last >= edit.first}
    assert len(missing) <= len(moved), missing


@pytest.mark.parametrize("path", [*files("faulty"), *files("clean")], ids=lambda path: path.name)
def test_crlf_makes_no_difference_and_stays(path: Path) -> None:
    text, around = path.read_text(), surroundings(path)
    crlf = text.replace("\n", "\r\n")
    assert [(f.rule, f.flaw.line) for f in check(path.name, crlf, around)] == [
        (f.rule, f.flaw.line) for f in check(path.name, text, around)
    ]
    result = mended(path.name, crlf, around, risky=True)
    assert result.text.count("\n") == result.text.count("\r\n")
    assert result.text.replace("\r\n", "\n") == mended(path.name, text, around, risky=True).text


def test_sizes_are_the_locks_where_there_is_one() -> None:
    path = CORPUS / "faulty" / "pip-latest.Dockerfile"
    known = {"torch": 800_000_000, "numpy": 18_000_000, "nvidia-cudnn-cu12": 700_000_000}

    def measures(locked: Mapping[str, int]) -> list[str]:
        around = replace(surroundings(path), locked=locked)
        found = check(path.name, path.read_text(), around)
        return [str(one.flaw.measure) for one in found if one.rule in ("code-first", "pip-cache")]

    assert measures(known) == [
        "each edit of a source file installs everything again: 1.5 GB, by the lock",
        "1.5 GB more in the image, by the lock, for nothing",
    ]
    about = ["each edit of a source file installs everything again: about 2.9 GB",
             "about 2.9 GB more in the image, for nothing"]  # fmt: skip
    assert measures({}) == about
    assert measures({"torch": 1}) == about, "a lock of something else"


def test_the_context_is_what_dockerignore_leaves() -> None:
    path = CORPUS / "faulty" / "context.Dockerfile"
    flaw = next(
        f.flaw for f in check(path.name, path.read_text(), surroundings(path)) if f.rule == "weights-in-code"
    )
    assert "best.pt, data/" in str(flaw.why)
    assert "notes" not in str(flaw.why)
    assert "3 MB" in str(flaw.measure)
