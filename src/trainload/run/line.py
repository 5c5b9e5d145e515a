"""One RUN of a Dockerfile: its program runs over the layers below, and what it changes becomes a layer.

As root inside unless USER says otherwise, an ordinary user outside; without network unless it was asked for; with
nothing of this machine but its mounts. Times are zero in the layer, so compiled Python files are made to fit that.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import RunError, Text
from trainload.events import SILENT, Reporter, Said
from trainload.image.model import Layer
from trainload.layers.debian import configuration
from trainload.layers.model import ByteSink, Written
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import LayerWriter, Owner
from trainload.limits import DEFAULT, Limits
from trainload.plan.lines import LineJob
from trainload.run.below import Below, Looks
from trainload.run.capture import Change, Changes, Rules, find_changes, write_changes
from trainload.run.embedded import Changing, EmbeddedEngine
from trainload.run.failed import failure, without_network
from trainload.run.inside import Inside
from trainload.run.model import Limits as RunLimits
from trainload.run.model import Mount, RunSpec
from trainload.run.moved import move_unpacked
from trainload.run.unpack import LayerBlob, unpack
from trainload.system import scratch

_BLOCK = 64 << 10
_PROCESSES = 4096
_LOOK = 0.2  # seconds
_WIDTH = 500
"""Bytes of a line that are told."""
_NOISE = re.compile(
    r"(var/log/(apt/.+|dpkg\.log|alternatives\.log|bootstrap\.log|lastlog|faillog|btmp|wtmp|tallylog)"
    r"|var/cache/ldconfig/aux-cache|var/lib/systemd/random-seed"
    r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-|etc/\.pwd\.lock|var/lib/dpkg/(lock|lock-frontend)"
    r"|var/lib/dpkg/triggers/Lock|var/cache/debconf/.*-old|var/lib/dpkg/.*-old"
    # apt makes them anew; fontconfig's fit folders by their times, and here all times are zero
    r"|var/cache/apt/(src)?pkgcache\.bin|var/cache/fontconfig/[0-9a-f-]+-[a-z0-9]+\.cache-[0-9]+"
    r"|usr/(local/)?share/fonts/(.*/)?\.uuid)"
)
"""What says only when and how a program ran."""
_PYC = re.compile(r"(?:.*/)?__pycache__/[^/]+\.pyc")
_CHANGED = re.compile(rb'("(?:secs|nanos)_since_epoch":)[0-9]+')
"""When what a project was built from came to lie here, as uv notes it: another number on each machine."""
_LISTED = re.compile(rb"^([^,\n]*\.dist-info/uv_cache\.json),sha256=[^,\n]*,[0-9]*", re.MULTILINE)
_CRONTABS = "var/spool/cron/crontabs"
"""Debian's cron: ``root:crontab``, mode 1730."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where layers are unpacked and lines run."""

    rootfs: Path
    blob: Callable[[Digest], Path]
    """The file of a layer's blob."""
    reporter: Reporter = SILENT
    limits: Limits = DEFAULT

    looks: Callable[[], Mapping[str, Looks]] | None = None
    """Modes and owners in the layers below, so that these need not be read again."""

    def below(self, layers: Sequence[Layer]) -> tuple[Below, list[LayerBlob]]:
        """``layers``, unpacked and joined."""
        blobs = [LayerBlob(self.blob(one.descriptor.digest), one.diff_id, one.descriptor.size) for one in layers]
        unpacked = unpack(blobs, self.rootfs, reporter=self.reporter, limits=self.limits)
        return Below(blobs, unpacked, self.looks), blobs


def write_line(job: LineJob, layers: Sequence[Layer], room: Room, sink: ByteSink) -> Written:
    """The layer of what ``job`` changes over ``layers``. Raises :class:`RunError` when its program fails."""
    seen, blobs = room.below(layers)
    engine = EmbeddedEngine(room.rootfs, lambda _: blobs, room.reporter, limits=room.limits)
    written: list[Written] = []

    def prepare(upper: Path) -> None:
        _make_folders(job, seen, upper)

    def capture(upper: Path) -> None:
        rules = Rules(_left_out(job), special=False, normal=_normal, owner=_own(seen, job))
        changes = of_layer(_as_set_id(job, find_changes(upper, seen, rules), seen), seen, _stubs(job))
        with LayerWriter(sink) as out:
            write_changes(changes, out)
            for path in changes.deleted:
                out.whiteout(path)
            written.append(out.close())
        move_unpacked(changes, written[0].diff_id, room.rootfs)

    with scratch.folder("line") as folder:
        log = folder / "log"
        log.touch()
        with following(log, room.reporter):
            try:
                outcome = engine.run(_spec(job, str(log)), Changing(prepare, capture))
            except RunError as error:
                raise _not_started(job, seen, error) from error
        if outcome.exit_code != 0:
            raise failure(job, seen, log, outcome.exit_code, outcome.reason)
        refused = without_network(job, log)
        if refused is not None:
            raise refused
    return written[0]


def _not_started(job: LineJob, seen: Below, error: RunError) -> RunError:
    """``error``, whose hints are for containers, as one of the line."""
    hints = error.hints
    try:
        _person(seen, job.recipe.user or "0")
    except RunError:
        hints = (Text("make it with an earlier RUN useradd, or give a number: USER 1000"),)
    return RunError(Text("{line}: {reason}", line=job.label, reason=error.text), got=error.got, want=error.want,
                    hints=hints)  # fmt: skip


@contextmanager
def following(log: Path, reporter: Reporter) -> Iterator[None]:
    """What a line's program says is told while it runs."""
    done = threading.Event()

    def tell(line: bytes) -> None:
        if line.strip():
            text = line[:_WIDTH].decode("utf-8", "replace")
            reporter.report(Said(Text("  | {line}", line=text.rstrip())))

    def follow() -> None:
        rest, ended = b"", False
        with log.open("rb") as file:
            while not ended:
                ended = done.wait(_LOOK)
                while data := file.read(_BLOCK):
                    *lines, rest = re.split(rb"[\r\n]+", rest + data)
                    for line in lines:
                        tell(line)
        tell(rest)

    thread = threading.Thread(target=follow, name="log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def of_layer(changes: Changes, seen: Below, stubs: Collection[str]) -> Changes:
    """What goes into the layer; ``stubs``: mount points, left out where they were made for the mount only."""
    kept = _without_stubs(changes.entries, seen, stubs)
    there = {entry.path: entry.kind for entry in kept}
    deleted = [path for path in changes.deleted if path not in there and not _replaced(path, there)]
    for path in deleted:
        for folder in (path[:at] for at, char in enumerate(path) if char == "/"):
            if folder not in there:
                looks = seen.looks.get(folder, Looks(0o755, Owner()))
                there[folder] = MemberKind.DIRECTORY
                kept.append(Change(folder, MemberKind.DIRECTORY, looks))
    return Changes(tuple(sorted(kept, key=lambda entry: entry.path)), tuple(deleted))


def _without_stubs(entries: Sequence[Change], seen: Below, stubs: Collection[str]) -> list[Change]:
    above = {stub[:at] for stub in stubs for at, char in enumerate(stub) if char == "/"}
    empty = {entry.path for entry in entries if entry.path in above | set(stubs) and seen.place(entry.path) is None}
    for entry in entries:
        if entry.path not in empty:
            empty -= {entry.path[:at] for at, char in enumerate(entry.path) if char == "/"}
    return [entry for entry in entries if entry.path not in empty]


def _replaced(path: str, there: dict[str, MemberKind]) -> bool:
    """Something above ``path`` is no folder any more, which says it all."""
    above = (path[:at] for at, char in enumerate(path) if char == "/")
    return any(there.get(folder, MemberKind.DIRECTORY) is not MemberKind.DIRECTORY for folder in above)


def _make_folders(job: LineJob, seen: Below, upper: Path) -> None:
    """WORKDIRs above the line, whose folders are made with it."""
    for folder in job.recipe.folders:
        path = folder.path.strip("/")
        for count in range(1, path.count("/") + 2) if path else ():
            here = "/".join(path.split("/")[:count])
            place = seen.place(here)
            if place is not None and place.is_symlink():
                break  # the run itself makes what a link leads to, as its working directory
            if place is None and not (upper / here).exists():
                _make_folder(here, folder.user, seen, upper)


def _make_folder(path: str, user: str, seen: Below, upper: Path) -> None:
    above = path.rpartition("/")[0]
    if above and not (upper / above).is_dir():
        seen.copy_up_folder(above, upper)
    (upper / path).mkdir()
    (upper / path).chmod(0o755)
    if os.geteuid() == 0 and user:
        owner = _person(seen, user)
        os.chown(upper / path, owner.uid, owner.gid)


def _person(seen: Below, user: str) -> Owner:
    """Who a user of the image is, by its own files. Raises :class:`RunError` for an unknown name."""
    with scratch.folder("accounts") as folder:
        (folder / "etc").mkdir()
        for name in ("passwd", "group"):
            (folder / "etc" / name).write_bytes(seen.text(f"etc/{name}"))
        person = Inside(folder).person(user)
    return Owner(person.uid, person.gid)


def _own(seen: Below, job: LineJob) -> Owner:
    """Whose an ordinary user's files are inside: of the one who ran."""
    user = job.recipe.user
    return _person(seen, user) if os.geteuid() != 0 and user not in ("", "0", "root") else Owner()


def _as_set_id(job: LineJob, changes: Changes, seen: Below) -> Changes:
    """Tables that ``crontab(1)`` writes have its group, by its set-id bit: no program has that here."""
    folder = seen.looks.get(_CRONTABS)
    if folder is None or not re.search(r"\bcrontab\b", " ".join(job.recipe.argv)):
        return changes
    gid = folder.owner.gid

    def mended(entry: Change) -> Change:
        looks = entry.looks
        if not entry.path.startswith(f"{_CRONTABS}/") or (entry.kind, looks.mode) != (MemberKind.FILE, 0o600):
            return entry
        return replace(entry, looks=replace(looks, owner=Owner(looks.owner.uid, gid)))

    return replace(changes, entries=tuple(map(mended, changes.entries)))


def _left_out(job: LineJob) -> Callable[[str], bool]:
    mounts = [mount.target.strip("/") for mount in job.mounts]

    def out(path: str) -> bool:
        if any(path.startswith(f"{target}/") for target in mounts):
            return True
        return _NOISE.fullmatch(path) is not None

    return out


def _stubs(job: LineJob) -> tuple[str, ...]:
    return tuple(mount.target.strip("/") for mount in job.mounts)


def _normal(path: str) -> Callable[[bytes], bytes] | None:
    if path == "etc/shadow":
        return configuration.without_dates
    if path.endswith(".dist-info/uv_cache.json"):
        return partial(_CHANGED.sub, rb"\g<1>0")
    if path.endswith(".dist-info/RECORD"):
        return partial(_LISTED.sub, rb"\1,,")
    return _timeless if _PYC.fullmatch(path) else None


def _timeless(pyc: bytes) -> bytes:
    """A compiled file whose source is of time zero, as all files in the layer are (PEP 552)."""
    by_time = pyc[4:8] == bytes(4)
    return pyc[:8] + bytes(4) + pyc[12:] if by_time and len(pyc) >= 16 else pyc


def _spec(job: LineJob, log: str) -> RunSpec:
    recipe = job.recipe
    return RunSpec(
        image=Digest.sha256(b""),  # the engine is given the layers themselves
        id=secrets.token_hex(6),
        command=recipe.argv,
        user=recipe.user or "0",
        workdir=recipe.workdir,
        env={**dict(recipe.env), **dict(job.env)},
        mounts=tuple(Mount(mount.source, mount.target, mount.read_only) for mount in job.mounts),
        limits=RunLimits(pids=_PROCESSES),
        network=recipe.network,
        interactive=False,
        hostname="buildkitsandbox",  # BuildKit's; some programs write it down
        log=log,
        seconds=job.seconds,
        step=True,
    )
