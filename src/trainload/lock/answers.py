"""The lock of a Dockerfile: what each question about the outside world was answered with when it was first asked.

``FROM python:3.11-slim`` is such a question, and its answer is digests. A question that is not in the lock is new,
so no digest of inputs is needed; what is not asked any more is left out when the lock is written. Pure.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping

from trainload.errors import LockError, Place, Problems, Text
from trainload.lock.document import Table, parse
from trainload.lock.model import Base, Blob, Weights
from trainload.lock.readbase import read_base
from trainload.lock.readweights import read_entry
from trainload.lock.write import base_lines, weights_lines

VERSION = 1
_HEAD = "# Made by `trainload build`: the exact bytes a Dockerfile takes from outside. Keep it in version control."

Answer = Mapping[str, object]
"""What TOML can hold."""


def loads(data: bytes, file: str) -> dict[str, Answer]:
    """The answers by their questions. Raises :class:`LockError`."""
    document = parse(data, file)
    version = document.pop("version", None)
    if version != VERSION:
        raise LockError(
            Text("the lock is of a version that is not known"),
            place=Place(file, "version"),
            got=version,
            want=VERSION,
        )
    found: dict[str, Answer] = {}
    for question, answer in document.items():
        if not isinstance(answer, dict):
            raise LockError(Text("an answer of the lock is no table"), place=Place(file, question), got=answer)
        found[question] = answer
    return found


def dumps(answers: Mapping[str, Answer]) -> bytes:
    """As TOML, sorted, an item of a list on each line; equal answers give equal bytes."""
    lines = [_HEAD, f"version = {VERSION}"]
    for question, answer in sorted(answers.items()):
        lines += ["", f"[{_text(question)}]"]
        for key, value in sorted(answer.items()):
            if isinstance(value, list | tuple) and value:
                lines += [f"{_text(key)} = [", *(f"  {_inline(item)}," for item in value), "]"]
            else:
                lines.append(f"{_text(key)} = {_inline(value)}")
    return ("\n".join(lines) + "\n").encode()


def _inline(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_text(str(key))} = {_inline(item)}' for key, item in sorted(value.items()))} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return _text(str(value))


def _text(text: str) -> str:
    """A basic string; JSON's escapes are TOML's, but for DEL (toml.io § String)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def of_base(base: Base) -> Answer:
    """A base composed of packages, as an answer."""
    document = tomllib.loads("\n".join(base_lines(base, "base")))
    found = document["tool"]["trainload"]["base"]
    assert isinstance(found, dict)
    return found


def blob(answer: Answer, key: str, file: str, question: str) -> Blob:
    """A digest and a size. Raises :class:`LockError` for anything else."""
    value = answer.get(key)
    if isinstance(value, dict):
        digest, size = value.get("digest"), value.get("size")
        if isinstance(digest, str) and digest.startswith("sha256:") and type(size) is int and size >= 0:
            return Blob(digest, size)
    raise LockError(Text("an answer of the lock is broken"), place=Place(file, f"{question}.{key}"), got=value)


def base_of(answer: Answer, file: str, question: str) -> Base:
    """A base composed of packages. Raises :class:`LockError`."""
    problems = Problems()
    base = read_base(Table(answer, file, problems, question))
    problems.check()
    return base


def of_weights(weights: Weights) -> Answer:
    """An entry of ``weights``, as an answer."""
    found = tomllib.loads("\n".join(weights_lines(weights)))["tool"]["trainload"]["weights"][0]
    assert isinstance(found, dict)
    return found


def weights_of(answer: Answer, file: str, question: str) -> Weights:
    """An entry of ``weights``. Raises :class:`LockError`."""
    problems = Problems()
    weights = read_entry(Table(answer, file, problems, question))
    problems.check()
    assert weights is not None
    return weights
