"""What is copied out of a run that goes on writing."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.run.engines.embedded.copying import Living, tar_of
from trainload.runner.copies import archived

TURNS = 30


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """A folder in which files come and go; ``kept`` stays."""
    folder = tmp_path / "busy"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    names = " ".join(f"part-{number}" for number in range(40))
    script = f"while :; do for name in {names}; do : >$name; done; rm part-*; done"
    with subprocess.Popen(["sh", "-c", script], cwd=folder) as writer:
        yield folder
        writer.kill()


def names(data: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {name for name in archive.getnames() if "part-" not in name}


def test_files_that_go_while_their_folder_is_copied_are_left_out(busy: Path) -> None:
    for _ in range(TURNS):
        with tar_of(Living(os.getpid()), str(busy)) as stream:
            data = b"".join(iter(lambda: stream.read(1 << 16), b""))
        assert names(data) == {"busy", "busy/kept"}


def test_on_a_server_too(busy: Path) -> None:
    for _ in range(TURNS):
        file = io.BytesIO()
        archived(str(busy), file)
        assert names(file.getvalue()) == {"busy", "busy/kept"}
    with pytest.raises(FileNotFoundError):
        archived(str(busy / "gone"), io.BytesIO())
