"""A tiny image made of this machine's own programs, for tests that run something."""

from __future__ import annotations

import functools
import gzip
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from trainload.digest import Digest
from trainload.image.assemble import assemble
from trainload.store.store import Store
from trainload.system.process import run
from trainload.testing.images import plan_of, put_layer
from trainload.testing.tars import TarEntry, folder, tar

PROGRAMS = (
    "sh",
    "cat",
    "env",
    "head",
    "hostname",
    "id",
    "ls",
    "mkdir",
    "rm",
    "sleep",
    "stat",
    "stty",
    "touch",
    "tail",
)
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\nhuge:x:4294967296:0::/:/bin/sh\n"
GROUP = b"root:x:0:\nada:x:1000:\nvideo:x:44:ada\n"
_LIBRARY = re.compile(r"(/\S+) \(0x")


@functools.cache
def programs_layer(programs: Sequence[str] = PROGRAMS) -> bytes:
    """A layer tar with the programs, their libraries, users and groups, ``/tmp`` and ``/home/ada``."""
    files: dict[str, bytes] = {}
    for program in programs:
        path = shutil.which(program)
        assert path is not None, f"this machine has no {program}"
        files[f"bin/{program}"] = Path(path).read_bytes()
        for library in _LIBRARY.findall(run(["ldd", path]).stdout.decode()):
            files[library.lstrip("/")] = Path(library).read_bytes()
    names = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    return tar(
        *(folder(name) for name in names),
        *(TarEntry(name, data, mode=0o755) for name, data in sorted(files.items())),
        folder("etc"),
        TarEntry("etc/passwd", PASSWD),
        TarEntry("etc/group", GROUP),
        folder("tmp", 0o1777),
        folder("home"),
        TarEntry("home/ada", kind=b"5", mode=0o755, owner=(1000, 1000)),
        TarEntry("etc/not-a-program", b"text\n"),
    )


def tiny_store(home: Path, programs: tuple[str, ...] = PROGRAMS) -> Path:
    """A store at ``home`` with the image ``tiny``, whose command is ``sh -c 'echo hello'``."""
    store = Store.open(home)
    stream = programs_layer(programs)
    with store.writing():
        layer = put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream))
        image = assemble(plan_of("tiny", ("base",), ("sh", "-c", "echo hello")), [layer])
        store.commit_image(image, ("tiny",))
    return home
