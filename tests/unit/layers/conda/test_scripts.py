"""Scripts of ``activate.d`` are read, not run: what is understood sets what the real shell would set."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from trainload.layers.conda.scripts import BeyondError, Prefix, exported

FILES = {"share/proj": "folder", "share/proj/proj.db": "file", "share/gdal": "folder", "lib/link.so": "link"}
PROJ = """\
#!/bin/sh
if [ -n "${PROJ_DATA:-}" ]; then
    export _CONDA_SET_PROJ_DATA="${PROJ_DATA}"
fi
if [ -d "${CONDA_PREFIX}/share/proj" ]; then
  export PROJ_DATA="${CONDA_PREFIX}/share/proj"
elif [ -d "${CONDA_PREFIX}/Library/share/proj" ]; then
  export PROJ_DATA="${CONDA_PREFIX}/Library/share/proj"
fi
if [ -f "${CONDA_PREFIX}/share/proj/copyright_and_licenses.csv" ]; then
  # proj-data is installed because its license was copied over
  export PROJ_NETWORK="OFF"
else
  export PROJ_NETWORK="ON"
fi
"""
GDAL = """\
#!/bin/bash
if [[ -n "$GDAL_DATA" ]]; then
    export _CONDA_SET_GDAL_DATA=$GDAL_DATA
fi
if [ -d $CONDA_PREFIX/share/gdal ]; then
    export GDAL_DATA=$CONDA_PREFIX/share/gdal
    export GDAL_DRIVER_PATH=$CONDA_PREFIX/lib/gdalplugins
fi
if [[ ! -d "$GDAL_DRIVER_PATH" ]]; then
    unset GDAL_DRIVER_PATH
fi
export CPL_ZIP_ENCODING=UTF-8
"""
JAVA = """\
export JAVA_HOME_CONDABACKUP="${JAVA_HOME:-}"
export JAVA_HOME="${CONDA_PREFIX}/lib/jvm"
export JAVA_LD_LIBRARY_PATH_BACKUP="${JAVA_LD_LIBRARY_PATH:-}"
export JAVA_LD_LIBRARY_PATH="${JAVA_HOME}/lib/server"
"""
PLAIN = [
    PROJ, GDAL, JAVA, "", "# nothing\n", "A=1", "A=1\nexport A",
    "export A=1 B='2 3' C=\"$A-${B}\"", "export A=a\\ b",
    "export A='it'\"'\"'s'", "export A=1; export A=2", "[ -z \"$A\" ] && export A=yes || export A=no",
    "[ -n \"$A\" ] || export A=default", "test -e $CONDA_PREFIX/share/proj/proj.db && export A=there",
    "if [ \"$MODE\" = fast ]; then export A=1; else export A=2; fi",
    "if [ \"$MODE\" != fast ]\nthen\nexport A=1\nfi",
    "if [[ \"$MODE\" == fast ]]; then if [ -z \"${B+x}\" ]; then export A=deep; fi; fi",
    "export A=${MODE:+set} B=${NONE:+set} C=${NONE-none} D=${NONE:-$CONDA_PREFIX/x}", "unset MODE", "MODE=slow",
    "export A=$NONE", "[ $NONE ] || export A=empty", "[ ! -f $CONDA_PREFIX/none ] && export A=1", ": ignored\ntrue",
    "export A=\\\n1", "export A=1\r\nexport B=2\r\n", "export A=\"a\\$b\\\"c\"",
]  # fmt: skip


@pytest.fixture
def there(tmp_path: Path) -> Path:
    for name, kind in FILES.items():
        path = tmp_path / "env" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "folder":
            path.mkdir(exist_ok=True)
        elif kind == "file":
            path.write_text("x")
        else:
            path.symlink_to("none")
    return tmp_path / "env"


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("script", PLAIN)
def test_what_is_read_is_what_the_real_shell_sets(script: str, shell: str, there: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    if shell == "dash" and ("[[" in script or "\r" in script):
        pytest.skip("not of its language")
    before = {"CONDA_PREFIX": str(there), "MODE": "fast"}
    (there.parent / "script").write_text(script.replace("\r", ""))
    command = f". {there.parent / 'script'}; exec {shutil.which('env')} -0"
    done = subprocess.run([program, "-c", command], env=before, capture_output=True, check=True)
    pairs = [line.partition("=") for line in os.fsdecode(done.stdout).split("\0") if line]
    real = {name: value for name, _, value in pairs if name not in ("_", "PWD", "SHLVL", "OLDPWD")}
    assert exported(script, before, Prefix(str(there), FILES.get)) == real


@pytest.mark.parametrize(
    "script",
    [
        "export A=$(pwd)", "export A=`pwd`", "for x in a; do export A=$x; done", "f() { export A=1; }",
        "echo hello",
        ". other.sh", "export PATH=$CONDA_PREFIX/x:$PATH", "cp a b", "export A=$((1+1))", "export A=~/x",
        "export A=*", "A=1 command", "if true; then", "if true; fi", "fi", "export A='", 'export A="', "a | b",
        "export A=1 > file", "[ -d /usr/share ] && export A=1", "[ -d $CONDA_PREFIX/../x ]", "[ 1 -lt 2 ]",
        "[ a = b", "case x in esac", "export A=${B%x}", "export -n A", "[[ $A =~ x ]]",
        "[ -x $CONDA_PREFIX/share/proj ]",
        "[[ a == b && c == d ]]", "&& export A=1", "A='1 2'\n[ -d $A ]", "if " * 100 + "true",
        "export A=${B:-`x`}", "eval A=1", "[ -d $CONDA_PREFIX/lib/link.so ]", "export A=1 &",
    ],
)  # fmt: skip
def test_whatever_says_more_is_beyond(script: str) -> None:
    with pytest.raises(BeyondError):
        exported(script, {"CONDA_PREFIX": "/opt/conda"}, Prefix("/opt/conda", FILES.get))
