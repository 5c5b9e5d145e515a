"""What a pickle would import, without loading it (THREATS P12).

A pickle is a program: GLOBAL, STACK_GLOBAL and INST fetch anything that can be imported, REDUCE and its kin call
it. The opcodes are walked, none is executed. A stream that breaks is told with what came before the break, since a
loader runs that too. What this cannot tell is whether an import is harmless: it names those that no weights need.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

_HEADS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M"  # torch's magic number, before zip files
_LARGEST = 256 << 20
"""Bytes of one pickle in a zip that are walked; tensors lie beside it."""
_OPCODES = 20_000_000
_PIECE = 1 << 20
_STREAMS = 64
"""Pickles one after the other, as torch wrote them before it took zip files."""
_STRINGS = frozenset(
    {
        "SHORT_BINUNICODE", "UNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "SHORT_BINSTRING", "BINSTRING",
    }
)  # fmt: skip
_HARMLESS = frozenset(
    {
        "collections.OrderedDict", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_parameter", "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor", "torch._tensor._rebuild_from_type_v2", "torch.Tensor", "torch.Size",
        "torch.device", "torch.nn.parameter.Parameter", "torch.serialization._get_layout",
        "torch.storage.UntypedStorage", "torch.storage.TypedStorage",
        "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar", "numpy.ndarray", "numpy.dtype",
        "_codecs.encode", "builtins.set", "builtins.frozenset", "builtins.bytearray", "builtins.complex",
        "__builtin__.set", "__builtin__.complex",
    }
)  # fmt: skip
_TORCH_KINDS = frozenset({"Storage", "Tensor"})
_TORCH_TYPES = frozenset(
    {
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
        "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "strided", "quint8", "qint8", "qint32",
        "per_tensor_affine",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What a file is."""

    pickle: bool
    imports: tuple[str, ...] = ()
    """What it imports that weights have no need of, sorted: ``os.system``."""
    damaged: str = ""
    """Why it could not be walked to its end; a loader may go on all the same."""


def scan(file: BinaryIO) -> Found:
    """What ``file``, which is seekable, would import when it is loaded; nothing for what is no pickle."""
    head = file.read(32)
    file.seek(0)
    if head.startswith(b"PK"):
        return _in_zip(file)
    if head.startswith(_HEADS):
        return _streams(file)
    if not _may_be_old(head):
        return Found(pickle=False)
    found = _walk(file)
    # anything may begin like one; what imports something, or comes to its end, is one
    return found if not found.damaged or found.imports else Found(pickle=False)


def _may_be_old(head: bytes) -> bool:
    """Protocols 0 and 1 begin with any opcode: ``(dp0``, ``]q``, ``cos\\nsystem``."""
    return head[:1] in (b"(", b"]", b"}", b"c", b"i") and head[:4] not in (b"GGUF", b"ggml")


def _in_zip(file: BinaryIO) -> Found:
    """torch's archives have one pickle each, ``NAME/data.pkl``."""
    found: list[Found] = []
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                with archive.open(member) as inner:
                    if member.filename.endswith((".pkl", ".pickle")):
                        found.append(_streams(io.BytesIO(inner.read(_LARGEST))))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        # loaders that read zip files their own way may take it all the same
        found.append(Found(pickle=True, damaged=f"its archive cannot be read ({error})"))
    return _joined(found)


def _streams(file: BinaryIO) -> Found:
    """One pickle after the other; what follows the last is tensors."""
    found: list[Found] = []
    old_torch = file.read(len(_OLD_TORCH)) == _OLD_TORCH
    file.seek(0)
    for number in range(_STREAMS):
        at = file.tell()
        if file.read(2) not in _HEADS and number:
            break
        file.seek(at)
        one = _walk(file)
        found.append(one)
        if one.damaged or (old_torch and number == 4):  # magic, version, machine, object, keys; then tensors
            break
    return _joined(found)


def _joined(found: list[Found]) -> Found:
    imports = tuple(sorted({name for one in found for name in one.imports}))
    damaged = next((one.damaged for one in found if one.damaged), "")
    return Found(any(one.pickle for one in found), imports, damaged)


def _walk(file: BinaryIO) -> Found:
    """What it imports up to its end, or to where it breaks."""
    names: set[str] = set()
    damaged = ""
    try:
        names.update(name for name in _imports(file) if name)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, EOFError, OverflowError) as error:
        damaged = f"it breaks off ({str(error)[:80]})"
    return Found(pickle=True, imports=tuple(sorted(one for one in names if not harmless(one))), damaged=damaged)


def harmless(name: str) -> bool:
    """Whether loaders of weights let it pass (torch's ``weights_only`` knows the same)."""
    if name in _HARMLESS:
        return True
    module, _, last = name.rpartition(".")
    if module in ("torch", "torch.cuda") and (last in _TORCH_TYPES or last.endswith(tuple(_TORCH_KINDS))):
        return True
    return module == "numpy.dtypes" and last.endswith("DType")


def _imports(file: BinaryIO) -> Iterator[str]:
    """For every opcode what it imports, or nothing.

    Texts are followed over stack and memo, since STACK_GLOBAL takes module and name from there; what is no
    text that stands in the stream counts as unknown.
    """
    stack: list[object] = []
    memo: dict[int, object] = {}
    for number, (opcode, argument, _) in enumerate(pickletools.genops(cast("BinaryIO", _Lean(file)))):
        if number > _OPCODES:
            raise ValueError("too long")
        name = opcode.name
        top = stack[-1] if stack else None
        if name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else int(argument)] = top
            yield ""
            continue
        taken = _pop(stack, opcode)
        if name in _STRINGS:
            stack.append(str(argument))
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(int(argument or 0)))
        elif name == "DUP":
            stack.extend((top, top))
        else:
            stack.extend(
                pickletools.markobject if one is pickletools.markobject else None for one in opcode.stack_after
            )
        if name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif name.startswith("EXT"):
            yield "copyreg.?"
        elif name == "STACK_GLOBAL":
            yield ".".join(one if isinstance(one, str) else "?" for one in taken)
        else:
            yield ""


def _pop(stack: list[object], opcode: pickletools.OpcodeInfo) -> list[object]:
    """What the opcode takes from the stack, the deepest first (as pickletools.dis counts it)."""
    before = opcode.stack_before
    mark = pickletools.markobject
    count = len(before)
    if mark in before or (opcode.name == "POP" and stack and stack[-1] is mark):
        while stack and stack.pop() is not mark:
            pass
        count = before.index(mark) if mark in before else 0
    if count == 0:
        return []
    taken = stack[-count:]
    del stack[-count:]
    return taken


class _Skipped(bytes):
    """Bytes that were passed over; only their number is true."""

    size = 0

    def __len__(self) -> int:
        return self.size


class _Lean:
    """A file whose large pieces, which are data, are passed over and not read: memory does not grow with them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        here = file.tell()
        self._end = file.seek(0, io.SEEK_END)
        file.seek(here)

    def read(self, size: int = -1) -> bytes:
        if size <= _PIECE:
            return self._file.read(size)
        skipped = _Skipped()
        at = self._file.tell()
        skipped.size = min(size, self._end - at)
        self._file.seek(at + skipped.size)
        return skipped

    def readline(self) -> bytes:
        return self._file.readline(_PIECE)

    def tell(self) -> int:
        return self._file.tell()
