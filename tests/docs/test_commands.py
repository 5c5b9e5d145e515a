"""Every ``sh`` block of the README, the tutorial and the guides runs, top to bottom, in one session per page.

``sh needs-torch`` runs where a PyTorch wheel lies in the folder that PIP_FIND_LINKS names. Pages share one
store, as a reader's do. ``console`` blocks show and are not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.network import archive_answers, index_answers

TOP = Path(__file__).parents[2]
PAGES = [
    "docs/tutorial/first-image.md",
    "docs/guides/dockerfile.md",
    "docs/guides/moving-images.md",
    "docs/guides/servers.md",
    "docs/guides/image-size.md",
    "docs/guides/running.md",
    "docs/guides/debugging.md",
    "docs/guides/keep-what-you-changed.md",
    "docs/guides/secrets.md",
    "docs/guides/pytorch.md",
    "docs/guides/lint.md",
]


def checkout(folder: Path) -> Path:
    """The files of this checkout, without what is ignored, as a clone has them."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "examples", "dev", "pyproject.toml", "README.md"],
        cwd=TOP, capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, names.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, folder / name)
    return folder


def script(page: Path, *, torch: bool) -> str:
    """The page's blocks as one script, in which each block is announced."""
    parts = ["set -eu"]
    for kind, block in re.findall(
        r"^```(sh[^\n]*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        if kind == "sh" or (kind == "sh needs-torch" and torch):
            parts.append(f"printf '%s\\n' '--- block' >&2\n{block}")
        else:
            assert kind == "sh needs-torch", f"{page.name}: what is {kind}?"
    return "\n".join(parts)


@pytest.mark.timeout(1200)
def test_every_command_of_the_prose_works(tmp_path: Path) -> None:
    if shutil.which("trainload", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("needs trainload in the environment that runs the tests: ./dev test")
    wheels = Path(os.environ.get("PIP_FIND_LINKS", ""))
    torch = wheels.is_dir() and any(wheels.glob("torch-*.whl"))
    home = checkout(tmp_path / "checkout")
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TRAINLOAD_HOME": str(tmp_path / "store"),
        "TRAINLOAD_CHECKOUT": str(home),
        "TRAINLOAD_DEV_VENV": sys.prefix,
        **({"TRAINLOAD_FIND_LINKS": str(wheels)} if torch else {}),
    }
    for page in ["README.md", *PAGES]:
        work = home if page == "README.md" else tmp_path / Path(page).stem
        work.mkdir(exist_ok=True)
        done = subprocess.run(
            ["sh", "-c", script(TOP / page, torch=torch)],
            cwd=work, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode != 0 and not (index_answers() and archive_answers()):
            pytest.skip(f"needs a package index and Debian's archive: {done.stderr[-500:]}")
        assert done.returncode == 0, f"{page}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert (home / "examples/digits/outputs/metrics.json").exists()
    if not torch:
        pytest.skip("all but the PyTorch blocks ran; they need PIP_FIND_LINKS with a torch wheel")
