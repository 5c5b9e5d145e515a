"""The runner as one file: a zip archive that Python executes (zipapp), the same bytes for the same source."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from importlib.resources import files

_MAIN = "from trainload.runner import __main__ as it; it.main(it.sys.argv[1], it.sys.stdin.buffer)\n"
_IMAGES = frozenset(
    f"{name}.py"
    for name in ("__init__", "__main__", "blobs", "engine", "home", "names", "serve", "trouble", "wire")
)
"""What a shipment needs: half of it, and each byte counts when a code edit is a few kilobytes."""
_DATE = (1980, 1, 1, 0, 0, 0)  # the first a zip archive knows


@cache
def bundle(*, runs: bool = True) -> bytes:
    """The archive; it holds ``trainload.runner`` and nothing else. ``runs`` False: what takes images only."""
    source = files("trainload.runner")
    found = [entry for entry in source.iterdir() if entry.name.endswith(".py") and (runs or entry.name in _IMAGES)]
    modules = {entry.name: entry.read_text("utf-8") for entry in found}
    content = {"__main__.py": _MAIN, "trainload/__init__.py": ""}
    content |= {f"trainload/runner/{name}": text for name, text in sorted(modules.items())}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, text in content.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def program(mark: str, *, runs: bool = True) -> bytes:
    """What the far interpreter executes, followed by the archive it reads; ``runs`` as for :func:`bundle`."""
    loader = (files("trainload.runner") / "loader.py").read_text("utf-8")
    archive = bundle(runs=runs)
    text = (
        f"{loader}\nimport sys\nload(sys.stdin.buffer.read({len(archive)}))\n"
        f"from trainload.runner.serve import main\nmain({mark!r}, sys.stdin.buffer)\n"
    ).encode()
    return b"%d\n%s%s" % (len(text), text, archive)
