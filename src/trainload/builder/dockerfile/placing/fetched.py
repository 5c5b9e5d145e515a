"""What a line fetches from a hub, as layers: locked by commit and hash, where the hub's own client keeps it.

``hf download`` and ``snapshot_download`` take what they are told. What ``from_pretrained`` of transformers takes is
chosen from the repository's own list by what a class needs; other loaders are run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.interpreter import Caller, find_program
from trainload.dockerfile.steps import FetchWeights
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import LockError, Text
from trainload.layers.code import ATTRIBUTES
from trainload.layers.tarread import MemberKind
from trainload.lock.answers import of_weights, weights_of
from trainload.lock.found import Installed
from trainload.lock.model import Weights
from trainload.plan.model import PlannedLayer
from trainload.plan.weights import cache_layers, folder_layers
from trainload.project.weights import DEFAULT_REVISION, HubSource, Wanted, parse_source
from trainload.resolve.cache import FolderCache
from trainload.resolve.hub import Hub, find_endpoints
from trainload.resolve.local import LocalFiles
from trainload.resolve.weights import Shelf, lock_weights
from trainload.values import replace

_ELSEWHERE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE",
              "PYTORCH_PRETRAINED_BERT_CACHE", "SENTENCE_TRANSFORMERS_HOME")  # fmt: skip
_PLAIN = (0, 23)
"""huggingface_hub from which ``--local-dir`` has files, not links into the cache."""
_TOKENIZER = (
    "config.json", "tokenizer*.json", "tokenizer.model", "vocab.*", "merges.txt", "spiece.model",
    "sentencepiece*.model", "special_tokens_map.json", "added_tokens.json", "chat_template.*",
)  # fmt: skip
_PROCESSOR = ("*processor_config.json",)
_SETTINGS = ("config.json", "generation_config.json")
_OTHERS = (
    "onnx/*",
    "openvino/*",
    "*.onnx",
    "*.h5",
    "*.ot",
    "*.msgpack",
    "*.tflite",
    "*.gguf",
    ".git*",
    "*.mlmodel",
)


def place_weights(step: FetchWeights, ground: Ground, bench: Bench, caller: Caller) -> tuple[PlannedLayer, ...]:
    """Raises :class:`Beyond` where what would be fetched, or where to, is not known.

    Raises :class:`LockError` when the lock may not change, :class:`FetchError` for a hub that cannot be reached.
    """
    source = _source(step)
    _check(step, ground, caller)
    weights = _locked(step, source, bench)
    if step.folder is not None:
        _check_folders(step.folder, ground)
        if ground.folder(step.folder):
            raise Beyond(Text("{path}, which is there already", path=step.folder))
        return folder_layers(step.folder.strip("/"), source.repository, weights)
    top = _cache(caller)
    _check_folders(top, ground)
    repository = f"{top}/{source.kind}--{source.repository.replace('/', '--')}".strip("/")
    missing = _missing(repository, source, weights, ground)
    return cache_layers(top.strip("/"), source, missing) if missing.files else ()


def _missing(top: str, source: HubSource, weights: Weights, ground: Ground) -> Weights:
    """What an earlier line has not brought, of the same commit."""
    if ground.find(top) is None:
        return weights
    commit = ground.read(f"{top}/refs/{source.revision}")
    if commit is None or commit.decode("utf-8", "replace").strip() != weights.commit:
        raise Beyond(Text("{path}, which is there already", path=f"/{top}"))
    here = f"{top}/snapshots/{weights.commit}"
    left = tuple(one for one in weights.files if ground.find(f"{here}/{one.path}") is None)
    return replace(weights, files=left)


def _source(step: FetchWeights) -> HubSource:
    prefix = "datasets/" if step.kind == "dataset" else ""
    source = parse_source(f"hf://{prefix}{step.repository}@{step.revision or DEFAULT_REVISION}")
    if not isinstance(source, HubSource):
        raise Beyond(Text("{command}", command=step.repository))
    return source


def _check(step: FetchWeights, ground: Ground, caller: Caller) -> None:
    """That the program is there, and would look where we put things."""
    for name in (*_ELSEWHERE, "HF_TOKEN"):
        if caller.env.get(name):
            raise Beyond(Text("the variable {name}, which changes what programs do", name=name))
    if caller.uid != 0:
        raise Beyond(Text("the user {user}, who is not root", user=caller.uid))
    if find_program(step.tool[0], ground, caller.env) is None:
        raise Beyond(Text("the image has no {program}", program=step.tool[0]))
    packages = _packages(step, ground, caller)
    for needed in _needs(step):
        if needed not in packages:
            raise Beyond(Text("the image has no {program}", program=needed))
    if _version(packages["huggingface-hub"].version) < _PLAIN:
        raise Beyond(
            Text("huggingface_hub {version}, which is too old", version=packages["huggingface-hub"].version)
        )


def _needs(step: FetchWeights) -> tuple[str, ...]:
    found = {"huggingface-hub"}
    for loader in step.loaders:
        found.add("sentence-transformers" if loader == "SentenceTransformer" else "transformers")
        if loader == "SentenceTransformer" or _is_model(loader):
            found.add("torch")
    return tuple(sorted(found))


def _packages(step: FetchWeights, ground: Ground, caller: Caller) -> Mapping[str, Installed]:
    """What is installed for the Python that runs; of a program of any Python that has the hub's client."""
    program = ground.real(find_program(step.tool[0], ground, caller.env) or "")
    found = [python for python in ground.facts.pythons if python.path == f"/{program}"]
    pythons = found or ground.facts.pythons if step.tool[0] in ("hf", "huggingface-cli") else found
    for python in pythons:
        installed = {each.name: each for each in python.installed}
        if "huggingface-hub" in installed:
            return installed
    raise Beyond(Text("the image has no {program}", program="huggingface_hub"))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", text)[:2])


def _cache(caller: Caller) -> str:
    """huggingface_hub: constants.py."""
    env = caller.env
    base = env.get("XDG_CACHE_HOME") or f"{caller.home.rstrip('/')}/.cache"
    home = env.get("HF_HOME") or f"{base}/huggingface"
    found = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    if not re.fullmatch(r"(?:/[A-Za-z0-9._-]+)+", found) or "/../" in f"{found}/":
        raise Beyond(Text("the path {path}", path=found))
    return found


def _check_folders(top: str, ground: Ground) -> None:
    """Folders that are there already are as ours would be."""
    path = ""
    for part in top.strip("/").split("/"):
        path = f"{path}/{part}".strip("/")
        seen = ground.at(path)
        if seen is None:
            continue
        usual = (seen.mode & 0o7777, seen.owner.uid, seen.owner.gid) == (ATTRIBUTES.get(path, 0o755), 0, 0)
        if seen.kind is not MemberKind.DIRECTORY or not usual:
            raise Beyond(Text("{path}, which is there already", path=f"/{path}"))


def _locked(step: FetchWeights, source: HubSource, bench: Bench) -> Weights:
    told = " ".join((*step.loaders, *step.files, *(f"-{one}" for one in step.exclude)))
    question = f"fetch {source}" + (f" ({told})" if told else "")
    endpoints = find_endpoints(bench.settings.mirrors.value.hub, bench.environ)
    if bench.answers.get(question) is None and not endpoints.urls:
        raise Beyond(Text("which hub hf:// means is not known"))

    def ask() -> Mapping[str, object]:
        http = bench.services().http
        shelf = Shelf(Hub(http, lambda: endpoints), http, bench.shop.store.files, _nothing(bench))
        names = [file.path for file in shelf.hub.files(source, shelf.hub.commit(source))]
        wanted = tuple(sorted(_chosen(step, names)))
        if not wanted or any(set(name) & set("*?[") for name in wanted):
            raise Beyond(Text("{command}", command=step.repository))
        try:
            return of_weights(lock_weights([Wanted(source, wanted)], None, lambda _: True, shelf)[0])
        except LockError as error:
            raise Beyond(Text("what nothing fits: {reason}", reason=error.got or error.text)) from error

    return weights_of(bench.answers.ask(question, ask), bench.answers.file, question)


def _nothing(bench: Bench) -> LocalFiles:
    """No file of the project is weights of a line."""
    return LocalFiles(
        bench.context.tree, Path(bench.root), FolderCache(bench.shop.store.home / "cache" / "weights")
    )


def _chosen(step: FetchWeights, names: Sequence[str]) -> Iterator[str]:
    if step.loaders:
        yield from dict.fromkeys(name for loader in step.loaders for name in _of_loader(loader, names))
        return
    for name in names:
        wanted = not step.files or any(fnmatchcase(name, pattern) for pattern in step.files)
        if wanted and not any(fnmatchcase(name, pattern) for pattern in step.exclude):
            yield name


def _of_loader(loader: str, names: Sequence[str]) -> Iterator[str]:
    """The files a loader takes; small ones that it may do without are taken, too."""

    def fits(patterns: Sequence[str]) -> Callable[[str], bool]:
        return lambda name: any(fnmatchcase(name, pattern) for pattern in patterns)

    if loader == "SentenceTransformer":
        bins = [name for name in names if name.endswith(".bin")]
        safe = {name.rpartition("/")[0] for name in names if name.endswith(".safetensors")}
        left = {name for name in bins if name.rpartition("/")[0] in safe}
        yield from (name for name in names if name not in left and not fits(_OTHERS)(name))
    elif _is_model(loader):
        yield from filter(fits(_SETTINGS), names)
        yield from _numbers(names)
    elif loader.endswith(("Tokenizer", "TokenizerFast")):
        yield from filter(fits(_TOKENIZER), names)
    elif loader in ("AutoProcessor", "AutoImageProcessor", "AutoFeatureExtractor"):
        yield from filter(fits((*_PROCESSOR, *_TOKENIZER)), names)
    elif loader == "AutoConfig":
        yield from filter(fits(_SETTINGS[:1]), names)
    else:
        raise Beyond(Text("the loader {name}, whose files are not known", name=loader))


def _numbers(names: Sequence[str]) -> Iterator[str]:
    """transformers: modeling_utils, in its order of what it looks for."""
    for whole, index, shard in (
        ("model.safetensors", "model.safetensors.index.json", r"model-\d{5}-of-\d{5}\.safetensors"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json", r"pytorch_model-\d{5}-of-\d{5}\.bin"),
    ):
        if whole in names:
            yield whole
            return
        if index in names:
            yield from (name for name in names if name == index or re.fullmatch(shard, name))
            return
    raise Beyond(Text("a repository without weights of transformers"))


def _is_model(loader: str) -> bool:
    return re.fullmatch(r"AutoModel(?:For[A-Za-z0-9]+)?", loader) is not None
