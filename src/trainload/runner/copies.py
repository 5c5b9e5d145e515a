"""A tar of a path in a container, as bytes on the connection; the hash of all of them comes at the end."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO, Any

from trainload.runner.trouble import Trouble
from trainload.runner.within import Container, in_it

_PIECE = 1 << 18
_TOLD = 4096


class _Out:
    """Pieces to the near side; tells first how long each is."""

    def __init__(self, send: Callable[[dict[str, Any]], None], raw: Callable[[bytes], None]) -> None:
        self._send, self._raw = send, raw
        self.hashed = hashlib.sha256()
        self.size = 0

    def take_all(self, number: int) -> None:
        while True:
            data = os.read(number, _PIECE)
            if not data:
                return
            self._send({"bytes": len(data)})
            self._raw(data)
            self.hashed.update(data)
            self.size += len(data)

    def end(self) -> dict[str, object]:
        return {"sha256": self.hashed.hexdigest(), "size": self.size}


def by_program(
    name: str, container: str, path: str, send: Callable[[dict[str, Any]], None], raw: Callable[[bytes], None]
) -> dict[str, object]:
    """As Docker and Podman make it. Raises :class:`Trouble` with their reason."""
    out = _Out(send, raw)
    errors = os.memfd_create("errors", 0)  # a pipe that nobody reads meanwhile could fill
    try:
        with subprocess.Popen(
            [name, "cp", f"{container}:{path}", "-"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=errors,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            try:
                out.take_all(child.stdout.fileno())
            except BaseException:
                child.kill()
                raise
        if child.returncode != 0:
            lines = os.pread(errors, _TOLD, 0).decode("utf-8", "replace").strip().splitlines()
            raise Trouble("copy", path=path, said=lines[-1] if lines else f"exit code {child.returncode}")
    finally:
        os.close(errors)
    return out.end()


def from_container(
    container: Container, path: str, send: Callable[[dict[str, Any]], None], raw: Callable[[bytes], None]
) -> dict[str, object]:
    """Of one that runs without an engine: read from inside, so that no link leads out of it (THREATS L16)."""
    out, (tar_out, tar_in), (told_out, told_in) = _Out(send, raw), os.pipe(), os.pipe()
    child = in_it(container, lambda: _write(path, tar_in, told_in))
    os.close(tar_in)
    os.close(told_in)
    try:
        out.take_all(tar_out)
        said = os.read(told_out, _TOLD).decode("utf-8", "replace")
    finally:
        os.close(tar_out)
        os.close(told_out)
        _, status = os.waitpid(child, 0)
    if said:
        raise Trouble("copy", path=path, said=said)
    if status:
        raise Trouble("ended")
    return out.end()


class _Archive(tarfile.TarFile):
    """Without what is removed between the listing of its folder and its turn."""

    _begun = False

    def add(self, name: Any, *words: Any, **more: Any) -> None:  # noqa: ANN401 - as the standard library's
        whole, self._begun = not self._begun, True
        try:
            super().add(name, *words, **more)
        except FileNotFoundError:
            if whole:
                raise


def archived(path: str, file: IO[bytes]) -> None:
    """A tar of what ``path`` leads to, into ``file``. Raises :class:`OSError`, :class:`tarfile.TarError`."""
    place = os.path.realpath(path)
    with _Archive.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        archive.add(place, arcname="." if path.endswith("/.") else PurePosixPath(path).name or ".")


def _write(path: str, tar: int, told: int) -> None:
    try:
        with os.fdopen(tar, "wb") as file:
            archived(path, file)
    except (OSError, tarfile.TarError) as error:
        os.write(told, (getattr(error, "strerror", None) or str(error)).encode("utf-8", "replace"))
