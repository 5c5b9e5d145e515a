"""What goes into an image that should not: secrets, and weights and data together with the code."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator
from itertools import pairwise

from trainload.dockerfile.model import Arg, Cmd, Copy, Entrypoint, Env, Instruction, Label, Run
from trainload.errors import Text
from trainload.lint.dockerfile.document import Dockerfile, Stage, copied, unquoted
from trainload.lint.dockerfile.order import takes_all
from trainload.lint.dockerfile.weights import shown
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.secrets import formed, literal, named
from trainload.lint.shell import Command
from trainload.project.secrets import HARMLESS, NAMES

_PUBLIC = re.compile(r"(?:^|[^a-z])(?:ca|cert|certs|chain|bundle|public|pub)(?:[^a-z]|$)|certificates?")
_OPTION = re.compile(r"--(?:token|password|passwd|api[-_]key|secret)")
_LOGIN = {"wandb login": "", "docker login": "-p"}
"""Commands that log in, and the option before the secret; empty: it is an argument."""
_KEPT = ("wandb login", "docker login", "huggingface-cli login", "hf auth login")
"""They write what they were given below the home folder."""
_USED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_WEIGHTS = re.compile(
    r".*\.(?:pt|pth|ckpt|safetensors|gguf|ggml|onnx|h5|hdf5|tflite|caffemodel|pdparams|msgpack|keras|engine|joblib"
    r"|pkl|npz)$|(?:.*/)?(?:pytorch_model|model)[^/]*\.bin$",
    re.IGNORECASE,
)
_LEARNED = re.compile(r".*\.(?:pt|pth|ckpt|safetensors|gguf|ggml|onnx|bin|h5)$", re.IGNORECASE)
_DATA = re.compile(r"(?:data|datasets?|checkpoints|imagenet|coco|cifar-?10|mnist)", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.(?:tar(?:\.[a-z0-9]+)?|tgz|txz|zip)$", re.IGNORECASE)
_LARGE = 1 << 20
"""Bytes; smaller ones among the code may belong to its tests."""
_DATA_FILE = re.compile(
    r".*\.(?:csv|tsv|jsonl|parquet|arrow|npy|tfrecords?|lmdb|jpe?g|png|wav|flac|mp4|zip|tar|tgz|gz|bin|txt)$", re.I
)


def secrets(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    for stage in document.stages:
        for item in stage.items:
            yield from _secret(document, stage, item, around)


def _secret(document: Dockerfile, stage: Stage, item: Instruction, around: Surroundings) -> Iterator[Flaw]:
    what = item.what
    history = Text("everybody who has the image reads it: docker history, docker inspect, its layers")
    if isinstance(what, Arg | Env):
        for name, value in what.pairs:
            if isinstance(what, Arg) and named(name) and value != "":
                why = Text("ARG {name}: what is given to it stays in the image's history", name=name)
                yield _flaw(item, why, history, _as_mount(document, stage, item, name))
            elif value and (formed(value) or (named(name) and _kept(value))):
                why = Text("the value of {name} stays in the image", name=name)
                yield _flaw(item, why, history, _gone(item) if len(what.pairs) == 1 else ())
    elif isinstance(what, Run):
        yield from _in_run(document, item, history)
    elif isinstance(what, Label | Cmd | Entrypoint):
        if kind := formed(item.text):
            yield _flaw(item, Text("a secret stands in the command: {kind}", kind=kind)
                        if not isinstance(what, Label) else Text("a secret stands in a label: {kind}", kind=kind),
                        history, ())  # fmt: skip
    elif copy := copied(item):
        for path in _secret_files(copy, around):
            yield _secret_file(document, item, copy, path)


def _kept(value: str) -> bool:
    plain = unquoted(value)
    return literal(plain) or any(named(name) for name in _USED.findall(plain))


def _flaw(item: Instruction, why: Text, measure: Text, mend: tuple[Edit, ...]) -> Flaw:
    return Flaw(item.line, max(item.last, item.line), why, measure, mend, sure=False)


def _gone(item: Instruction) -> tuple[Edit, ...]:
    return (Edit(item.line, max(item.last, item.line), ()),)


def _as_mount(document: Dockerfile, stage: Stage, item: Instruction, name: str) -> tuple[Edit, ...]:
    """The ARG taken out, and each RUN that reads it given a file that stays outside (BuildKit)."""
    edits = list(_gone(item))
    for one in stage.items:
        if one.line <= item.line or not re.search(rf"\$\{{?{name}\b", one.text):
            continue
        if not isinstance(one.what, Run):
            return ()
        script = document.script(one)
        line = document.source.line(one.line)
        if not script.placed or script.body or one.what.mounts or not re.match(r"\s*RUN\s+\S", line, re.IGNORECASE):
            return ()
        start = re.sub(
            r"^(\s*RUN)\s+", rf"\g<1> --mount=type=secret,id={name} {name}=$(cat /run/secrets/{name}) && ", line,
            count=1, flags=re.IGNORECASE,
        )  # fmt: skip
        edits.append(Edit(one.line, one.line, (start,)))
    return tuple(edits)


def _in_run(document: Dockerfile, item: Instruction, history: Text) -> Iterator[Flaw]:
    text = item.text
    kind = formed(text)
    if kind:
        yield _flaw(item, Text("a secret stands in the command: {kind}", kind=kind), history, ())
        return
    user = _with_password(document.script(item).commands)
    if user is not None:
        why = Text("the password of {user} stands in the command, and in the image", user=user)
        yield _flaw(item, why, Text("everybody who has the image reads it; programs need none, ssh takes keys"), ())
        return
    for command in document.script(item).commands:
        words = command.texts
        for word in (*command.assignments, *(command.words[1:] if command.name == "export" else ())):
            name, _, value = word.text.partition("=")
            if named(name) and literal(value):
                yield _flaw(item, Text("a secret stands in the command: {kind}", kind=name), history, ())
                return
        for one, value in pairwise((*words, "")):
            name, equals, given = one.partition("=")
            if _OPTION.fullmatch(name) and literal(given if equals else value) and not value.startswith("-"):
                yield _flaw(item, Text("a secret stands in the command: {kind}", kind=name), history, ())
                return
        option = _LOGIN.get(" ".join(words[:2]))
        if option is not None and any(literal(value) for value in _values(words[2:], option)):
            yield _flaw(item, Text("a secret stands in the command: {kind}", kind=" ".join(words[:2])), history, ())
            return
        login = next((one for one in _KEPT if " ".join(words).startswith(one)), None)
        if login is not None and not re.search(r"\blogout\b|\brm\s", text):
            why = Text("{command} keeps the token in a file of this layer", command=login)
            risk = Text("give it to the command that needs it as a secret mount, or to the run in its environment")
            yield _flaw(item, why, risk, ())
            return
        shown_names = [n for word in words[1:] for n in _USED.findall(word) if named(n)]
        if command.name in ("echo", "printf") and shown_names:
            why = Text("{command} shows ${name} in the build's log", command=command.name, name=shown_names[0])
            yield _flaw(item, why, Text("logs of builds are kept, and read by many"), ())
            return


def _with_password(commands: tuple[Command, ...]) -> str | None:
    """Who is given one: ``echo "ada:secret" | chpasswd``, ``useradd -p``."""
    for before, command in pairwise((None, *commands)):
        if command is None:
            continue
        if command.name in ("useradd", "usermod") and any(map(literal, _values(command.texts, "-p"))):
            return command.texts[-1]
        if command.name == "chpasswd":
            given = [
                *command.texts[1:],
                *(before.texts[1:] if before and before.name in ("echo", "printf") else ()),
            ]
            for user, _, password in (word.partition(":") for word in given):
                if user and literal(password):
                    return user
    return None


def _values(words: tuple[str, ...], option: str) -> list[str]:
    if option:
        return [value for name, value in pairwise(words) if name == option]
    return [word for word in words if not word.startswith("-")]


def _secret_files(copy: Copy, around: Surroundings) -> Iterator[str]:
    for source in copy.sources:
        path = posixpath.normpath(unquoted(source))
        if path != "." and is_secret(path):
            yield path
    if takes_all(copy):
        yield from (path for path in around.files if is_secret(path))


def is_secret(path: str) -> str | None:
    """What kind of secret a file of this name holds, or None."""
    parts = path.split("/")
    if any(fnmatch.fnmatchcase(parts[-1], pattern) for pattern in HARMLESS):
        return None
    for pattern, kind in NAMES:
        if "/" in pattern:
            if path == pattern or path.endswith("/" + pattern):
                return kind
        elif any(fnmatch.fnmatchcase(part, pattern) for part in parts):
            if pattern == "*.pem" and _PUBLIC.search(parts[-1].lower()):
                continue
            return kind
    return None


def _secret_file(document: Dockerfile, item: Instruction, copy: Copy, path: str) -> Flaw:
    why = Text("{path} is copied into the image ({kind})", path=path, kind=is_secret(path))
    risk = Text("everybody who has the image has it, also when a later line removes it")
    if takes_all(copy):
        edit = Edit(1, 0, (path,), ".dockerignore")
        return Flaw(item.line, max(item.last, item.line), why, risk, (edit,))
    return _flaw(item, why, risk, _gone(item) if len(copy.sources) == 1 else _less(document, item, path))


def _less(document: Dockerfile, item: Instruction, path: str) -> tuple[Edit, ...]:
    """The COPY without one of its sources."""
    for number in range(item.line, max(item.last, item.line) + 1):
        line = document.source.line(number)
        new = re.sub(rf"(?<=\s)(?:\./)?{re.escape(path)}\s+(?=\S)", "", line, count=1)
        if new != line:
            return (Edit(number, number, (new,)),)
    return ()


def big(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    for stage in document.chain:
        code_seen = False
        trees = {_tree(document, stage, one) for one in stage.items if _brings_code(copied(one))}
        for item in stage.items:
            copy = copied(item)
            if copy is None or (copy.heredocs and not copy.sources):
                continue
            if takes_all(copy):
                yield from _in_context(item, around)
            else:
                yield from _named(
                    document, item, around, code_seen=code_seen, among=_tree(document, stage, item) in trees
                )
            code_seen |= _brings_code(copy)


def _brings_code(copy: Copy | None) -> bool:
    return copy is not None and (takes_all(copy) or any(_is_code(source) for source in copy.sources))


def _tree(document: Dockerfile, stage: Stage, item: Instruction) -> str:
    """The folder of the image that something is copied below: ``/app``, ``/home/me``, ``/opt/project``."""
    copy = copied(item)
    assert copy is not None
    path = posixpath.normpath(posixpath.join(document.workdir(stage, item.line) or "/", unquoted(copy.target)))
    parts = path.strip("/").split("/")
    return "/".join(parts[: 2 if parts[0] in ("home", "opt", "usr", "var") else 1])


def _is_code(source: str) -> bool:
    path = unquoted(source).rstrip("/")
    return path.endswith((".py", ".sh", ".ipynb")) or posixpath.basename(path) in ("src", "app", "scripts", "api")


def _in_context(item: Instruction, around: Surroundings) -> Iterator[Flaw]:
    """Weights and data that a COPY of everything takes along."""
    folders: dict[str, int] = {}
    for path, size in around.files.items():
        head = path.partition("/")[0]
        if "/" in path and _DATA.fullmatch(head) and (_DATA_FILE.match(path) or _WEIGHTS.match(path)):
            folders[f"{head}/"] = folders.get(f"{head}/", 0) + size
    for path, size in around.files.items():
        if _WEIGHTS.match(path) and not any(path.startswith(folder) for folder in folders):
            folders[path] = size
    if folders:
        weight = sum(folders.values())
        paths = sorted(folders)
        yield Flaw(
            item.line, max(item.last, item.line),
            Text("weights or data go in with the code: {paths}", paths=", ".join(paths[:5])),
            Text("{size} are copied, pushed and pulled at every edit; mount them, or give them a layer",
                 size=shown(round(weight / 1e6)) if weight >= 1e6 else f"{weight / 1e3:.0f} kB"),
            (Edit(1, 0, tuple(paths), ".dockerignore"),), sure=False,
        )  # fmt: skip


def _heavy(folder: str, around: Surroundings) -> bool:
    """Whether weights lie in a folder that is named."""
    path = posixpath.normpath(folder) + "/"
    return any(
        size >= _LARGE and name.startswith(path) and _WEIGHTS.match(name) for name, size in around.files.items()
    )


def _named(
    document: Dockerfile, item: Instruction, around: Surroundings, *, code_seen: bool, among: bool
) -> Iterator[Flaw]:
    copy = copied(item)
    assert copy is not None
    sources = [unquoted(source) for source in copy.sources]
    heavy = [one for one in sources if _WEIGHTS.match(one) or _heavy(one, around)]
    bare = {one: _ARCHIVE.sub("", posixpath.basename(one.rstrip("/").removesuffix("/*"))) for one in sources}
    data = [one for one in sources if _DATA.fullmatch(bare[one])]
    last = max(item.last, item.line)
    if data:
        yield Flaw(item.line, last, Text("data are copied into the image: {paths}", paths=", ".join(data)),
                   Text("they are pushed and pulled with every image; mount them: -v ./data:/data:ro"))  # fmt: skip
    if not heavy:
        return
    others = [one for one in sources if one not in heavy]
    if others and any(_is_code(one) for one in others):
        yield Flaw(
            item.line, last, Text("weights are in one layer with code: {paths}", paths=", ".join(heavy)),
            Text("each edit of the code makes, pushes and pulls the weights again"),
            _split(document, item, heavy, others),
        )  # fmt: skip
    elif code_seen:
        yield Flaw(
            item.line, last, Text("weights lie among the code: {paths}", paths=", ".join(heavy)),
            Text("each edit of the code copies them again; copy them before it"),
        )  # fmt: skip
    elif among and any(_LEARNED.match(one) for one in heavy):
        yield Flaw(
            item.line, last, Text("weights lie among the code: {paths}", paths=", ".join(heavy)),
            Text("code that is mounted there hides them; mount them too, or give them a folder of their own"),
        )  # fmt: skip


def _split(document: Dockerfile, item: Instruction, heavy: list[str], others: list[str]) -> tuple[Edit, ...]:
    copy = copied(item)
    assert copy is not None
    if item.last > item.line or not isinstance(item.what, Copy):
        return ()
    flags = " ".join(re.findall(r"--[a-z]+(?:=\S+)?", item.text))
    start = f"COPY {flags} " if flags else "COPY "
    lines = tuple(f"{start}{' '.join(paths)} {copy.target}" for paths in (heavy, others))
    return (Edit(item.line, item.line, lines),)
