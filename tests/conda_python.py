"""A conda package of this machine's Python: a program of its own, compiled here, and the standard library.

No channel can be reached from where the tests run, and an environment without Python runs nothing of ours.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from trainload.testing.conda import PLACEHOLDER, Content, Spec

_LEFT_OUT = ("test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "__pycache__")
_MAIN = """
#include <Python.h>
int main(int n, char **v) {
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.use_frozen_modules = 0;
    PyStatus status = PyConfig_SetBytesArgv(&config, n, v);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) Py_ExitStatusException(status);
    return Py_RunMain();
}
"""
"""Debian's ``site`` is frozen into the library."""
_SITE = """
def getsitepackages(prefixes=None):
    name = "python%d.%d" % sys.version_info[:2]
    return list(dict.fromkeys(os.path.join(p, "lib", name, "site-packages") for p in prefixes or PREFIXES))
"""
"""Instead of Debian's dist-packages."""
_LIBRARIES = ("libexpat.so.1", "libz.so.1")
_MORE = ("libffi.so.8", "libcrypto.so.3", "libssl.so.3", "libbz2.so.1.0", "liblzma.so.5")
"""What modules of the standard library link to, found through the program's own path."""


@functools.cache
def version() -> str:
    """``3.11.2``: of Debian's Python, whose static library is there; skips where it is not."""
    for program in sorted(Path("/usr/bin").glob("python3.[0-9]*")):
        if re.fullmatch(r"python3\.\d+", program.name) and _archive(program.name.removeprefix("python")):
            said = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout
            return said.split()[1]
    pytest.skip("needs libpython3-dev and gcc")


def minor() -> str:
    return version().rpartition(".")[0]


def _archive(minor: str) -> Path | None:
    found = sorted(Path(f"/usr/lib/python{minor}").glob(f"config-*/libpython{minor}.a"))
    return found[0] if found and shutil.which("gcc") else None


def compiled(source: str, *arguments: str) -> bytes:
    """A program or library of C source."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.c").write_text(source)
        out = Path(folder) / "x"
        subprocess.run(["gcc", "-O1", "-o", out, Path(folder) / "x.c", *arguments], check=True)
        return out.read_bytes()


@functools.cache
def python_spec() -> Spec:
    """The package, as a channel would have it; about ten megabytes."""
    minor_ = minor()
    archive = _archive(minor_)
    assert archive is not None
    machine = archive.parent.name.partition(f"{minor_}-")[2]
    libraries = [Path("/lib") / machine / name for name in _LIBRARIES]
    more = [
        path
        for name in _MORE
        for folder in ("/lib", "/usr/lib")
        if (path := Path(folder) / machine / name).exists()
    ]
    program = compiled(
        _MAIN, f"-I/usr/include/python{minor_}", f"-I/usr/include/{machine}/python{minor_}", "-no-pie",
        "-Wl,-export-dynamic", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib", str(archive), *map(str, libraries),
        "-lm", "-ldl", "-lpthread",
    )  # fmt: skip
    files = {
        f"bin/python{minor_}": Content(program, 0o755),
        "bin/python3": Content(link=f"python{minor_}"),
        "bin/python": Content(link=f"python{minor_}"),
        "bin/pydoc3": Content(
            f"#!{PLACEHOLDER}/bin/python\nimport pydoc\n".encode(), 0o755, placeholder=PLACEHOLDER
        ),
        **{f"lib/{path.name}": Content(path.read_bytes(), 0o755) for path in [*libraries, *more]},
        **_library(minor_),
    }
    return Spec("python", version(), "h0_0_cpython", files, depends=["__glibc >=2.17"])


def _library(minor_: str) -> dict[str, Content]:
    """The standard library, as it is outside of Debian: packages lie in site-packages."""
    root = Path(f"/usr/lib/python{minor_}")
    found: dict[str, Content] = {}
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if not path.is_file() or inside.parts[0].startswith("config-") or set(_LEFT_OUT) & set(inside.parts):
            continue
        data = path.resolve().read_bytes()
        if inside.name == "site.py":
            data = data.replace(b"\nif not sys.flags.no_site:", _SITE.encode() + b"\nif not sys.flags.no_site:")
            assert _SITE.encode() in data
        if inside.name in ("sitecustomize.py", "EXTERNALLY-MANAGED"):
            continue
        found[f"lib/python{minor_}/{inside}"] = Content(data)
    found[f"lib/python{minor_}/site-packages/README.txt"] = Content(b"packages lie here\n")
    return found
