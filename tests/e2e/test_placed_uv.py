"""Lines of uv as tutorials show them, placed here and run by buildah with the same uv: the same environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from tests.e2e.test_placed_lines import Bench, check
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


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("uv")
    points = b"[console_scripts]\ndemo = demo.cli:main\n"
    tool = b"import sys\n\n\ndef main():\n    print('tool of demo', sys.prefix)\n"
    with FaultServer() as server:
        index = PackageIndex(server)
        for version in ("1.0", "2.0"):
            files = {"demo/cli.py": tool, f"demo-{version}.dist-info/entry_points.txt": points}
            index.add(wheel("demo", version, requires=["helper>=1"], files=files))
        index.add(wheel("helper", "1.5"), wheel("Odd_Name", "0.1", files={"odd_name/data/x.txt": b"x\n"}))
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
        "ARG BASE=slim\nFROM $BASE\nCOPY requirements.txt .\n"
        "RUN --mount=type=cache,target=/root/.cache/uv uv venv && uv pip install -i INDEX -r requirements.txt\n"
        "RUN uv venv -q /opt/named && uv pip install -p /opt/named -i INDEX Odd_Name && uv cache clean\n"
        "RUN uv venv --prompt bare bare\n"
        "ENV VIRTUAL_ENV=/opt/named PATH=/opt/named/bin:$PATH\n"
        "RUN uv pip install --no-cache -i INDEX demo==1.0\n"
        "RUN uv pip install --no-cache -i INDEX -U demo\n"
        'CMD ["sh", "-c", "demo && /app/.venv/bin/demo"]\n',
        {"requirements.txt": "demo<2\nodd.name\n"},
    )
    files = check(bench, at, placed=5)
    assert {"app/.venv/bin/demo", "opt/named/bin/demo", "app/bare/pyvenv.cfg"} <= set(files)
    assert files["app/.venv/bin/demo"][-1].startswith(b"#!/app/.venv/bin/python\n")
    assert "opt/named/lib/python3.11/site-packages/demo-2.0.dist-info/METADATA" in files
    assert bench.trainload(at, "run").stdout == "tool of demo /opt/named\ntool of demo /app/.venv\n"
