"""Which third-party packages the scripts import: for a project that does not say what it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainload.limits import KiB
from trainload.tree import Entry, EntryKind, Tree

_LARGEST = 256 * KiB
_MOST = 500
_SKIPPED = {"node_modules", "__pycache__", "site-packages", "venv", "env", "build", "dist", "data", "outputs"}

# import name → distribution name, where they differ
DISTRIBUTIONS: Mapping[str, str] = {
    "cv2": "opencv-python-headless", "sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow",
    "yaml": "PyYAML", "bs4": "beautifulsoup4", "dateutil": "python-dateutil", "dotenv": "python-dotenv",
    "attr": "attrs", "google.protobuf": "protobuf", "git": "GitPython", "jwt": "PyJWT", "magic": "python-magic",
    "mpl_toolkits": "matplotlib", "pl_bolts": "lightning-bolts", "pytorch_lightning": "pytorch-lightning",
    "lightning_fabric": "lightning-fabric", "serial": "pyserial", "usb": "pyusb", "zmq": "pyzmq",
    "Bio": "biopython",
    "faiss": "faiss-cpu", "fitz": "PyMuPDF", "docx": "python-docx", "pptx": "python-pptx", "OpenSSL": "pyOpenSSL",
    "Crypto": "pycryptodome", "MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary", "sacremoses": "sacremoses",
    "sentence_transformers": "sentence-transformers", "umap": "umap-learn", "hydra": "hydra-core",
    "imblearn": "imbalanced-learn", "tensorboardX": "tensorboardX", "torch_geometric": "torch-geometric",
    "open_clip": "open-clip-torch", "clip": "open-clip-torch", "segment_anything": "segment-anything",
    "pycocotools": "pycocotools", "ruamel": "ruamel.yaml", "absl": "absl-py", "gym": "gym", "apex": "apex",
    "flash_attn": "flash-attn", "huggingface_hub": "huggingface-hub", "einops": "einops", "box": "python-box",
    "jose": "python-jose", "slugify": "python-slugify", "Levenshtein": "Levenshtein", "tf_keras": "tf-keras",
    "lightgbm": "lightgbm", "dgl": "dgl", "soundfile": "soundfile", "pkg_resources": "setuptools",
    "prometheus_client": "prometheus-client", "sse_starlette": "sse-starlette", "lmdb": "lmdb",
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """A module the standard library does not have."""

    module: str
    file: str
    line: int

    @property
    def distribution(self) -> str:
        return DISTRIBUTIONS.get(self.module, self.module.replace("_", "-"))


@dataclass(frozen=True, slots=True)
class Scan:
    """``imports``: the first use of each module, by module. ``unread``: files that are not Python we can read."""

    imports: tuple[Import, ...]
    scripts: int
    unread: tuple[str, ...]


def scan(tree: Tree) -> Scan:
    """All Python files of ``tree``, without running them; modules of the project itself are left out."""
    files = list(_files(tree))
    modules = _modules(files)
    first: dict[str, Import] = {}
    unread: list[str] = []
    for file in files:
        try:
            found = list(_imports(tree.read(file, limit=_LARGEST), file))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            unread.append(file)
            continue
        local = _reachable(file, modules)
        for item in found:
            if item.module not in sys.stdlib_module_names and item.module not in local:
                first.setdefault(item.module, item)
    return Scan(tuple(sorted(first.values())), len(files), tuple(unread))


def _modules(files: list[str]) -> dict[str, set[str]]:
    """Folder → the modules and packages in it."""
    found: dict[str, set[str]] = {}
    for file in files:
        parts = file.removesuffix(".py").split("/")
        for depth, part in enumerate(parts):
            found.setdefault("/".join(parts[:depth]), set()).add(part)
    return found


def _reachable(file: str, modules: dict[str, set[str]]) -> set[str]:
    """What ``file`` can mean by a plain import: its neighbours, those of the folders above, and of ``src``."""
    folders = ["src", ""]
    for part in file.split("/")[:-1]:
        folders.append(f"{folders[-1]}/{part}".lstrip("/"))
    return set().union(*(modules.get(folder, set()) for folder in folders))


def _files(tree: Tree) -> Iterator[str]:
    count = 0
    for entry in tree.walk(_enter):
        if entry.kind is EntryKind.FILE and entry.path.endswith(".py") and entry.size <= _LARGEST:
            yield entry.path
            count += 1
            if count >= _MOST:
                return


def _enter(entry: Entry) -> bool:
    name = entry.path.rpartition("/")[2]
    return not name.startswith(".") and name not in _SKIPPED and entry.path.count("/") < 8


def _imports(source: bytes, file: str) -> Iterator[Import]:
    import ast
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarning of the user's code is not ours to tell
        parsed = ast.parse(source, file)
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name.partition(".")[0], file, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield Import(node.module.partition(".")[0], file, node.lineno)
