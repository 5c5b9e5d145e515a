"""Layers of many wheels: shared folders, open files, progress, memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from trainload.errors import LayerError
from trainload.events import Event, Moved
from trainload.layers.wheels import write_wheels
from trainload.lock.model import File
from trainload.plan.key import recipe_key
from trainload.plan.model import WheelsRecipe
from trainload.testing.sources import locked, unpacked, wheel_layer
from trainload.testing.zips import Made

SITE = "lib/python3.11/site-packages"


def named(count: int) -> dict[str, bytes]:
    """Wheels that share the namespace ``space``."""
    made = [
        Made(name=f"d{number}", files={f"space/d{number}.py": b"x\n" * number, "space/shared.py": b"same"})
        for number in range(count)
    ]
    return {one.file: one.bytes() for one in made}


def test_wheels_that_share_a_namespace_share_its_folder() -> None:
    found = unpacked(named(3))
    below = [path.removeprefix(SITE) for path in found if path.startswith(f"{SITE}/space")]
    assert below == ["/space", "/space/d0.py", "/space/d1.py", "/space/d2.py", "/space/shared.py"]
    assert list(found)[2:] == sorted(found)[:-2]  # the first two are the environment itself and the folder above


@dataclass(slots=True)
class Counting:
    """Sources that know how many of their files are open."""

    files: dict[str, bytes]
    streams: list[BinaryIO] = field(default_factory=list)
    most: int = 0

    def open(self, file: File, /) -> BinaryIO:
        self.streams.append(io.BytesIO(self.files[file.name]))
        self.most = max(self.most, self.open_now())
        return self.streams[-1]

    def open_now(self) -> int:
        return sum(not stream.closed for stream in self.streams)


def test_few_wheels_are_open_at_once_and_none_in_the_end() -> None:
    files = named(40)
    sources = Counting(files)
    recipe = WheelsRecipe(tuple(locked(name, data) for name, data in files.items()), "3.11")
    write_wheels(recipe, sources, io.BytesIO())
    assert sources.most <= 17
    assert sources.open_now() == 0
    broken = Counting({**files, "d7-1.0-py3-none-any.whl": b"no wheel"})
    with pytest.raises(LayerError):
        write_wheels(recipe, broken, io.BytesIO())
    assert broken.open_now() == 0


def test_progress_is_told_under_the_key_of_the_recipe() -> None:
    class Listener:
        def __init__(self) -> None:
            self.moved: list[Moved] = []

        def report(self, event: Event, /) -> None:
            if isinstance(event, Moved):
                self.moved.append(event)

    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(200_000))
    made, listener = Made(files={"a.bin": noise, "b.bin": noise[::-1]}), Listener()
    data = made.bytes()
    wheel_layer({made.file: data}, io.BytesIO(), listener)
    assert {event.task for event in listener.moved} == {
        str(recipe_key(WheelsRecipe((locked(made.file, data),), "3.11")))
    }
    done = [event.done for event in listener.moved]
    assert done == sorted(done)
    assert 0 < done[-1] <= len(data)


def test_the_same_wheels_are_the_same_layer_and_gzip_reads_it(tmp_path: Path) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    written = wheel_layer(named(5), first)
    assert wheel_layer(named(5), second) == written
    assert first.getvalue() == second.getvalue()
    assert hashlib.sha256(gzip.decompress(first.getvalue())).hexdigest() == written.diff_id.hex
    if shutil.which("gzip") is None:
        pytest.skip("gzip is not installed")
    plain = subprocess.run(["gzip", "-dc"], input=first.getvalue(), capture_output=True, check=True).stdout
    assert hashlib.sha256(plain).hexdigest() == written.diff_id.hex


_CHILD = """
import sys
from pathlib import Path
from trainload.layers.wheels import write_wheels
from trainload.lock.model import File, Found
from trainload.plan.model import WheelsRecipe

class Sources:
    def open(self, file):
        return Path(sys.argv[1]).open("rb")

class Nowhere:
    def write(self, data):
        return None

file = File(Path(sys.argv[1]).name, "0" * 64, None, Found(""))
write_wheels(WheelsRecipe((file,), "3.11"), Sources(), Nowhere())
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_a_wheel(tmp_path: Path) -> None:
    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(2_000))
    made = Made(files={"big.bin": (noise + bytes(1_000_000)) * 200})
    path = tmp_path / made.file
    path.write_bytes(made.bytes())
    said = subprocess.run([sys.executable, "-c", _CHILD, path], capture_output=True, text=True, check=True).stdout
    assert int(said) < 100 << 10  # KiB; the interpreter and our modules have about 30 MiB
