"""One resolution, asked again as more becomes known of packages that have only their source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainload.errors import LockError
from trainload.lock.adopt import Adopted, Wanted, adopt
from trainload.project.model import RequirementFiles
from trainload.resolve.linked import with_hashes, write_page
from trainload.resolve.own import with_sources
from trainload.resolve.provided import FAMILY, explained, preferred, without_stubs, write_stubs
from trainload.resolve.request import (
    PythonRequest,
    accelerated,
    compile_arguments,
    local_index,
    other_builds,
    project_of,
    read_lock_file,
    sha256_of,
    torch_backend,
    wanted,
)
from trainload.resolve.sources import Examiner, Leave
from trainload.resolve.uv import NeedsBuild, Uv, explain, is_network_failure
from trainload.resolve.uvconfig import config_flags
from trainload.system import process
from trainload.values import dataclass, replace

if TYPE_CHECKING:
    from packaging.version import Version


@dataclass(frozen=True, slots=True)
class Question:
    """A resolution, asked anew as more becomes known of packages that have only their source."""

    request: PythonRequest
    uv: Uv
    output: Path
    """What it holds before is what uv prefers to keep."""
    examiner: Examiner | None
    alone: bool = False
    """Only wheels that the first target takes count; otherwise wheels of any platform do."""

    def answer(self, leave: Leave) -> tuple[Adopted, Leave]:
        """The newest that fits, whether it has wheels or only its source: as every installer understands it."""
        before = self._kept()
        found, leave = self.settled(leave)
        if self.examiner is None:
            return found, leave
        newer = self.newer_sources(found) - leave.names
        while newer:
            self._put(before)
            try:
                trial = self._once(leave.of(newer))
                gained = frozenset(name for name in newer if _version(trial, name) > _version(found, name))
                if gained != newer:
                    newer = gained
                    continue
                self._put(before)
                return self.settled(leave.of(newer))
            except LockError:
                break  # it cannot be had; what has wheels can
        return found, leave

    def settled(self, leave: Leave) -> tuple[Adopted, Leave]:
        """With leave for every project that cannot do without, and the true metadata of every source chosen."""
        before = self._kept()
        while True:
            self._put(before)
            try:
                found = self._once(leave)
            except NeedsBuild as error:
                if self.examiner is None or error.names <= leave.names:
                    raise
                leave = leave.of(error.names)
                continue
            chosen = [package for package in found.packages if package.sdist and package.name in leave.names]
            unknown = [package for package in chosen if (package.name, package.version) not in leave.known]
            if not unknown or self.examiner is None:
                return found, leave
            examiner = self.examiner
            leave = leave.knowing({(one.name, one.version): examiner.metadata(one) for one in unknown})

    def _once(self, leave: Leave) -> Adopted:
        """One question to uv, again with a mirror if need be."""
        folder = self.output.parent
        number = len(list(folder.iterdir()))
        own = self.request.own
        installed = (*self.request.installed, *(each.installed for each in own))
        alone = {each.installed.name for each in own}
        stubs = write_stubs(folder / f"stubs{number}", installed, self.request.provided, alone)
        request = replace(self.request, find_links=(*self.request.find_links, *stubs.links))
        asks, request = self._linked(request, folder / f"links{number}.html")
        staying = {project_of(stub) for stub in stubs.staying}
        built = [wheel for wheel in accelerated(asks.found, request) if project_of(wheel) not in staying]
        index = local_index(folder / f"simple{number}", [*stubs.staying, *built])
        backend = None if index is not None else torch_backend(request)
        leaves = self._leaves(leave)
        if installed:
            self.output.write_bytes(preferred(self._kept(), installed))

        others = folder / f"others{number}.txt"
        others.write_text("".join(f"{bound}\n" for bound in other_builds(asks.found, request)), encoding="utf-8")

        def ask(asked: PythonRequest) -> process.Completed:
            bounds = [(*asked.constraints, str(others))] if others.stat().st_size else []
            for constraints in [*bounds, asked.constraints]:  # one that is asked for by its whole name is taken
                bound = replace(asked, constraints=constraints)
                arguments = compile_arguments(bound, self.output, index=index, backend=backend, alone=self.alone)
                done = self.uv.run("pip compile", [*leaves, *arguments], asked.root)
                if done.exit_code == 0:
                    break
            return done

        done = ask(request)
        if done.exit_code != 0 and is_network_failure(done) and not any(request.indexes[-1:]):
            for mirror in request.mirrors:
                done = ask(replace(request, indexes=(*request.indexes[:-1], mirror)))
                if done.exit_code == 0:
                    break
        if done.exit_code != 0:
            raise explained(explain(done, backend=backend), self.request.installed, request.provided)
        return with_sources(without_stubs(_read(self.output, asks), stubs), own)

    def _linked(self, request: PythonRequest, page: Path) -> tuple[Wanted, PythonRequest]:
        """What lies in the find-links folders, and ``request`` with the page that says so."""
        asks = wanted(request)
        if not asks.found:
            return asks, request
        write_page(page, map(Path, asks.found))
        return asks, replace(request, page=page)

    def _leaves(self, leave: Leave) -> list[str]:
        return config_flags(self.output.parent / "uv.toml", self.request.root, self.uv.environ, leave)

    def newer_sources(self, found: Adopted) -> frozenset[str]:
        """Projects whose newest release, as far as the index tells, has only its source.

        uv is told that no version of any of them requires anything, so nothing is built for the answer either.
        """
        names = frozenset(package.name for package in found.packages if package.wheels) - self._unasked(found)
        if not names:
            return frozenset()
        folder = self.output.parent
        (folder / "names.txt").write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")
        root = self.request.root
        try:
            config = config_flags(folder / "uv.toml", root, self.uv.environ, Leave(names))[0]
        except LockError:
            return frozenset()  # some of them come from an address; then nothing is looked for
        asks, linked = self._linked(self.request, folder / "newest.html")
        asked = replace(linked, dependencies=RequirementFiles((str(folder / "names.txt"),)), constraints=())
        output = folder / "pylock.newest.toml"
        output.unlink(missing_ok=True)
        arguments = compile_arguments(asked, output, alone=self.alone, binary=False)
        alone = [] if "--no-deps" in arguments else ["--no-deps"]
        done = self.uv.run("pip compile", [config, *alone, *arguments], root)
        if done.exit_code != 0:
            return frozenset()
        newest = _read(output, asks)
        sources = [package.name for package in newest.packages if package.sdist and not package.wheels]
        return frozenset(name for name in sources if _version(newest, name) > _version(found, name))

    def _unasked(self, found: Adopted) -> frozenset[str]:
        """What stays as the last lock has it, and builds for an accelerator, which no index's source is."""
        from packaging.utils import canonicalize_name

        request = self.request
        base = FAMILY | {each.name for each in request.installed}
        if request.previous is None or request.upgrade.everything:
            return base
        named = {canonicalize_name(name) for name in request.upgrade.packages}
        last = {(package.name, package.version) for package in request.previous.packages}
        kept = {one.name for one in found.packages if (one.name, one.version) in last}
        return base | (kept - named)

    def _kept(self) -> bytes | None:
        return self.output.read_bytes() if self.output.exists() else None

    def _put(self, kept: bytes | None) -> None:
        if kept is None:
            self.output.unlink(missing_ok=True)
        else:
            self.output.write_bytes(kept)


def _read(output: Path, asks: Wanted) -> Adopted:
    """What uv chose; an index may have the same files as the find-links folders, and the same hashes then."""
    answer = with_hashes(read_lock_file(output), [Path(path) for path in asks.found], sha256_of)
    return adopt(answer, "uv pip compile", asks)


def _version(found: Adopted, name: str) -> Version:
    from packaging.version import Version

    return max(
        (Version(package.version) for package in found.packages if package.name == name), default=Version("0")
    )
