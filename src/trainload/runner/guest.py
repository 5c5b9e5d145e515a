"""The near side attached to a run without an engine: its streams over the connection and the run's socket."""

from __future__ import annotations

import base64
import contextlib
import json
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainload.runner import wire
from trainload.runner.attaching import NAME
from trainload.runner.nearby import meet
from trainload.runner.trouble import Trouble

_PIECE = 1 << 15
_HEADER = 8
"""Bytes before each piece of a run without a terminal (Docker's Engine API, ContainerAttach)."""


def visit(
    folder: Path, request: dict[str, Any], say: Callable[[dict[str, Any]], None],
    receive: Callable[[], tuple[int, bytes]], pulse: float,
) -> None:  # fmt: skip
    """Until the run's end, or until the near side goes away, which the run does not notice.

    One that ended before anybody came is shown by its log.
    """
    wish: dict[str, Any] = {"do": "attach"}
    if request["terminal"] is not None:
        wish["rows"], wish["columns"] = (int(one) for one in request["terminal"])
    try:
        sock = meet(folder, NAME, _line(wish))
    except OSError:
        _tell_log(folder, say)
        say({"ended": True})
        _listen(None, folder, receive)
        return
    with contextlib.closing(sock):
        listener = threading.Thread(target=_listen, args=(sock, folder, receive), daemon=True)
        listener.start()
        _pass_on(sock, request["terminal"] is not None, say, pulse)
        say({"ended": True})
        listener.join()


def _line(wish: dict[str, Any]) -> bytes:
    return json.dumps(wish).encode() + b"\n"


def _tell_log(folder: Path, say: Callable[[dict[str, Any]], None]) -> None:
    from trainload.runner.lines import follow

    for batch in follow(folder / "log", None, 0.0):
        for line in batch:
            text = line["text"].encode("utf-8", "surrogateescape") + b"\r\n"
            say({"said": base64.b64encode(text).decode("ascii"), "stderr": bool(line.get("stderr"))})


def _pass_on(sock: socket.socket, terminal: bool, say: Callable[[dict[str, Any]], None], pulse: float) -> None:  # noqa: FBT001
    """What it says, to the near side."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        while True:
            if not selector.select(pulse):
                say({"alive": True})
                continue
            try:
                data = sock.recv(_PIECE)
            except OSError:
                return
            if not data:
                return
            if terminal:
                _say(data, stderr=False, say=say)
                continue
            rest = _pieces(rest + data, say)


def _pieces(data: bytes, say: Callable[[dict[str, Any]], None]) -> bytes:
    """Tell what is complete; what is left over."""
    while len(data) >= _HEADER:
        end = _HEADER + int.from_bytes(data[4:_HEADER], "big")
        if len(data) < end:
            break
        _say(data[_HEADER:end], stderr=data[0] == 2, say=say)
        data = data[end:]
    return data


def _say(data: bytes, *, stderr: bool, say: Callable[[dict[str, Any]], None]) -> None:
    say({"said": base64.b64encode(data).decode("ascii"), "stderr": stderr})


def _listen(sock: socket.socket | None, folder: Path, receive: Callable[[], tuple[int, bytes]]) -> None:
    """What the near side says, to it; until the near side says that it knows the end."""
    try:
        while True:
            kind, data = receive()
            if kind == wire.DATA:
                if sock is not None:
                    with contextlib.suppress(OSError):
                        sock.sendall(data)
                continue
            word = json.loads(data.decode())
            if word["do"] == "end":
                return
            _obey(word, sock, folder)
    except (wire.Gone, ValueError):
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _obey(word: dict[str, Any], sock: socket.socket | None, folder: Path) -> None:
    if word["do"] == "eof" and sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
    elif word["do"] == "size":
        rows, columns = (int(one) for one in word["size"])
        with contextlib.suppress(OSError):
            meet(folder, NAME, _line({"do": "resize", "rows": rows, "columns": columns})).close()
    elif word["do"] == "signal":
        from trainload.runner.keeper import signal_program

        with contextlib.suppress(Trouble):
            signal_program(folder, int(word["number"]))
