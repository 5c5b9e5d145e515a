"""The bytecode layer: unchecked-hash pycs of what lies below, compiled by the image's own interpreter.

CPython's marshal output depends on hash order and on what was compiled before in the same process (cpython
#129724), so it is one process with a fixed hash seed and sorted files, without network, and no package code runs:
compiling does not import. "Unchecked" (PEP 552), because a layer's sources never change under it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.image.model import Layer
from trainload.layers.model import ByteSink, Written
from trainload.layers.writer import LayerWriter, Stream
from trainload.limits import DEFAULT, Limits, MiB
from trainload.plan.model import VENV, BytecodeRecipe
from trainload.run.embedded import EmbeddedEngine
from trainload.run.model import Mount, RunSpec
from trainload.run.unpack import LayerBlob
from trainload.system import scratch
from trainload.system.tree import DiskTree
from trainload.tree import Entry, EntryKind

OUT = "/tmp/bytecode"  # noqa: S108 - inside the sandbox, a mount of ours
_PIECE = MiB

PROGRAM = f"""
import sys
sys.path[:] = [p for p in sys.path if p]  # not the working folder
if sys.flags.hash_randomization:
    sys.exit("the order of hashes is not fixed")
import importlib.util, os, py_compile
out, unchecked = {OUT!r}, py_compile.PycInvalidationMode.UNCHECKED_HASH
roots = sorted({{os.path.realpath(p) for p in sys.path if os.path.isdir(p)}})
roots = [r for r in roots if not any(r.startswith(o + os.sep) for o in roots if o != r)]
for root in roots:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(files):
            if not name.endswith(".py"):
                continue
            source = os.path.join(folder, name)
            target = out + importlib.util.cache_from_source(source, optimization="")
            try:
                py_compile.compile(source, target, source, doraise=True, invalidation_mode=unchecked)
            except (py_compile.PyCompileError, UnicodeDecodeError, ValueError, RecursionError):
                pass  # templates and other versions' syntax lie in packages too; they are never imported
"""


def write_bytecode(
    recipe: BytecodeRecipe,
    below: Sequence[Layer],
    rootfs: Path,
    blob: Callable[[Digest], Path],
    sink: ByteSink,
    limits: Limits = DEFAULT,
) -> Written:
    """Writes the layer of ``recipe`` over the layers ``below``.

    ``rootfs``: where layers are unpacked; ``blob``: the file of a layer's blob. Raises :class:`RunError` when the
    image's interpreter cannot be run here.
    """
    blobs = [LayerBlob(blob(layer.descriptor.digest), layer.diff_id, layer.descriptor.size) for layer in below]
    engine = EmbeddedEngine(rootfs, lambda _: blobs, limits=limits)
    with scratch.folder("bytecode") as folder:
        outcome = engine.run(
            RunSpec(
                image=Digest.sha256(b""),  # the engine is given the layers themselves
                id=secrets.token_hex(6),
                command=(f"{VENV}/bin/python", "-s", "-c", PROGRAM),
                user="0",
                workdir="/",
                # with -I or -E Python would not look at its seed
                env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
                mounts=(Mount(str(folder), OUT),),
                network=False,
                interactive=False,
                step=True,
            )
        )
        if outcome.exit_code != 0:
            raise RunError(
                Text("the image's Python could not compile its packages: {reason}", reason=outcome.reason),
                hints=[Text("set bytecode = false")],
            )
        return _write(DiskTree(folder), sink)


def _write(tree: DiskTree, sink: ByteSink) -> Written:
    """What was compiled, as a layer.

    Folders above ``__pycache__`` are named too, with the attributes they have below: Docker 20.10 makes folders
    that a layer does not name such that an ordinary user cannot enter them.
    """
    with LayerWriter(sink) as out:
        for entry in tree.walk(lambda _: True):
            if entry.kind is EntryKind.FOLDER:
                out.directory(entry.path)
            elif entry.kind is EntryKind.FILE:
                _file(tree, entry, out)
        return out.close()


def _file(tree: DiskTree, entry: Entry, out: LayerWriter) -> None:
    with tree.open(entry.path) as file:
        out.file(entry.path, Stream(entry.size, iter(lambda: file.read(_PIECE), b"")))
