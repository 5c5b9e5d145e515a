"""What apt decides where there is a choice: the image's own apt is asked, over the indexes that were verified.

Which provider of a virtual package comes, and which recommendation counts first, differs from one apt to the next.
So it runs as ``apt-get -s`` in the sandbox, without a network, with its own settings and with lists as its
``apt-get update`` would leave them; what it says is locked as any other answer (docs/adr/0038).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from trainload.builder.dockerfile.bench import Bench
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.placing.aided import recipe_of
from trainload.builder.dockerfile.placing.archives import Known
from trainload.builder.dockerfile.placing.sources import Source, sources
from trainload.dockerfile.understand.parts import Beyond
from trainload.dockerfile.understood import RunLine
from trainload.errors import RunError, Text
from trainload.lock.distribution.index import Records
from trainload.lock.distribution.stanzas import FIELDS
from trainload.lock.distribution.suites import Pocket
from trainload.lock.model import DistributionPackage
from trainload.plan.lines import JobMount, LineJob
from trainload.platform import Platform
from trainload.resolve.distribution import Offered, locked, offered
from trainload.system import scratch
from trainload.values import replace

_LISTS, _ANSWER = "/var/lib/apt/lists", "/run/answer"
_SAID = re.compile(
    r"(?P<verb>Inst|Remv) (?P<name>[a-z0-9][a-z0-9+.-]+)(?P<foreign>:\S+)? (?:\[\S+\] )?"
    r"(?:\((?P<version>\S+) [^)]*\))?"
)
_ESCAPED = frozenset('\\|{}[]<>"^~_=!@#$%&*')
_SCRIPT = """\
apt-get indextargets --format '$(FILENAME)' 'Created-By: Packages' > {answer}/targets &&
apt-get -s -o APT::Get::Show-User-Simulation-Note=false {words} > {answer}/said
"""


def decided(
    words: Sequence[str], here: Known, line: RunLine, ground: Ground, bench: Bench, why: Text
) -> tuple[DistributionPackage, ...]:
    """What ``apt-get`` with ``words`` would install, sorted by name; ``why``: the reason to ask it.

    Raises :class:`Beyond` with ``why`` where it cannot be asked, or would do more than install.
    """
    machine = (ground.read("etc/machine-id") or b"").strip()
    if bench.rooms is None or bench.platform != Platform.host() or (machine and here.suite.ports):
        raise Beyond(why)  # a machine-id decides which of Ubuntu's updates come in phases
    there = offered(here.suite.name, bench.platform.architecture, bench.services().distribution(()), here.setup)
    with scratch.folder("lists") as folder, scratch.folder("answer") as answer:
        folder.chmod(0o755)
        (folder / "partial").mkdir()
        names = _write(folder, here, there, ground, bench.platform.architecture)
        script = _SCRIPT.format(answer=_ANSWER, words=shlex.join(words))
        recipe = recipe_of(("/bin/sh", "-c", script), replace(line, workdir="/"), ground, ())
        mounts = (JobMount(str(folder), _LISTS), JobMount(str(answer), _ANSWER))
        job = LineJob(recipe, f"{line.line}", mounts, (), bench.seconds)
        try:
            bench.rooms.run(job, ground, _Nowhere())
        except RunError as error:
            raise Beyond(why) from error
        targets = {Path(one).name for one in (answer / "targets").read_text().splitlines()}
        if not names <= targets:
            raise Beyond(why)  # it would not have read all of them
        return tuple(sorted(_chosen((answer / "said").read_text(), there, why)))


class _Nowhere:
    """A simulation changes nothing."""

    def write(self, data: bytes, /) -> object:
        return len(data)


def _chosen(said: str, there: Offered, why: Text) -> Iterator[DistributionPackage]:
    for row in said.splitlines():
        if not row.startswith(("Inst ", "Remv ")):
            continue
        if row.startswith("Inst ") and " local-deb " in row:
            continue  # a file that the image has
        match = _SAID.match(row)
        if match is None or match["verb"] == "Remv" or match["foreign"] or match["version"] is None:
            raise Beyond(why)
        found = [one for one in there.index.versions(match["name"]) if one.version == match["version"]]
        if len(found) != 1:
            raise Beyond(why)
        yield locked(found[0])


def _write(folder: Path, here: Known, there: Offered, ground: Ground, architecture: str) -> set[str]:
    """The lists of every source; names of those with packages."""
    pockets = {pocket.suite: pocket for pocket in here.suite.pockets_for(architecture)}
    own = {(one.address, one.suite) for one in here.setup.archives}
    names = set()
    for source in sources(ground):
        at = (source.address, source.suite)
        place = at if at in own else _of(pockets.get(source.suite))
        if place not in there.told:
            continue  # of no use here: another architecture's, or backports
        base = _file_name(_folder(source))
        release = "".join(f"{name.title()}: {value}\n" for name, value in there.told[place].items() if value)
        (folder / f"{base}InRelease").write_text(release)
        packages = f"{base}Packages" if not source.components else (
            f"{base}{source.components[0]}_binary-{architecture}_Packages"
        )  # fmt: skip
        with (folder / packages).open("w", encoding="utf-8") as file:
            for records in there.files:
                if (records.archive, records.suite) == place:
                    file.writelines(_texts(records))
        names.add(packages)
    return names


def _of(pocket: Pocket | None) -> tuple[str, str]:
    return (pocket.archive, pocket.suite) if pocket is not None else ("", "")


def _folder(source: Source) -> str:
    if source.suite.endswith("/"):
        return f"{source.address}/{source.suite.strip('/')}".rstrip("/") + "/"
    return f"{source.address}/dists/{source.suite}/"


def _file_name(address: str) -> str:
    """apt-pkg/strutl.cc: URItoFileName."""
    parts = urlsplit(address)
    host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    plain = "".join(f"%{ord(sign):02x}" if sign in _ESCAPED else sign for sign in host + parts.path)
    return plain.replace("/", "_")


def _texts(records: Records) -> Iterator[str]:
    """The stanzas of an index, as far as they were kept, in their order."""
    for row in records.data.decode().splitlines():
        values: Mapping[str, str] = dict(zip(FIELDS, row.split("\t"), strict=True))
        yield "".join(f"{name}: {value}\n" for name, value in values.items() if value) + "\n"
