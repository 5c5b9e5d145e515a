"""``trainload lint``: what is wrong with Dockerfiles, compose files and manifests, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainload.cli.options import pass_world
from trainload.cli.render import colours
from trainload.cli.world import World
from trainload.errors import ConfigError, Place, Text, TrainloadError, UsageError

if TYPE_CHECKING:
    from trainload.lint.around import Folder
    from trainload.lint.check import Mended
    from trainload.lint.model import Finding, Surroundings

_BOLD, _RED, _GREEN, _OFF = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
_LARGEST = 1 << 20
_DRIVER = Path("/proc/driver/nvidia/version")


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--fix", is_flag=True, help="Write the mended lines that leave what the image does as it is.")
@click.option("--fix-all", is_flag=True, help="Write also those that change what the image holds or asks for.")
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="PROGRAM",
    type=click.Choice(["hadolint", "compose", "kubeconform"]),
    help="Run another checker that is installed, too: hadolint, compose or kubeconform; repeatable.",
)
@click.option(
    "--driver", metavar="VERSION", help="Check for an NVIDIA driver, such as 535; default: this machine's."
)
@click.option("--rules", "table", is_flag=True, help="List the rules.")
@pass_world
def command(  # noqa: PLR0913 - the options of a verb
    world: World, *, files: tuple[str, ...], fix: bool, fix_all: bool, others: tuple[str, ...], driver: str | None,
    table: bool,
) -> int:  # fmt: skip
    """Find what is wrong with a Dockerfile, a compose file or a Kubernetes manifest.

    Without FILE all of them in this folder are checked; what a file is, its content says. Each finding has its
    lines, the reason, what it costs, and the lines that mend it. A comment `# trainload: ignore[RULE]` on the line
    or above it keeps a rule quiet. Exit code 1: something was found that is not mended.
    """
    if table:
        _table(world)
        return 0
    done: list[Finding] = []
    left: list[Finding] = []
    checked: list[str] = []
    for name, text, around in _files(world, files, driver):
        checked.append(name)
        mended = _one(world, (name, text, around), fix=fix or fix_all, risky=fix_all)
        done += mended.done
        mixed = [*mended.left, *_others(world, name, others)]
        left += sorted(mixed, key=lambda one: one.flaw.line)
    document = {
        "files": checked,
        "findings": [_document(world, one) for one in left],
        "fixed": [_document(world, one) for one in done],
    }
    world.result(document, _lines(world, left))
    _summary(world, checked, done, left)
    return 1 if left else 0


def _table(world: World) -> None:
    from trainload.cli.render import table
    from trainload.lint.table import RULES

    rows = [[rule.id, rule.kind.value, rule.meaning] for rule in RULES]
    document = [{"rule": one.id, "kind": one.kind.value, "meaning": world.translate(one.meaning)} for one in RULES]
    world.result(document, table([Text("RULE"), Text("FILES"), Text("MEANING")], rows, world.catalogue))


def _files(world: World, files: Sequence[str], driver: str | None) -> Iterator[tuple[str, str, Surroundings]]:
    """Name, text and surroundings of each file. Raises :class:`ConfigError`, :class:`UsageError`."""
    from trainload.lint.kinds import kind_of

    folders: dict[Path, Folder] = {}

    def folder(path: Path) -> Folder:
        if path not in folders:
            from trainload.lint.around import Folder
            from trainload.system.tree import DiskTree

            folders[path] = Folder.read(DiskTree(path), replace(_common(world, driver), locked=_locked(path)))
        return folders[path]

    if not files:
        yield from _found(world, folder(world.cwd))
        return
    for name in files:
        path = world.cwd / name
        if not path.is_file():
            raise UsageError(Text("{path} is not a file", path=name))
        text = _text(path, name)
        around = folder(path.parent).around(path.name, kind_of(text))
        yield name, text, around


def _found(world: World, here: Folder) -> Iterator[tuple[str, str, Surroundings]]:
    from trainload.lint.around import candidates
    from trainload.lint.kinds import kind_of

    found = False
    for name in candidates(here):
        text = _text(world.cwd / name, name)
        kind = kind_of(text)
        if kind is None or ("{{" in text and kind.value == "kubernetes"):
            continue  # another kind of YAML, or a template of Helm
        found = True
        yield name, text, here.around(name, kind)
    if not found:
        raise UsageError(
            Text("there is no Dockerfile, compose file or Kubernetes manifest in this folder"),
            hints=[Text("name one: trainload lint FILE")],
        )


def _text(path: Path, name: str) -> str:
    data = path.read_bytes()
    if len(data) > _LARGEST:
        raise ConfigError(Text("the file is too long to be checked"), place=Place(name), got=len(data))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        from trainload.charset import hint

        raise ConfigError(
            Text("the file is not UTF-8 text"), place=Place(name), hints=[hint(data, name)]
        ) from error


def _common(world: World, driver: str | None) -> Surroundings:
    from trainload.lint.drivers import cuda_of
    from trainload.lint.model import Surroundings
    from trainload.project import keys
    from trainload.project.config import read_sources
    from trainload.system.tree import DiskTree

    cuda = None
    if driver is not None:
        cuda = cuda_of(f"{driver}.0" if driver.isdigit() else driver)
        if cuda is None:
            raise UsageError(Text("this is no driver's version"), got=driver, want="535, 550.54.15")
    elif _DRIVER.is_file():
        cuda = cuda_of(_DRIVER.read_text(encoding="utf-8", errors="replace"))
    try:
        mirrors = read_sources(DiskTree(world.cwd), {}, world.environ).choose(keys.MIRRORS_PYPI).value
    except TrainloadError as error:
        world.warn(error.text)
        mirrors = ()
    return Surroundings(index=mirrors[0] if mirrors else None, driver=cuda)


def _locked(folder: Path) -> dict[str, int]:
    """Name → bytes of what the folder's lock has for its first platform; empty without one that can be read."""
    from trainload.lock.select import select
    from trainload.lock.toml import FILE_NAME, loads

    path = folder / FILE_NAME
    try:
        lock = loads(path.read_bytes(), FILE_NAME) if path.is_file() else None
        chosen = select(lock, lock.platforms[0], sdists=True).python if lock is not None and lock.platforms else ()
    except (OSError, TrainloadError):
        return {}
    return {one.name: one.file.size for one in chosen if one.file.size is not None}


def _one(world: World, file: tuple[str, str, Surroundings], *, fix: bool, risky: bool) -> Mended:
    from trainload.lint.check import Mended, check, mended

    name, text, around = file
    if not fix:
        return Mended(text, (), check(name, text, around))
    result = mended(name, text, around, risky=risky)
    path = world.cwd / name
    if result.text != text:
        mark = path.read_bytes().startswith(b"\xef\xbb\xbf")
        _write(path, (b"\xef\xbb\xbf" if mark else b"") + result.text.encode("utf-8"))
    for other, lines in result.added.items():
        _append(path.parent / other, lines)
    return result


def _write(path: Path, data: bytes) -> None:
    """In one step: a cut leaves the old file or the new one, never half of it."""
    from trainload.system.files import replace

    replace(path, data)


def _append(path: Path, lines: Sequence[str]) -> None:
    before = path.read_bytes() if path.is_file() else b""
    known = before.decode("utf-8", "replace").splitlines()
    end = b"" if not before or before.endswith(b"\n") else b"\n"
    new = "".join(f"{line}\n" for line in dict.fromkeys(lines) if line not in known)
    _write(path, before + end + new.encode("utf-8"))


def _others(world: World, name: str, programs: Sequence[str]) -> list[Finding]:
    from trainload.cli.linting import others

    return others(world, name, programs) if programs else []


def _document(world: World, one: Finding) -> dict[str, object]:
    flaw = one.flaw
    return {
        "rule": one.rule,
        "file": one.file,
        "line": flaw.line,
        "last": flaw.last,
        "why": world.translate(flaw.why),
        "measure": world.translate(flaw.measure) if flaw.measure else None,
        "lines": list(one.lines),
        "mend": [
            {"file": edit.file or one.file, "first": edit.first, "last": edit.last, "lines": list(edit.lines)}
            for edit in flaw.mend
        ],
        "fix": ("--fix" if flaw.sure else "--fix-all") if flaw.mend else None,
    }


def _lines(world: World, findings: Sequence[Finding]) -> list[str]:
    from trainload.errors import printable

    bold, red, green, off = (
        (_BOLD, _RED, _GREEN, _OFF) if colours(world.stdout, world.environ) else ("", "", "", "")
    )
    lines: list[str] = []
    for one in findings:
        flaw = one.flaw
        place = f"{printable(one.file)}:{flaw.line}"
        lines.append(f"{bold}{place}{off}: {world.translate(flaw.why)} [{one.rule}]")
        if flaw.measure:
            lines.append(f"    {world.translate(flaw.measure)}")
        for edit in flaw.mend:
            if edit.file:
                lines.append(f"    {edit.file}:")
            gone = one.lines[edit.first - flaw.line : edit.last - flaw.line + 1] if _inside(edit, flaw) else ()
            lines += [f"    {red}- {printable(line)}{off}" for line in gone]
            lines += [f"    {green}+ {printable(line)}{off}" for line in edit.lines]
        lines.append("")
    return lines[:-1]


def _inside(edit: object, flaw: object) -> bool:
    from trainload.lint.model import Edit, Flaw

    assert isinstance(edit, Edit)
    assert isinstance(flaw, Flaw)
    return edit.file is None and edit.first >= flaw.line and edit.last <= flaw.last


def _summary(world: World, checked: Sequence[str], done: Sequence[Finding], left: Sequence[Finding]) -> None:
    if done:
        world.say(Text("mended: {count}", count=len(done)))
    if not left:
        world.say(Text("nothing is left to mend in {files}", files=", ".join(checked)))
        return
    sure = sum(bool(one.flaw.mend) and one.flaw.sure for one in left)
    risky = sum(bool(one.flaw.mend) and not one.flaw.sure for one in left)
    world.say(
        Text("found: {count}; --fix mends {sure}, --fix-all {risky} more", count=len(left), sure=sure, risky=risky)
    )
