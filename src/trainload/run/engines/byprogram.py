"""Any container of Docker or Podman as a :class:`trainload.run.changed.Container`, whatever started it.

Asked through the engine's own program, so that contexts, ssh hosts and rights are the user's. Content comes as tar
streams that are read here, strictly, and never extracted; nothing is ever copied into a container (THREATS D6, D9).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from trainload.errors import RunError, Text
from trainload.layers.tarread import Member, MemberKind, TarReader, member_path
from trainload.layers.writer import LayerWriter, Owner, Stream
from trainload.run.changed import LARGEST, SMALL, Changed, Found, How
from trainload.system.process import ProcessError, run

PROGRAMS = ("docker", "podman")
_HOW = {"A": How.ADDED, "C": How.CHANGED, "D": How.DELETED}
_LINE = re.compile(r"([ACD]) /(.+)")
_MISSING = re.compile(
    r"no such file|not find|could not be found|does not exist|not a directory|ENOENT", re.IGNORECASE
)
_SIBLINGS = 4
"""So many paths of one folder are read as the folder."""


def find(word: str, programs: Sequence[str], environ: Mapping[str, str]) -> ByProgram:
    """The container with the id or name ``word``, in the first engine that has it. Raises :class:`RunError`."""
    reasons: list[Text] = []
    for program in programs:
        try:
            done = run([program, "inspect", "--type", "container", "--", word], env=environ, timeout=60)
        except ProcessError as error:
            reasons.append(error.text)
            continue
        if done.exit_code == 0:
            return _container(program, json.loads(done.stdout)[0], environ)
        reasons.append(Text("{program}: {reason}", program=program, reason=_last(done.complaint)))
    raise RunError(
        Text("there is no run or container {name}", name=word),
        hints=(*reasons, Text("trainload ps -a, docker ps -a and podman ps -a list them")),
    )


def _container(program: str, told: Mapping[str, Any], environ: Mapping[str, str]) -> ByProgram:
    mounts = [str(mount["Destination"]) for mount in told.get("Mounts") or ()]
    mounts += list((told.get("HostConfig") or {}).get("Tmpfs") or ())
    return ByProgram(
        program=program,
        id=str(told["Id"]),
        name=str(told["Name"]).lstrip("/"),
        image=str(told["Image"]),
        workdir=str(told["Config"].get("WorkingDir") or "/"),
        mounts=tuple(sorted(place.rstrip("/") for place in mounts)),
        environ=environ,
    )


@dataclass(frozen=True, slots=True)
class ByProgram:
    """See :class:`trainload.run.changed.Container`."""

    program: str
    id: str
    name: str
    image: str
    workdir: str
    mounts: tuple[str, ...]
    environ: Mapping[str, str]
    _now: dict[str, Found | None] = field(default_factory=dict, repr=False, compare=False)
    """What was read already: a question takes the engine up to half a second."""
    _before: dict[str, Found | None] = field(default_factory=dict, repr=False, compare=False)

    def changes(self) -> tuple[Changed, ...]:
        lines = self._call("diff", self.id).decode("utf-8", "surrogateescape").split("\n")
        matches = [match for line in lines if (match := _LINE.fullmatch(line))]
        return tuple(
            sorted(Changed(match[2], _HOW[match[1]]) for match in matches if not self._mounted(f"/{match[2]}"))
        )

    def read(self, paths: Collection[str]) -> Mapping[str, Found]:
        new = [path for path in paths if path not in self._now]
        self._now.update(dict.fromkeys(new) | self._read(self.id, new))
        return {path: found for path in paths if (found := self._now[path]) is not None}

    def before(self, paths: Collection[str]) -> Mapping[str, Found]:
        new = [path for path in paths if path not in self._before]
        if new:
            with self._untouched() as container:
                self._before.update(dict.fromkeys(new) | self._read(container, new))
        return {path: found for path in paths if (found := self._before[path]) is not None}

    def write_layer(
        self, out: LayerWriter, left_out: Callable[[str], bool], is_secret: Callable[[str, bytes], bool]
    ) -> None:
        """From one export of the whole container: modes and owners of folders come in no other way."""
        changes = self.changes()
        wanted = {change.path for change in changes if change.how is not How.DELETED and not left_out(change.path)}
        gone = [change.path for change in changes if change.how is How.DELETED and not left_out(change.path)]
        folders = {path[:at] for path in (*wanted, *gone) for at, char in enumerate(path) if char == "/"}
        written: set[str] = set()
        with self._stream("export", self.id) as (first, child):
            for member in (reader := TarReader(_Again(first, child), self.name, end_mark=False)):
                path = member_path(member.name, self.name).decode("utf-8", "surrogateescape")
                is_folder = member.kind is MemberKind.DIRECTORY
                if path in written or path not in (folders if is_folder else wanted):
                    continue
                if _write(out, path, member, reader, is_secret):
                    written.add(path)
        for path in gone:
            out.whiteout(path)

    @contextmanager
    def _stream(self, *words: str) -> Iterator[tuple[bytes, IO[bytes]]]:
        """A program's output: its first byte, none when there is no output, and the rest, to be read to its end."""
        errors = os.memfd_create("errors")  # a pipe that nobody reads meanwhile could fill
        argv = [self.program, *words]
        try:
            with subprocess.Popen(
                argv, env=dict(self.environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            ) as child:
                assert child.stdout is not None
                try:
                    first = child.stdout.read(1)
                    yield first, child.stdout
                    code = child.wait()
                finally:
                    child.kill()
            complaint = os.pread(errors, 1 << 16, 0).decode("utf-8", "replace").strip()
        finally:
            os.close(errors)
        if code != 0 and (first or not _MISSING.search(complaint)):
            raise self._error(complaint)

    @contextmanager
    def _untouched(self) -> Iterator[str]:
        """A container of the same image that is never started."""
        made = self._call("create", "--network", "none", self.image, "true").decode().split()[-1]
        try:
            yield made
        finally:
            self._call("rm", "--force", "--volumes", made)

    def _read(self, container: str, paths: Collection[str]) -> dict[str, Found]:
        found: dict[str, Found] = {}
        wanted = frozenset(paths)
        for place in together(wanted):
            for path, member, reader in self._members(container, place):
                if path in wanted:
                    found[path] = _found(member, reader)
        linked = [path for path, one in found.items() if one.kind is MemberKind.HARDLINK]
        for place in linked:  # alone it comes with its content
            for path, member, reader in self._members(container, place):
                if path == place:
                    found[path] = _found(member, reader)
        return found

    def _members(self, container: str, place: str) -> Iterator[tuple[str, Member, TarReader]]:
        """What lies at ``place`` and below it; nothing when there is nothing."""
        above = place.rpartition("/")[0]
        with self._stream("cp", f"{container}:/{place}", "-") as (first, rest):
            if first:
                reader = TarReader(_Again(first, rest), f"{self.name}:/{place}", end_mark=False)
                for member in reader:
                    path = member_path(member.name, self.name).decode("utf-8", "surrogateescape")
                    yield (f"{above}/{path}" if above else path), member, reader

    def _call(self, *words: str) -> bytes:
        done = run([self.program, *words], env=self.environ, timeout=600)
        if done.exit_code != 0:
            raise self._error(done.complaint)
        return done.stdout

    def _error(self, complaint: str) -> RunError:
        return RunError(Text("{program}: {reason}", program=self.program, reason=_last(complaint)))

    def _mounted(self, path: str) -> bool:
        return any(path == place or path.startswith(f"{place}/") for place in self.mounts)


def together(paths: Collection[str]) -> list[str]:
    """What is asked for, so that ``paths`` are among it: each takes the engine a tenth of a second."""
    counts = Counter(path.rpartition("/")[0] for path in paths)
    folders = {folder for folder, count in counts.items() if folder and count >= _SIBLINGS}
    return sorted(folders | {path for path in paths if path.rpartition("/")[0] not in folders})


def _write(
    out: LayerWriter, path: str, member: Member, reader: TarReader, is_secret: Callable[[str, bytes], bool]
) -> bool:
    """One entry into the layer; whether it went in."""
    owner, target = Owner(member.uid, member.gid), member.linkname.decode("utf-8", "surrogateescape")
    if member.kind is MemberKind.DIRECTORY:
        out.directory(path, mode=member.mode, owner=owner)
    elif member.kind is MemberKind.SYMLINK:
        out.symlink(path, target, owner=owner)
    elif member.kind is MemberKind.HARDLINK:
        out.hardlink(path, target.lstrip("/"), mode=member.mode, owner=owner)
    elif member.kind is MemberKind.FILE and member.size <= SMALL:
        data = reader.content(SMALL)
        if is_secret(path, data):
            return False
        out.file(path, data, mode=member.mode, owner=owner)
    elif member.kind is MemberKind.FILE:
        out.file(path, Stream(member.size, reader.chunks()), mode=member.mode, owner=owner)
    else:
        return False
    return True


def _found(member: Member, reader: TarReader) -> Found:
    data = reader.content(LARGEST) if member.kind is MemberKind.FILE and member.size <= LARGEST else None
    return Found(member.kind, member.mode, member.size, data, member.linkname.decode("utf-8", "surrogateescape"))


def _last(complaint: str) -> str:
    return complaint.splitlines()[-1] if complaint else "it said nothing"


class _Again:
    """A stream whose first byte was read already."""

    def __init__(self, first: bytes, stream: Any) -> None:  # noqa: ANN401 - a pipe
        self._first, self._stream = first, stream

    def read(self, size: int, /) -> bytes:
        if self._first and size:
            first, self._first = self._first, b""
            return first
        data: bytes = self._stream.read(size)
        return data
