"""A socket that leads to another one."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from trainload.system.relay import relayed


def _echo(server: socket.socket) -> None:
    while True:
        try:
            near, _ = server.accept()
        except OSError:
            return
        with near:
            while data := near.recv(4096):
                near.sendall(data[::-1])


def test_what_is_said_arrives_and_the_answer_comes_back_also_in_a_long_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "a"))
        server.listen()
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        with relayed(str(tmp_path / "a"), folder / "s") as place:
            (tmp_path / "l").symlink_to(place.parent)
            for text in (b"abc", b"xyz"):
                with socket.socket(socket.AF_UNIX) as one:
                    one.connect(str(tmp_path / "l/s"))
                    one.sendall(text)
                    one.shutdown(socket.SHUT_WR)
                    assert one.recv(10) == text[::-1]
                    assert one.recv(10) == b""
        server.shutdown(socket.SHUT_RDWR)


def test_where_nothing_listens_there_is_nothing_to_lead_to(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), relayed(str(tmp_path / "gone"), tmp_path / "s"):
        pass
    assert not (tmp_path / "s").exists()
