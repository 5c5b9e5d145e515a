"""A look into the files that go in: tokens and keys in small text files, and what model files are (P08, P12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from trainload.errors import ConfigError, Text
from trainload.limits import KiB, MiB
from trainload.nesting import loads
from trainload.project.ignore import Rules
from trainload.project.model import CodeFile
from trainload.project.secrets import looks_secret
from trainload.tree import Tree
from trainload.values import dataclass

_TEXT_LIMIT = 128 * KiB
_MOST_FILES = 2_000
_MOST_BYTES = 24 * MiB
"""About 50 ms of reading: a build after an edit has half a second for everything."""
_BINARY = (
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".npy", ".npz", ".zip", ".gz", ".xz", ".zst", ".bz2", ".whl", ".so",
    ".parquet", ".arrow", ".safetensors", ".onnx", ".pt", ".pth", ".bin", ".pkl", ".wav", ".mp3", ".mp4", ".flac",
    ".pdf", ".ttf", ".h5", ".ico", ".woff", ".woff2", ".tar", ".gguf",
)  # fmt: skip
_LIKELY = (".env", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".sh", ".py", ".ipynb", ".txt")
_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".bin")
_SAFETENSORS_HEADER = 100 * MiB  # huggingface/safetensors: MAX_HEADER_SIZE
_CHECKED_HEADER = 8 * MiB
"""Longer headers than any published model has are not parsed; only their length is checked."""


@dataclass(frozen=True, slots=True)
class Found:
    """``secrets``: (path, kind)."""

    secrets: tuple[tuple[str, str], ...]
    warnings: tuple[Text, ...] = ()


def scan_secrets(tree: Tree, files: Sequence[CodeFile], wanted: Rules) -> Found:
    """Small text files with a well-known token or private key in them, the likely kinds of files first."""
    candidates = [
        file for file in files
        if file.target is None and 0 < file.size <= _TEXT_LIMIT and not file.path.lower().endswith(_BINARY)
    ]  # fmt: skip
    if len(candidates) > _MOST_FILES:
        candidates.sort(key=lambda file: (not file.path.lower().endswith(_LIKELY), file.path))
    secrets: list[tuple[str, str]] = []
    read = seen = 0
    for file in candidates:
        if seen == _MOST_FILES or read > _MOST_BYTES:
            break
        seen += 1
        read += file.size
        kind = looks_secret(tree.read(file.path, limit=_TEXT_LIMIT + 1))
        if kind is None:
            continue
        rule = wanted.find_within(file.path.split("/")) if wanted.rules else None
        if rule is None or rule.negated:
            secrets.append((file.path, kind))
    if seen < len(candidates):
        return Found(
            tuple(secrets),
            (
                Text(
                    "{seen} of {count} text files were searched for tokens and keys; exclude what is data",
                    seen=seen, count=len(candidates),
                ),
            ),
        )  # fmt: skip
    return Found(tuple(secrets))


def scan_weights(tree: Tree, files: Sequence[CodeFile]) -> Iterator[Text]:
    """THREATS P12: pickles run code when they are loaded; a safetensors file must be one. Nothing is loaded."""
    pickles = [file.path for file in files if file.target is None and _is_pickle(tree, file)]
    if pickles:
        shown = ", ".join(pickles[:5]) + (f" … ({len(pickles)})" if len(pickles) > 5 else "")
        yield Text("{files}: a pickle can run any code when it is loaded; prefer safetensors", files=shown)
    for file in files:
        if file.target is None and file.path.endswith(".safetensors"):
            wrong = _safetensors(tree, file)
            if wrong is not None:
                yield Text("{path} is not a sound safetensors file: {wrong}", path=file.path, wrong=wrong)


def _is_pickle(tree: Tree, file: CodeFile) -> bool:
    if not file.path.lower().endswith(_PICKLES):
        return False
    if not file.path.lower().endswith(".bin"):
        return True
    with tree.open(file.path) as stream:
        return stream.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _safetensors(tree: Tree, file: CodeFile) -> Text | None:
    """The format: 8 bytes little-endian header length, a JSON header, then the tensors without holes."""
    try:
        with tree.open(file.path) as stream:
            length = int.from_bytes(stream.read(8), "little")
            if file.size < 8 or length > min(_SAFETENSORS_HEADER, file.size - 8):
                return Text("its header does not fit")
            if length > _CHECKED_HEADER:
                return None
            header = loads(stream.read(length))
    except ValueError:
        return Text("its header is not JSON")
    except ConfigError as error:
        return error.text
    if not isinstance(header, dict):
        return Text("its header is not a table")
    return _offsets(header, file.size - 8 - length)


def _offsets(header: dict[str, object], size: int) -> Text | None:
    spans: list[tuple[int, int]] = []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        span = tensor.get("data_offsets") if isinstance(tensor, dict) else None
        if not (isinstance(span, list) and len(span) == 2 and all(type(n) is int for n in span)):
            return Text("a tensor has no place")
        if not 0 <= span[0] <= span[1] <= size:
            return Text("a tensor lies outside the file")
        spans.append((span[0], span[1]))
    spans.sort()
    if any(before[1] > after[0] for before, after in pairwise(spans)):
        return Text("tensors overlap")
    return None
