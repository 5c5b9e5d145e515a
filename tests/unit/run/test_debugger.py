"""A command under debugpy."""

from __future__ import annotations

import pytest

from trainload.errors import UsageError
from trainload.run.debugger import Listening, attach_document, under_debugger

LISTENING = Listening("127.0.0.1", 5678)
DEBUGPY = "-X frozen_modules=off -m debugpy --listen 127.0.0.1:5678 --wait-for-client"


@pytest.mark.parametrize(
    ("command", "debugged"),
    [
        ("python train.py --lr 1", f"python {DEBUGPY} train.py --lr 1"),
        ("/usr/bin/tini -- python -u train.py", f"/usr/bin/tini -- python -u {DEBUGPY} train.py"),
        ("/bin/python3.11 -X dev -W error -m t -m x", f"/bin/python3.11 -X dev -W error {DEBUGPY} -m t -m x"),
        ("python -mtorch.distributed.run train.py", f"python {DEBUGPY} -m torch.distributed.run train.py"),
        ("python -c pass", f"python {DEBUGPY} -c pass"),
        ("torchrun --nnodes 2 train.py", f"python {DEBUGPY} /opt/venv/bin/torchrun --nnodes 2 train.py"),
        ("/app/tool --x", f"python {DEBUGPY} /app/tool --x"),
        ("train.py", f"python {DEBUGPY} train.py"),
    ],
)  # fmt: skip
def test_debugpy_stands_between_python_and_its_program(command: str, debugged: str) -> None:
    assert under_debugger(command.split(), LISTENING) == tuple(debugged.split())


@pytest.mark.parametrize(
    "command", ["sh -c python", "/bin/bash run.sh", "env A=1 python x.py", "python", "python -u", "tini --"]
)
def test_what_starts_no_python_is_refused(command: str) -> None:
    with pytest.raises(UsageError, match="--debug"):
        under_debugger(command.split(), LISTENING)


def test_without_waiting_the_program_begins_at_once() -> None:
    assert "--wait-for-client" not in under_debugger(["python", "x.py"], Listening("0.0.0.0", 1, wait=False))


def test_an_editor_is_told_where_the_folder_lies_inside_and_to_follow_processes() -> None:
    document = attach_document(5678, "/app")
    assert document["connect"] == {"host": "127.0.0.1", "port": 5678}
    assert document["pathMappings"] == [{"localRoot": "${workspaceFolder}", "remoteRoot": "/app"}]
    assert document["subProcess"] is True
