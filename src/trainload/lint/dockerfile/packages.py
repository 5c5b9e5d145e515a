"""What package managers leave in a layer, and what they need to work unattended."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.dockerfile.model import Run
from trainload.errors import Text
from trainload.lint.dockerfile.document import Dockerfile, Script, Stage
from trainload.lint.dockerfile.pip import Install, apt, conda, installs
from trainload.lint.dockerfile.weights import Weight, shown, weight
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.secrets import formed

_LISTS = "/var/lib/apt/lists"
_CLEARED = re.compile(r"/var/lib/(?:\*|apt(?:/\*?|/lists(?:/.*)?)?)")
_IN_BRACES = re.compile(r"/var(?:/lib)?(?:/apt)?/\{.*\}.*")
"""``/var/lib/{apt,dpkg}``: bash knows braces, dash does not."""
_OFF = frozenset({"", "0", "false", "off", "no"})
_CONDA_CLEAN = {"conda": "conda clean --all --yes", "mamba": "mamba clean --all --yes",
                "micromamba": "micromamba clean --all --yes"}  # fmt: skip


def _scripts(document: Dockerfile) -> Iterator[tuple[Stage, Script]]:
    """Of what is in the image: what stays in another stage is no weight of it."""
    for stage in document.chain:
        for script in document.scripts(stage):
            yield stage, script


def _flaw(script: Script, why: Text, measure: Text | None, mend: tuple[Edit, ...]) -> Flaw:
    return Flaw(script.item.line, max(script.item.last, script.item.line), why, measure, mend)


def _mounts(script: Script) -> str:
    return "\n".join(script.item.what.mounts) if isinstance(script.item.what, Run) else ""


def pip_cache(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    for stage, script in _scripts(document):
        environ = dict(document.environ(stage, script.item.line))
        environ |= {w.text.partition("=")[0]: w.text.partition("=")[2] for c in script.commands
                    for w in (*c.assignments, *(c.words[1:] if c.name == "export" else ()))}  # fmt: skip
        if "type=cache" in _mounts(script) and "cache" in _mounts(script).replace("type=cache", ""):
            continue
        if any(_clears_pip(command.texts) for command in script.commands):
            continue
        kept = [one for one in installs(script.commands) if _keeps(one, environ)]
        if not kept:
            continue
        found = weight(kept, around)
        places = [(one.verb.end, " --no-cache-dir" if one.tool == "pip" else " --no-cache") for one in kept]
        yield _flaw(
            script,
            Text("{tool} keeps what it downloaded in the layer", tool=kept[0].tool),
            _twice(found),
            document.inserted(script, places) if script.placed else (),
        )  # fmt: skip


def _twice(found: Weight) -> Text:
    if not found.megabytes:
        return Text("each wheel is in the image twice: installed, and as it was downloaded")
    size = shown(found.megabytes)
    if found.exact:
        return Text("{size} more in the image, by the lock, for nothing", size=size)
    return Text("about {size} more in the image, for nothing", size=size)


_KEEPS_NOTHING = ("--no-cache-dir", "--no-cache", "-n", "--no-index")
"""The last one: what lies in a folder is not downloaded."""


def _keeps(one: Install, environ: dict[str, str]) -> bool:
    if one.only_tools or any(word in _KEEPS_NOTHING for word in one.command.texts):
        return False
    names = ("PIP_NO_CACHE_DIR",) if one.tool == "pip" else ("UV_NO_CACHE",)
    return all(environ.get(name, "").strip("'\"").lower() in _OFF for name in names)


def _clears_pip(words: tuple[str, ...]) -> bool:
    text = " ".join(words)
    return (words[:1] == ("rm",) and ".cache" in text) or "cache purge" in text or "uv cache clean" in text


def apt_lists(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    for _, script in _scripts(document):
        verbs = [apt(command) for command in script.commands]
        adds = any(command.name == "add-apt-repository" for command in script.commands)
        if not (adds or "update" in verbs) or not (
            set(verbs) & {"install", "build-dep", "upgrade", "dist-upgrade"}
        ):
            continue
        braces = "bash" in document.source.text
        if "/var/lib/apt" in _mounts(script) or any(_clears_lists(c.texts, braces) for c in script.commands):
            continue
        yield _flaw(
            script, Text("the package lists of apt stay in the layer"),
            Text("20 to 50 MB more in the image, for nothing"),
            document.appended(script, f"rm -rf {_LISTS}/*"),
        )  # fmt: skip


def _clears_lists(words: tuple[str, ...], braces: bool) -> bool:  # noqa: FBT001 - a fact about the file's shell
    if words[:1] == ("rm",):
        return any(_CLEARED.fullmatch(word) or (braces and _IN_BRACES.fullmatch(word)) for word in words)
    return (words[:1] == ("find",) and any(word.startswith(_LISTS) for word in words)) or (
        words[:1] in (("apt-get",), ("apt",)) and bool({"distclean", "dist-clean"} & set(words))
    )  # fmt: skip


def apt_update(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    """An update in a RUN of its own: cached for months, and then the install asks for files that are gone."""
    for stage in document.stages:
        scripts = [one for one in document.scripts(stage) if one.placed]
        for index, script in enumerate(scripts):
            verbs = [apt(command) for command in script.commands]
            if "update" not in verbs or set(verbs) - {"update", "upgrade", "dist-upgrade"} or len(verbs) > 2:
                continue
            if "/var/lib/apt" in _mounts(script):
                continue
            later = [one for one in scripts[index + 1 :] if _first_install(one) is not None and not _updates(one)]
            if later:
                yield _flaw(
                    script,
                    Text("apt-get update alone in a RUN: it comes from the cache while what follows is new"),
                    Text("the next change of a package's name fails with 404, or installs what is months old"),
                    _merged(document, script, later, verbs),
                )  # fmt: skip


def _updates(script: Script) -> bool:
    return any(apt(command) == "update" for command in script.commands)


def _first_install(script: Script) -> int | None:
    return next((command.start for command in script.commands if apt(command) == "install"), None)


def _merged(document: Dockerfile, script: Script, later: list[Script], verbs: list[str | None]) -> tuple[Edit, ...]:
    if verbs != ["update"]:
        return ()
    edits = [Edit(script.item.line, max(script.item.last, script.item.line), ())]
    for one in later:
        start = _first_install(one)
        assert start is not None
        edits += document.inserted(one, [(start, "apt-get update && ")])
    return tuple(edits)


def apt_yes(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    for stage in document.stages:
        for script in document.scripts(stage):
            asking = [c for c in script.commands if apt(c) == "install" and not _answers(c.texts)]
            asking = [c for c in asking if not script.text[: c.start].rstrip().endswith("|")]  # yes | apt-get
            if asking and "Assume-Yes" not in document.source.text:
                places = [(next(w.end for w in c.words if w.text == "install"), " -y") for c in asking]
                yield _flaw(
                    script, Text("apt-get install without -y asks, and nobody is there to answer"),
                    Text("the build ends with Abort"), document.inserted(script, places) if script.placed else (),
                )  # fmt: skip


def _answers(words: tuple[str, ...]) -> bool:
    for word in words:
        if word in ("--yes", "--assume-yes", "--dry-run", "--simulate", "--download-only"):
            return True
        if word.startswith("-") and not word.startswith("--") and ("y" in word or "qq" in word or "s" in word):
            return True
    return False


def conda_cache(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    for _, script in _scripts(document):
        tools = [found for command in script.commands if (found := conda(command))]
        makes = [
            tool for tool, verb in tools if verb in ("install", "create", "env create", "env update", "update")
        ]
        if not makes or any(verb == "clean" for _, verb in tools) or "type=cache" in _mounts(script):
            continue
        if any(c.name == "rm" and "pkgs" in " ".join(c.texts) for c in script.commands):
            continue
        yield _flaw(
            script, Text("{tool} keeps the packages it downloaded in the layer", tool=makes[0]),
            Text("often more than 1 GB with PyTorch, for nothing"),
            document.appended(script, _CONDA_CLEAN[makes[0]]),
        )  # fmt: skip


def slow_index(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    """Advice, and only where the configuration says that another index is near."""
    if not around.index or formed(around.index):
        return
    for stage in document.stages:
        for script in document.scripts(stage):
            environ = document.environ(stage, script.item.line)
            if {"PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"} & set(environ):
                continue
            found = [one for one in installs(script.commands) if not one.indexes and one.verb.text == "install"]
            found = [one for one in found if not (one.local and not one.files) and not one.has("--no-index")]
            if found:
                places = [(one.verb.end, f" --index-url {around.index}") for one in found]
                yield _flaw(
                    script, Text("{tool} asks the far index, although the configuration names a nearer one: {url}",
                                 tool=found[0].tool, url=around.index),
                    None, document.inserted(script, places) if script.placed else (),
                )  # fmt: skip
