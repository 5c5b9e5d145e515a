"""Lines of uv as tutorials show them, placed here and run by buildah with the same uv: the same environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_placed_lines import BACKEND, Bench, check
from tests.network import archive_answers
from uv import find_uv_bin

from trainload.testing.index import PackageIndex, wheel
from trainload.testing.server import FaultServer

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are given to other users"),
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
]
BASE = 'base = "apt:bookworm"\nuser = 0\n'
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UV = f"FROM plain\nCOPY uv /usr/local/bin/uv\nENV UV_LINK_MODE=copy VIRTUAL_ENV= PATH={PATH}\nWORKDIR /app\n"
PYPROJECT = """\
[project]
name = "own-project"
version = "1.0"
requires-python = ">=3.9"
dependencies = ["demo<2", "odd-name; sys_platform == 'win32'"]

[project.optional-dependencies]
more = ["Odd_Name"]

[project.scripts]
own = "own:main"

[dependency-groups]
dev = ["spare"]
extra = ["late"]

[build-system]
requires = ["tiny-build"]
build-backend = "tiny_build.backend"

[[tool.uv.index]]
url = "INDEX"
default = true
"""
OWN = "import helper\n\n\ndef main():\n    print('own with', helper.__version__)\n"
BOUND = (
    "--mount=type=cache,target=/root/.cache/uv --mount=type=bind,source=uv.lock,target=/app/uv.lock "
    "--mount=type=bind,source=pyproject.toml,target=/app/pyproject.toml"
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if not archive_answers():
        pytest.skip("no archive can be reached from here")
    folder = tmp_path_factory.mktemp("uv")
    points = b"[console_scripts]\ndemo = demo.cli:main\n"
    tool = b"import sys\n\n\ndef main():\n    print('tool of demo', sys.prefix)\n"
    with FaultServer() as server:
        index = PackageIndex(server)
        PackageIndex(server, sizes=False, prefix="/bare").add(wheel("helper", "1.0"))
        for version in ("1.0", "2.0"):
            files = {"demo/cli.py": tool, f"demo-{version}.dist-info/entry_points.txt": points}
            index.add(wheel("demo", version, requires=["helper>=1"], files=files))
        index.add(wheel("helper", "1.5"), wheel("Odd_Name", "0.1", files={"odd_name/data/x.txt": b"x\n"}))
        index.add(wheel("spare", "1.0"), wheel("late", "1.0"))
        index.add(wheel("tiny-build", "1.0", files={"tiny_build/backend.py": BACKEND}))
        found = Bench(folder / "home", index.url, folder, {})
        plain = folder / "plain"
        plain.mkdir()
        (plain / "trainload.toml").write_text(BASE)
        found.trainload(plain, "build", "-t", "plain")
        slim = found.project("slim", UV, {})
        shutil.copy(find_uv_bin(), slim / "uv")
        found.trainload(slim, "build", "-t", "slim")
        yield found


def test_environments_that_uv_makes_and_fills(bench: Bench) -> None:
    at = bench.project(
        "venv",
        "ARG BASE=slim\nFROM $BASE\nCOPY requirements.txt .\nCOPY lib lib\n"
        "RUN --mount=type=cache,target=/root/.cache/uv uv venv && uv pip install -i INDEX -r requirements.txt\n"
        "RUN uv venv -q /opt/named && uv pip install -p /opt/named -i INDEX Odd_Name && uv cache clean\n"
        "RUN uv venv --prompt bare bare\n"
        "RUN uv venv /opt/listed && uv pip install --no-cache -p /opt/listed -i INDEX -r lib/pyproject.toml\n"
        "ENV VIRTUAL_ENV=/opt/named PATH=/opt/named/bin:$PATH\n"
        "RUN uv pip install --no-cache -i INDEX demo==1.0\n"
        "RUN uv pip install --no-cache -i INDEX -U demo\n"
        'CMD ["sh", "-c", "demo && /app/.venv/bin/demo"]\n',
        {
            "requirements.txt": "demo<2\nodd.name\n",
            "lib/pyproject.toml": '[project]\nname = "lib"\nversion = "1"\ndependencies = ["demo<2"]\n',
        },
    )
    files = check(bench, at, placed=6)
    assert "opt/listed/lib/python3.11/site-packages/demo-1.0.dist-info/METADATA" in files
    assert {"app/.venv/bin/demo", "opt/named/bin/demo", "app/bare/pyvenv.cfg"} <= set(files)
    assert files["app/.venv/bin/demo"][-1].startswith(b"#!/app/.venv/bin/python\n")
    assert "opt/named/lib/python3.11/site-packages/demo-2.0.dist-info/METADATA" in files
    assert bench.trainload(at, "run").stdout == "tool of demo /opt/named\ntool of demo /app/.venv\n"


def project(bench: Bench, name: str, lines: str, text: str = PYPROJECT) -> Path:
    """A project that uv has locked."""
    at = bench.project(name, f"ARG BASE=slim\nFROM $BASE\n{lines}", {"own.py": OWN})
    (at / "pyproject.toml").write_text(text.replace("INDEX", bench.index))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    subprocess.run([find_uv_bin(), "lock", "-q", "--no-cache"], cwd=at, env=environ, check=True)
    return at


def test_a_project_is_synced_as_its_guide_shows(bench: Bench) -> None:
    at = project(
        bench,
        "guide",
        "ENV UV_COMPILE_BYTECODE=1\n"
        f"RUN {BOUND} uv sync --locked --no-install-project --no-dev\n"
        "COPY . /app\n"
        "RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-dev\n"
        'ENV PATH=/app/.venv/bin:$PATH\nCMD ["sh", "-c", "demo && own"]\n',
    )
    files = check(bench, at, placed=2)
    site = "app/.venv/lib/python3.11/site-packages"
    assert f"{site}/own.pth" in files and f"{site}/spare/__init__.py" not in files
    assert not [path for path in files if path.endswith(".pyc")]
    assert [row[1].partition(";")[0] for row in bench.rows(at).values() if "uv.lock" in row[1]] == [
        "understood: the wheels of uv.lock are placed"
    ] * 2
    assert "prompt = own-project" in files["app/.venv/pyvenv.cfg"][-1].decode()
    assert bench.trainload(at, "run").stdout == "tool of demo /app/.venv\nown with 1.5\n"
    noted = files[f"{site}/own_project-1.0.dist-info/uv_cache.json"][-1]
    assert json.loads(noted)["timestamp"] == {"secs_since_epoch": 0, "nanos_since_epoch": 0}
    record = files[f"{site}/own_project-1.0.dist-info/RECORD"][-1].decode()
    assert "own_project-1.0.dist-info/uv_cache.json,,\n" in record
    first = json.loads(bench.trainload(at, "build", "--json").stdout)["digest"]
    assert json.loads(bench.trainload(at, "build", "--json", "--no-cache").stdout)["digest"] == first


def test_groups_extras_and_what_goes_again(bench: Bench) -> None:
    at = project(
        bench,
        "groups",
        "ENV UV_PROJECT_ENVIRONMENT=/opt/env\nCOPY pyproject.toml uv.lock own.py ./\n"
        "RUN uv sync --frozen --no-cache --all-extras --group extra\n"
        "RUN cp -r /opt/env/lib/python3.11/site-packages /srv/first\n"
        "RUN uv sync --no-cache --no-dev --no-editable\n"
        "RUN uv export -q --frozen --no-cache --no-emit-project -o /srv/all.txt && "
        "uv venv /opt/flat && uv pip install --no-cache -p /opt/flat -r /srv/all.txt\n"
        'CMD ["/opt/env/bin/own"]\n',
    )
    files = check(bench, at, placed=3)
    first = {path.split("/")[2] for path in files if path.startswith("srv/first/")}
    assert {"demo", "odd_name", "spare", "late", "own.pth"} <= first
    second = {path.split("/")[5] for path in files if path.startswith("opt/env/lib/python3.11/site-packages/")}
    assert {"demo", "own.py"} <= second and not {"odd_name", "spare", "late", "own.pth"} & second
    assert "opt/flat/lib/python3.11/site-packages/spare/__init__.py" in files
    assert bench.trainload(at, "run").stdout == "own with 1.5\n"


def test_a_project_that_is_no_package_and_packages_that_are_left_out(bench: Bench) -> None:
    text = (
        PYPROJECT.partition("[build-system]")[0] + "[[tool.uv.index]]" + PYPROJECT.partition("[[tool.uv.index]]")[2]
    )
    at = project(
        bench,
        "virtual",
        "COPY . .\nENV UV_NO_DEV=1 UV_LOCKED=1\n"
        "RUN uv sync --no-cache --no-install-package demo --python /usr/bin/python3\n"
        'CMD ["/app/.venv/bin/python", "own.py"]\n',
        text,
    )
    files = check(bench, at, placed=1)
    site = "app/.venv/lib/python3.11/site-packages"
    assert f"{site}/helper/__init__.py" in files and f"{site}/demo/__init__.py" not in files
    assert not (at / "Dockerfile.lock").exists(), "sizes and hashes are those of uv.lock"


def test_what_uv_itself_would_refuse_or_build_is_run(bench: Bench) -> None:
    at = project(bench, "stale", "COPY . .\nRUN uv sync --locked --no-cache\n")
    whole = (at / "pyproject.toml").read_text()
    (at / "pyproject.toml").write_text(whole.replace('"demo<2"', '"demo<1.5"'))
    failed = bench.trainload(at, "build", "--network", "default", code=1).stderr
    assert "needs to be updated" in failed, failed
    (at / "pyproject.toml").write_text(whole + '\n[tool.uv.workspace]\nmembers = ["lib"]\n')
    bench.trainload(at, "build", "--network", "default")
    assert bench.rows(at, "--network", "default")[4] == ("run", "the key workspace of [tool.uv]")


def test_sizes_that_an_index_does_not_tell_are_kept_in_the_lock(bench: Bench) -> None:
    text = PYPROJECT.partition("dependencies")[0] + 'dependencies = ["helper"]\n[[tool.uv.index]]\ndefault = true\n'
    text += f'url = "{bench.index.removesuffix("/simple")}/bare/simple"\n'
    at = project(bench, "bare", "COPY . .\nRUN uv sync --locked --no-cache\n", text)
    check(bench, at, placed=1)
    assert "uv sync own-project" in (at / "Dockerfile.lock").read_text()
    bench.trainload(at, "build", "--frozen")
