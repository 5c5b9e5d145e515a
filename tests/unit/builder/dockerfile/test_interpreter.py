"""Which Python of an image uv installs for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.builder.dockerfile.test_placing import ground

from trainload.builder.dockerfile.placing.interpreter import Caller, find_target
from trainload.dockerfile.installs import InstallPython
from trainload.dockerfile.understand.parts import Beyond
from trainload.testing.tars import TarEntry, folder, symlink

PATH = "/srv/app/.venv/bin:/usr/local/bin"


def target(at: Path, step: InstallPython, **env: str) -> tuple[str, str]:
    """(what is called, where packages go)."""
    venvs = ("srv/app/.venv", "opt/other")
    lower = ground(
        at,
        (
            *(folder(path) for path in ("usr", "usr/local", "usr/local/bin", "opt")),
            *(folder(path) for path in ("srv", "srv/app", "srv/app/deep")),
            TarEntry("usr/local/bin/python3.11", b"\x7fELF", mode=0o755),
            TarEntry("usr/local/bin/uv", b"\x7fELF", mode=0o755),
            symlink("usr/local/bin/python3", "python3.11"),
            *(one for venv in venvs for one in (
                folder(venv), folder(f"{venv}/bin"), TarEntry(f"{venv}/pyvenv.cfg", b"home = /usr/local/bin\n"),
                symlink(f"{venv}/bin/python", "/usr/local/bin/python3"), symlink(f"{venv}/bin/python3", "python"),
            )),
        ),
    )  # fmt: skip
    found, _ = find_target(step, lower, Caller({"PATH": PATH, **env}, 0, 0, "/root"))
    return found.scheme.interpreter, found.scheme.site


def uv(**given: object) -> InstallPython:
    return InstallPython(("uv", "pip"), ("demo",), **{"folder": "/srv/app/deep", **given})  # type: ignore[arg-type]


def test_uv_takes_the_active_environment_or_that_of_a_folder_above(tmp_path: Path) -> None:
    own = ("/srv/app/.venv/bin/python", "srv/app/.venv/lib/python3.11/site-packages")
    other = ("/opt/other/bin/python", "opt/other/lib/python3.11/site-packages")
    assert target(tmp_path, uv()) == own
    assert target(tmp_path, uv(), VIRTUAL_ENV="/opt/other") == other
    assert target(tmp_path, uv(python="/opt/other")) == other
    assert target(tmp_path, uv(python="/opt/other/bin/python")) == other


def test_system_is_never_an_environment_even_where_one_is_on_the_path(tmp_path: Path) -> None:
    found = target(tmp_path, uv(system=True), VIRTUAL_ENV="/opt/other")
    assert found == ("/usr/local/bin/python3", "usr/local/lib/python3.11/site-packages")


def test_without_an_environment_uv_itself_says_so(tmp_path: Path) -> None:
    for step, env in ((uv(folder="/opt"), {}), (uv(), {"VIRTUAL_ENV": "/nowhere"})):
        with pytest.raises(Beyond):
            target(tmp_path, step, **env)
