"""How the program in an image runs: as whom, whether anybody asks if it lives, how it starts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from trainload.dockerfile.model import Cmd, Copy, Entrypoint, Env, Expose, Healthcheck, Instruction, Words
from trainload.errors import Text
from trainload.lint.compose.rules import deprecated_line
from trainload.lint.dockerfile.document import Dockerfile, unquoted, words_of
from trainload.lint.images import runs_as_user, split
from trainload.lint.launch import launches
from trainload.lint.memory import USUAL, bus_error, needs
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.servers import Server, image_server, server
from trainload.lint.shell import Command

_CHANGES_USER = re.compile(r"\b(?:gosu|su-exec|setpriv|supervisord|sshd|s6-overlay|runuser)\b")
_ADDS = re.compile(r"\b(?:useradd|adduser)\b(?P<rest>[^&;|\n]*)")
_OF_ROOT = re.compile(r"/root\b|~/|\$HOME\b|\$\{HOME\}|--user\b")
_DOWNLOADS = re.compile(
    r"from_pretrained|huggingface-cli|hf download|snapshot_download|torch\.hub|nltk|whisper|timm"
)
_CACHES = frozenset({"HF_HOME", "TORCH_HOME", "TRANSFORMERS_CACHE", "NLTK_DATA", "XDG_CACHE_HOME"})
_DOCKER_RUN = re.compile(r"^\s*#.*\b(?:docker|podman|nerdctl)\s+run\b")
_ENGINE_RUN = re.compile(r"\b(?:docker|podman|nerdctl)\s+run\b")


def root(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    user = document.user()
    if user not in (None, "", "root", "0") or (user is None and runs_as_user(document.image)):
        return
    if (
        "$" in (user or "")
        or ("$" in document.image and user is None)
        or _CHANGES_USER.search(document.source.text)
    ):
        return
    if split(document.image)[1].endswith("nonroot"):
        return
    place = _start(document)
    line = place.line if place is not None else max(document.last.opening.line, len(document.source.lines))
    flagged = place or document.last.opening
    lines, sure = _as_user(document)
    edits: tuple[Edit, ...] = (Edit(line if place else line + 1, line - 1 if place else line, lines),)
    if _OF_ROOT.search("\n".join(item.text for stage in document.chain for item in stage.items)):
        moved = _moved_home(document) if lines[-1] == "USER app" else None
        edits, sure = (*moved, *edits) if moved else (), False
    yield Flaw(
        flagged.line, max(flagged.last, flagged.line),
        Text("the program runs as root"),
        Text("who gets out of the container is root on the machine; files in mounted folders belong to root"),
        edits, sure=sure,
    )  # fmt: skip


def _start(document: Dockerfile) -> Instruction | None:
    """The first of what starts the program at the end of the file; a user comes before it."""
    found: Instruction | None = None
    for item in reversed(document.last.items):
        if isinstance(item.what, Cmd | Entrypoint | Expose | Healthcheck):
            found = item
        else:
            break
    starts = [item for item in document.last.items if isinstance(item.what, Cmd | Entrypoint)]
    return found or (starts[-1] if starts else None)


def _as_user(document: Dockerfile) -> tuple[tuple[str, ...], bool]:
    """Lines that make a user and take it; whether the program surely still finds its files."""
    text = "\n".join(item.text for stage in document.chain for item in stage.items)
    caches = _DOWNLOADS.search(text) and not _CACHES & set(document.environ(document.last))
    sure = not caches
    known = _ADDS.search(text)
    if known:
        names = [word for word in known["rest"].split() if re.fullmatch(r"[a-z_][a-z0-9_-]*", word)]
        if names:
            return (f"USER {names[-1]}",), sure
    if "distroless" in document.image or document.image == "scratch":
        return ("USER 65532",), sure
    alpine = "alpine" in document.image or document.image.startswith("busybox")
    # a base may have the user already, whoever made it
    make = f"id -u app || {'adduser -D' if alpine else 'useradd --create-home'} app"
    folder = document.workdir(document.last)
    if folder and folder != "/" and "$" not in folder:
        make = f"({make}) && chown app {folder}"
    return (f"RUN {make}", "USER app"), sure


def _moved_home(document: Dockerfile) -> list[Edit] | None:
    """What is put into root's home put into the user's; None where more than COPY and ENV speak of it."""
    if len(document.chain) > 1:
        return None
    edits = []
    for item in document.last.items:
        if not _OF_ROOT.search(item.text):
            continue
        line = document.source.line(item.line)
        if item.last > item.line or not isinstance(item.what, Copy | Env):
            return None
        if isinstance(item.what, Copy):
            if not item.what.target.startswith("/root/") or not line.rstrip().endswith(item.what.target):
                return None
            new = f"{line.rstrip().removesuffix(item.what.target)}/home/app/{item.what.target[len('/root/') :]}"
        else:
            new = line.replace("/root/", "/home/app/")
        edits.append(Edit(item.line, item.line, (new,)))
    return edits


def commands_of(document: Dockerfile) -> tuple[tuple[Command, ...], Instruction | None]:
    """What the image runs: ENTRYPOINT and CMD together."""
    entries, cmds = document.find(Entrypoint), document.find(Cmd)
    entry = entries[-1].what if entries else None
    command = cmds[-1].what if cmds else None
    places = cmds or entries
    place = places[-1] if places else None
    if isinstance(entry, Entrypoint):
        if not entry.command.is_exec or not isinstance(command, Cmd) or not command.command.is_exec:
            return words_of(entry.command), entries[-1]
        return words_of(Words((*entry.command.words, *command.command.words), is_exec=True)), place
    return (words_of(command.command), place) if isinstance(command, Cmd) else ((), None)


def healthcheck(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    if document.find(Healthcheck):
        return
    commands, place = commands_of(document)
    found = server(commands) or _script_server(commands, around)
    if found is None and (not commands or document.find(Entrypoint) == []):
        found = image_server(document.image) if not commands or commands[0].name.startswith("-") else None
    if found is None:
        return
    item = place or document.last.opening
    line = item.line if place else len(document.source.lines) + 1
    yield Flaw(
        item.line, max(item.last, item.line),
        Text("{program} has no HEALTHCHECK: a server that hangs looks like one that works", program=found.program),
        Text("nothing waits until it is ready, and nobody is told when it does not answer any more"),
        (Edit(line, line - 1, _check(document, found, commands, around)),),
    )  # fmt: skip


def _script_server(commands: tuple[Command, ...], around: Surroundings) -> Server | None:
    """``python app.py`` where app.py itself starts a server."""
    for command in commands:
        for word in command.texts:
            port = around.servers.get(word.removeprefix("./"))
            if port is not None:
                return Server(word, port, None, python=True)
    return None


def _check(
    document: Dockerfile, found: Server, commands: tuple[Command, ...], around: Surroundings
) -> tuple[str, ...]:
    port = found.port
    exposed = [unquoted(port) for item in document.find(Expose) if isinstance(item.what, Expose)
               for port in item.what.ports]  # fmt: skip
    ports = [p.partition("/")[0] for p in exposed]
    if len(ports) == 1 and ports[0].isdigit() and not any(str(port) in w for c in commands for w in c.texts):
        port = int(ports[0])
    path = found.path or around.health
    name = next((c.texts[0] for c in commands if c.name.startswith("python")), None)
    python = name or ("python" if split(document.image)[0] == "python" or "conda" in document.image else "python3")
    if not found.python:
        words = ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]
    elif path:
        words = [python, "-c", f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}{path}', timeout=4)"]
    else:
        words = [python, "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 4)"]
    start = f"{found.start // 60}m" if found.start >= 120 else f"{found.start}s"
    return (
        f"HEALTHCHECK --interval=30s --timeout=5s --start-period={start} {document.escape}",
        f"    CMD {json.dumps(words)}",
    )


def launch(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    for item in (*document.find(Entrypoint), *document.find(Cmd)):
        what = item.what
        assert isinstance(what, Entrypoint | Cmd)
        if any(one.tool == "launch" for one in launches(words_of(what.command))):
            yield deprecated_line(document.source, item.line, max(item.last, item.line))


def shared_memory(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    """The ``docker run`` that a comment of the file proposes."""
    commands, _ = commands_of(document)
    reason = needs(commands, {}, around, own_code=True)
    if reason is None:
        return
    for number, line in enumerate(document.source.lines, 1):
        if (
            _DOCKER_RUN.match(line)
            and not re.search(r"--shm-size|--ipc|/dev/shm", line)
            and not line.endswith("\\")
        ):
            new = _ENGINE_RUN.sub(rf"\g<0> --shm-size={USUAL}", line, count=1)
            yield Flaw(
                number, number, Text("this docker run has no --shm-size: {reason}", reason=reason), bus_error(),
                (Edit(number, number, (new,)),),
            )  # fmt: skip
