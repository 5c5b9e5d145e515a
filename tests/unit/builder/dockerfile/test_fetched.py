"""Which files of a repository a line takes, and where the hub's client would look for them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trainload.builder.dockerfile.placing.fetched import _cache, _chosen
from trainload.builder.dockerfile.placing.interpreter import Caller
from trainload.dockerfile.steps import FetchWeights
from trainload.dockerfile.understand.line import understand
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import Opaque, RunLine, Understood

NAMES = (
    ".gitattributes", "README.md", "config.json", "generation_config.json", "model.safetensors", "tf_model.h5",
    "pytorch_model.bin", "onnx/model.onnx", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
    "special_tokens_map.json", "preprocessor_config.json",
)  # fmt: skip
SHARDS = (
    "config.json", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin",
    "pytorch_model-00002-of-00002.bin", "flax_model.msgpack",
)  # fmt: skip


def chosen(script: str, names: Sequence[str] = NAMES) -> list[str]:
    found = understand(RunLine(1, script, ("/bin/sh", "-c", script), ("/bin/sh", "-c"), {}, workdir="/srv"))
    assert isinstance(found, Understood), found
    (step,) = found.steps
    assert isinstance(step, FetchWeights)
    return sorted(_chosen(step, names))


def program(loaders: str) -> str:
    calls = "; ".join(f"{loader}.from_pretrained('org/x')" for loader in loaders.split())
    return f'python -c "from transformers import {", ".join(loaders.split())}; {calls}"'


@pytest.mark.parametrize(
    ("script", "names"),
    [
        (program("AutoConfig"), "config.json"),
        (program("AutoModel"), "config.json generation_config.json model.safetensors"),
        (program("BertTokenizerFast"), "config.json special_tokens_map.json tokenizer.json tokenizer_config.json "
                                       "vocab.txt"),
        (program("AutoConfig AutoModelForCausalLM"), "config.json generation_config.json model.safetensors"),
        ("hf download org/x config.json", "config.json"),
        ("hf download org/x --include '*.safetensors' --include 'vocab*'", "model.safetensors vocab.txt"),
        ("huggingface-cli download org/x --include '*.json' --exclude '*token*'",
         "config.json generation_config.json preprocessor_config.json"),
    ],
)  # fmt: skip
def test_a_loader_takes_what_its_class_needs_and_a_download_what_it_is_told(script: str, names: str) -> None:
    assert chosen(script) == names.split()


def test_shards_go_with_their_index() -> None:
    assert chosen(program("AutoModel"), SHARDS) == sorted(SHARDS[:4])
    assert chosen("hf download org/x", SHARDS) == sorted(SHARDS)


@pytest.mark.parametrize("loader", ["AutoModelWithX", "DiffusionPipeline", "BertModel", "pipeline", "Trainer"])
def test_a_loader_whose_files_are_not_known_is_run(loader: str) -> None:
    with pytest.raises(Beyond):
        chosen(program(loader))
    with pytest.raises(Beyond, match="without weights"):
        chosen(program("AutoModel"), ["config.json", "model.gguf"])


@pytest.mark.parametrize(
    "script",
    [
        "hf download org/x 'model-*.bin'", "hf download org/x a --include b", "hf download org/x --token hf_x",
        "hf download org/x --cache-dir /x", "hf download org/x --dry-run", "hf upload org/x", "hf auth login",
        "hf download org/x | tee log", "HF_HOME=/x hf download org/x", "hf download org/x > list",
        "python -c \"from transformers import AutoModel; AutoModel.from_pretrained('x', torch_dtype='auto')\"",
        "python -c \"from transformers import AutoModel as M; M.from_pretrained('x')\"",
        "python -c \"from mine import AutoModel; AutoModel.from_pretrained('x')\"",
        "python -c \"from transformers import AutoModel; AutoModel.from_pretrained('x').save_pretrained('/m')\"",
        "python -m transformers download x",
    ],
)  # fmt: skip
def test_what_may_fetch_something_else_is_run(script: str) -> None:
    found = understand(RunLine(1, script, ("/bin/sh", "-c", script), ("/bin/sh", "-c"), {}, workdir="/srv"))
    assert isinstance(found, Opaque)


@pytest.mark.parametrize(
    ("env", "place"),
    [
        ({}, "/root/.cache/huggingface/hub"), ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HOME": "/models"}, "/models/hub"), ({"HF_HUB_CACHE": "/hub", "HF_HOME": "/models"}, "/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
    ],
)  # fmt: skip
def test_the_cache_is_where_the_client_looks(env: dict[str, str], place: str) -> None:
    assert _cache(Caller(env, 0, 0, "/root")) == place


@pytest.mark.parametrize("home", ["relative", "/a/../b", "~/x", "/with space"])
def test_a_cache_elsewhere_is_run(home: str) -> None:
    with pytest.raises(Beyond):
        _cache(Caller({"HF_HOME": home}, 0, 0, "/root"))
