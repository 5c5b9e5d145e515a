"""Whom a server listens to, and which index pip asks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from trainload.dockerfile.model import Cmd, Entrypoint, Instruction
from trainload.errors import Text
from trainload.lint.dockerfile.document import Dockerfile, Script
from trainload.lint.dockerfile.pip import Install, installs
from trainload.lint.dockerfile.running import commands_of
from trainload.lint.model import Edit, Flaw, Seen, Surroundings
from trainload.lint.servers import started
from trainload.lint.shell import Command

_HERE = re.compile(r"(?:https?://)?(?:127(?:\.[0-9]+){1,3}|localhost|\[?::1\]?)(?::[0-9]+)?", re.IGNORECASE)
_WHERE = {
    "uvicorn": ("--host",), "gunicorn": ("--bind", "-b"), "hypercorn": ("--bind", "-b"), "flask": ("--host", "-h"),
    "fastapi": ("--host",), "daphne": ("--bind", "-b"), "granian": ("--host",), "chainlit": ("--host",),
    "mlflow": ("--host", "-h"), "tensorboard": ("--host", "--bind_all"), "sglang": ("--host",),
    "trtllm-serve": ("--host",), "streamlit": ("--server.address",), "vllm": ("--host",),
    "http.server": ("--bind", "-b"),
}  # fmt: skip
"""The options that say where a server listens; the first is what a mend writes."""
_ALONE = frozenset({"uvicorn", "gunicorn", "hypercorn", "flask", "daphne", "granian", "chainlit", "mlflow",
                    "tensorboard", "sglang", "trtllm-serve", "manage.py"})  # fmt: skip
"""Without an option they listen to 127.0.0.1; ``fastapi`` with ``dev``, too."""
_ELSEWHERE = {
    "uvicorn": ("UVICORN_HOST",), "gunicorn": ("GUNICORN_CMD_ARGS", "PORT"), "flask": ("FLASK_RUN_HOST",),
    "mlflow": ("MLFLOW_HOST",), "granian": ("GRANIAN_HOST",), "chainlit": ("CHAINLIT_HOST",),
}  # fmt: skip
"""Variables that say it."""
_OTHERWISE = frozenset({"--uds", "--fd", "-c", "--config", "-u", "--unix-socket"})
"""Options after which it is another socket, or a file says it."""
_FILES = frozenset({"gunicorn.conf.py", ".flaskenv"})
_IN_FRONT = re.compile(r"\b(?:nginx|supervisord|caddy|haproxy|traefik|envoy)\b")
_GRADIO = "GRADIO_SERVER_NAME"
_ALL = "0.0.0.0"  # noqa: S104 - of a container


def listens_inside(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    """A server that nobody outside its container reaches."""
    if _IN_FRONT.search(document.source.text):
        return
    commands, place = commands_of(document)
    if place is None:
        return
    found = started(commands)
    if found is not None:
        name, rest = found
        value = _listens(name, rest, document, around)
        if value is not None:
            yield _local(name, place, _outside(document, place, commands, name, value))
        return
    for command in commands:
        for word in command.texts:
            seen = around.inside.get(word.removeprefix("./"))
            if seen is not None and not (seen.text == "launch" and _GRADIO in document.environ(document.last)):
                yield _script(seen, place)
                return


def _listens(name: str, rest: Sequence[str], document: Dockerfile, around: Surroundings) -> str | None:
    """What says that it listens to its own container alone: a word, or nothing; None: it does not."""
    options = _WHERE.get(name, ())
    for index, word in enumerate(rest):
        option, equals, value = word.partition("=")
        if option in options:
            value = value if equals else rest[index + 1] if index + 1 < len(rest) else ""
            return value if _HERE.fullmatch(value) else None
        if option in _OTHERWISE or (name == "manage.py" and ":" in word):
            return word if name == "manage.py" and _HERE.fullmatch(word) else None
    if name == "manage.py" and any(word.isdigit() for word in rest):
        return next(word for word in rest if word.isdigit())
    told = set(_ELSEWHERE.get(name, ())) & set(document.environ(document.last))
    alone = name in _ALONE or (name == "fastapi" and "dev" in rest[:1])
    return "" if alone and not told and not _FILES & set(around.files) else None


def _local(program: str, place: Instruction, mend: tuple[Edit, ...]) -> Flaw:
    return Flaw(
        place.line, max(place.last, place.line),
        Text("{program} listens to 127.0.0.1, which is the container itself", program=program),
        Text("docker run -p and a Service reach nobody: the connection is reset or refused"),
        mend, sure=False,
    )  # fmt: skip


def _script(seen: Seen, place: Instruction) -> Flaw:
    edits: tuple[Edit, ...] = ()
    if seen.text == "launch":
        edits = (Edit(place.line, place.line - 1, (f"ENV {_GRADIO}={_ALL}",)),)
    return _local(f"{seen.file}:{seen.line}", place, edits)


def _outside(
    document: Dockerfile, place: Instruction, commands: Sequence[Command], name: str, value: str
) -> tuple[Edit, ...]:
    """The line with an address for all; none where it cannot be told where that belongs."""
    what = place.what
    assert isinstance(what, Cmd | Entrypoint)
    line = document.source.line(place.line)
    if max(place.last, place.line) > place.line or len(commands) != 1:
        return ()
    if value:
        port = value if value.isdigit() else value.rpartition(":")[2] if re.search(r":[0-9]+$", value) else ""
        new, count = re.subn(
            rf"(?<![\w.:/-]){re.escape(value)}(?![\w.:-])", f"{_ALL}:{port}" if port else _ALL, line
        )
        return (Edit(place.line, place.line, (new,)),) if count == 1 else ()
    option = _WHERE[name][0] if name in _WHERE else ""
    address = f"{_ALL}:8000" if name in ("gunicorn", "hypercorn", "manage.py") else _ALL
    words = [word for word in (option, address) if word]
    if not what.command.is_exec:
        return (Edit(place.line, place.line, (f"{line.rstrip()} {' '.join(words)}",)),)
    bare = line.rstrip()
    if not bare.endswith("]"):
        return ()
    more = "".join(f', "{word}"' for word in words)
    return (Edit(place.line, place.line, (f"{bare[:-1].rstrip()}{more}]",)),)


def plain_index(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    """An index over plain HTTP that pip does not ask: it warns, and then finds nothing."""
    if "trusted-host" in document.source.text or "trusted_host" in document.source.text:
        return
    for stage in document.stages:
        for script in document.scripts(stage):
            if "PIP_TRUSTED_HOST" in document.environ(stage, script.item.line):
                continue
            for one in installs(script.commands):
                address = next((each for each in one.indexes if _is_plain(each)), None)
                if address is not None and one.tool == "pip":
                    yield _plain(document, script, one, address)


def _is_plain(address: str) -> bool:
    return address.lower().startswith("http://") and "$" not in address and not _HERE.fullmatch(
        f"http://{urlsplit(address).netloc.rpartition('@')[2]}"
    )  # fmt: skip


def _plain(document: Dockerfile, script: Script, one: Install, address: str) -> Flaw:
    host = urlsplit(address).hostname or ""
    public = "." in host and not re.search(r"[0-9]$", host) and urlsplit(address).port is None
    if public:
        places = [word.start + word.text.index(address) for word in one.command.words if address in word.text]
        edits = _with_tls(document, script, address) if places else ()
    else:
        edits = document.inserted(script, [(one.verb.end, f" --trusted-host {host}")]) if script.placed else ()
    return Flaw(
        script.item.line, max(script.item.last, script.item.line),
        Text("pip does not ask an index over plain HTTP: {host}", host=host),
        Text("it warns, goes on without it, and finds no package"),
        edits, sure=False,
    )  # fmt: skip


def _with_tls(document: Dockerfile, script: Script, address: str) -> tuple[Edit, ...]:
    edits = []
    for number in range(script.item.line, max(script.item.last, script.item.line) + 1):
        line = document.source.line(number)
        if address in line:
            edits.append(Edit(number, number, (line.replace(address, f"https{address[4:]}"),)))
    return tuple(edits)
