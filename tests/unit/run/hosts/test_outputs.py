"""Outputs brought here: by the far side's real code, and by one that lies."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainload.address import Address
from trainload.errors import HostError, RunError
from trainload.events import SILENT
from trainload.run.hosts.outputs import PARTS, Brought, bring, checked
from trainload.runner import outputs as far_code
from trainload.runner.wire import Gone


class Far:
    """The runner's own functions, without a connection between; ``cut``: bytes until it breaks."""

    address = Address.parse("gpu1.example")
    where = "gpu1.example:/srv"

    def __init__(self, folder: Path, *, cut: int | None = None) -> None:
        self.folder, self.cut = folder, cut
        self.asked: list[str] = []
        self._bytes = b""

    def stream(self, do: str, **what: object) -> Iterator[dict[str, Any]]:
        self.asked.append(f"{do} {what.get('path', '')}".strip())
        told: list[dict[str, Any]] = []
        if do == "outputs":
            skipped = far_code.listed(self.folder, told.append)
            yield from [*told, {"done": do, "skipped": skipped}]
            return
        pieces: list[bytes] = []
        answer = far_code.sent(self.folder, what, told.append, pieces.append)
        for value, piece in zip(told, pieces, strict=True):
            self._bytes = piece
            yield value
        yield {"done": do, **answer}

    def bytes(self, size: int) -> bytes:
        if self.cut is not None:
            self.cut -= size
            if self.cut < 0:
                raise HostError("cut", retryable=True)
        assert len(self._bytes) == size
        return self._bytes

    def lies(self) -> HostError:
        return HostError("it lies")


class Liar(Far):
    """Names what it likes."""

    def __init__(self, *entries: Sequence[object], data: bytes = b"") -> None:
        super().__init__(Path("/nonexistent"))
        self.entries, self.data = entries, data

    def stream(self, do: str, **what: object) -> Iterator[dict[str, Any]]:
        if do == "outputs":
            yield {"entries": list(self.entries)}
            yield {"done": do, "skipped": []}
        else:
            self._bytes = self.data
            yield {"bytes": len(self.data)}
            yield {"done": do, "problem": None, "sha256": "00"}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there/0"
    (folder / "a/empty").mkdir(parents=True)
    (folder / "a/model").write_bytes(os.urandom(3_000_000))
    (folder / "log").write_text("1\n")
    return folder.parent


def take(far: Far, place: Path) -> Brought:
    return bring(far, "abc123", [place], SILENT)


def test_everything_comes_once_and_then_only_what_changed(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    first = take(Far(there), here)
    assert (first.files, first.size, first.unchanged) == (2, 3_000_002, 0)
    assert (here / "a/model").read_bytes() == (there / "0/a/model").read_bytes()
    assert (here / "a/empty").is_dir()
    (there / "0/log").write_text("12\n")
    far = Far(there)
    second = take(far, here)
    assert (second.files, second.size, second.unchanged) == (1, 3, 1)
    assert far.asked == ["outputs", "read log"]
    assert sorted(os.listdir(here)) == ["a", "log"]


def test_a_cut_leaves_no_half_file_and_is_gone_on_from(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    with pytest.raises(HostError, match="cut"):
        take(Far(there, cut=1_200_000), here)
    assert not (here / "a/model").exists()
    kept = sum(path.stat().st_size for path in (here / PARTS).iterdir())
    assert kept > 900_000
    again = take(Far(there), here)
    assert again.size == 3_000_002 - kept
    assert (here / "a/model").read_bytes() == (there / "0/a/model").read_bytes()
    assert not (here / PARTS).exists()


def test_a_part_that_is_not_right_is_found_out_and_thrown_away(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    with pytest.raises(HostError, match="cut"):
        take(Far(there, cut=1_200_000), here)
    (part,) = (here / PARTS).iterdir()
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(HostError, match="other bytes of a/model") as caught:
        take(Far(there), here)
    assert caught.value.retryable
    assert not (here / "a/model").exists()
    assert take(Far(there), here).size >= 3_000_000


def test_links_and_pipes_stay_there_and_are_told(there: Path, tmp_path: Path) -> None:
    (there / "0/passwd").symlink_to("/etc/passwd")
    (there / "0/etc").symlink_to("/etc")
    os.mkfifo(there / "0/pipe")
    brought = take(Far(there), tmp_path / "here")
    assert brought.skipped == [("etc", "link"), ("passwd", "link"), ("pipe", "special")]
    assert sorted(os.listdir(tmp_path / "here")) == ["a", "log"]


def test_the_far_side_gives_nothing_away_through_a_link_put_there_meanwhile(there: Path) -> None:
    (there / "0/b").symlink_to("/etc")
    asked = {"number": 0, "path": "b/passwd", "offset": 0, "size": 1, "mtime": 0}
    assert far_code.sent(there, asked, lambda _: None, lambda _: None) == {"problem": "gone"}


def test_a_file_that_is_being_written_comes_later(there: Path, tmp_path: Path) -> None:
    class Growing(Far):
        def stream(self, do: str, **what: object) -> Iterator[dict[str, Any]]:
            if do == "read" and what["path"] == "log":
                (there / "0/log").write_text("longer\n")
            yield from super().stream(do, **what)

    here = tmp_path / "here"
    brought = take(Growing(there), here)
    assert (brought.late, brought.files) == (["log"], 1)
    assert sorted(os.listdir(here)) == ["a"]


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "", ".", "a//b", "a/./b", "a\0b", "x" * 256, "/".join("a" * 101), "..",
     f"{PARTS}/x", "\ud800"],
)  # fmt: skip
def test_S05_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(path: str, tmp_path: Path) -> None:
    here = tmp_path / "outputs"
    good = [0, "good", "file", 1, 1, 0o644]
    with pytest.raises(HostError, match="would not lie in the outputs"):
        take(Liar(good, [0, path, "file", 1, 1, 0o644], data=b"x"), here)
    assert not here.exists()


@pytest.mark.parametrize(
    "entry",
    [[1, "a", "file", 1, 1, 0], [-1, "a", "file", 1, 1, 0], [0, "a", "link", 1, 1, 0], [0, "a", "file", -1, 1, 0],
     [0, "a"], "abc", [0, "a", "file", "much", 1, 0], None],
)  # fmt: skip
def test_S05_an_entry_that_is_nonsense_is_none(entry: Any) -> None:  # noqa: ANN401 - a document
    assert checked(entry, 1) is None


def test_S05_set_id_bits_do_not_come() -> None:
    entry = checked([0, "a", "file", 1, 1, 0o6777], 1)
    assert entry is not None
    assert entry.mode == 0o777


@pytest.mark.parametrize("data", [b"", b"too long"])
def test_S05_more_bytes_than_promised_are_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="it lies"):
        take(Liar([0, "a", "file", 3, 1, 0o644], data=data), tmp_path / "here")
    assert not (tmp_path / "here/a").exists()


def test_S05_other_bytes_than_hashed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="other bytes"):
        take(Liar([0, "a", "file", 3, 1, 0o644], data=b"abc"), tmp_path / "here")
    assert not (tmp_path / "here/a").exists()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/etc")], ids=["folder", "link"])
def test_what_lies_here_already_is_not_walked_through(make: Callable[[Path], None], tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    make(here / "a")
    wanted = [0, "a", "file", 0, 1, 0o644] if (here / "a").is_dir() and not (here / "a").is_symlink() else [
        0, "a", "folder", 0, 1, 0o755,
    ]  # fmt: skip
    with pytest.raises(RunError, match="something else lies there"):
        take(Liar(wanted), here)


def test_S06_a_full_disk_is_told_and_leaves_no_half_file(there: Path, tmp_path: Path) -> None:
    class Full(Far):
        def bytes(self, size: int) -> bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunError, match="No space left"):
        take(Full(there), tmp_path / "here")
    assert not (tmp_path / "here/log").exists()


def test_nobody_listening_is_no_trouble_of_ours(there: Path) -> None:
    def gone(_: object) -> None:
        raise Gone("gone")

    with pytest.raises(Gone):
        far_code.listed(there, gone)
