"""Lines that can do nothing without a network, and lines that only speak of one."""

from __future__ import annotations

import pytest

from trainload.dockerfile.model import Heredoc
from trainload.dockerfile.understand.network import needs_network
from trainload.dockerfile.understood import RunLine

NEEDING = [
    ("curl -LsSf https://tool.example/install.sh | sh", "curl"),
    ("apt-get install x && wget -qO- 'http://files.example/a.tgz' | tar xz -C /opt", "wget"),
    (
        'set -eux; \\\n  cd /tmp; \\\n  curl -fSL -o a.tgz \\\n      "https://files.example/a.tgz"; tar xf a.tgz',
        "curl",
    ),
    ("git clone --depth 1 https://git.example/x.git /x", "git clone"),
    ("git clone git@git.example:x/y.git", "git clone"),
    ("apt-get update || true", "apt-get update"),
    ("DEBIAN_FRONTEND=noninteractive apt-get -y upgrade | tee log", "apt-get -y upgrade"),
    ("if [ -z x ]; then apt-get update; fi", "apt-get update"),
    ("x=$(curl -s https://api.example/version)", "curl"),
]
SILENT = [
    "apt-get install -y curl wget git",
    "curl --version && wget --help",
    "curl -f http://localhost:8000/health",
    "echo 'see https://docs.example' && curl-config",
    "pip install -r requirements.txt",
    "git clone /srv/x.git y",
    "# curl https://files.example\ntrue",
    "apt-get clean && apt-cache policy",
]


@pytest.mark.parametrize(("script", "program"), NEEDING, ids=[script[:30] for script, _ in NEEDING])
def test_lines_that_fetch_are_told_by_what_fetches(script: str, program: str) -> None:
    line = RunLine(1, script, ("/bin/sh", "-c", script), ("/bin/sh", "-c"), {})
    assert needs_network(line) == program
    without = RunLine(1, script, ("/bin/sh", "-c", script), ("/bin/sh", "-c"), {}, network="none")
    assert needs_network(without) is None, "whoever wrote it knows"


@pytest.mark.parametrize("script", SILENT)
def test_lines_that_only_speak_of_it_are_none(script: str) -> None:
    assert needs_network(RunLine(1, script, ("/bin/sh", "-c", script), ("/bin/sh", "-c"), {})) is None


def test_a_file_that_a_line_writes_is_not_run_by_it() -> None:
    body = "curl https://files.example/x\n"
    script = f"cat <<EOF > /x.sh\n{body}EOF"
    heredocs = (Heredoc("EOF", body, expand=True),)
    assert needs_network(RunLine(1, script, (), ("/bin/sh", "-c"), {}, heredocs=heredocs)) is None
    assert needs_network(RunLine(1, body, (), ("/bin/sh", "-c"), {}, heredocs=heredocs)) == "curl"
